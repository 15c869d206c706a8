"""The multi-step updates as autograd Functions that save no more than one tensor: the charged potentials `h`.

The backward pass recomputes the spikes from `h`. With σ = ∂s/∂h (surrogate) and `g` for gradients:

```
g_h[t]   = g_s[t] σ[t] + g_v[t] ∂v[t]/∂h[t]
∂v/∂h    = 1 − s − h σ   (hard reset)     1 − θ σ   (soft reset)     1   (no reset)
g_I[t]   = g_h[t]
g_v[t−1] = λ g_h[t]
g_λ      = Σ_t g_h[t] v[t−1]
g_θ      = Σ_t −g_s[t] σ[t] + g_v[t] ∂v[t]/∂θ
∂v/∂θ    = h σ           (hard reset)     θ σ − s   (soft reset)     0   (no reset)
```

With the reset detached, the terms with σ in `∂v` are 0.
"""

from typing import Any

import torch
from torch import Tensor

from neurodeploy.neurons import Dynamics, Reset
from neurodeploy.surrogate import Surrogate


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        v0: Tensor,
        decay: float | Tensor,
        threshold: float | Tensor,
        reset: Reset,
        surrogate: Surrogate,
        detach_reset: bool,
    ) -> tuple[Tensor, Tensor]:
        charged, spikes = torch.empty_like(current), torch.empty_like(current)
        v = v0
        for t in range(current.shape[0]):
            h, s = charged[t], spikes[t]
            torch.mul(v, decay, out=h).add_(current[t])
            torch.gt(h, threshold, out=s)
            v = after(h, s, threshold, reset)
        learned = {name: value for name, value in (("decay", decay), ("threshold", threshold)) if isinstance(value, Tensor)}
        ctx.save_for_backward(charged, *((v0,) if "decay" in learned else ()), *learned.values())
        ctx.learned, ctx.decay, ctx.threshold = tuple(learned), decay, threshold
        for name in learned:
            setattr(ctx, name, None)
        ctx.reset, ctx.surrogate, ctx.detach_reset = reset, surrogate, detach_reset
        return spikes, v.clone() if reset == "none" or current.shape[0] == 0 else v

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        charged, *rest = ctx.saved_tensors
        v0 = rest.pop(0) if "decay" in ctx.learned else None
        values = {"decay": ctx.decay, "threshold": ctx.threshold} | dict(zip(ctx.learned, rest, strict=True))
        decay, threshold, reset = values["decay"], values["threshold"], ctx.reset
        totals = {name: torch.zeros_like(values[name]) for name in ctx.learned}
        grad_current = torch.empty_like(charged)
        for t in reversed(range(charged.shape[0])):
            h, grad_h = charged[t], grad_current[t]
            slope = ctx.surrogate.derivative(h - threshold, threshold)
            through = 0.0 if ctx.detach_reset else slope
            torch.mul(grad_spikes[t], slope, out=grad_h)
            if "threshold" in totals:
                totals["threshold"] -= grad_h.sum()
                totals["threshold"] += (grad_v * _reset_by_threshold(h, threshold, through, reset)).sum()
            grad_h += grad_v * reset_by_potential(h, threshold, through, reset)
            if v0 is not None:
                before = v0 if t == 0 else after(charged[t - 1], (charged[t - 1] > threshold).to(h.dtype), threshold, reset)
                totals["decay"] += (grad_h * before).sum()
            grad_v = decay * grad_h
        return grad_current, grad_v, totals.get("decay"), totals.get("threshold"), None, None, None


def after(h: Tensor, s: Tensor, threshold: float | Tensor, reset: Reset) -> Tensor:
    """`v[t]`, as `neuron_step` has it."""
    if reset == "none":
        return h
    return h * (1 - s) if reset == "hard" else h - threshold * s


def reset_by_potential(h: Tensor, threshold: float | Tensor, slope: Tensor | float, reset: Reset) -> Tensor | float:
    """`∂v/∂h`."""
    if reset == "none":
        return 1.0
    return (h <= threshold).to(h.dtype).sub_(h * slope) if reset == "hard" else 1 - threshold * slope


def _reset_by_threshold(h: Tensor, threshold: float | Tensor, slope: Tensor | float, reset: Reset) -> Tensor | float:
    """`∂v/∂θ`."""
    if reset == "none":
        return 0.0
    return h * slope if reset == "hard" else threshold * slope - (h > threshold).to(h.dtype)


def multi_step(
    current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """Same contract, spikes and gradients as `kernels.reference.multi_step`; saves one tensor for the backward pass."""
    spikes, v = _MultiStep.apply(  # type: ignore[no-untyped-call]
        current, v0, parameters.decay, parameters.threshold, parameters.reset, surrogate, detach_reset
    )
    return spikes, v


class _LowPass(torch.autograd.Function):
    """`i[t] = α i[t−1] + x[t]`; its gradient is the same recurrence backwards in time, and needs nothing saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, decay: float) -> Tensor:
        ctx.decay = decay
        return _recurrence(x, decay, range(x.shape[0]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _recurrence(grad, ctx.decay, range(grad.shape[0] - 1, -1, -1)), None


def _recurrence(x: Tensor, decay: float, order: range) -> Tensor:
    currents = torch.empty_like(x)
    i = torch.zeros_like(x[0])
    for t in order:
        i = torch.mul(i, decay, out=currents[t]).add_(x[t])
    return currents


def low_pass(x: Tensor, decay: float) -> Tensor:
    """Same contract, values and gradients as `kernels.reference.low_pass`; saves nothing for the backward pass."""
    currents: Tensor = _LowPass.apply(x, decay)  # type: ignore[no-untyped-call]
    return currents
