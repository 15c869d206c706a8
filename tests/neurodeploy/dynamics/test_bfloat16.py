"""Between convolutions in bfloat16: the spikes and levels of float32 arithmetic on the same currents, and its gradients."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.conversion.qcfs import Qcfs
from neurodeploy.dynamics.kernels import bfloat16, handwritten, native
from neurodeploy.dynamics.kernels.bfloat16 import ScaledCurrent
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.surrogates import SURROGATES, ArcTangent
from neurodeploy.io.errors import Notice
from neurodeploy.training.parallel import fabric_on

pytestmark = pytest.mark.skipif(not any(map(shutil.which, native._COMPILERS)), reason="the kernel in C needs a C compiler")
KNOWN = sorted(name for name, kind in SURROGATES.items() if native.constants_of_surrogate(kind())[0])
SHAPES = st.sampled_from([(1, 1, 1, 1), (3, 5, 2, 7), (2, 16, 9, 9), (5, 3, 17, 19), (4, 33, 1, 1)])


def drawn(shape, seed, scale=1.0):
    values = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(torch.bfloat16).contiguous(
        memory_format=torch.channels_last if len(shape) == 4 else torch.contiguous_format
    )


def close(found, expected):
    """Within what bfloat16 rounds, relative to the largest value."""
    return (found.float() - expected).abs().max() <= 2**-8 * expected.abs().max() + 1e-6


@settings(max_examples=60, deadline=None)
@given(
    reset=st.sampled_from(["soft", "hard"]),
    surrogate=st.sampled_from(KNOWN),
    detach=st.booleans(),
    constant=st.booleans(),
    decay=st.sampled_from([0.0, 0.3, 1.0]),
    steps=st.sampled_from([1, 2, 4, 9, 64]),
    shape=SHAPES,
    threads=st.sampled_from([1, 2]),
    seed=st.integers(0, 999),
)
def test_spikes_are_those_of_the_kernel_in_float32_and_gradients_as_near_as_they_can_be_written(
    reset, surrogate, detach, constant, decay, steps, shape, threads, seed
):
    samples, channels, *sides = shape
    x = drawn(((1 if constant else steps) * samples, channels, *sides), seed)
    factor, offset, initial = torch.rand(channels) + 0.5, torch.randn(channels) / 4, torch.rand(channels)
    above = drawn((steps * samples, channels, *sides), seed + 1)
    neuron, kind = NeuronParameters(decay, 1.0, reset), SURROGATES[surrogate]()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        given_x, *given = (each.clone().requires_grad_() for each in (x, factor, offset, initial))
        current = ScaledCurrent(given_x, *given, steps, constant)
        spikes = current.fire(neuron, kind, detach_reset=detach)
        spikes.flatten(0, 1).backward(above)
    finally:
        torch.set_num_threads(before)

    wide, *held = (each.float().clone().requires_grad_() for each in (x, factor, offset, initial))
    scaled = (wide * held[0][:, None, None] + held[1][:, None, None]).unflatten(0, (-1, samples))
    scaled = scaled.expand(steps, *scaled.shape[1:])
    expected, _ = handwritten.multi_step(
        scaled, held[2][:, None, None].expand(scaled.shape[1:]), neuron, kind, detach_reset=detach
    )
    expected.flatten(0, 1).backward(above.float())
    assert torch.equal(spikes.float(), expected)
    assert int(current.fired.sum()) == int(expected.sum())
    assert close(given_x.grad, wide.grad)
    # sums over many values of either sign: their order alone moves them by more than the last bit
    for found, wanted in ((one.grad, other.grad) for one, other in zip(given, held, strict=True)):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3 * max(1.0, float(wanted.abs().max())))


@settings(max_examples=30, deadline=None)
@given(levels=st.sampled_from([1, 4, 16, 256]), shape=SHAPES, seed=st.integers(0, 999))
def test_levels_and_their_gradients_are_those_of_the_activation_in_float32(levels, shape, seed):
    x, above = drawn(shape, seed, scale=2.0), drawn(shape, seed + 1)
    layer = Qcfs(levels)
    layer.log_threshold.data.fill_(0.0)  # a step of 1 / levels, a power of two: both forms divide exactly
    given_x, wide = x.clone().requires_grad_(), x.float().requires_grad_()
    factor = torch.full((shape[1],), float(levels), requires_grad=True)
    offset = torch.zeros(shape[1], requires_grad=True)
    found = bfloat16.levels(given_x, factor, offset, levels)
    expected = layer(wide[None])[0]
    assert torch.equal(found.float(), (expected * levels).round())
    found.backward(above)
    expected.backward(above.float() * levels)
    assert close(given_x.grad, wide.grad)
    inside = (x.float() > 0) & (x.float() < 1)
    axes = (0, 2, 3)
    torch.testing.assert_close(factor.grad, (above.float() * inside * x.float()).sum(axes), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(offset.grad, (above.float() * inside).sum(axes), rtol=1e-3, atol=1e-3)


@given(shape=SHAPES, seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_what_spikes_are_worth_is_added_with_one_rounding(shape, seed):
    a, b, above = (drawn(shape, seed + i).requires_grad_() for i in range(3))
    scale = (torch.rand(shape[1]) + 0.5).requires_grad_()
    y = bfloat16.add_scaled(a, b, scale)
    assert torch.equal(y, (a.float() + scale[:, None, None] * b.float()).to(torch.bfloat16))
    y.backward(above.detach())
    assert torch.equal(a.grad, above)
    assert torch.equal(b.grad, (above.float() * scale[:, None, None]).to(torch.bfloat16))
    torch.testing.assert_close(scale.grad, (above.float() * b.float()).sum((0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_what_is_not_finite_is_not_made_finite():
    x = torch.full((1, 2, 3, 3), float("nan"), dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    ones = torch.ones(2)
    assert bfloat16.levels(x, ones, ones, 4).isnan().all()
    assert bfloat16.add_scaled(x, x, ones).isnan().all()


def test_other_neurons_and_more_steps_than_a_block_holds_are_left_to_other_kernels():
    assert bfloat16.suits(NeuronParameters(1.0, 1.0, "soft"), ArcTangent(), bfloat16.MOST_STEPS)
    assert not bfloat16.suits(NeuronParameters(1.0, 1.0, "soft"), ArcTangent(), bfloat16.MOST_STEPS + 1)
    assert not bfloat16.suits(NeuronParameters(1.0, 0.5, "soft"), ArcTangent(), 4)
    assert not bfloat16.suits(NeuronParameters(1.0, 1.0, "none"), ArcTangent(), 4)
    assert not bfloat16.suits(NeuronParameters(1.0, 1.0, "soft"), SURROGATES["sigmoid"](), 4)


@pytest.mark.parametrize(
    ("flags", "how"), [("fpu avx512_bf16 amx_bf16", "in tiles (AMX)"), ("fp asimd bf16", "in vectors"), ("fpu avx2", None)]
)
def test_whether_the_processor_multiplies_bfloat16_is_read_of_its_flags(monkeypatch, flags, how):
    monkeypatch.setattr(bfloat16, "processor", lambda: f"flags\t: {flags}")
    assert bfloat16.hardware() == how


def test_training_in_bfloat16_without_a_unit_for_it_is_told(monkeypatch):
    monkeypatch.setattr(bfloat16, "processor", lambda: "flags\t: fpu")
    with pytest.warns(Notice, match="not known to multiply bfloat16"):
        fabric_on("cpu", "bfloat16")
