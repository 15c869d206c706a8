import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import UserError
from neurodeploy.kernels import handwritten, reference
from neurodeploy.neurons import NeuronParameters, neuron_step
from neurodeploy.surrogate import SURROGATES, ArcTangent

KERNELS = {"reference": reference.multi_step, "handwritten": handwritten.multi_step}

parameters = st.builds(
    NeuronParameters,
    decay=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    threshold=st.sampled_from([0.5, 1.0, 1.7]),
    reset=st.sampled_from(["hard", "soft"]),
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
            else:
                potential = h - np.float32(p.threshold) * np.float32(fired)
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


@pytest.mark.parametrize("surrogate", SURROGATES)
@given(steps=st.integers(1, 8), shape=shapes, p=parameters, seed=st.integers(0, 10_000))
def test_the_handwritten_gradient_equals_autograds(surrogate, steps, shape, p, seed):
    generator = torch.Generator().manual_seed(seed)
    current, v0 = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((steps, *shape), shape))
    weights = [torch.randn(s, generator=generator, dtype=torch.float64) for s in ((steps, *shape), shape)]
    gradients = []
    for kernel in KERNELS.values():
        inputs = [current.clone().requires_grad_(), v0.clone().requires_grad_()]
        outputs = kernel(*inputs, p, SURROGATES[surrogate]())
        total = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
        gradients.append(torch.autograd.grad(total, inputs))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


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
    [({"decay": 1.5}, "decay: 1.5"), ({"threshold": 0.0}, "threshold: 0.0"), ({"reset": "none"}, "reset: 'none'")],
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
    ],
)
def test_surrogates_have_the_published_values(surrogate, x, expected):
    derivative = SURROGATES[surrogate]().derivative(torch.tensor([x]), 0.5)
    assert derivative.item() == pytest.approx(expected, rel=1e-6)
