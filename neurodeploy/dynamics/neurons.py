"""The updates of neurons, each written once: in floats, and in the integers of Loihi's CUBA-LIF neurons."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError

Reset = Literal["hard", "soft", "none"]
RESETS: tuple[Reset, ...] = ("hard", "soft", "none")
Array = TypeVar("Array", bound=Any)


class Dynamics(Protocol):
    """What the update needs to know of a neuron: numbers (`NeuronParameters`), or tensors that training learns."""

    @property
    def decay(self) -> Any: ...

    @property
    def threshold(self) -> Any: ...

    @property
    def reset(self) -> Reset: ...


@dataclass(frozen=True)
class NeuronParameters:
    """Constants of an IF neuron (`decay` = 1) or LIF neuron (`decay` < 1).

    Attributes:
        decay: λ, the share of the membrane potential that is kept from one time step to the next; 0 ≤ λ ≤ 1.
        threshold: θ > 0, in the unit of the membrane potential.
        reset: "hard" sets the potential to 0 after a spike, "soft" subtracts θ, "none" leaves it.

    Raises:
        UserError: a constant is outside its range.
    """

    decay: float = 1.0
    threshold: float = 1.0
    reset: Reset = "hard"

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise UserError(f"neuron decay: {self.decay} found, a number from 0 to 1 expected")
        if not 0 < self.threshold < float("inf"):
            raise UserError(f"neuron threshold: {self.threshold} found, a positive number expected")
        if self.reset not in RESETS:
            raise UserError(f"neuron reset: {self.reset!r} found, {', '.join(map(repr, RESETS))} expected")


def neuron_step(
    v: Array,
    current: Array,
    parameters: Dynamics,
    spike: Callable[[Any, Any], Any],
    resetting: Callable[[Any], Any] = lambda s: s,
) -> tuple[Array, Any]:
    """One time step of an IF or LIF neuron.

    ```
    h[t] = λ v[t−1] + I[t]                 charge
    s[t] = 1 if h[t] > θ else 0            fire (strict comparison)
    v[t] = h[t] (1 − s[t])                 hard reset
    v[t] = h[t] − θ s[t]                   soft reset
    v[t] = h[t]                            no reset
    ```

    Sources: EnOF-SNN's public code (λ = 0.25, θ = 0.5, hard reset); LaSNN, eq. 1-2 (soft reset).

    Args:
        v: membrane potential after the previous step, any shape; torch or numpy.
        current: input current `I[t]`, same shape.
        parameters: λ, θ and the reset.
        spike: `(h, θ) → s`, 0 or 1 in the dtype of `h`: the plain comparison, or one with a surrogate gradient.
        resetting: what of `s` the reset sees: `s` itself, or in training `s` detached from the gradient.

    Returns:
        `(s[t], v[t])`, both of the shape of `v`.
    """
    h = parameters.decay * v + current
    s = spike(h, parameters.threshold)
    if parameters.reset == "none":
        return s, h
    if parameters.reset == "hard":
        return s, h * (1 - resetting(s))
    return s, h - parameters.threshold * resetting(s)


def late_reset_step(
    h: Array,
    s: Array,
    current: Array,
    parameters: Dynamics,
    spike: Callable[[Any, Any], Any],
    resetting: Callable[[Any], Any] = lambda s: s,
) -> tuple[Any, Array]:
    """One time step of a neuron whose reset by subtraction comes a step late, after the leak.

    ```
    h[t] = λ h[t−1] + I[t] − θ s[t−1]      charge, and the reset of the spike before
    s[t] = 1 if h[t] > θ else 0            fire (strict comparison)
    ```

    The whole of θ is taken away, not λ θ: it is `neuron_step` with the soft reset by θ/λ instead of θ, and equal to it, up to
    rounding, at λ = 1. Sources: LaSNN (Hong et al., arXiv 2304.09101), eq. 1 as it is printed, with v for h and o for s;
    snnTorch's `Leaky` with `reset_mechanism="subtract"` computes the same.

    Args:
        h: potential of the previous step, before its reset, any shape; torch or numpy. 0 before the first.
        s: spikes of the previous step, same shape.
        current: input current `I[t]`, same shape.
        parameters: λ and θ.
        spike, resetting: see `neuron_step`.

    Returns:
        `(s[t], h[t])`, both of the shape of `h`.
    """
    h = parameters.decay * h + current - parameters.threshold * resetting(s)
    return spike(h, parameters.threshold), h


def synapse_step(i: Array, x: Array, decay: float) -> Array:
    """One time step of the synaptic current of a current-based (CUBA) neuron: `i[t] = α i[t−1] + x[t]`.

    The current is then the input of `neuron_step`, in the same time step, as on Loihi (Davies et al. 2018). With `decay` 1
    it is a membrane that integrates without leak and never fires: LaSNN's output layer (eq. 3).

    Args:
        i: synaptic current after the previous step; torch or numpy.
        x: weighted input spikes, same shape.
        decay: α, 0 ≤ α ≤ 1.
    """
    current: Array = i * decay + x
    return current


Integers = TypeVar("Integers", bound=Any)
Whole: TypeAlias = NDArray[np.int64]

_WRAP = 1 << 23  # u is a signed 24-bit register that wraps, v one that saturates


@dataclass(frozen=True, eq=False)
class CubaParameters:
    """Constants of a CUBA-LIF layer, in Loihi's integer units.

    Attributes:
        i_decay: 0 … 4096, share of the synaptic current lost per step in 1/4096; a number, or an array per neuron that
            broadcasts against the state.
        v_decay: the same for the membrane potential.
        threshold: `vThMant`; a spike is fired when `v > threshold · 64`.
        bias: added every step as `bias · 64`; a number or an array that broadcasts against the state.
    """

    i_decay: Any = 4096
    v_decay: Any = 0
    threshold: Any = 1
    bias: Any = 0


def cuba_step(u: Integers, v: Integers, a: Integers, parameters: CubaParameters) -> tuple[Any, Integers, Integers]:
    """One time step.

    ```
    u' = rtz(u (4096 − i_decay) / 4096) + 64 a        wrapped once into (−2²³, 2²³]
    v' = rtz(v (4096 − v_decay) / 4096) + u' + 64 bias        clipped to ±(2²³ − 1)
    s  = v' > 64 threshold (strict);   v' = 0 where s;   u' is kept
    ```

    `rtz` rounds towards zero.

    Source: lava-nc `lif` fixed-point process models.

    Args:
        u: synaptic current after the previous step, 64-bit integers, any shape; numpy or torch.
        v: membrane potential after the previous step, same shape.
        a: integer sum delivered by the synapses in this step, same shape.
        parameters: constants of the layer.

    Returns:
        `(s, u, v)`: spikes (boolean), and the state after the step.
    """
    u = _decayed(u, parameters.i_decay) + a * 64
    u = u - (u > _WRAP) * (2 * _WRAP) + (u <= -_WRAP) * (2 * _WRAP)
    v = _decayed(v, parameters.v_decay) + u + parameters.bias * 64
    v = v.clip(1 - _WRAP, _WRAP - 1)
    s = v > parameters.threshold * 64
    return s, u, v * ~s


def _decayed(x: Integers, decay: Any) -> Integers:
    scaled = x * (4096 - decay)
    # >> rounds down; adding 4095 to negative numbers only (their sign bits are all ones) makes it round towards zero
    return (scaled + ((scaled >> 63) & 4095)) >> 12
