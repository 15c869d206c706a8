"""What a trial told of a network is used again as long as the network is what it was, and no longer."""

from types import ModuleType

import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.training import apart
from neurodeploy.training.unchanged import Likeness

SHIFT = 0.0
SWITCHES = ModuleType("switches")  # as a file of somebody's settings is imported
SWITCHES.gain = 1.0
SAMPLES = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def turned(x, by=[0.0]):  # noqa: B006
    return x + by[0]


class Own(nn.Module):
    halved = False

    def __init__(self):
        super().__init__()
        self.conv, self.fire, self.head = nn.Conv2d(3, 4, 3), nd.LIF(decay=0.5), nn.Linear(4, 5)
        self.register_buffer("scale", torch.tensor(1.0))
        self.centred, self.axes = False, [-2, -1]

    def forward(self, x):
        if self.centred:
            x = x - x.mean(0)
        x = turned(x / 2 if self.halved else x) * SWITCHES.gain
        x = self.conv(x + SHIFT).expand(4, -1, -1, -1, -1)
        return self.head(self.fire(self.scale * x).mean(tuple(self.axes))).mean(0)


@pytest.fixture
def trials(monkeypatch):
    made, real = [], apart.tried_apart
    monkeypatch.setattr(apart, "tried_apart", lambda *given: made.append(given) or real(*given))
    return made


def test_a_network_that_is_what_it_was_is_tried_once(trials):
    network = Own()
    answers = [nd.predict(network, SAMPLES) for _ in range(3)]
    nd.evaluate(network, SAMPLES, torch.zeros(12, dtype=torch.long))
    assert len(trials) == 1
    assert torch.equal(answers[0], answers[2])


CHANGES = {
    "an attribute": lambda network: setattr(network, "centred", True),
    "a list of numbers": lambda network: network.axes.reverse(),
    "weights": lambda network: network.conv.weight.detach().mul_(2),
    "a number of its own, behind torch's back": lambda network: network.scale.data.add_(1),
    "a tensor in its place": lambda network: setattr(network.conv, "bias", nn.Parameter(torch.zeros(4))),
    "a number of its own": lambda network: network.scale.add_(1),
    "a layer": lambda network: setattr(network, "fire", nd.LIF(decay=0.25)),
    "a layer's constant": lambda network: setattr(network.fire, "detach_reset", True),
    "a global number": lambda _network: globals().update(SHIFT=SHIFT + 1),
    "its class": lambda network: setattr(type(network), "halved", not type(network).halved),
    "a default that a function it calls keeps": lambda _network: turned.__defaults__[0].__setitem__(
        0, turned.__defaults__[0][0] + 1
    ),
    "a setting in another file": lambda _network: setattr(SWITCHES, "gain", SWITCHES.gain + 1),
    "its forward": lambda network: setattr(network, "forward", lambda x: x.flatten(1)[:, :5]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_network_that_has_changed_is_tried_again(trials, change):
    network = Own()
    nd.predict(network, SAMPLES)
    CHANGES[change](network)
    with torch.no_grad():
        whole = network.eval()(SAMPLES)
    torch.testing.assert_close(nd.predict(network, SAMPLES), whole)
    assert len(trials) == 2


def test_other_samples_are_another_trial(trials):
    network = Own()
    nd.predict(network, SAMPLES)
    nd.predict(network, SAMPLES[..., :7])
    assert len(trials) == 2


def test_a_watched_network_is_not_divided_though_it_was_before(monkeypatch):
    monkeypatch.setattr("neurodeploy.dynamics.portions._LARGEST", 1 << 12)
    network, seen = Own(), []
    nd.predict(network, SAMPLES)
    network.head.register_forward_hook(lambda *given: seen.append(given[-1].shape[1]))
    nd.predict(network, SAMPLES)
    assert seen == [12]


class Settings:
    centred = False


def test_what_may_change_without_being_seen_to_is_never_taken_for_unchanged(trials):
    network = Own()
    network.settings = Settings()
    assert Likeness.of(network) is None
    nd.predict(network, SAMPLES)
    nd.predict(network, SAMPLES)
    assert len(trials) == 2


def test_a_network_that_is_gone_leaves_nothing_behind():
    network = Own()
    nd.predict(network, SAMPLES)
    before = len(apart._FOUND)
    del network
    assert len(apart._FOUND) == before - 1
