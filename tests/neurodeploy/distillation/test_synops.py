"""Synaptic operations as a loss: the number of the energy report, its gradient, budgets, and what is refused."""

import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.distillation import SynapticOperations
from neurodeploy.distillation.synops import fan_outs
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput
from neurodeploy.recipe import parse
from neurodeploy.training.experiment import train_all

IMAGES = torch.rand(7, 2, 9, 9, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """Borders, strides, a shortcut that adds spikes and one with weights, groups, and a mean over the pixels."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.c, self.shortcut = nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Conv2d(4, 6, 1, stride=2)
        self.last = nn.Linear(6, 5)

    def forward(self, x):
        x = torch.relu(self.a(x))
        x = torch.relu(self.b(x) + x)
        return self.last(torch.relu(self.c(x) + self.shortcut(x)).mean((2, 3)))


def pooled():
    features = (nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*features, nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3))


def max_pooled():
    return nn.Sequential(nn.Conv2d(2, 4, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3))


class Shifted(nn.Module):
    """Its shortcut takes every second pixel, and pads the channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.last = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 4, 3, 2, 1), nn.Linear(100, 3)

    def forward(self, x):
        x = torch.relu(self.a(x))
        shortcut = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        return self.last(torch.relu(self.b(x) + shortcut).flatten(1))


def operations(student, samples):
    term = SynapticOperations().of_network(student, tuple(samples.shape[1:]))
    with torch.no_grad():
        return term(student(samples), None, torch.zeros(len(samples), dtype=torch.long)).item()


def whole(total, samples):
    """Synaptic operations and additions of all samples, of a report that has their means."""
    return round(total.sops * samples) + round(total.adds * samples)


@pytest.mark.parametrize("make", [Residual, pooled, max_pooled, Shifted])
@pytest.mark.parametrize("steps", [1, 4])
def test_it_is_bit_for_bit_the_number_of_the_energy_report(make, steps):
    torch.manual_seed(0)
    twin = nd.spiking(make().eval(), IMAGES, steps=steps, reset="soft")
    total = nd.energy(twin, IMAGES, profiles=["loihi1"]).total
    assert total.spikes > 0
    assert operations(twin, IMAGES) == whole(total, len(IMAGES)) / len(IMAGES)
    deployed = nd.energy(nd.deploy(twin, IMAGES), IMAGES).total
    assert deployed.adds == 0  # what is added has a scale of its own there, and is a synapse
    assert operations(twin, IMAGES) == whole(deployed, len(IMAGES)) / len(IMAGES)


RECIPE = """
name = "operations"
steps = 3
baseline = "plain"
deployed = "frugal"
data = { kind = "digits" }
network = { kind = "NETWORK" }
teacher = { epochs = 1 }

[[student]]
name = "plain"
training = { epochs = 2 }

[[student]]
name = "frugal"
training = { epochs = 2 }
loss = [{ kind = "cross-entropy" }, { kind = "synops", weight = 1.0, budget = 500 }]
"""


@pytest.mark.parametrize("network", ['conv", channels = [6, 8], strides = [1, 2', 'resnet", channels = [4, 6], blocks = [1, 1'])
def test_a_budget_in_a_recipe_lowers_the_number_that_the_report_prints(network, tmp_path):
    recipe = parse(RECIPE.replace('NETWORK"', f"{network}]"), origin="x")
    data = recipe.data.load()
    networks = {role: trained for _, role, trained in train_all(recipe, tmp_path, data)}
    samples, spent = data.test_samples[:50], {}
    for role in ("plain", "frugal"):
        total = nd.energy(networks[role], samples, profiles=["loihi1"]).total
        spent[role] = whole(total, len(samples)) / len(samples)
        assert operations(networks[role], samples) == spent[role]
    assert spent["frugal"] < 0.8 * spent["plain"]


def test_its_gradient_with_respect_to_a_spike_is_that_neurons_fan_out():
    torch.manual_seed(0)
    twin = nd.spiking(Residual().eval(), IMAGES, steps=2, reset="soft")
    output, fans = twin(IMAGES), fan_outs(twin, IMAGES.shape[1:])
    taps = {name: tap.detach().requires_grad_() for name, tap in output.taps.items()}
    term = SynapticOperations().of_network(twin, tuple(IMAGES.shape[1:]))
    term(NetworkOutput(output.logits, output.step_logits, output.features, taps), None, torch.zeros(7)).backward()
    for name, tap in taps.items():
        torch.testing.assert_close(tap.grad, (fans[name] / 7).float().expand_as(tap))
    # a corner is read by 2 × 2 taps of `b`, of 2 outputs in its group, and by the addition
    assert fans["relu"][0, 0, 0] == 4 * 2 + 1
    assert fans["relu"][0, 4, 4] == 9 * 2 + 1


def test_a_budget_is_the_excess_over_it_in_operations_or_in_energy():
    torch.manual_seed(0)
    twin = nd.spiking(pooled().eval(), IMAGES, steps=2, reset="soft")
    found = operations(twin, IMAGES)
    shape, picojoules = tuple(IMAGES.shape[1:]), 23.6  # loihi1, one synaptic operation
    for settings, budget in (({"budget": found / 2}, found / 2), ({"budget": 2 * found}, 2 * found)):
        term = SynapticOperations(**settings).of_network(twin, shape)
        value = term(twin(IMAGES), None, torch.zeros(7)).item()
        assert value == pytest.approx(max(0, found / budget - 1))
    priced = SynapticOperations(budget=found * picojoules * 1e-6 / 4, profile="loihi1").of_network(
        twin, tuple(IMAGES.shape[1:])
    )
    assert priced(twin(IMAGES), None, torch.zeros(7)).item() == pytest.approx(3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile": "loihi1"}, "profile: found without budget"),
        ({"profile": "loihi0", "budget": 1}, "loihi0"),
        ({"budget": 0}, "greater than 0"),
    ],
)
def test_budgets_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SynapticOperations(**settings)


class MaxAfterwards(nn.Module):
    """Spikes that a max pool reads."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.pool, self.last = nn.Conv2d(2, 4, 2), nd.LIF(decay=0.5), nn.MaxPool2d(2), nn.Linear(64, 3)

    def forward(self, x):
        spikes = self.act(self.conv(x).expand(3, *[-1] * 4))
        return self.last(self.pool(spikes.flatten(0, 1)).flatten(1).unflatten(0, (3, -1))).mean(0)


def test_spikes_whose_operations_are_not_known_and_networks_without_spikes_are_refused():
    with pytest.raises(UserError, match=r"synops: layer \S+ \(\w+\) reads the spikes of act, .* take activity instead"):
        fan_outs(MaxAfterwards().eval(), (2, 9, 9))
    with pytest.raises(UserError, match="synops: no spiking layer found"):
        fan_outs(pooled().eval(), (2, 9, 9))
