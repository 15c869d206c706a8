"""The fixed-point update of Loihi's neurons over all steps, `fixed_point.cuba_step` bit for bit, with a gradient for training.

Why floating point is exact here: u and v are integers of size up to 2²⁴, and the share that a decay keeps is a multiple of 2⁻¹²
from 0 to 1, so their product has at most 37 bits, and float64 holds 53. The charged potentials, below 2²³ in size, are kept
for the backward pass in float32, which holds them exactly.

The gradient goes straight through rounding, wrapping and clipping. With `y = h / 64θ`, the charged potential in units of the
threshold, and σ the surrogate's derivative at y − 1 for a threshold of 1:

```
g_y[t]   = g_s[t] σ[t] + g_v[t] (1 − s[t] − y[t] σ[t])     without the σ in brackets if the reset is detached
g_v[t−1] = (1 − v_decay / 4096) g_y[t]
g_u[t]   = g_y[t] + (1 − i_decay / 4096) g_u[t+1]
g_a[t]   = g_u[t] / θ
```
"""

from typing import Any

import torch
from torch import Tensor

from neurodeploy.dynamics.kernels import memory
from neurodeploy.dynamics.kernels.handwritten import back_through_time, blocks, flat, needs_gradient, reset_by_potential
from neurodeploy.dynamics.neurons import CubaParameters
from neurodeploy.dynamics.surrogates import Surrogate

_BLOCK = 1 << 16  # values of one operation, per thread: half a MiB in float64
_LIMIT = 1 << 23  # u wraps and v saturates here
_NEVER_WRAPS = (1 << 17) - 1  # times 64 it is inside the 24 bits of u


def multi_step(sums: Tensor, parameters: CubaParameters, surrogate: Surrogate, *, detach_reset: bool = False) -> Tensor:
    """Run `cuba_step` over the first axis, from u = v = 0.

    Args:
        sums: what the synapses deliver, integers in float32 or float64, `[T, …]`.
        parameters: plain numbers; the threshold at least 1.
        surrogate: stands in for the derivative of the spike, with potentials in units of the threshold.
        detach_reset: no gradient flows through the spike in the reset.

    Returns:
        spikes `[T, …]`, 0 or 1, of the dtype of `sums`.
    """
    if not needs_gradient(sums):
        return _fire(sums, parameters, None)
    spikes: Tensor = _FixedPointMultiStep.apply(sums, parameters, surrogate, detach_reset)  # type: ignore[no-untyped-call]
    return spikes


class _FixedPointMultiStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor, parameters: CubaParameters, surrogate: Surrogate, detach_reset: bool) -> Tensor:
        charged = torch.float32 if sums.dtype == torch.float64 else sums.dtype
        kept = memory.empty(sums.shape, torch.empty((), dtype=charged, device=sums.device))
        spikes = _fire(sums, parameters, kept)
        ctx.save_for_backward(kept)
        ctx.parameters, ctx.surrogate, ctx.detach_reset = parameters, surrogate, detach_reset
        return spikes

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        (charged,), parameters = ctx.saved_tensors, ctx.parameters
        grad_sums = memory.empty(charged.shape, grad_spikes)
        nothing = grad_spikes.new_zeros(())
        for h, g_s, g in blocks(_BLOCK // max(1, len(charged)), flat(charged), flat(grad_spikes), flat(grad_sums)):
            y = h.to(g.dtype) / (64 * parameters.threshold)  # above 1 exactly where h is above 64 θ
            slope = ctx.surrogate.derivative(y - 1, 1.0)
            torch.mul(g_s, slope, out=g)
            through = reset_by_potential(y, 1.0, None if ctx.detach_reset else slope, "hard")
            back_through_time(g, nothing.expand(g.shape[1:]), None, _kept(parameters.v_decay), through)
            if parameters.i_decay != 4096:
                for later, earlier in zip(reversed(g[1:].unbind(0)), reversed(g[:-1].unbind(0)), strict=True):
                    earlier.add_(later, alpha=_kept(parameters.i_decay))
            g /= parameters.threshold
        return grad_sums, None, None, None


def _fire(sums: Tensor, parameters: CubaParameters, charged: Tensor | None) -> Tensor:
    """Spikes; `charged`, contiguous and like `sums`, is filled with the potentials before the reset where it is given."""
    spikes = memory.empty(sums.shape, sums)
    for a, s, h in blocks(_BLOCK, flat(sums), flat(spikes), None if charged is None else flat(charged)):
        u, v = (torch.zeros(a.shape[1:], dtype=torch.float64, device=a.device) for _ in range(2))
        wraps = parameters.i_decay != 4096 or bool(a.numel() and float(a.abs().max()) > _NEVER_WRAPS)
        for t in range(len(a)):
            # sums that were computed by transforms are whole only up to rounding
            arrived = a[t].round().to(torch.float64).mul_(64)
            u = arrived if parameters.i_decay == 4096 else u.mul_(_kept(parameters.i_decay)).trunc_().add_(arrived)
            if wraps:
                u -= (u - _LIMIT).div_(2 * _LIMIT).ceil_().clamp_(-1, 1).mul_(2 * _LIMIT)
            v.mul_(_kept(parameters.v_decay)).trunc_().add_(u).add_(64 * parameters.bias).clamp_(1 - _LIMIT, _LIMIT - 1)
            if h is not None:
                h[t] = v
            fired = v > 64 * parameters.threshold
            s[t] = fired
            v.masked_fill_(fired, 0)
    return spikes


def _kept(decay: int) -> float:
    """The share that is left after a step; exact in binary."""
    return (4096 - decay) / 4096
