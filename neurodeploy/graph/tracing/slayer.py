"""SLAYER's blocks and CUBA neurons: `[B, …, T]`, in whole numbers of fixed point (lava-dl).

With `s` the scale of states, decays δ of 0 to 4096, and `⌊·⌉` for rounding towards zero:

```
u[t] = ⌊u[t−1] (4096 − δᵤ) / 4096⌉ + ⌊s x[t]⌉                   current
v[t] = ⌊v[t−1] (4096 − δᵥ) / 4096⌉ + ⌊s norm(u[t] / s)⌉         potential; 0 in place of it after a spike
S[t] = 1 if v[t] ≥ s θ
```

SLAYER computes them in integers; here they are floats that hold whole numbers, exact as long as they are below 2²⁴, which is
4096 in SLAYER's own unit. Source: lava-dl 0.6.0, its results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.dynamics.delays import delayed
from neurodeploy.graph.tracing.opening import Refusal, State, forgets, opens

_NEURON = "lava.lib.dl.slayer.neuron"
_BLOCK = "lava.lib.dl.slayer.block"
_ONE = 1 << 12  # a decay that leaves nothing


@dataclass
class Constants:
    """What a layer of CUBA neurons computes with: numbers, or tensors that are the same in every step.

    Attributes:
        kept: share of the current, and of the potential, that is left after a step, in 4096ths.
        scale: of states.
        exact: whether the scale is a power of two, so that going to SLAYER's unit and back rounds nothing.
        threshold: in whole numbers of a state; none below 0.
        shift, divisor: of the normalisation of currents; None if there is none.
        graded: whether a spike has the potential as its value.
        by_call: whether each step is a call of its own: then its state goes on in SLAYER's unit, and the current as normalised.
    """

    kept: tuple[Tensor, Tensor]
    scale: int
    exact: bool
    threshold: float
    shift: Tensor | None
    divisor: Tensor | None
    graded: bool
    by_call: bool


def _constants(neuron: Any, axes: int, *, by_call: bool) -> Constants:
    """Of a layer whose samples have so many axes."""
    if not neuron.shared_param and hasattr(neuron, "current_decay_min"):
        raise Refusal("has decays that are drawn when it is first called; call the module on samples once, and train it")
    kept = []
    for decay in (neuron.current_decay, neuron.voltage_decay):
        within = decay.detach().clamp(0, neuron.p_scale) if neuron.requires_grad else decay.detach()
        kept.append(_ONE - torch.trunc(torch.round(within)))
    shift, divisor = _normalization(neuron.norm, axes)
    return Constants(
        (kept[0], kept[1]),
        neuron.s_scale,
        log2(neuron.s_scale).is_integer(),
        (neuron.threshold + neuron.threshold_eps) * neuron.s_scale,
        shift,
        divisor,
        bool(neuron.graded_spike),
        by_call,
    )


def _normalization(norm: Any, axes: int) -> tuple[Tensor | None, Tensor | None]:
    """What is subtracted from currents, and what they are divided by."""
    if norm is None:
        return None, None
    kind = f"{type(norm).__module__}.{type(norm).__qualname__}"
    if kind not in (f"{_NEURON}.norm.MeanOnlyBatchNorm", f"{_NEURON}.norm.WgtScaleBatchNorm"):
        raise Refusal(
            f"normalises its currents by {kind}, which is unsupported; MeanOnlyBatchNorm or WgtScaleBatchNorm expected"
        )
    per_channel = (-1, *(1,) * (axes - 1))
    shift: Tensor = norm.pre_hook_fx(norm.running_mean).reshape(per_channel)
    return shift, norm.std(norm.running_var).reshape(per_channel) if kind.endswith("WgtScaleBatchNorm") else None


def leaked(whole: Tensor, kept: Tensor) -> Tensor:
    """`whole · kept / 4096` towards zero. Their product has up to 36 bits; the two parts of it have 24."""
    high = torch.trunc(whole / _ONE)
    low = whole - high * _ONE
    return high * kept + torch.trunc(low * kept / _ONE)


def _current(c: Constants, state: State, x: Tensor) -> Tensor:
    """What enters the potential in a step, in whole numbers."""
    before = state.get("current")
    current = leaked(torch.zeros_like(x) if before is None else before, c.kept[0]) + torch.trunc(c.scale * x)
    state["current"] = current
    if c.exact and c.shift is None:
        return current
    entering = current / c.scale
    if c.shift is not None:
        entering = entering - c.shift
    if c.divisor is not None:
        entering = entering / c.divisor
    charge = torch.trunc(c.scale * entering)
    if c.by_call:
        state["current"] = charge
    return charge


def potential_step(c: Constants, state: State, x: Tensor) -> Tensor:
    """Of a step, without a reset."""
    charge = _current(c, state, x)
    before = state.get("voltage")
    state["voltage"] = leaked(torch.zeros_like(x) if before is None else before, c.kept[1]) + charge
    return state["voltage"]


def spike_step(c: Constants, state: State, x: Tensor) -> Tensor:
    """Of a step."""
    voltage = potential_step(c, state, x)
    fired = (voltage >= c.threshold).to(x.dtype)
    left = voltage * (1 - fired) if c.threshold > 0 else voltage
    state["voltage"] = torch.trunc(left / c.scale * c.scale) if c.by_call and not c.exact else left
    return fired * (voltage / c.scale) if c.graded else fired


def _over_time(neuron: Any, x: Tensor, step: Callable[[Constants, State, Tensor], Tensor], *, by_call: bool = False) -> Tensor:
    """A step after the other, from states of zeros: `[B, …, T]` → `[B, …, T]`."""
    constants, state = _constants(neuron, x.ndim - 2, by_call=by_call), State()
    return torch.stack([step(constants, state, x[..., t]) for t in range(x.shape[-1])], -1)


@opens(f"{_NEURON}.cuba.Neuron")
def _neuron(layer: Any, state: State, x: Tensor) -> Tensor:
    if layer.persistent_state and state:
        raise Refusal("keeps its state, and is called more than once; give it the whole sequence in one call")
    state["called"] = True
    return _without_dropout(layer, _over_time(layer, x, spike_step))


def _without_dropout(neuron: Any, spikes: Tensor) -> Tensor:
    if neuron.drop is not None and not isinstance(neuron.drop, nn.Module):
        raise Refusal("drops spikes by a function, in evaluation mode too; give it a module of dropout")
    return spikes if neuron.drop is None else neuron.drop(spikes)


@opens("lava.lib.dl.slayer.axon.delay.Delay")
def _delay(layer: Any, _state: State, x: Tensor) -> Tensor:
    """Whole steps: a learnt delay is cut off behind the point."""
    if not layer.init:
        raise Refusal("has delays that are drawn when it is first called; call the module on samples once, and train it")
    within = layer.delay.detach().clamp(0, layer.max_delay)
    steps = np.trunc((within / layer.sampling_time).cpu().double().numpy())
    steps = np.trunc(steps / layer.sampling_time).astype(np.int64)
    return delayed(x, steps.reshape(-1, *(1,) * (x.ndim - 3)), axis=-1)


@opens("lava.lib.dl.slayer.synapse.layer.Pool")
def _pool(layer: Any, _state: State, x: Tensor) -> Tensor:
    """A convolution of each channel on its own, where that is what SLAYER's over all rows of all channels does."""
    weight = layer.weight if layer.pre_hook_fx is None else layer.pre_hook_fx(layer.weight)
    whole = not any(size % window for size, window in zip(x.shape[2:4], weight.shape[2:4], strict=True))
    plain = layer.stride == tuple(weight.shape[2:]) and not any(layer.padding) and set(layer.dilation) == {1}
    exact = not (weight.detach() * _ONE).frac().any()  # so that sums do not depend on their order
    if not (whole and plain and exact):
        answer: Tensor = type(layer).forward(layer, x)
        return answer
    channels = x.shape[1]
    return functional.conv3d(x, weight.expand(channels, 1, *weight.shape[2:]), stride=layer.stride, groups=channels)


