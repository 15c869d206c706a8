from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.dynamics.kernels import handwritten, reference
from neurodeploy.dynamics.layers import CubaNeuron, Integrator, Neuron, ParametricNeuron
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters, Reset, neuron_step
from neurodeploy.dynamics.surrogates import SURROGATES, ArcTangent
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import load

KERNELS = {"reference": reference.multi_step, "handwritten": handwritten.multi_step}

parameters = st.builds(
    NeuronParameters,
    decay=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    threshold=st.sampled_from([0.5, 1.0, 1.7]),
    reset=st.sampled_from(RESETS),
)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def plain_loop(current: np.ndarray, v: np.ndarray, p: NeuronParameters) -> tuple[np.ndarray, np.ndarray]:
    """The equation of the docstring for one neuron after the other, in Python scalars of float32."""
    spikes, last = np.zeros_like(current), np.empty_like(v)
    for place in np.ndindex(*v.shape):
        potential = v[place]
        for t in range(len(current)):
            h = np.float32(p.decay) * potential + current[(t, *place)]
            fired = bool(h > np.float32(p.threshold))
            spikes[(t, *place)] = fired
            if p.reset == "hard":
                potential = np.float32(0) if fired else h
            elif p.reset == "soft":
                potential = h - np.float32(p.threshold) * np.float32(fired)
            else:
                potential = h
        last[place] = potential
    return spikes, last


@pytest.mark.parametrize("kernel", KERNELS)
@given(steps=st.integers(1, 9), shape=shapes, p=parameters, seed=st.integers(0, 10_000))
def test_every_kernel_equals_a_plain_loop_spike_for_spike(kernel, steps, shape, p, seed):
    rng = np.random.default_rng(seed)
    current = rng.normal(0.4, 1, (steps, *shape)).astype(np.float32)
    v0 = rng.normal(0, 0.3, shape).astype(np.float32)
    expected_spikes, expected_v = plain_loop(current, v0, p)
    spikes, v = KERNELS[kernel](torch.from_numpy(current), torch.from_numpy(v0), p, ArcTangent())
    assert np.array_equal(spikes.numpy(), expected_spikes)
    assert np.array_equal(v.numpy(), expected_v)


@dataclass(frozen=True)
class Learned:
    """Decay and threshold as tensors that get gradients."""

    decay: torch.Tensor
    threshold: torch.Tensor
    reset: Reset


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("surrogate", SURROGATES)
@given(steps=st.integers(1, 8), shape=shapes, p=parameters, detach=st.booleans(), seed=st.integers(0, 10_000))
def test_the_handwritten_gradient_equals_autograds(surrogate, learned, steps, shape, p, detach, seed):
    generator = torch.Generator().manual_seed(seed)
    current, v0 = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((steps, *shape), shape))
    weights = [torch.randn(s, generator=generator, dtype=torch.float64) for s in ((steps, *shape), shape)]
    answers, gradients = [], []
    for kernel in KERNELS.values():
        inputs = [current.clone().requires_grad_(), v0.clone().requires_grad_()]
        dynamics = p
        if learned:
            inputs += [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (p.decay, p.threshold)]
            dynamics = Learned(*inputs[2:], p.reset)
        outputs = kernel(*inputs[:2], dynamics, SURROGATES[surrogate](), detach_reset=detach)
        total = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
        answers.append(outputs)
        gradients.append(torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True))
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@given(steps=st.integers(1, 9), shape=shapes, decay=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 10_000))
def test_the_synaptic_current_is_the_sum_of_past_inputs_each_decayed_by_its_age(steps, shape, decay, seed):
    x = torch.randn(steps, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = torch.stack([sum(decay ** (t - past) * x[past] for past in range(t + 1)) for t in range(steps)])
    gradients = []
    for kernel in (reference.low_pass, handwritten.low_pass):
        leaf = x.clone().requires_grad_()
        currents = kernel(leaf, decay)
        torch.testing.assert_close(currents, expected)
        gradients.append(torch.autograd.grad((currents * x.cos()).sum(), leaf)[0])
    torch.testing.assert_close(*gradients)


def test_a_neuron_with_a_learned_leak_and_threshold_starts_as_the_plain_one_and_learns():
    torch.manual_seed(0)
    current = torch.rand(6, 3, 5)
    start = NeuronParameters(0.25, 0.7, "soft")
    learned = ParametricNeuron(start, learn_threshold=True)
    assert torch.equal(learned(current), Neuron(start)(current))
    optimizer = torch.optim.SGD(learned.parameters(), lr=0.5)
    learned(current).sum().backward()
    optimizer.step()
    now = learned.constants
    assert now.threshold > start.threshold
    assert now.decay < start.decay
    assert torch.equal(learned(current), Neuron(now)(current))
    assert [name for name, _ in learned.named_parameters()] == ["decay_logit", "log_threshold"]
    assert [name for name, _ in ParametricNeuron(start).named_parameters()] == ["decay_logit"]


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_a_leak_at_the_end_of_its_range_cannot_be_learned(decay):
    with pytest.raises(UserError, match=rf"decay: {decay} found, a number between 0 and 1 expected where it is learned"):
        ParametricNeuron(NeuronParameters(decay))


def test_a_current_based_neuron_without_a_synaptic_memory_is_the_plain_one():
    x, p = torch.randn(7, 4, 3, generator=torch.Generator().manual_seed(1)), NeuronParameters(0.5, 0.5)
    assert torch.equal(CubaNeuron(p, current_decay=0.0)(x), Neuron(p)(x))
    with pytest.raises(UserError, match=r"current_decay: 1\.5 found"):
        CubaNeuron(p, current_decay=1.5)


def test_a_current_based_neuron_fires_as_its_two_equations_say():
    x, p = np.random.default_rng(2).normal(0.3, 1, (9, 4)).astype(np.float32), NeuronParameters(0.5, 1.0)
    current, i = np.zeros_like(x), np.zeros(4, np.float32)
    for t in range(9):
        current[t] = i = np.float32(0.75) * i + x[t]
    expected, _ = plain_loop(current, np.zeros(4, np.float32), p)
    assert np.array_equal(CubaNeuron(p, current_decay=0.75)(torch.from_numpy(x)).numpy(), expected)
    assert expected.any()


def test_an_integrator_adds_up_and_never_fires():
    x = torch.tensor([[1.0], [2.0], [-4.0]])
    assert Integrator()(x).flatten().tolist() == [1, 3, -1]


def test_the_handwritten_kernel_saves_a_single_tensor_for_the_backward_pass():
    saved = []
    current = torch.randn(8, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.shape) or tensor, lambda x: x):
        handwritten.multi_step(current, torch.zeros(16), NeuronParameters(0.5), ArcTangent())
    assert saved == [(8, 16)]


