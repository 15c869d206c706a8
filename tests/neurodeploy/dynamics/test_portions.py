"""A batch goes through a network in portions, whose answers and spikes are those of the whole batch."""

import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.dynamics import portions
from neurodeploy.dynamics.layers import LIF
from neurodeploy.dynamics.portions import Portions
from neurodeploy.io.errors import UserError
from neurodeploy.networks import ConvNetSpec, SpikingActivations


@pytest.fixture
def network():
    torch.manual_seed(0)
    student = ConvNetSpec(channels=(32, 48), strides=(1, 2)).build(3, 10, SpikingActivations(LIF, 6))
    student.seen = []  # the sizes of the batches that it was given
    student.register_forward_pre_hook(lambda module, inputs: module.seen.append(len(inputs[0])))
    return student.eval()


def test_answers_and_spikes_have_the_bits_of_the_whole_batch(network, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    samples, labels = torch.rand(37, 3, 32, 32, generator=generator), torch.zeros(37, dtype=torch.long)
    whole, spikes = nd.predict(network, samples), nd.evaluate(network, samples, labels)
    monkeypatch.setattr(portions, "_LARGEST", 1 << 20)
    network.seen.clear()
    assert torch.equal(nd.predict(network, samples), whole)
    assert network.seen[0] == 4
    assert min(network.seen) >= 4
    assert max(network.seen) < 20
    assert sum(network.seen) == 37
    again = nd.evaluate(network, samples, labels)
    assert again == spikes
    assert spikes.spikes_per_sample > 0
    assert (again.confusion == spikes.confusion).all()


@pytest.mark.parametrize(("count", "expected"), [(7, [7]), (8, [4, 4]), (19, [4, 5, 5, 5]), (22, [4, 5, 5, 4, 4])])
def test_no_portion_has_fewer_than_four_samples(monkeypatch, count, expected):
    monkeypatch.setattr(portions, "_LARGEST", 5 * 4 * 100)
    layer, seen = nn.Linear(3, 100), []
    for portion in Portions(layer).of(torch.rand(count, 3)):
        layer(portion)
        seen.append(len(portion))
    assert seen == expected


def test_what_is_small_is_measured_once_and_then_goes_whole():
    layer, found = nn.Linear(3, 5), []
    divided = Portions(layer)
    for _ in range(2):
        for portion in divided.of(torch.rand(50, 3)):
            layer(portion)
            found.append(len(portion))
    assert found == [4, 46, 50]
    assert not layer._forward_hooks


def test_a_prediction_leaves_the_mode_of_the_network_and_no_gradients(network):
    network.train()
    answer = nd.predict(network, torch.rand(9, 3, 32, 32), batch_size=3)
    assert answer.shape == (9, 10)
    assert not answer.requires_grad
    assert network.training
    assert network.seen == [3, 3, 3]


def test_a_prediction_of_nothing_is_refused(network):
    with pytest.raises(UserError, match="samples: none found"):
        nd.predict(network, torch.rand(0, 3, 32, 32))


class Centred(nn.Module):
    """Of somebody else's: what a sample gives depends on the others of its batch."""

    def forward(self, x):
        return (x - x.mean(0)) @ torch.eye(8)[:, :3]


def test_a_network_of_ones_own_gets_the_batches_that_were_asked_for():
    samples, network = torch.rand(300, 8), Centred()
    assert torch.equal(nd.predict(network, samples, batch_size=300), network(samples))
    right = network(samples).argmax(1)
    assert nd.evaluate(network, samples, right, batch_size=300).accuracy.correct == 300