@opens(*(f"{_BLOCK}.cuba.{kind}" for kind in ("Dense", "Conv", "Pool", "ConvT", "Unpool")))
def _block(layer: Any, _state: State, x: Tensor) -> Tensor:
    return _leaving(layer, layer.neuron(layer.synapse(x)))


@opens(f"{_BLOCK}.cuba.Input")
def _input(layer: Any, _state: State, x: Tensor) -> Tensor:
    if layer.neuron is None:
        return _leaving(layer, x)
    weight, bias = (None if one is None else layer.pre_hook_fx(one) for one in (layer.weight, layer.bias))

    def step(constants: Constants, state: State, given: Tensor) -> Tensor:
        z = layer.pre_hook_fx(given)
        z = z if weight is None else z * weight
        return spike_step(constants, state, z if bias is None else z + bias)

    return _leaving(layer, _without_dropout(layer.neuron, _over_time(layer.neuron, x, step)))


@opens(f"{_BLOCK}.cuba.Affine")
def _affine(layer: Any, _state: State, x: Tensor) -> Tensor:
    _check_counts(layer)
    z: Tensor = layer.synapse(x)
    if not layer.dynamics:
        return z
    return _over_time(
        layer.neuron, z, lambda constants, state, given: potential_step(constants, state, given) / constants.scale
    )


