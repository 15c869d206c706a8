"""The multi-step update of neurons with a late reset, as an autograd Function that saves the potentials `h` alone.

With σ = ∂s/∂h (surrogate) and `g` for gradients, from the last step to the first:

```
g_h[t] = g_s[t] σ[t] + g_h[t+1] (λ − θ σ[t])
g_I[t] = g_h[t]
g_θ    = Σ_t −g_s[t] σ[t] + g_h[t+1] (θ σ[t] − s[t])
```

With the reset detached, the terms of θ σ are 0.
"""

from typing import Any

import torch
from torch import Tensor

from neurodeploy.dynamics.neurons import Dynamics, late_reset_step
from neurodeploy.dynamics.surrogates import Surrogate


class _LateResetMultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, threshold: float | Tensor, parameters: Dynamics, surrogate: Surrogate, detach_reset: bool
    ) -> Tensor:
        charged = torch.empty_like(current, memory_format=torch.contiguous_format)
        h = s = torch.zeros_like(current[0])
        for kept, current_t in zip(charged, current, strict=True):
            s, h = late_reset_step(h, s, current_t, parameters, _fired)
            kept.copy_(h)
        ctx.save_for_backward(charged)
        ctx.threshold = threshold.detach() if isinstance(threshold, Tensor) else threshold
        ctx.decay, ctx.surrogate, ctx.detach_reset = parameters.decay, surrogate, detach_reset
        return _fired(charged, threshold)

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        (charged,) = ctx.saved_tensors
        threshold = ctx.threshold
        slope = ctx.surrogate.derivative(charged - threshold, threshold)
        through = torch.zeros_like(slope) if ctx.detach_reset else threshold * slope
        grad = grad_spikes * slope
        for t in range(len(grad) - 2, -1, -1):
            grad[t].addcmul_(grad[t + 1], ctx.decay - through[t])
        by_threshold = None
        if ctx.needs_input_grad[1]:
            later = (grad[1:] * (through[:-1] - _fired(charged[:-1], threshold))).sum()
            by_threshold = later - (grad_spikes * slope).sum()
        return grad, by_threshold, None, None, None


def _fired(h: Tensor, threshold: float | Tensor) -> Tensor:
    return (h > threshold).to(h.dtype)


def late_reset(current: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False) -> Tensor:
    """Run `late_reset_step` over the first axis, from a potential of 0.

    Args:
        current: input current, `[T, …]`.
        parameters: decay, a number, and threshold, which may be a tensor of no axes and then gets a gradient.
        surrogate: stands in for the derivative of the spike.
        detach_reset: no gradient flows through the spike in the reset.

    Returns:
        spikes `[T, …]`, 0 or 1.
    """
    spikes: Tensor = _LateResetMultiStep.apply(current, parameters.threshold, parameters, surrogate, detach_reset)  # type: ignore[no-untyped-call]
    return spikes
