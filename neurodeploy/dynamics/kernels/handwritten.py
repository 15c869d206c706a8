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

Neurons do not see each other, so on a CPU both passes go through a block of neurons at a time, over all steps: what an
operation has just written is still in the cache when the next one reads it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neurodeploy.dynamics.kernels import memory
from neurodeploy.dynamics.kernels.memory import Layout, repeated
from neurodeploy.dynamics.neurons import Dynamics, Reset
from neurodeploy.dynamics.surrogates import Surrogate

_BLOCK = 1 << 17  # values of one operation, per thread: half a MiB in float32


class _HandwrittenMultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        steps: int,
        v0: Tensor,
        decay: float | Tensor,
        threshold: float | Tensor,
        reset: Reset,
        surrogate: Surrogate,
        detach_reset: bool,
    ) -> tuple[Tensor, Tensor]:
        layout = ctx.layout = Layout.of(current)
        ctx.constant, current = len(current) != steps, layout.lay(current.expand(steps, *current.shape[1:]))
        charged = memory.empty(current.shape, current)
        spikes, v = fire(current, layout.lay(v0), decay, threshold, reset, charged)
        learned = {name: value for name, value in (("decay", decay), ("threshold", threshold)) if isinstance(value, Tensor)}
        ctx.save_for_backward(charged, *((v0,) if "decay" in learned else ()), *learned.values())
        ctx.set_materialize_grads(False)  # nobody reads the last potential as a rule: no zeros for its gradient
        ctx.learned, ctx.decay, ctx.threshold = tuple(learned), decay, threshold
        for name in learned:
            setattr(ctx, name, None)
        ctx.reset, ctx.surrogate, ctx.detach_reset = reset, surrogate, detach_reset
        return layout.restore(spikes), layout.restore(v)

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        charged, *rest = ctx.saved_tensors
        layout: Layout = ctx.layout
        grad_spikes, grad_v = layout.lay(grad_spikes), layout.lay(grad_v)
        v0 = layout.lay(rest.pop(0)) if "decay" in ctx.learned else None
        values = {"decay": ctx.decay, "threshold": ctx.threshold} | dict(zip(ctx.learned, rest, strict=True))
        decay, threshold, reset = values["decay"], values["threshold"], ctx.reset
        totals = {name: torch.zeros_like(values[name]) for name in ctx.learned}
        grad_current = memory.empty((1 if ctx.constant else len(charged), *charged.shape[1:]), charged)
        grad_v0 = charged.new_empty(charged.shape[1:]) if ctx.needs_input_grad[2] else None
        over_time = (flat(x) for x in (charged, or_zeros(grad_spikes, charged.shape, charged), grad_current))
        starts = (or_zeros(grad_v, charged.shape[1:], charged), grad_v0, v0)
        flat_starts = (None if x is None else x.reshape(-1) for x in starts)
        for h, g_s, g_current, g_v, g_v0, v in blocks(_BLOCK // max(1, len(charged)), *over_time, *flat_starts):
            slope = ctx.surrogate.derivative(h - threshold, threshold)
            g = torch.mul(g_s, slope, out=torch.empty_like(h) if ctx.constant else g_current)
            if "threshold" in totals:
                totals["threshold"] -= g.sum()
            through = None if ctx.detach_reset else slope
            back_through_time(g, g_v, g_v0, float(decay), reset_by_potential(h, threshold, through, reset))
            if "threshold" in totals:
                # what reaches v[t]: λ g_h[t+1], and after the last step the gradient from outside
                g_after = torch.cat((g[1:] * decay, g_v.unsqueeze(0)))
                totals["threshold"] += (g_after * _reset_by_threshold(h, threshold, through, reset)).sum()
            if v is not None:
                # spikes and potentials are computed again: to save them would take twice the memory of h
                fired = (h[:-1] > threshold).to(h.dtype)
                before = torch.cat((v.unsqueeze(0), after(h[:-1], fired, threshold, reset)))
                totals["decay"] += (g * before[: len(g)]).sum()
            if ctx.constant:
                torch.sum(g, 0, keepdim=True, out=g_current)
        by_v0 = None if grad_v0 is None else layout.restore(grad_v0)
        by_constants = totals.get("decay"), totals.get("threshold")
        return layout.restore(grad_current), None, by_v0, *by_constants, None, None, None


def fire(
    current: Tensor, v0: Tensor, decay: float | Tensor, threshold: float | Tensor, reset: Reset, charged: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Spikes and the last potential, both contiguous; so is `charged`, which is filled with `h` where it is given."""
    spikes = memory.empty(current.shape, current)
    last = v0.to(current.dtype, copy=True, memory_format=torch.contiguous_format)
    kept = None if charged is None else flat(charged)
    for x, s, hs, v in blocks(_BLOCK, flat(current), flat(spikes), kept, last.view(-1)):
        charges = (torch.empty_like(v),) * len(x) if hs is None else hs.unbind(0)
        for x_t, s_t, h in zip(x.unbind(0), s.unbind(0), charges, strict=True):
            torch.mul(v, decay, out=h).add_(x_t)
            torch.gt(h, threshold, out=s_t)
            _after_into(v, h, s_t, threshold, reset)
    return spikes, last


def _after_into(v: Tensor, h: Tensor, s: Tensor, threshold: float | Tensor, reset: Reset) -> None:
    """`after`, written to `v`."""
    if reset == "none":
        v.copy_(h)
    elif reset == "hard":
        torch.addcmul(h, h, s, value=-1, out=v)  # h − h s: exact, since s is 0 or 1
    else:
        torch.sub(h, torch.mul(s, threshold, out=v), out=v)


def back_through_time(g: Tensor, grad_v: Tensor, grad_v0: Tensor | None, decay: float, through: Tensor | None) -> None:
    """`g[t] += g_v[t] ∂v[t]/∂h[t]` from the last step to the first, in place; `through` is `∂v/∂h`, None where it is 1."""
    g_v, scale = grad_v, 1.0
    slopes = (None,) * len(g) if through is None else through.unbind(0)
    for g_t, slope in zip(reversed(g.unbind(0)), reversed(slopes), strict=True):
        g_v, scale = g_t.add_(g_v, alpha=scale) if slope is None else g_t.addcmul_(slope, g_v, value=scale), decay
    if grad_v0 is not None:
        torch.mul(g_v, scale, out=grad_v0)


def blocks(size: int, *tensors: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Views of `size` neurons (for each thread) after the other, the last axis of every tensor; on a GPU all at once."""
    first = next(x for x in tensors if x is not None)
    neurons = first.shape[-1]
    size = max(1, size) * torch.get_num_threads() if first.device.type == "cpu" else max(1, neurons)
    for start in range(0, neurons, size):
        yield tuple(None if x is None else x[..., start : start + size] for x in tensors)


def flat(x: Tensor) -> Tensor:
    """`[T, …]` → `[T, N]`; a view wherever one step is contiguous, also where all steps are the same memory."""
    return x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)


def or_zeros(grad: Tensor | None, shape: Sequence[int], like: Tensor) -> Tensor:
    """A gradient, or where there is none zeros of its shape that take no memory."""
    return like.new_zeros(()).expand(shape) if grad is None else grad


def after(h: Tensor, s: Tensor, threshold: float | Tensor, reset: Reset) -> Tensor:
    """`v[t]`, as `neuron_step` has it."""
    if reset == "none":
        return h
    return h * (1 - s) if reset == "hard" else h - threshold * s


def reset_by_potential(h: Tensor, threshold: float | Tensor, slope: Tensor | None, reset: Reset) -> Tensor | None:
    """`∂v/∂h`, None where it is 1; `slope` is σ, None where it is detached."""
    if reset == "none":
        return None
    if reset == "soft":
        return None if slope is None else 1 - slope * threshold
    silent = torch.le(h, threshold, out=torch.empty_like(h))
    return silent if slope is None else silent.addcmul_(h, slope, value=-1)


def _reset_by_threshold(h: Tensor, threshold: float | Tensor, slope: Tensor | None, reset: Reset) -> Tensor | float:
    """`∂v/∂θ`."""
    if reset == "none":
        return 0.0
    if reset == "hard":
        return 0.0 if slope is None else h * slope
    fired = (h > threshold).to(h.dtype)
    return -fired if slope is None else threshold * slope - fired


def multi_step(
    current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """Same contract, spikes and gradients as `kernels.reference.multi_step`; saves one tensor for the backward pass."""
    decay, threshold, reset = parameters.decay, parameters.threshold, parameters.reset
    if not needs_gradient(current, v0, decay, threshold):
        layout = Layout.of(current)
        spikes, v = fire(layout.lay(current), layout.lay(v0), decay, threshold, reset)
        return layout.restore(spikes), layout.restore(v)
    source, settings = repeated(current), (v0, decay, threshold, reset, surrogate, detach_reset)
    spikes, v = _HandwrittenMultiStep.apply(current if source is None else source, len(current), *settings)  # type: ignore[no-untyped-call]
    return spikes, v


def needs_gradient(*inputs: Tensor | float) -> bool:
    """Whether a backward pass can follow."""
    return torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)


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