@opens(f"{_BLOCK}.cuba.Recurrent")
def _recurrent(layer: Any, _state: State, x: Tensor) -> Tensor:
    entering = layer.input_synapse(x)
    entering = entering if layer.bias is None else entering + layer.bias
    synapse = layer.recurrent_synapse
    weight = synapse.weight.reshape(synapse.weight.shape[:2])
    weight = (weight if synapse.pre_hook_fx is None else synapse.pre_hook_fx(weight)).transpose(0, 1)

    def step(constants: Constants, state: State, given: Tensor) -> Tensor:
        before = state.get("spikes")
        back = torch.matmul(torch.zeros_like(given) if before is None else before, weight)
        state["spikes"] = spike_step(constants, state, given + back)
        spikes: Tensor = state["spikes"]
        return spikes

    return _leaving(layer, _without_dropout(layer.neuron, _over_time(layer.neuron, entering, step, by_call=True)))


def _leaving(layer: Any, x: Tensor) -> Tensor:
    """What leaves a block: a step later, and by its axonal delays."""
    _check_counts(layer)
    x = delayed(x, 1, axis=-1) if layer.delay_shift else x
    return x if layer.delay is None else layer.delay(x)


def _check_counts(layer: Any) -> None:
    if layer.count_log:
        raise Refusal("answers counts beside its spikes; set count_log to False to deploy it")


_OTHERS = ("adrf", "adrf_iz", "alif", "rf", "rf_iz", "sigma_delta")


@opens(*(f"{_NEURON}.{file}.Neuron" for file in _OTHERS), f"{_BLOCK}.cuba.KWTA", f"{_BLOCK}.cuba.TimeDecimation")
def _unsupported(_layer: Any, _state: State, _x: Tensor) -> Tensor:
    raise Refusal("is unsupported; build the network of blocks of CUBA neurons (lava.lib.dl.slayer.block.cuba)")


@forgets(f"{_NEURON}.base.Neuron")
def _reset(layer: Any) -> None:
    for name in ("current_state", "voltage_state"):
        if hasattr(layer, name):
            setattr(layer, name, torch.zeros_like(getattr(layer, name).flatten()[:1]))


_BLOCKS = ("Input", "Affine", "Dense", "Conv", "Pool", "ConvT", "Unpool", "KWTA", "Recurrent")


@forgets(*(f"{_BLOCK}.base.Abstract{kind}" for kind in _BLOCKS))
def _reset_block(layer: Any) -> None:
    """Also masks weights, as a block does in every call."""
    layer.delay_buffer = None
    if hasattr(layer, "spike_state"):
        layer.spike_state = torch.zeros_like(layer.spike_state.flatten()[:1])
    synapse: Any = getattr(layer, "synapse", None)
    if getattr(layer, "mask", None) is not None and not synapse.complex:
        synapse.weight.data *= layer.mask
