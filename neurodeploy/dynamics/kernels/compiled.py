"""The multi-step update with a backward loop that Inductor compiles to one fused kernel, on CPU or GPU.

The forward pass is the handwritten one, which already runs at the speed of the memory.

Opt-in (`kernels.using("compiled")`): compiling costs seconds for every new number of time steps, and needs a C++ compiler on a
CPU; layers of all shapes then share it. Spikes are those of the reference; gradients agree within floating-point tolerance.
Learned constants go through the handwritten kernel. torch compiles no more than eight variants (of time steps, dtype and the
neurons' settings); further ones run uncompiled, with the same results.

On a CPU blocks of neurons go through the loop one after the other, as in `handwritten`.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurodeploy.dynamics.kernels import handwritten, memory
from neurodeploy.dynamics.kernels.handwritten import blocks, fire, flat, needs_gradient, or_zeros
from neurodeploy.dynamics.kernels.memory import Layout, repeated
from neurodeploy.dynamics.neurons import Dynamics, Reset
from neurodeploy.dynamics.surrogates import Surrogate

_BLOCK = 1 << 20  # values over all steps of one block, per thread: 4 MiB in float32
_Steps = tuple[Tensor, ...]
_COMPILE: dict[str, Any] = {"dynamic": True}


@functools.lru_cache(maxsize=256)
def _backward(
    decay: float, threshold: float, reset: Reset, surrogate: Surrogate, detach_reset: bool
) -> Callable[[_Steps, Tensor, _Steps], tuple[Tensor, Tensor]]:
    def loop(grad_spikes: _Steps, grad_v: Tensor, charged: _Steps) -> tuple[Tensor, Tensor]:
        grads = []
        for g, h in zip(reversed(grad_spikes), reversed(charged), strict=True):
            slope = surrogate.derivative(h - threshold, threshold)
            through = _reset_by_potential(h, threshold, 0.0 if detach_reset else slope, reset)
            grad_h = g * slope + grad_v * through
            grads.append(grad_h)
            grad_v = decay * grad_h
        return torch.stack(grads[::-1]), grad_v

    return torch.compile(loop, **_COMPILE)


def _reset_by_potential(h: Tensor, threshold: float, slope: Tensor | float, reset: Reset) -> Tensor | float:
    """`∂v/∂h`."""
    if reset == "none":
        return 1.0
    return (h <= threshold).to(h.dtype) - h * slope if reset == "hard" else 1 - threshold * slope


class _CompiledMultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, steps: int, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, detach_reset: bool
    ) -> tuple[Tensor, Tensor]:
        layout = ctx.layout = Layout.of(current)
        ctx.constant, current = len(current) != steps, layout.lay(current.expand(steps, *current.shape[1:]))
        charged = memory.empty(current.shape, current)
        spikes, v = fire(current, layout.lay(v0), parameters.decay, parameters.threshold, parameters.reset, charged)
        ctx.save_for_backward(charged)
        ctx.set_materialize_grads(False)
        ctx.gradient = _backward(parameters.decay, parameters.threshold, parameters.reset, surrogate, detach_reset)
        return layout.restore(spikes), layout.restore(v)

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        (charged,) = ctx.saved_tensors
        layout: Layout = ctx.layout
        grad_spikes, grad_v = layout.lay(grad_spikes), layout.lay(grad_v)
        grad_current = memory.empty((1 if ctx.constant else len(charged), *charged.shape[1:]), charged)
        grad_v0 = charged.new_empty(charged.shape[1:])
        g_v = or_zeros(grad_v, grad_v0.shape, charged).reshape(-1)
        over_time = (flat(x) for x in (or_zeros(grad_spikes, charged.shape, charged), charged, grad_current))
        for g_s, h, g, start, g_v0 in blocks(_BLOCK // max(1, len(charged)), *over_time, g_v, grad_v0.view(-1)):
            grads, before = ctx.gradient(_steps(g_s), start.contiguous().data, _steps(h))
            if ctx.constant:
                torch.sum(grads, 0, keepdim=True, out=g)
            else:
                g.copy_(grads)
            g_v0.copy_(before)
        return layout.restore(grad_current), None, layout.restore(grad_v0), None, None, None


def _steps(x: Tensor) -> _Steps:
    """Each step as a tensor that knows of no larger one: torch would compile anew for each shape of that."""
    return tuple(step.data for step in x.unbind(0))


def multi_step(
    current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """Same contract and spikes as `kernels.reference.multi_step`; saves one tensor for the backward pass."""
    learned = isinstance(parameters.decay, Tensor) or isinstance(parameters.threshold, Tensor)
    if learned or not len(current) or not needs_gradient(current, v0):
        return handwritten.multi_step(current, v0, parameters, surrogate, detach_reset=detach_reset)
    source, settings = repeated(current), (v0, parameters, surrogate, detach_reset)
    spikes, v = _CompiledMultiStep.apply(current if source is None else source, len(current), *settings)  # type: ignore[no-untyped-call]
    return spikes, v
