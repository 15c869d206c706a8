"""The discrete-time update of the integrate-and-fire neurons, written once.

`neuron_step` is the toolkit's one semantics. The reference kernel and the graph interpreter call it; the fast kernels, the
ONNX graphs and the fixed-point simulator are tested against it, spike by spike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from neurodeploy.errors import UserError

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
