"""Which potentials and currents are integers in C, and how wide: where that is proved to be what float32 computes.

The exact network keeps potentials in float32 (`neurodeploy.dynamics.neurons.neuron_step`). Currents are integers of a grid, and
with a decay `p / 2^a` every potential within T steps is an integer of a finer one: each step adds a bits. Where such an
integer never needs more than 24 bits float32 holds it, so nothing is rounded, and integers are equal by themselves. Where it
may need more, yet fits 31, C rounds as float32 does: to 24 significant bits, halves to even, after the product and after the
sum. What fits neither stays a float in C, computed by the same operations in the same order: any decay is one with enough
bits, but not one of few.
"""

from dataclasses import dataclass
from math import floor

import numpy as np

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph.ops import Range
from neurodeploy_exporters.c.tensors import CType, Order, integer_type

_MANTISSA = 24
_WIDEST = 31
_SLACK = 2.0**-23  # of a step: what rounding to 24 bits can add to a potential, and as much again


@dataclass(frozen=True)
class IntegerState:
    """A state in integers.

    Attributes:
        grid: its unit, and the largest size that it can reach.
        shift: the current is multiplied by 2^shift when it is added.
        factor, divisor: the decay is factor / 2^divisor.
        rounds: whether sums are rounded to 24 bits, as float32 rounds them.
        threshold: the largest integer that does not fire.
        amount: what a soft reset subtracts.
    """

    grid: Range
    shift: int
    factor: int
    divisor: int
    rounds: bool
    threshold: int = 0
    amount: int = 0


@dataclass(frozen=True, eq=False)
class Accumulation:
    """A layer of neurons and what is added to its potentials.

    Attributes:
        neuron: its name.
        form: of the potentials.
        order: of the neurons in memory.
        synapses: that add to the potentials, in order of computation.
        values: other terms of the current, added when the neurons fire.
        sums: nodes that add these up in the graph, and are not computed on their own.
    """

    neuron: str
    form: IntegerState
    order: Order
    synapses: tuple[str, ...]
    values: tuple[str, ...]
    sums: frozenset[str]

    @property
    def type(self) -> CType:
        """C type of a potential."""
        return integer_type(self.form.grid.largest)


def decayed(cell: str, form: IntegerState) -> str:
    """The share of a state that is kept, in C: no remainder is lost, because the unit is as fine as the last step needs."""
    kept = cell if form.factor == 1 else f"{cell} * {form.factor}"
    return kept if not form.divisor else f"(({kept}) >> {form.divisor})"


def _ratio(value: float) -> tuple[int, int]:
    """p and a of a float32 p / 2^a."""
    numerator, denominator = float(np.float32(value)).as_integer_ratio()
    return numerator, denominator.bit_length() - 1


def reach(largest: int, decay: float, steps: int) -> float:
    """How large `x[t] = decay x[t-1] + i[t]` gets in so many steps, in units of the current's grid."""
    kept = float(np.float32(decay))
    total = float(steps) if kept == 1 else (1 - kept**steps) / (1 - kept)
    return largest * total * (1 + steps * _SLACK)


def integer_state(current: Range, decay: float, steps: int, parameters: NeuronParameters | None = None) -> IntegerState | None:
    """The integers that a state is within so many steps; None if they are too wide.

    Args:
        current: what is added in each step.
        decay: share that is kept.
        steps: T.
        parameters: of a neuron; None of a current that is filtered alone.
    """
    factor, divisor = _ratio(decay)
    exponent = current.exponent + (divisor * (steps - 1) if factor else 0)
    soft = parameters is not None and parameters.reset == "soft"
    threshold, fraction = (0, 0) if parameters is None else _ratio(parameters.threshold)
    if soft and factor:
        exponent = max(exponent, fraction + divisor * (steps - 1))
    shift = exponent - current.exponent
    if shift >= _WIDEST:
        return None
    bound = reach(current.largest, decay, steps) * 2.0**shift
    # a threshold beyond all potentials never fires, whatever its integer is
    level = floor(threshold * 2.0 ** (exponent - fraction)) if parameters is not None else 0
    if not bound * max(1, factor) < 2**_WIDEST - 1:
        return None
    if soft and factor and level >= 2**_WIDEST - 1:
        return None
    return IntegerState(
        Range(exponent, int(bound) + 1),
        shift,
        factor,
        divisor if factor else 0,
        rounds=bound * max(1, factor) > 2**_MANTISSA,
        threshold=min(level, 2**_WIDEST - 2),
        amount=level if soft and factor else 0,
    )
