"""Neurons of other frameworks are recognised by name, without that framework, and counted alike however they are called."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.peers.plain_torch import PlainTorch
from benchmarks.setting import Setting, sample, weights
from benchmarks.subjects import SUBJECTS, installed_version
from neurodeploy.dynamics.layers import CubaNeuron, Integrator, LowPass, Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.io.errors import UserError
from neurodeploy_energy import account, register_neuron

T, B = 3, 4
WEIGHT = (torch.arange(30).reshape(5, 6) * 7 % 11 - 4) / 8
SPIKES = torch.randint(0, 2, (T, B, 6), generator=torch.Generator().manual_seed(0)).float()
"""`[T, B, 6]`."""
NORSE, SINABS, LAVA = "norse.torch.module", "sinabs.layers", "lava.lib.dl.slayer"


def named(package, name, *bases, **members):
    """A class that another package could define."""
    return type(name, bases, {"__module__": package, **members})


def step(v, current):
    """λ = 1/2, θ = 1, hard reset."""
    h = v / 2 + current
    spikes = (h > 1).float()
    return spikes, h * (1 - spikes)


class Steps(nn.Module):
    """One step at a time, the potential kept between calls."""

    def __init__(self):
        super().__init__()
        self.v = 0

    def forward(self, current):
        spikes, self.v = step(self.v, current)
        return spikes

    def reset(self):
        self.v = 0


class StepsWithState(nn.Module):
    """One step at a time, the potential handed in and out."""

    def forward(self, current, v=0):
        return step(0 if v is None else v, current)


class Several(nn.Module):
    """All steps, `[T, B, …]`."""

    def forward(self, current):
        v, found = 0, []
        for now in current:
            spikes, v = step(v, now)
            found.append(spikes)
        return torch.stack(found)


class BatchFirst(Several):
    """All steps, `[B, T, …]`."""

    def forward(self, current):
        return super().forward(current.transpose(0, 1)).transpose(0, 1)


class Squeezed(BatchFirst):
    """All steps, `[B · T, …]`."""

    def forward(self, current):
        return super().forward(current.unflatten(0, (-1, T))).flatten(0, 1)


class TimeLast(Several):
    """All steps, `[B, …, T]`."""

    def forward(self, current):
        return super().forward(current.movedim(-1, 0)).movedim(0, -1)


class TwoOutputs(Several):
    def forward(self, current):
        return super().forward(current), None


BASE = named("spikingjelly.activation_based.neuron.base_node", "BaseNode", Steps, step_mode="s")
BASE_M = named("spikingjelly.activation_based.neuron.base_node", "BaseNode", Several, step_mode="m")
MIXIN = named(f"{SINABS}.reshape", "SqueezeMixin", object)
CLASSES = {
    "ours": named("mine", "Mine", Neuron, __init__=lambda self: Neuron.__init__(self, NeuronParameters(0.5, 1.0))),
    "SpikingJelly, multi-step": named("spikingjelly.activation_based.neuron.lif", "LIFNode", BASE_M),
    "SpikingJelly, single-step": named("spikingjelly.activation_based.neuron.lif", "LIFNode", BASE),
    "SpikingJelly, clock_driven": named(
        "spikingjelly.clock_driven.neuron", "MultiStepLIFNode", named("spikingjelly.clock_driven.neuron", "BaseNode", Several)
    ),
    "snnTorch": named("snntorch._neurons.leaky", "Leaky", named("snntorch._neurons.neurons", "SpikingNeuron", StepsWithState)),
    "snnTorch, hidden state": named(
        "snntorch._neurons.leaky",
        "Leaky",
        named("snntorch._neurons.neurons", "SpikingNeuron", Steps),
        init_hidden=True,
        reset_mem=Steps.reset,
    ),
    "Norse, cell": named(f"{NORSE}.lif", "LIFCell", named(f"{NORSE}.snn", "SNNCell", StepsWithState)),
    "Norse": named(f"{NORSE}.lif", "LIF", named(f"{NORSE}.snn", "SNN", TwoOutputs)),
    "sinabs": named(f"{SINABS}.lif", "LIF", named(f"{SINABS}.stateful_layer", "StatefulLayer", BatchFirst)),
    "sinabs, squeezed": named(
        f"{SINABS}.lif", "LIFSqueeze", named(f"{SINABS}.stateful_layer", "StatefulLayer", Squeezed), MIXIN
    ),
    "lava-dl": named(f"{LAVA}.neuron.cuba", "Neuron", named(f"{LAVA}.neuron.base", "Neuron", TimeLast)),
}


class Net(nn.Module):
    """Linear → neurons → linear, on spikes; called the way that the neurons ask for. `[B, T, 6]` → anything."""

    def __init__(self, neurons: nn.Module, way: str) -> None:
        super().__init__()
        self.way, self.linear, self.neurons, self.last = way, nn.Linear(6, 5, bias=False), neurons, nn.Linear(5, 2)
        with torch.no_grad():
            self.linear.weight.copy_(WEIGHT)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "step":
            return torch.stack([self.last(self.neurons(self.linear(now))) for now in x.unbind(1)])
        if self.way == "state":
            state, found = None, []
            for now in x.unbind(1):
                spikes, state = self.neurons(self.linear(now), state)
                found.append(self.last(spikes))
            return torch.stack(found)
        if self.way == "batch first":
            return self.last(self.neurons(self.linear(x)))
        if self.way == "flat":
            return self.last(self.neurons(self.linear(x.flatten(0, 1))))
        spikes = self.neurons(self.linear(x.transpose(0, 1)))
        return self.last(spikes[0] if isinstance(spikes, tuple) else spikes)


class TimeLastNet(nn.Module):
    """lava-dl's way: synapses are convolutions over `[B, C, 1, 1, T]` that leave time alone."""

    def __init__(self, neurons: nn.Module) -> None:
        super().__init__()
        self.linear, self.neurons, self.last = nn.Conv3d(6, 5, 1, bias=False), neurons, nn.Conv3d(5, 2, 1)
        with torch.no_grad():
            self.linear.weight.copy_(WEIGHT.reshape(5, 6, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.neurons(self.linear(x.transpose(1, 2)[:, :, None, None])))


WAYS = {
    "SpikingJelly, single-step": "step",
    "snnTorch": "state",
    "snnTorch, hidden state": "step",
    "Norse, cell": "state",
    "sinabs": "batch first",
    "sinabs, squeezed": "flat",
}


def network(name):
    if name == "lava-dl":
        return TimeLastNet(CLASSES[name]())
    return Net(CLASSES[name](), WAYS.get(name, "time first"))


@pytest.mark.parametrize("size", [B, 3, 1])
@pytest.mark.parametrize("name", CLASSES)
def test_neurons_of_every_framework_are_counted_alike_step_by_step_and_sample_by_sample(name, size):
    if "squeezed" in name and B % size:
        size = 2
    expected_spikes = Several()(SPIKES @ WEIGHT.T)
    report = account(network(name), SPIKES.transpose(0, 1).split(size), profiles=[])
    assert not report.uncounted
    first, fire, last = (report.layer(layer) for layer in ("linear", "neurons", "last"))
    assert report.steps == fire.steps == first.steps == last.steps == T
    assert (fire.neurons, fire.spikes) == (5, expected_spikes.sum() / B)
    assert first.sops == 5 * SPIKES.sum() / B
    assert last.sops == 2 * expected_spikes.sum() / B
    assert (first.drives, first.spikes_out) == ("neurons", fire.spikes)
    assert fire.updates_active + fire.updates_idle == 5 * T
    for layer, spikes, fan in (("linear", SPIKES, 5), ("neurons", expected_spikes, 0), ("last", expected_spikes, 2)):
        series = report.series[layer]
        assert series.spikes_per_step.tolist() == spikes.sum((1, 2)).tolist()
        assert series.spikes_per_sample.tolist() == spikes.sum((0, 2)).tolist()
        assert series.sops_per_sample.tolist() == (fan * spikes.sum((0, 2))).tolist()
        assert series.spikes_per_step.dtype == torch.int64


def test_a_model_of_one_step_is_called_as_often_as_there_are_steps_from_a_state_of_rest():
    x = torch.rand(B, 6, generator=torch.Generator().manual_seed(1))
    model = nn.Sequential(nn.Linear(6, 5, bias=False), CLASSES["SpikingJelly, single-step"]())
    with torch.no_grad():
        model[0].weight.copy_(WEIGHT * 4)
    spikes = Several()(model[0](x).expand(T, -1, -1).detach())
    assert spikes.sum() > 0
    for _ in range(2):
        report = account(model, x.split(3), steps=T, profiles=[])
        assert (report.steps, report.layer("1").spikes) == (T, spikes.sum() / B)
    assert report.layer("0").macs == 30
    assert report.layer("0").note.endswith(f"computed once per sample; every step would cost {T} times as much")


def test_another_number_of_steps_than_the_neurons_see_is_refused():
    with pytest.raises(UserError, match=r"m: its neurons run for 3 time steps, steps=4 given"):
        account(network("sinabs"), [SPIKES.transpose(0, 1)], steps=4, name="m")
    with pytest.raises(UserError, match="m: steps: 0 found"):
        account(network("sinabs"), [SPIKES.transpose(0, 1)], steps=0, name="m")
    assert account(network("sinabs"), [SPIKES.transpose(0, 1)], steps=3, profiles=[]).steps == 3


@pytest.mark.parametrize(
    ("package", "names", "leaky"),
    [
        ("spikingjelly.activation_based.neuron", ("IFNode", "BaseNode"), False),
        ("spikingjelly.activation_based.neuron", ("LIFNode", "BaseNode"), True),
        ("norse.torch.module.iaf", ("IAFCell", "SNNCell"), False),
        ("norse.torch.module.lif", ("LIFCell", "SNNCell"), True),
        ("snntorch._neurons", ("Leaky", "SpikingNeuron"), True),
        ("sinabs.layers", ("IAF", "LIF", "StatefulLayer"), False),
    ],
)
def test_a_row_says_whether_the_neurons_that_it_drives_leak(package, names, leaky):
    kind = BatchFirst if package == "sinabs.layers" else Steps
    for name in reversed(names):
        kind = named(package, name, kind)
    x = torch.ones(2, 1, 6) if package == "sinabs.layers" else torch.ones(2, 6)
    report = account(nn.Sequential(nn.Linear(6, 5), kind()), [x], profiles=[])
    assert report.layer("0").geometry.leaky is leaky


def test_neurons_that_integrate_and_never_fire_have_updates_and_no_spikes():
    kind = named(f"{NORSE}.leaky_integrator", "LICell", named(f"{NORSE}.snn", "SNNCell", StepsWithState))
    report = account(nn.Sequential(nn.Linear(6, 5), kind()), [torch.rand(2, 6)], profiles=[])
    row = report.layer("1")
    assert (row.spikes, row.updates_active + row.updates_idle) == (0, 5)
    assert row.note == "integrates and never fires"


def test_a_class_of_ones_own_is_registered_with_the_axes_that_it_takes():
    mine = named("my_package", "MyNeuron", Steps)
    register_neuron("my_package.MyNeuron", axes="step")
    report = account(Net(mine(), "step"), [SPIKES.transpose(0, 1)], profiles=[])
    assert (report.steps, report.layer("neurons").spikes) == (T, Several()(SPIKES @ WEIGHT.T).sum() / B)


def test_parts_of_a_neuron_are_not_listed_as_layers_of_their_own():
    neurons = CLASSES["snnTorch, hidden state"]()
    neurons.surrogate = named("anywhere", "Sigmoid", nn.Module, forward=torch.sigmoid)()
    assert not account(Net(neurons, "step"), [SPIKES.transpose(0, 1)], profiles=[]).uncounted


@pytest.mark.parametrize("key", [*SUBJECTS, "plain torch"])
def test_the_same_network_in_every_framework_that_is_installed_has_the_same_counts(key):
    subject = SUBJECTS.get(key) or PlainTorch()
    if not installed_version(subject):
        pytest.skip(f"{subject.distribution} is not installed")
    register_neuron("benchmarks.peers.plain_torch.Lif", axes="step")
    setting = Setting(steps=3, batch=2, size=8)
    images, _ = sample(setting)
    rows = []
    for one in (SUBJECTS["neurodeploy"], subject):
        model = one.network(setting)
        model.load(weights(setting))
        with one.running():
            report = account(model, [images], profiles=[])
        assert not report.uncounted
        rows.append({row.name: row for row in report.layers if "pool" not in row.kind})
    ours, theirs = rows
    assert ours.keys() == theirs.keys()
    for name, row in ours.items():
        for field in ("steps", "spikes", "sops", "sops_nonzero_weights", "macs", "effective_macs", "updates_active", "drives"):
            assert getattr(theirs[name], field) == getattr(row, field), (name, field)


def test_a_current_based_neuron_counts_alike_as_one_layer_and_as_a_current_and_a_neuron():
    parameters = NeuronParameters(0.5, 1.0, "soft")
    x = torch.randint(0, 2, (4, 3, 6)).float()
    torch.manual_seed(0)
    linear = nn.Linear(6, 5)
    whole = account(nn.Sequential(linear, CubaNeuron(parameters, current_decay=0.5)), [x], batch_axis=1)
    parts = account(nn.Sequential(linear, LowPass(0.5), Neuron(parameters)), [x], batch_axis=1)
    assert whole.total.spikes == parts.total.spikes > 0
    assert whole.total.updates_active + whole.total.updates_idle == parts.total.updates_active + parts.total.updates_idle == 20
    assert not parts.uncounted


def test_an_integrator_is_updated_at_every_step_and_never_fires():
    report = account(nn.Sequential(nn.Linear(6, 5), Integrator()), [torch.ones(4, 3, 6)], batch_axis=1)
    assert (report.layer("1").spikes, report.layer("1").updates_active) == (0, 20)
