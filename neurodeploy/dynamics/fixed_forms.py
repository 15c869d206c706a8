"""Which updates are those of SLAYER's neurons in whole numbers, whose integers are a Loihi chip's.

```
u[t] = ⌊u[t−1] (4096 − δᵤ) / 4096⌉ + ⌊s x[t]⌉                 current
v[t] = ⌊v[t−1] (4096 − δᵥ) / 4096⌉ + u[t]                      or ⌊s (u[t] / s − m)⌉ in place of u[t], with a mean m
S[t] = 1 if v[t] ≥ θ,   v[t] = 0 where it fires
```

Floats hold the integers, and a leak is written in two parts, so that no product is rounded
(`neurodeploy.graph.tracing.slayer`). That is one way of writing it, and the only one that is known here: a truncation in
another place is another neuron.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.updates import Operand, Update

_ONE = 4096.0
_COMMUTE = ("add", "mul")
Pattern: TypeAlias = "str | float | tuple[Any, ...]"
"""A letter for an operand that is read, a number, or an operation and what it reads."""
Found: TypeAlias = Mapping[str, Operand]


def _leak(state: Pattern, kept: Pattern) -> Pattern:
    high = ("trunc", ("div", state, _ONE))
    low = ("sub", state, ("mul", high, _ONE))
    return ("add", ("mul", high, kept), ("trunc", ("div", ("mul", low, kept), _ONE)))


def _entering(*inputs: str) -> Pattern:
    total: Pattern = inputs[0] if len(inputs) == 1 else ("add", *inputs)
    return ("add", _leak("u", "kept_u"), ("trunc", ("mul", total, "scale")))


def _normalized(current: Pattern) -> Pattern:
    return ("trunc", ("mul", ("sub", ("div", current, "scale"), "mean"), "scale"))


def _potential(charge: Pattern) -> Pattern:
    return ("add", _leak("v", "kept_v"), charge)


def _fires(charge: Pattern) -> Pattern:
    return ("ge", _potential(charge), "threshold")


def _after(charge: Pattern) -> Pattern:
    return ("mul", _potential(charge), ("sub", 1.0, _fires(charge)))


@dataclass(frozen=True, eq=False)
class FixedCurrent:
    """The first line.

    Attributes:
        kept: 4096 − δᵤ, a number or an array that broadcasts against one sample.
        scale: s.
        mean: m; 0 for none.
    """

    kept: NDArray[np.float64]
    scale: float
    mean: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FixedPotential:
    """The other lines.

    Attributes:
        kept: 4096 − δᵥ, as above.
        threshold: θ, in the unit of v.
    """

    kept: NDArray[np.float64]
    threshold: float


def fixed_current(update: Update, arrays: Sequence[NDArray[Any]]) -> FixedCurrent | None:
    """The current that an update computes of one input, and answers; None if it is another update."""
    if update.inputs != 1 or update.initial != (("number", 0.0),):
        return None
    current = _entering("x")
    for answer in (current, _normalized(current)):
        found = _matched(
            update, [(update.following[0], current), (update.output, answer)], {"u": ("state", 0), "x": ("input", 0)}
        )
        if found is not None:
            return _current(found, arrays)
    return None


def fixed_potential(update: Update, arrays: Sequence[NDArray[Any]]) -> FixedPotential | None:
    """The neurons whose current is the one input of an update; None if it is another update."""
    if update.inputs != 1 or update.initial != (("number", 0.0),):
        return None
    wanted = [(update.following[0], _after("x")), (update.output, _fires("x"))]
    found = _matched(update, wanted, {"v": ("state", 0), "x": ("input", 0)})
    return None if found is None else _of_potential(found, arrays)


def fixed_neuron(update: Update, arrays: Sequence[NDArray[Any]]) -> tuple[FixedCurrent, FixedPotential] | None:
    """Neurons with their current in one update, of one input, or of one and of what comes back; None of another update."""
    if update.inputs not in (1, 2) or update.initial != (("number", 0.0),) * 2:
        return None
    inputs: dict[str, Operand] = {f"x{number}": ("input", number) for number in range(update.inputs)}
    current = _entering(*inputs)
    for u, v in ((0, 1), (1, 0)):
        wanted = [
            (update.following[u], current),
            (update.following[v], _after(current)),
            (update.output, _fires(current)),
        ]
        found = _matched(update, wanted, {"u": ("state", u), "v": ("state", v), **inputs})
        if found is not None:
            entering, potential = _current(found, arrays), _of_potential(found, arrays)
            return None if entering is None or potential is None else (entering, potential)
    return None


def _current(found: Found, arrays: Sequence[NDArray[Any]]) -> FixedCurrent | None:
    scale = _constant(found["scale"], arrays)
    mean = _constant(found["mean"], arrays) if "mean" in found else np.zeros(())
    return FixedCurrent(_constant(found["kept_u"], arrays), float(scale), mean) if scale.ndim == 0 else None


def _of_potential(found: Found, arrays: Sequence[NDArray[Any]]) -> FixedPotential | None:
    threshold = _constant(found["threshold"], arrays)
    return FixedPotential(_constant(found["kept_v"], arrays), float(threshold)) if threshold.ndim == 0 else None


def _constant(operand: Operand, arrays: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    place, which = operand
    return np.asarray(which if place == "number" else arrays[int(which)], np.float64)


def _matched(update: Update, wanted: Sequence[tuple[Operand, Pattern]], known: Found) -> Found | None:
    """What the letters of patterns stand for where operands are, constants where nothing is known yet."""
    possible: list[Found] = [known]
    for operand, pattern in wanted:
        possible = [found for before in possible for found in _unified(update, operand, pattern, before)][:_MOST]
    return possible[0] if possible else None


_MOST = 8


def _unified(update: Update, operand: Operand, pattern: Pattern, known: Found) -> Iterator[Found]:
    if isinstance(pattern, str):
        if pattern in known:
            if known[pattern] == operand:
                yield known
        elif operand[0] in ("number", "array"):
            yield {**known, pattern: operand}
        return
    if isinstance(pattern, float):
        if operand == ("number", pattern):
            yield known
        return
    operation, *parts = pattern
    if operand[0] != "result" or update.instructions[int(operand[1])].operation != operation:
        return
    read = update.instructions[int(operand[1])].operands
    for order in (read, read[::-1]) if operation in _COMMUTE else (read,):
        possible: list[Found] = [known]
        for one, part in zip(order, parts, strict=True):
            possible = [found for before in possible for found in _unified(update, one, part, before)][:_MOST]
        yield from possible
