"""Global pools over the length of a sequence: means fold into the classifier, maxima are not counted."""

import pytest
import torch
from torch import nn

from neurodeploy.dynamics.layers import GlobalAvgPool1d, GlobalMaxPool1d, Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.networks import Relu, ResNet1dSpec
from neurodeploy_energy import account

CURRENTS = torch.tensor([[[[1.0, 1, 0, 1], [0, 0, 1, 0]]], [[[0.0, 0, 0, 0], [1, 1, 0, 0]]]])
"""`[T, B, C, L]` = [2, 1, 2, 4]: six spikes at threshold 0.5."""


@pytest.mark.parametrize(
    ("pool", "kind", "operations", "note"),
    [
        (GlobalAvgPool1d(), "average pool", 6 * 3, "folded into 2: no operations of its own"),
        (GlobalMaxPool1d(), "max pool", 3 * 3, "comparisons are not counted"),
    ],
)
def test_spikes_behind_a_global_pool_are_counted_where_they_cost(pool, kind, operations, note):
    model = nn.Sequential(Neuron(NeuronParameters(0.0, 0.5)), pool, nn.Linear(2, 3))
    report = account(model, [CURRENTS], batch_axis=1)
    assert report.layer("0").spikes == 6
    assert (report.layer("1").kind, report.layer("1").note) == (kind, note)
    assert report.layer("2").sops == operations


def test_no_layer_of_a_network_is_unknown_to_the_counter():
    report = account(ResNet1dSpec(channels=(4, 4), blocks=(1,)).build(3, 5, Relu()), [torch.rand(4, 3, 9)])
    assert not report.uncounted