def test_a_potential_exactly_at_the_threshold_does_not_fire():
    spikes, v = neuron_step(np.float32(0), np.float32(1), NeuronParameters(1.0, 1.0), lambda h, theta: np.float32(h > theta))
    assert (spikes, v) == (0, 1)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"decay": 1.5}, "decay: 1.5"),
        ({"threshold": 0.0}, "threshold: 0.0"),
        ({"reset": "zero"}, "reset: 'zero' found, 'hard', 'soft', 'none' expected"),
    ],
)
def test_a_constant_outside_its_range_is_refused_by_name(constants, message):
    with pytest.raises(UserError, match=message):
        NeuronParameters(**constants)


@pytest.mark.parametrize(
    ("surrogate", "x", "expected"),
    [
        ("rectangle", 0.4, 1.0),
        ("rectangle", 0.6, 0.0),
        ("triangle", 0.25, 0.3 * 0.5),
        ("arctangent", 0.0, 1.0),
        ("arctangent", 1.0, 1 / (1 + np.pi**2)),
        ("sigmoid", 0.0, 1.0),
        ("fast-sigmoid", 0.0, 1.0),
        ("fast-sigmoid", -0.04, 0.25),
        ("straight-through", -0.5, 1.0),
        ("straight-through", 0.51, 0.0),
        ("tanh", 0.0, 1.0),
        ("tanh", 0.5, 1 - np.tanh(1) ** 2),
    ],
)
def test_surrogates_have_the_published_values(surrogate, x, expected):
    derivative = SURROGATES[surrogate]().derivative(torch.tensor([x]), 0.5)
    assert derivative.item() == pytest.approx(expected, rel=1e-6)


class _SigmoidOfSlope4(torch.autograd.Function):
    """A spike whose gradient is that of a sigmoid of slope 4: SpikingJelly's default surrogate."""

    @staticmethod
    def forward(ctx, distance):
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, gradient):
        s = torch.sigmoid(4 * ctx.saved_tensors[0])
        return gradient * 4 * s * (1 - s)


@pytest.mark.parametrize("recipe", ["louis-svgg11-cifar10", "louis-gsc", "louis-cifar10-logits", "louis-fsdd-logits"])
def test_the_neuron_of_louis_et_al_charges_with_half_of_the_current(recipe):
    """Their configuration names SpikingJelly's LIFNode, τ = 2 and V_th = 1: v[t] = v[t−1] + (x − v[t−1]) / τ."""
    ours = (2 * torch.randn(6, 5, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    weight = torch.linspace(-1, 1, 40, dtype=torch.float64)

    v, fired = torch.zeros(5, 40, dtype=torch.float64), []
    for x in theirs:
        v = v + (x - v) / 2
        spike = _SigmoidOfSlope4.apply(v - 1)
        v = v - spike
        fired.append(spike)
    expected = torch.stack(fired)
    spikes = load(recipe).neuron.build()(ours)

    assert torch.equal(spikes, expected)
    assert 0.05 < spikes.mean() < 0.5
    (spikes * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
