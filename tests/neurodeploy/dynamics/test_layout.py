"""Neurons take currents in whatever order they lie in memory, and answer in the same order."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics import kernels
from neurodeploy.dynamics.kernels import memory
from neurodeploy.dynamics.kernels.memory import Layout
from neurodeploy.dynamics.layers import Conv2d, Neuron
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.dynamics.surrogates import ArcTangent


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """`[T, B, C, H, W]` with the channels of every pixel side by side."""
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("kernel", ["handwritten", "native", "compiled"])
@settings(max_examples=10, deadline=None)
@given(
    steps=st.integers(1, 4),
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    reset=st.sampled_from(RESETS),
    seed=st.integers(0, 10_000),
)
def test_the_order_in_memory_changes_no_spike_and_no_gradient(kernel, steps, shape, reset, seed):
    if kernel == "compiled" and shutil.which("g++") is None:
        pytest.skip("Inductor needs a C++ compiler")
    generator = torch.Generator().manual_seed(seed)
    x, a = (torch.randn(steps, *shape, generator=generator) for _ in range(2))
    v0, b = (torch.randn(shape, generator=generator) for _ in range(2))
    found = []
    for name, current in (("reference", x), (kernel, channels_last(x))):
        inputs = [current.detach().requires_grad_(), v0.clone().requires_grad_()]
        with kernels.using(name):
            spikes, v = kernels.multi_step(*inputs, NeuronParameters(0.4, 0.6, reset), ArcTangent())
        found.append((spikes, v, *torch.autograd.grad((spikes * a).sum() + (v * b).sum(), inputs)))
    for i, (one, other) in enumerate(zip(*found, strict=True)):
        assert torch.equal(one, other) if i < 2 else torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
def test_spikes_and_gradients_lie_as_the_currents_do_so_that_convolutions_copy_nothing(grad):
    layer, conv = Neuron(NeuronParameters(0.5, 0.2)), Conv2d(3, 8, 3, padding=1)
    current = conv(torch.rand(2, 4, 3, 6, 6))
    assert current.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    with torch.set_grad_enabled(grad):
        spikes = layer(current)
    assert spikes.stride() == current.stride()
    if grad:
        (gradient,) = torch.autograd.grad(spikes.square().sum(), current)
        assert gradient.stride() == current.stride()


def test_a_current_with_channels_last_that_is_repeated_over_time_is_recognised():
    current = Conv2d(3, 8, 3)(torch.rand(1, 4, 3, 6, 6)).expand(5, -1, -1, -1, -1)
    assert memory.repeated(current).shape == (1, 4, 8, 4, 4)


@given(st.permutations(range(4)), st.tuples(*[st.integers(1, 4)] * 4))
def test_laying_out_makes_a_step_contiguous_and_restoring_gives_it_back(axes, shape):
    lying = torch.arange(2 * torch.Size(shape).numel()).reshape(2, *(shape[axis] for axis in axes))
    x = lying.permute(0, *(1 + axes.index(axis) for axis in range(4)))
    layout = Layout.of(x)
    assert layout.lay(x).is_contiguous()
    assert torch.equal(layout.restore(layout.lay(x)), x)
    assert torch.equal(layout.restore(layout.lay(x[0])), x[0])


def test_steps_with_gaps_or_repeated_values_keep_the_order_of_their_axes():
    for x in (torch.rand(3, 4, 6)[..., ::2].transpose(1, 2), torch.rand(3, 1, 4).expand(3, 2, 4), torch.rand(0, 2, 4)):
        assert Layout.of(x).axes == (0, 1)


def test_a_convolution_in_which_onednn_may_read_beyond_narrow_images_does_not_get_their_channels_last():
    layer = Conv2d(6, 6, 1, stride=2, padding=(0, 1), dilation=2, groups=3)
    images = torch.ones(4, 5, 6, 6, 1)
    for x in (images, channels_last(images)):
        with torch.no_grad():
            y = layer(x)
        assert y.flatten(0, 1).is_contiguous()
        assert not y.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(y, layer.bias.detach().reshape(1, 1, 6, 1, 1).expand(4, 5, 6, 3, 2))  # all it sees is padding
