"""The reset that comes a step late and whole, as LaSNN's eq. 1 prints it: spikes, gradients, graph and exports."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurodeploy as nd
from neurodeploy.dynamics.encodings import DirectEncoding
from neurodeploy.dynamics.kernels import late_reset
from neurodeploy.dynamics.layers import Conv2d, Flatten, LateResetNeuron, ThresholdNeuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters, late_reset_step
from neurodeploy.dynamics.surrogates import SURROGATES, spike
from neurodeploy.dynamics.updates import initial_states, update_step
from neurodeploy.graph import ops
from neurodeploy.io.errors import UserError

DECAYS, THRESHOLDS = (0.0, 0.5, 0.9, 1.0), (0.5, 1.0, 1.7)
CASES = st.tuples(st.integers(0, 999), st.integers(1, 9), st.sampled_from(DECAYS), st.sampled_from(THRESHOLDS))
"""Seed, T, λ, θ."""


def neuron(decay: float, threshold: float, **settings) -> LateResetNeuron:
    return LateResetNeuron(NeuronParameters(decay, threshold, "soft"), **settings)


def currents(seed: int, steps: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 1, (steps, 3, 7)).astype(np.float32)


def printed(x: np.ndarray, decay: float, threshold: np.float32) -> np.ndarray:
    """`v(t) = λ v(t−1) + I(t) − θ o(t−1)`, `o(t) = v(t) > θ`, in float32."""
    v = o = np.zeros_like(x[0])
    spikes = []
    for current in x:
        v = np.float32(decay) * v + current - threshold * o
        o = (v > threshold).astype(np.float32)
        spikes.append(o)
    return np.stack(spikes)


@given(CASES)
def test_it_fires_as_the_printed_equation_says(case):
    seed, steps, decay, threshold = case
    x, layer = currents(seed, steps), neuron(decay, threshold)
    expected = printed(x, decay, np.float32(layer.constants.threshold))
    assert np.array_equal(layer(torch.from_numpy(x)).detach().numpy(), expected)


@given(CASES)
def test_its_update_as_data_fires_the_same_spikes(case):
    seed, steps, decay, threshold = case
    x, layer = currents(seed, steps), neuron(decay, threshold)
    states, made = initial_states(layer.update, x[0], ()), []
    for current in x:
        answer, states = update_step(layer.update, [current], states, ())
        made.append(answer)
    assert np.array_equal(np.stack(made), layer(torch.from_numpy(x)).detach().numpy())


@given(st.integers(0, 999), st.integers(1, 9))
def test_without_a_leak_it_is_the_soft_reset(seed, steps):
    x = torch.from_numpy(currents(seed, steps) * 16).round() / 16  # sums of sixteenths are exact in any order
    same = [kind(NeuronParameters(1.0, 1.0, "soft"))(x) for kind in (LateResetNeuron, ThresholdNeuron)]
    assert torch.equal(*same)


def test_with_a_leak_it_takes_more_from_the_potential_than_the_soft_reset():
    x = torch.full((6, 1, 1), 1.25)
    late, soft = (kind(NeuronParameters(0.5, 1.0, "soft"))(x).sum() for kind in (LateResetNeuron, ThresholdNeuron))
    assert (late, soft) == (4, 6)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("surrogate", SURROGATES)
@given(case=CASES)
def test_its_gradients_are_those_of_the_loop_over_the_equation(surrogate, detached, case):
    seed, steps, decay, start = case
    x, weights = (torch.from_numpy(currents(one, steps)).double() for one in (seed, seed + 1))
    kind, gradients = SURROGATES[surrogate](), []
    for way in ("loop", "kernel"):
        current = x.clone().requires_grad_()
        threshold = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        constants = Constants(decay, threshold)
        if way == "kernel":
            spikes = late_reset(current, constants, kind, detach_reset=detached)
        else:
            h = s = torch.zeros_like(current[0])
            made = []
            for now in current:
                resetting = torch.Tensor.detach if detached else lambda one: one
                s, h = late_reset_step(h, s, now, constants, lambda h, t: spike(h, t, kind), resetting)
                made.append(s)
            spikes = torch.stack(made)
        gradients.append(torch.autograd.grad((spikes * weights).sum(), (current, threshold), materialize_grads=True))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


class Constants:
    """Dynamics whose threshold gets a gradient."""

    reset = "soft"

    def __init__(self, decay: float, threshold: torch.Tensor) -> None:
        self.decay, self.threshold = decay, threshold


def test_its_threshold_is_set_stored_and_learned():
    layer, other = neuron(0.9, 1.0, learn_threshold=True), neuron(0.9, 3.0)
    layer.set_threshold(1.5)
    other.load_state_dict(layer.state_dict())
    x = torch.from_numpy(currents(0, 6))
    assert torch.equal(layer(x), other(x))
    layer(x).sum().backward()
    assert layer.log_threshold.grad < 0


def test_another_reset_cannot_come_late():
    with pytest.raises(UserError, match="reset: 'hard' found, \"soft\" expected where the reset comes a step late"):
        LateResetNeuron(NeuronParameters(0.5, 1.0, "hard"))


class Snn(nn.Sequential):
    def forward(self, images):
        return super().forward(images.unsqueeze(0))


IMAGES = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def network(decay: float) -> nn.Module:
    torch.manual_seed(1)
    layers = [Conv2d(1, 4, 3), DirectEncoding(6), neuron(decay, 0.2), Conv2d(4, 4, 3), neuron(decay, 0.3), Flatten()]
    return Snn(*layers, nn.Linear(16, 5), TimeMean()).eval()


@pytest.mark.parametrize(("target", "options"), [("onnx", {"quantize": "exact"}), ("onnx", {}), ("c", {})])
def test_targets_that_take_any_neuron_fire_its_spikes(tmp_path, target, options):
    model = nd.deploy(network(0.75), IMAGES)
    assert [type(node) for node in model.graph.nodes if isinstance(node, ops.Spiking)] == [ops.CellNode] * 2
    assert nd.verify(nd.export(model, target, tmp_path / "b", samples=4, **options)).passed


@pytest.mark.parametrize(("target", "message"), [("nir", "has no form in NIR"), ("lava", "has no form on Loihi")])
def test_targets_of_standard_neurons_refuse_it_by_name(tmp_path, target, message):
    model = nd.deploy(network(0.75), IMAGES)
    with pytest.raises(UserError, match=f"node [24] .*{message}.* subtracted a step late"):
        nd.export(model, target, tmp_path / "b")


def test_without_a_leak_it_reaches_them_as_the_soft_reset(tmp_path):
    assert nd.verify(nd.export(nd.deploy(network(1.0), IMAGES), "nir", tmp_path / "b", samples=4)).passed


@pytest.mark.parametrize(("decay", "update"), [(0.75, "1 multiplication, 2 additions, 3 comparisons"), (1.0, "2 additions")])
def test_the_count_knows_its_operations(decay, update):
    module = network(decay)
    rows = [nd.energy(one, IMAGES).layer("2") for one in (module, nd.deploy(module, IMAGES))]
    assert all(update in row.note for row in rows)
    assert rows[0].spikes == rows[1].spikes > 0


def test_its_leak_can_be_left_out_for_a_while():
    layer, x = neuron(0.5, 1.0), torch.from_numpy(currents(0, 6))
    with layer.without_leak():
        assert layer.constants == replace(neuron(1.0, 1.0).constants)
        assert torch.equal(layer(x), neuron(1.0, 1.0)(x))
    assert layer.constants.decay == 0.5
