"""The multi-step update compiled by Inductor: forward and backward loops each become one fused kernel, on CPU or GPU.

Opt-in (`kernels.using("compiled")`): compiling costs seconds for every new shape, and needs a C++ compiler on a CPU. Spikes are
those of the reference; gradients agree within floating-point tolerance. Learned constants go through the handwritten kernel.
torch compiles no more than eight shapes for each setting of the neurons; further ones run uncompiled, with the same results.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurodeploy.kernels import handwritten
from neurodeploy.neurons import Dynamics, Reset
from neurodeploy.surrogate import Surrogate


@functools.lru_cache(maxsize=256)
def _forward(decay: float, threshold: float, reset: Reset) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    def loop(current: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        charged, spikes = [], []
        for x in current.unbind(0):
            h = v * decay + x
            s = (h > threshold).to(h.dtype)
            v = handwritten.after(h, s, threshold, reset)
            charged.append(h)
            spikes.append(s)
        return torch.stack(charged), torch.stack(spikes), v

    return torch.compile(loop, dynamic=False)


@functools.lru_cache(maxsize=256)
def _backward(
    decay: float, threshold: float, reset: Reset, surrogate: Surrogate, detach_reset: bool
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    def loop(grad_spikes: Tensor, grad_v: Tensor, charged: Tensor) -> tuple[Tensor, Tensor]:
        grads = []
        for g, h in zip(reversed(grad_spikes.unbind(0)), reversed(charged.unbind(0)), strict=True):
            slope = surrogate.derivative(h - threshold, threshold)
            through = handwritten.reset_by_potential(h, threshold, 0.0 if detach_reset else slope, reset)
            grad_h = g * slope + grad_v * through
            grads.append(grad_h)
            grad_v = decay * grad_h
        return torch.stack(grads[::-1]), grad_v

    return torch.compile(loop, dynamic=False)


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, detach_reset: bool
    ) -> tuple[Tensor, Tensor]:
        decay, threshold, reset = parameters.decay, parameters.threshold, parameters.reset
        charged, spikes, v = _forward(decay, threshold, reset)(current, v0)
        ctx.save_for_backward(charged)
        ctx.gradient = _backward(decay, threshold, reset, surrogate, detach_reset)
        return spikes, v

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        (charged,) = ctx.saved_tensors
        grad_current, grad_v0 = ctx.gradient(grad_spikes, grad_v, charged)
        return grad_current, grad_v0, None, None, None


def multi_step(
    current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """Same contract and spikes as `kernels.reference.multi_step`; saves one tensor for the backward pass."""
    if isinstance(parameters.decay, Tensor) or isinstance(parameters.threshold, Tensor):
        return handwritten.multi_step(current, v0, parameters, surrogate, detach_reset=detach_reset)
    spikes, v = _MultiStep.apply(current, v0, parameters, surrogate, detach_reset)  # type: ignore[no-untyped-call]
    return spikes, v
