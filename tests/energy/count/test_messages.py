"""Graded messages: each is one event, whatever its value and whatever the code does with it on its way to the synapses."""

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from neurodeploy.dynamics.layers import Add
from neurodeploy_energy import account
from neurodeploy_energy.count.batches import Several
from neurodeploy_exporters.lava.graded import GradedInput

X = torch.tensor([[0, 3, -7, 0, 1, 0, 0, 40], [5, 0, 0, 0, 0, 0, 0, -2.0]])
EVENTS = 6


class Receiver(nn.Module):
    """Messages, what the code makes of them, and synapses of which one has no weight."""

    def __init__(self, way):
        super().__init__()
        self.way, self.entry, self.synapse = way, GradedInput(), nn.Linear(8, 3)
        with torch.no_grad():
            self.synapse.weight.fill_(0.5)
            self.synapse.weight[1, 7] = 0

    def forward(self, x):
        return self.synapse(self.way(self.entry(x)))


WAYS = {
    "as they are": lambda x: x,
    "scaled": lambda x: x * 0.3,
    "in parts": lambda x: torch.cat([x[:, :3], x[:, 3:]], 1),
    "delayed": lambda x: torch.cat([torch.zeros_like(x[:1]), x])[1:],
    "added to a state at rest": lambda x: x + torch.zeros_like(x),
    "chosen": lambda x: torch.where(x == x, x, torch.zeros(())),
    "moved": lambda x: x.t().contiguous().t(),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_counts_once_at_every_synapse_that_it_reaches(way):
    row = account(Receiver(WAYS[way]), X).layer("synapse")
    assert row.kind == "graded synapse"
    assert (2 * row.sops, 2 * row.sops_nonzero_weights, row.macs) == (3 * EVENTS, 3 * EVENTS - 2, 0)
    assert 2 * row.spikes_in == EVENTS


def test_equal_messages_in_every_step_are_sent_every_time():
    report = account(Receiver(lambda x: x), X, steps=None)
    twice = account(Receiver(lambda x: torch.stack([x, x]).flatten(0, 1)), X)
    assert twice.layer("synapse").sops == 2 * report.layer("synapse").sops


def test_a_sum_of_messages_costs_one_accumulation_for_each_and_is_messages():
    model = Receiver(lambda x: model.residual(x, x.flip(1)))
    model.residual = Add()
    report = account(model, X)
    assert 2 * report.layer("residual").adds == 2 * EVENTS
    assert report.layer("synapse").kind == "graded synapse"
    assert 2 * report.layer("synapse").sops == 3 * int(torch.count_nonzero(X + X.flip(1)))


def test_messages_through_a_pool_are_counted_before_it_and_once_each():
    model = nn.Sequential(GradedInput(), nn.AvgPool1d(2), nn.Linear(4, 3))
    assert 2 * account(model, X[:, None]).layer("2").sops == 3 * EVENTS


def test_messages_that_are_summed_over_tokens_cost_one_accumulation_each():
    model = Receiver(lambda x: x.reshape(-1, 4, 2).sum(1).repeat(1, 4))
    report = account(model, X)
    (summed,) = (row for row in report.layers if row.kind == "average pool")
    assert 2 * summed.adds == EVENTS
    assert report.layer("synapse").kind == "graded synapse"
    assert 2 * report.layer("synapse").sops == 3 * 4 * int(torch.count_nonzero(X.reshape(-1, 4, 2).sum(1)))


def test_an_activation_on_messages_is_an_ordinary_network():
    row = account(Receiver(lambda x: f.gelu(x)), X).layer("synapse")
    assert (row.kind, row.sops, row.macs) == ("synapse", 0, 24)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 3), nn.Linear(5, 3, bias=False)

    def forward(self, x, y):
        return self.first(x) + self.second(y)


def test_several_inputs_are_all_data_cut_into_batches_and_tried_one_by_one():
    x, y = torch.rand(6, 8), torch.rand(6, 5)
    whole = account(Two(), Several((x, y)))
    assert whole.layers == account(Two(), Several((x, y)).split(4)).layers
    assert [row.macs for row in whole.layers] == [24, 15]
    assert (whole.samples, whole.uncounted) == (6, {})
