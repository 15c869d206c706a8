"""The multi-step update as one autograd Function that saves a single tensor: the charged potentials `h`.

The backward pass recomputes the spikes from `h`. With σ = ∂s/∂h (surrogate) and `g` for gradients:

```
g_h[t]   = g_s[t] σ[t] + g_v[t] ∂v[t]/∂h[t]
∂v/∂h    = 1 − s − h σ      (hard reset)        1 − θ σ      (soft reset)
g_I[t]   = g_h[t]
g_v[t−1] = λ g_h[t]
```
"""

from typing import Any

import torch
from torch import Tensor

from neurodeploy.neurons import NeuronParameters
from neurodeploy.surrogate import Surrogate


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, v0: Tensor, parameters: NeuronParameters, surrogate: Surrogate
    ) -> tuple[Tensor, Tensor]:
        decay, threshold, hard = parameters.decay, parameters.threshold, parameters.reset == "hard"
        charged, spikes = torch.empty_like(current), torch.empty_like(current)
        v = v0
        for t in range(current.shape[0]):
            h, s = charged[t], spikes[t]
            torch.mul(v, decay, out=h).add_(current[t])
            torch.gt(h, threshold, out=s)
            v = h * (1 - s) if hard else h - threshold * s
        ctx.save_for_backward(charged)
        ctx.parameters, ctx.surrogate = parameters, surrogate
        return spikes, v.clone() if current.shape[0] == 0 else v

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor, grad_v: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (charged,) = ctx.saved_tensors
        decay, threshold = ctx.parameters.decay, ctx.parameters.threshold
        hard = ctx.parameters.reset == "hard"
        grad_current = torch.empty_like(charged)
        for t in reversed(range(charged.shape[0])):
            h, grad_h = charged[t], grad_current[t]
            slope = ctx.surrogate.derivative(h - threshold, threshold)
            through_reset = (h <= threshold).to(h.dtype).sub_(h * slope) if hard else 1 - threshold * slope
            torch.mul(grad_spikes[t], slope, out=grad_h).add_(grad_v * through_reset)
            grad_v = decay * grad_h
        return grad_current, grad_v, None, None


def multi_step(current: Tensor, v0: Tensor, parameters: NeuronParameters, surrogate: Surrogate) -> tuple[Tensor, Tensor]:
    """Same contract, spikes and gradients as `kernels.reference.multi_step`; saves one tensor for the backward pass."""
    spikes, v = _MultiStep.apply(current, v0, parameters, surrogate)  # type: ignore[no-untyped-call]
    return spikes, v
