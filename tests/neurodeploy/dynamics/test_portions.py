"""A batch goes through a network in portions, whose answers and spikes are those of the whole batch."""

import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.dynamics import portions
from neurodeploy.dynamics.layers import LIF, ParametricNeuron
from neurodeploy.dynamics.neurons import NeuronParameters
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


class Stacked(nn.Module):
    """Of one's own, of this package's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fire = nn.Conv2d(3, 32, 3, padding=1), nd.LIF(decay=0.5)
        self.head, self.sizes = nn.Linear(32, 10), []
        nn.init.normal_(self.conv.weight)  # so that it fires

    def forward(self, x):
        self.sizes.append(len(x))
        x = self.conv(x).expand(8, -1, -1, -1, -1)
        return self.head(self.fire(x).mean((-2, -1))).mean(0)


class AloneTogether(Stacked):
    """Each kind sees the whole batch in its own way."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x):
        match self.kind:
            case "the largest":
                x = x / x.amax()
            case "an order":
                x = x - x[:1]
            case "a decision" if bool((x > 2).any()):
                x = x / 2
            case "a random number":
                x = x * torch.rand(())
            case "its size":
                x = x / len(x)
            case "many":
                x = x if len(x) < 20 else x / 2
            case "all at once":
                x = torch.where((x.mean((1, 2, 3)) > 0.5).all(), x / 2, x)
            case "a shape":
                x = x.reshape(len(x) // 2, 2, *x.shape[1:]).flip(1).flatten(0, 1)
        return super().forward(x)


@pytest.fixture
def small_portions(monkeypatch):
    monkeypatch.setattr(portions, "_LARGEST", 1 << 20)


@pytest.mark.usefixtures("small_portions")
def test_a_network_of_ones_own_whose_samples_are_apart_is_given_portions_and_answers_the_same():
    torch.manual_seed(0)
    network, samples = Stacked(), torch.rand(30, 3, 16, 16)
    with torch.no_grad():
        whole = network(samples)
    network.sizes.clear()
    torch.testing.assert_close(nd.predict(network, samples), whole)
    assert max(network.sizes) < 10
    assert sum(network.sizes) == 30  # the trial left nothing in it
    network.sizes.clear()
    found = nd.evaluate(network, samples, whole.argmax(1))
    assert found.accuracy.correct == 30
    assert max(network.sizes) < 10
    assert found == nd.evaluate(network, samples, whole.argmax(1), batch_size=30)


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize(
    "kind", ["the largest", "an order", "a decision", "a random number", "its size", "a shape", "many", "all at once"]
)
def test_a_network_whose_samples_see_each_other_gets_whole_batches(kind):
    torch.manual_seed(0)
    network, samples = AloneTogether(kind), torch.rand(30, 3, 16, 16)
    torch.manual_seed(1)
    nd.predict(network, samples, batch_size=30)
    assert network.sizes == [30]
    torch.manual_seed(1)
    with torch.no_grad():
        whole = network(samples)
    torch.manual_seed(1)
    assert torch.equal(nd.predict(network, samples, batch_size=30), whole)


@pytest.mark.usefixtures("small_portions")
def test_a_network_that_somebody_watches_is_shown_its_samples_once():
    network, seen = Stacked(), []
    network.fire.register_forward_hook(lambda *given: seen.append(given[-1].shape[1]))
    nd.predict(network, torch.rand(30, 3, 16, 16), batch_size=30)
    assert seen == [30]


class Scaled(Stacked):
    """By a number of its own, which it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(2.0))

    def forward(self, x):
        return super().forward(x * self.factor.item())


class Learning(Stacked):
    def __init__(self) -> None:
        super().__init__()
        self.fire = ParametricNeuron(NeuronParameters(0.5, 1.0, "soft"))


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("kind", [Scaled, Learning])
def test_numbers_of_a_networks_own_do_not_stop_portions(kind):
    network = kind()
    nd.predict(network, torch.rand(30, 3, 16, 16), batch_size=30)
    assert max(network.sizes) < 10


@pytest.mark.usefixtures("small_portions")
def test_a_network_that_answers_everything_alike_says_nothing_of_its_samples():
    network = Stacked()
    nn.init.zeros_(network.conv.weight)
    nd.predict(network, torch.rand(30, 3, 16, 16), batch_size=30)
    assert network.sizes == [30]
