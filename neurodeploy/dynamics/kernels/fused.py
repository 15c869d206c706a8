"""The multi-step update as two fused Triton kernels, forward and backward, for NVIDIA GPUs.

The membrane potential stays in registers over all time steps: forward reads each current once and writes each spike and
charged potential once; backward reads the charged potential and the gradient once and writes the gradient once. Every product
and sum is rounded on its own (no fused multiply-add), so the spikes are those of the reference, bit for bit.

With `TRITON_INTERPRET=1` in the environment the kernels run on the CPU, slowly, for tests.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neurodeploy.dynamics import surrogates
from neurodeploy.dynamics.neurons import Dynamics
from neurodeploy.dynamics.surrogates import Surrogate
from neurodeploy.io.errors import UserError

_BLOCK = 1024
DTYPES = (torch.float32, torch.float64)
_RESETS = {"hard": 0, "soft": 1, "none": 2}
_SLOPES: dict[type[Any], tuple[int, str | None]] = {
    surrogates.Rectangle: (0, "width"),
    surrogates.Triangle: (1, "gamma"),
    surrogates.ArcTangent: (2, "alpha"),
    surrogates.Sigmoid: (3, "alpha"),
    surrogates.FastSigmoid: (4, "slope"),
    surrogates.StraightThrough: (5, None),
    surrogates.Tanh: (6, "slope"),
}


@triton.jit
def _after(h, s, threshold, RESET: tl.constexpr):
    """`v[t]`, as `neuron_step` has it."""
    if RESET == 0:
        return h * (1 - s)
    if RESET == 1:
        return h - threshold * s
    return h


@triton.jit
def _slope(x, threshold, constant, SLOPE: tl.constexpr):
    """`∂s/∂h`, as `neurodeploy.dynamics.surrogates` has it."""
    if SLOPE == 0:
        return tl.where(tl.abs(x) < constant / 2, 1 / constant, 0.0)
    if SLOPE == 1:
        return constant * tl.maximum(1 - tl.abs(x / threshold), 0.0)
    if SLOPE == 2:
        y = 1.5707963267948966 * constant * x
        return (constant / 2) / (1 + y * y)
    if SLOPE == 3:
        y = 1 / (1 + tl.exp(-constant * x))
        return constant * y * (1 - y)
    if SLOPE == 4:
        y = 1 + constant * tl.abs(x)
        return 1 / (y * y)
    if SLOPE == 5:
        return tl.where(tl.abs(x) <= threshold, 1.0, 0.0)
    y = 2 / (1 + tl.exp(-2 * constant * x)) - 1
    return (constant / 2) * (1 - y * y)


@triton.jit
def _forward(
    current, v0, constants, spikes, charged, v_last, neurons, STEPS: tl.constexpr, RESET: tl.constexpr, BLOCK: tl.constexpr
):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < neurons
    decay, threshold = tl.load(constants), tl.load(constants + 1)
    v = tl.load(v0 + i, mask=inside, other=0.0)
    for t in range(STEPS):
        h = v * decay + tl.load(current + t * neurons + i, mask=inside, other=0.0)
        s = (h > threshold).to(h.dtype)
        v = _after(h, s, threshold, RESET)
        tl.store(charged + t * neurons + i, h, mask=inside)
        tl.store(spikes + t * neurons + i, s, mask=inside)
    tl.store(v_last + i, v, mask=inside)


@triton.jit
def _backward(
    grad_spikes,
    grad_v_last,
    charged,
    v0,
    constants,
    grad_current,
    grad_v0,
    sums,
    neurons,
    STEPS: tl.constexpr,
    RESET: tl.constexpr,
    SLOPE: tl.constexpr,
    DETACHED: tl.constexpr,
    LEARNED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < neurons
    decay, threshold, constant = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    grad_v = tl.load(grad_v_last + i, mask=inside, other=0.0)
    h = tl.load(charged + (STEPS - 1) * neurons + i, mask=inside, other=0.0)
    by_decay, by_threshold = tl.zeros_like(h), tl.zeros_like(h)
    for step in range(STEPS):
        t = STEPS - 1 - step
        g = tl.load(grad_spikes + t * neurons + i, mask=inside, other=0.0)
        s = (h > threshold).to(h.dtype)
        slope = _slope(h - threshold, threshold, constant, SLOPE)
        through = slope
        if DETACHED:
            through = tl.zeros_like(slope)
        from_spike = g * slope
        if RESET == 0:
            grad_h = from_spike + grad_v * ((1 - s) - h * through)
        elif RESET == 1:
            grad_h = from_spike + grad_v * (1 - threshold * through)
        else:
            grad_h = from_spike + grad_v
        tl.store(grad_current + t * neurons + i, grad_h, mask=inside)
        # `inside & (t > 0)`, written as a comparison of tensors: in the interpreter `t` is a Python integer, and with its
        # comparison the mask would hold int32 there, which Triton 3.9 refuses.
        h_before = tl.load(charged + (t - 1) * neurons + i, mask=tl.where(inside, t, 0) > 0, other=0.0)
        if LEARNED:
            v_before = tl.load(v0 + i, mask=inside, other=0.0)
            if t > 0:
                v_before = _after(h_before, (h_before > threshold).to(h.dtype), threshold, RESET)
            by_decay += tl.where(inside, grad_h * v_before, 0.0)
            reset_by_threshold = tl.zeros_like(h)
            if RESET == 0:
                reset_by_threshold = h * through
            elif RESET == 1:
                reset_by_threshold = threshold * through - s
            by_threshold += tl.where(inside, grad_v * reset_by_threshold - from_spike, 0.0)
        grad_v = decay * grad_h
        h = h_before
    tl.store(grad_v0 + i, grad_v, mask=inside)
    if LEARNED:
        tl.store(sums + 2 * tl.program_id(0), tl.sum(by_decay))
        tl.store(sums + 2 * tl.program_id(0) + 1, tl.sum(by_threshold))


class _FusedMultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        v0: Tensor,
        decay: float | Tensor,
        threshold: float | Tensor,
        reset: str,
        surrogate: Surrogate,
        detach_reset: bool,
    ) -> tuple[Tensor, Tensor]:
        current, v0 = current.contiguous(), v0.contiguous()
        slope, name = _SLOPES[type(surrogate)]
        values = (decay, threshold, 0.0 if name is None else getattr(surrogate, name))
        constants = torch.stack([torch.as_tensor(value, dtype=current.dtype).to(current.device) for value in values])
        spikes, charged, v = torch.empty_like(current), torch.empty_like(current), torch.empty_like(v0)
        neurons, steps = v0.numel(), current.shape[0]
        if current.numel():
            grid = (triton.cdiv(neurons, _BLOCK),)
            _forward[grid](
                current, v0, constants, spikes, charged, v, neurons, steps, _RESETS[reset], _BLOCK, enable_fp_fusion=False
            )
        else:
            v = v0.clone()
        ctx.learned = isinstance(decay, Tensor) or isinstance(threshold, Tensor)
        ctx.which = isinstance(decay, Tensor), isinstance(threshold, Tensor)
        ctx.save_for_backward(charged, constants, *((v0,) if ctx.learned else ()))
        ctx.kind = _RESETS[reset], slope, detach_reset
        return spikes, v

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        charged, constants, *start = ctx.saved_tensors
        grad_spikes, grad_v = grad_spikes.contiguous(), grad_v.contiguous()
        grad_current, grad_v0 = torch.empty_like(charged), torch.empty_like(grad_v)
        neurons, steps = grad_v.numel(), charged.shape[0]
        blocks = triton.cdiv(neurons, _BLOCK)
        sums = charged.new_zeros((max(blocks, 1), 2))
        if charged.numel():
            reset, slope, detached = ctx.kind
            v0 = start[0] if start else grad_v
            tensors = (grad_spikes, grad_v, charged, v0, constants, grad_current, grad_v0, sums)
            options = (reset, slope, detached, ctx.learned, _BLOCK)
            _backward[(blocks,)](*tensors, neurons, steps, *options, enable_fp_fusion=False)
        else:
            grad_v0 = grad_v.clone()
        by_decay, by_threshold = sums.sum(0)
        wants_decay, wants_threshold = ctx.which
        learned = (by_decay if wants_decay else None, by_threshold if wants_threshold else None)
        return grad_current, grad_v0, *learned, None, None, None


def multi_step(
    current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """Same contract and spikes as `kernels.reference.multi_step`; saves one tensor for the backward pass.

    Raises:
        UserError: the surrogate is not one of the toolkit's, or the currents are neither float32 nor float64.
    """
    if type(surrogate) not in _SLOPES:
        raise UserError(
            f"surrogate {surrogate}: has no form in the fused kernel; use one of {', '.join(surrogates.SURROGATES)}"
        )
    if current.dtype not in DTYPES:
        raise UserError(f"fused kernel: currents in {current.dtype} found, float32 or float64 expected")
    spikes, v = _FusedMultiStep.apply(
        current, v0, parameters.decay, parameters.threshold, parameters.reset, surrogate, detach_reset
    )
    return spikes, v
