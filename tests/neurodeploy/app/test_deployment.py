"""A trained network as exporters take it: the layer that makes spikes of a sample stays with the host."""

import pytest
import torch
from torch import nn

from neurodeploy.app.deployment import deploy
from neurodeploy.data import Digits
from neurodeploy.dynamics.encodings import DirectEncoding, LatencyEncoding, PoissonEncoding, StaticInput
from neurodeploy.dynamics.layers import Flatten, Neuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.io.errors import UserError

DATA = Digits().load()


def network(*entry: nn.Module) -> nn.Module:
    classifier = nn.Linear(64, 10)
    return nn.Sequential(*entry, Flatten(), classifier, Neuron(NeuronParameters(0.5, 0.5, "hard")), TimeMean()).eval()


@pytest.mark.parametrize(("code", "kind"), [(PoissonEncoding(5, seed=3), "Poisson"), (LatencyEncoding(5), "latency")])
def test_the_graph_begins_behind_the_code_and_the_host_does_what_the_layer_did(code, kind):
    trained = network(code)
    found = deploy(trained, DATA)
    assert found.graph.input.timed
    assert found.graph.steps is None
    assert f"{kind} code ({code.extra_repr()})" in found.encoding
    samples = DATA.test_samples[:4]
    assert torch.equal(torch.from_numpy(found.inputs(samples)), code.eval()(samples))
    with torch.no_grad():
        assert torch.equal(found.module()(samples), trained(samples))
    assert any(isinstance(module, type(code)) for module in trained.modules())  # the network itself is left as it was


def test_a_direct_code_stays_in_the_graph():
    found = deploy(network(StaticInput(), DirectEncoding(3)), DATA)
    assert (found.code, found.encoding, found.graph.steps) == (None, None, 3)
    assert torch.equal(torch.from_numpy(found.inputs(DATA.test_samples[:4])), DATA.test_samples[:4])
    inputs, labels = found.test
    assert inputs.shape == DATA.test_samples.shape
    assert len(labels) == len(inputs)


def test_two_codes_are_refused_by_name():
    with pytest.raises(UserError, match="layer 1: a second code found, one expected, at the network's input"):
        deploy(network(PoissonEncoding(2), LatencyEncoding(2)), DATA)
