"""Which updates are those of a standard neuron: a leaky membrane, a threshold, a reset, perhaps a synaptic current before it.

An update is computed with expressions instead of numbers. An expression is a sum; each of its terms is a constant, times some
comparisons of the step (0 or 1, so that a square is the comparison itself), times a state, an input or nothing. What is no
such sum, as a product of two potentials, has no standard form. Of the sums that come out, those of a neuron are recognised
whatever way they were written in: `v + (x − v) / τ` and `(1 − 1/τ) v + x / τ` are the same sum, up to rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.dynamics.updates import OPERATIONS, Operand, Update

Constant: TypeAlias = NDArray[np.float64]
"""A number, or an array of a shape that is broadcast against one sample."""
Base: TypeAlias = tuple[str, int] | None
Term: TypeAlias = tuple[frozenset[int], Base]
"""What is multiplied: comparisons, by number, and a state, an input, or None for 1. A state that is 0 or 1, such as
the last spike, counts as a comparison, by a negative number."""
Expression: TypeAlias = Mapping[Term, Constant]

_CLOSE = 1e-6  # relative; constants are float32
_MOST_COMPARISONS = 4
_ONE: Term = (frozenset(), None)


@dataclass(frozen=True, eq=False)
class Current:
    """A synaptic current before the membrane, `i[t] = decay i[t−1] + Σ gains x[t] + bias`, from 0.

    Attributes:
        decay: α.
        gains: of each input.
        bias: e.
        late: the membrane reads `i[t−1]`, and `i[t]` if it is not.
    """

    decay: Constant
    gains: tuple[Constant, ...]
    bias: Constant
    late: bool


@dataclass(frozen=True, eq=False)
class StandardForm:
    """`h = decay v + Σ gains x + bias`; a spike if `h > threshold`, or `≥`; then `v = level`, `v = h − amount`, or `v = h`.

    Attributes:
        gains: of each input; of the one current, where there is one.
        current: before the membrane; None if it reads the inputs themselves.
        decay, bias: λ and b.
        threshold: θ; None of a membrane that is read out and never fires.
        strict: whether h must be above θ.
        reset: "hard" to `level`, "soft" by `amount`, or "none".
        level, amount: see above; 0 where the reset is another.
        initial: v before the first step.
        output: factor and offset of what a membrane answers of its potential.
    """

    gains: tuple[Constant, ...]
    current: Current | None
    decay: Constant
    bias: Constant
    threshold: Constant | None
    strict: bool
    reset: Reset
    level: Constant
    amount: Constant
    initial: Constant
    output: tuple[Constant, Constant]


@dataclass(frozen=True)
class NoForm:
    """Why an update is none of a standard neuron: completes "its neurons"."""

    reason: str


class _Other(Exception):
    """The reason of a `NoForm`."""


def standard_form(update: Update, arrays: Sequence[NDArray[Any]]) -> StandardForm | NoForm:
    """The standard neuron that an update computes, up to rounding, or why there is none.

    Args:
        update: of one step.
        arrays: its constants.
    """
    try:
        return _Analysis(update, arrays).form()
    except _Other as other:
        return NoForm(str(other))


def constants_of(update: Update, arrays: Sequence[NDArray[Any]]) -> NeuronParameters:
    """Decay, threshold and reset of a standard neuron, their means where neurons differ; else those of an IF neuron."""
    form = standard_form(update, arrays)
    if isinstance(form, NoForm) or form.threshold is None:
        return NeuronParameters(1.0, 1.0, "none")
    decay, threshold = float(np.mean(form.decay)), float(np.mean(form.threshold - form.level))
    return (
        NeuronParameters(decay, threshold, form.reset) if 0 <= decay <= 1 and threshold > 0 else NeuronParameters(1, 1, "none")
    )


def _constant(value: Any) -> Expression:
    return _sum({_ONE: np.asarray(value, np.float64)})


def _sum(*expressions: Expression) -> dict[Term, Constant]:
    total: dict[Term, Constant] = {}
    for expression in expressions:
        for term, factor in expression.items():
            total[term] = total[term] + factor if term in total else factor
    return {term: factor for term, factor in total.items() if np.any(factor)}


def _fired(atom: int) -> dict[Term, Constant]:
    return {(frozenset((atom,)), None): np.ones(())}


def _never(expression: Expression, atom: int) -> dict[Term, Constant]:
    """A value where a comparison never holds."""
    return {term: factor for term, factor in expression.items() if atom not in term[0]}


def _kept(state: int) -> int:
    """The negative number of a state that is 0 or 1, and the other way round."""
    return -1 - state


def _times(factor: Any, expression: Expression) -> dict[Term, Constant]:
    return _sum({term: np.asarray(factor * own, np.float64) for term, own in expression.items()})


def _product(one: Expression, other: Expression) -> dict[Term, Constant]:
    made = []
    for (atoms, base), factor in one.items():
        for (others, second), times in other.items():
            if base is not None and second is not None:
                raise _Other("multiply potentials or currents with each other")
            made.append({(atoms | others, base or second): np.asarray(factor * times, np.float64)})
    return _sum(*made)


def _same(one: Constant, other: Constant) -> bool:
    return bool(np.allclose(one, other, rtol=_CLOSE, atol=_CLOSE * float(np.max(np.abs(other), initial=0))))


def _equal(one: Expression, other: Expression) -> bool:
    nothing = np.zeros(())
    return all(_same(one.get(term, nothing), other.get(term, nothing)) for term in {*one, *other})


def _bases(expression: Expression) -> set[Base]:
    return {base for _, base in expression}


class _Analysis:
    """One update on its way.

    Attributes:
        comparisons: `(difference, strict)` of each: whether the difference is above 0, or at least 0.
    """

    def __init__(self, update: Update, arrays: Sequence[NDArray[Any]]) -> None:
        self.update = update
        self.arrays = arrays
        begins = zip(update.initial, update.following, strict=True)
        self.binary = [update.binary(after) and before in (("number", 0), ("number", 1)) for before, after in begins]
        self.comparisons: list[tuple[Expression, bool]] = []
        self.results: list[Expression] = []
        for one in update.instructions:
            self.results.append(self._compute(one.operation, [self._read(operand) for operand in one.operands]))
        self.initial = [self._read(operand).get(_ONE, np.zeros(())) for operand in update.initial]
        following = [self._read(operand) for operand in update.following]
        self.output = self._read(update.output)
        self.following = self._needed(following)
        self._substitute_past_spikes()
        self._drop_what_never_happens()

    def _read(self, operand: Operand) -> Expression:
        place, which = operand
        if place == "number":
            return _constant(which)
        if place == "array":
            return _constant(self.arrays[int(which)])
        if place == "state" and self.binary[int(which)]:
            return _fired(_kept(int(which)))
        return self.results[int(which)] if place == "result" else {(frozenset(), (place, int(which))): np.ones(())}

    def _compute(self, operation: str, read: list[Expression]) -> Expression:
        if all(set(one) <= {_ONE} for one in read):
            values = [np.asarray(one.get(_ONE, 0.0), np.float32) for one in read]
            with np.errstate(all="ignore"):
                return _constant(OPERATIONS[operation].numpy(*values))
        match operation:
            case "add":
                return _sum(*read)
            case "sub":
                return _sum(read[0], _times(-1, read[1]))
            case "neg":
                return _times(-1, read[0])
            case "mul":
                return _product(*read)
            case "div" if set(read[1]) == {_ONE} and np.all(read[1][_ONE]):
                return _times(1 / read[1][_ONE], read[0])
            case "where":
                chosen = self._indicator(read[0], lambda value: value != 0)
                return _sum(_product(chosen, read[1]), _product(_sum(_constant(1), _times(-1, chosen)), read[2]))
            case "gt" | "ge" | "lt" | "le" | "eq" | "ne":
                return self._compared(operation, _sum(read[0], _times(-1, read[1])))
        raise _Other(f"compute the operation {operation} of a potential or current")

    def _compared(self, operation: str, difference: Expression) -> Expression:
        if _bases(difference) == {None}:
            compare = OPERATIONS[operation].numpy
            return self._indicator(difference, lambda value: compare(value, np.zeros(())))
        if operation in ("eq", "ne"):
            raise _Other("compare potentials for equality")
        if operation in ("lt", "le"):
            difference, operation = _times(-1, difference), {"lt": "gt", "le": "ge"}[operation]
        strict = operation == "gt"
        leading = min((term for term in difference if term[1] is not None), key=lambda term: (len(term[0]), term[1]))
        if np.all(difference[leading] < 0):  # below something: the opposite of at least that
            return _sum(_constant(1), _times(-1, self._comparison(_times(-1, difference), not strict)))
        return self._comparison(difference, strict)

    def _comparison(self, difference: Expression, strict: bool) -> Expression:
        for number, (known, way) in enumerate(self.comparisons):
            if way == strict and _equal(known, difference):
                return _fired(number)
        self.comparisons.append((difference, strict))
        return _fired(len(self.comparisons) - 1)

    def _indicator(self, expression: Expression, holds: Callable[[Constant], Any]) -> Expression:
        """1 where something holds of a value that depends on comparisons alone, else 0, as a sum of their products."""
        atoms = sorted(set().union(*(term[0] for term in expression)))
        if _bases(expression) - {None}:
            raise _Other("choose by a value that is no comparison")
        if len(atoms) > _MOST_COMPARISONS:
            raise _Other("choose by many comparisons")
        total: Expression = {}
        for values in product((False, True), repeat=len(atoms)):
            true = {atom for atom, fired in zip(atoms, values, strict=True) if fired}
            value = sum((factor for (needed, _), factor in expression.items() if needed <= true), np.zeros(()))
            case: Expression = _constant(np.asarray(holds(value), np.float64))
            for atom, fired in zip(atoms, values, strict=True):
                case = _product(case, _fired(atom) if fired else _sum(_constant(1), _times(-1, _fired(atom))))
            total = _sum(total, case)
        return total

    def _needed(self, following: list[Expression]) -> dict[int, Expression]:
        """State → its value after the step, of the states that the output depends on."""
        needed: dict[int, Expression] = {}
        pending = self._states(self.output)
        while pending:
            state = pending.pop()
            if state not in needed:
                needed[state] = following[state]
                pending |= self._states(following[state]) - needed.keys()
        return needed

    def _states(self, expression: Expression) -> set[int]:
        """The states that a value depends on, by its comparisons too."""
        found = {base[1] for base in _bases(expression) if base is not None and base[0] == "state"}
        for atom in {atom for atoms, _ in expression for atom in atoms}:
            found |= {_kept(atom)} if atom < 0 else self._states(self.comparisons[atom][0])
        return found

    def _substitute_past_spikes(self) -> None:
        """A state that keeps the last spike is a comparison of the potential after that step, if that is a state too."""
        for spike in [state for state in self.following if self.binary[state]]:
            atom = self._single(self.following[spike])
            others = [state for state in self.following if state != spike]
            for state in others if atom is not None and atom >= 0 else ():
                past = self._of_state(atom or 0, state)
                if past is not None and np.all(self._fires_at(past, state) == self.initial[spike]):
                    self._replace(spike, past)
                    break

    def _single(self, expression: Expression) -> int | None:
        """The comparison that a value is."""
        if len(expression) != 1:
            return None
        ((atoms, base), factor) = next(iter(expression.items()))
        return next(iter(atoms)) if len(atoms) == 1 and base is None and np.all(factor == 1) else None

    def _of_state(self, atom: int, state: int) -> tuple[Expression, bool] | None:
        """A comparison that was made of a state's new value, as one that is made of the state a step later."""
        difference, strict = self.comparisons[atom]
        threshold = _sum(self.following[state], _times(-1, difference))
        if set(threshold) <= {_ONE}:
            return _sum({(frozenset(), ("state", state)): np.ones(())}, _times(-1, threshold)), strict
        return None

    def _fires_at(self, past: tuple[Expression, bool], state: int) -> Any:
        value = self.initial[state] + past[0].get(_ONE, np.zeros(()))
        return value > 0 if past[1] else value >= 0

    def _replace(self, spike: int, past: tuple[Expression, bool]) -> None:
        fired = self._comparison(*past)

        def without(expression: Expression) -> Expression:
            parts = [
                _product(fired, {(atoms - {_kept(spike)}, base): factor}) if _kept(spike) in atoms else {(atoms, base): factor}
                for (atoms, base), factor in expression.items()
            ]
            return _sum(*parts)

        del self.following[spike]
        self.following = {state: without(value) for state, value in self.following.items()}
        self.output = without(self.output)
        self.comparisons = [(without(difference), strict) for difference, strict in self.comparisons]

    def _drop_what_never_happens(self) -> None:
        """A state that each step leaves at most at a threshold is never above it when the next step asks.

        snnTorch asks so before it resets, even where the reset has come at once.
        """
        for atom, (difference, strict) in enumerate(self.comparisons):
            bases = _bases(difference) - {None}
            if not strict or len(bases) != 1 or any(term[0] for term in difference):
                continue
            (base,) = bases
            if base is None or base[0] != "state" or base[1] not in self.following:
                continue
            gain, threshold = difference[frozenset(), base], -difference.get(_ONE, np.zeros(()))
            if np.all(gain == 1) and self._stays_below(base[1], threshold, atom):
                self.following = {state: _never(value, atom) for state, value in self.following.items()}
                self.output = _never(self.output, atom)
                self.comparisons = [(_never(other, atom), way) for other, way in self.comparisons]

    def _stays_below(self, state: int, threshold: Constant, atom: int) -> bool:
        """Whether a state is at most at a threshold after each step, if it was before; `atom` says that it is above."""
        after = _never(self.following[state], atom)
        atoms = set().union(*(term[0] for term in after)) if after else set()
        if len(atoms) != 1 or min(atoms) < 0:
            return False
        (fired,) = atoms
        difference, strict = self.comparisons[fired]
        kept: Expression = {term: factor for term, factor in after.items() if not term[0]}
        margin = _sum(kept, _times(-1, _never(difference, atom)))  # where nothing fires the difference is at most 0
        parts: list[Expression] = [{(frozenset[int](), base): factor} for (_, base), factor in after.items()]
        reset = _sum(*parts)  # where it fires
        bounds = [self.initial[state], *(one.get(_ONE, np.zeros(())) for one in (margin, reset))]
        return strict and set(margin) <= {_ONE} and set(reset) <= {_ONE} and all(np.all(one <= threshold) for one in bounds)

    def form(self) -> StandardForm:
        """The standard neuron.

        Raises:
            _Other: there is none.
        """
        fired = self._single(self.output)
        if fired is not None and fired < 0:
            raise _Other("answer the spikes of the step before")
        if fired is None and any(term[0] for term in self.output):
            raise _Other("answer other values than 0 and 1")
        potential = self._potential(fired)
        others = [state for state in self.following if state != potential]
        values = [self.output, *self.following.values(), *(difference for difference, _ in self.comparisons)]
        if any(atom < 0 for value in values for atoms, _ in value for atom in atoms):
            raise _Other("remember spikes otherwise than by a reset")
        if len(others) > 1:
            raise _Other(f"carry {len(self.following)} values from step to step, at most a current and a potential expected")
        if potential is None:
            after: Expression = {} if fired is None else self._memoryless(fired)
        else:
            after = self.following[potential]
        return self._membrane(fired, potential, after, others[0] if others else None)

    def _potential(self, fired: int | None) -> int | None:
        """The state that is the membrane potential: which another state can feed, but does not read."""
        if not self.following:
            if fired is None:
                raise _Other("carry nothing from one step to the next")
            return None
        if len(self.following) == 1:
            return next(iter(self.following))
        for state in self.following:
            if all(state not in self._states(after) for other, after in self.following.items() if other != state):
                return state
        raise _Other("carry values from step to step that depend on each other, as an adapting threshold does")

    def _memoryless(self, fired: int) -> Expression:
        """The potential that a neuron without memory compares, in the unit of its first input."""
        return {term: factor for term, factor in self.comparisons[fired][0].items() if term != _ONE}

    def _membrane(self, fired: int | None, state: int | None, after: Expression, current: int | None) -> StandardForm:
        own: Base = None if state is None else ("state", state)
        atoms = set().union(*(term[0] for term in after)) if after else set()
        past = next((atom for atom in atoms if atom != fired), None) if fired is not None else None
        if len(atoms - {fired, past}) > 0 or (past is not None and fired in atoms) or (fired is None and atoms):
            raise _Other("reset by other comparisons than their own spike")
        reset_by = past if past is not None else fired
        charge = {base: factor for (needed, base), factor in after.items() if not needed}
        jump = {base: factor for (needed, base), factor in after.items() if needed == {reset_by}}
        nothing = np.zeros(())
        decay = charge.get(own, nothing) if own is not None else nothing
        if own is None:
            threshold, strict = -self.comparisons[fired or 0][0].get(_ONE, nothing), self.comparisons[fired or 0][1]
        elif fired is None:
            threshold, strict = None, True
        else:
            threshold, strict = self._threshold(fired, past, after, own)
        reset, level, amount = self._reset(charge, jump, own, delayed=past is not None)
        form: dict[str, Any] = {"decay": decay, "threshold": threshold, "strict": strict, "reset": reset}
        form |= {"level": level, "amount": amount, "initial": nothing if state is None else self.initial[state]}
        form["output"] = self._read_out(after) if fired is None else (np.ones(()), nothing)
        gains = self._inputs(charge)
        bias = charge.get(None, nothing)
        if current is None:
            return StandardForm(gains=gains, current=None, bias=bias, **form)
        return self._fed(current, charge[("state", current)], gains, bias, form)

    def _threshold(self, fired: int, past: int | None, after: Expression, own: Base) -> tuple[Constant, bool]:
        """θ, from the comparison of the potential before its reset; of a delayed one, from both of its comparisons."""
        difference, strict = self.comparisons[fired]
        before = after if past is not None else {term: factor for term, factor in after.items() if not term[0]}
        if own is None or (frozenset(), own) not in difference or (frozenset(), own) not in before:
            raise _Other("fire by a value that is not their potential")
        unit = difference[(frozenset(), own)] / before[(frozenset(), own)]
        rest = _sum(before, _times(-1 / unit, difference))
        rest = {term: factor for term, factor in rest.items() if not _negligible(factor, before.get(term))}
        if not (np.all(unit > 0) and set(rest) <= {_ONE}):
            raise _Other("have a threshold that changes, or fire by a value that is not their potential")
        threshold = rest.get(_ONE, np.zeros(()))
        if past is not None:
            known, way = self.comparisons[past]
            scale = known.get((frozenset(), own), np.zeros(()))
            if set(known) - {_ONE, (frozenset(), own)} or not np.all(scale > 0) or way != strict:
                raise _Other("reset by other comparisons than their own spike")
            if not _same(-known.get(_ONE, np.zeros(())) / scale, threshold):
                raise _Other("reset at another potential than they fire at")
        return threshold, strict

    def _reset(
        self, charge: Mapping[Base, Constant], jump: Mapping[Base, Constant], own: Base, *, delayed: bool
    ) -> tuple[Reset, Constant, Constant]:
        """Kind, level and amount. A delayed one acts on the potential of the step before, which then leaks: `/ decay`."""
        nothing = np.zeros(())
        if own is None or not jump:
            return ("hard" if own is None else "none"), nothing, nothing
        if delayed:
            if set(jump) - {own, None}:
                raise _Other("lose the input of the step after a spike, as a delayed reset to zero does")
            decay = charge.get(own, nothing)
            if not np.all(decay):
                raise _Other("reset a potential that they do not keep")
            if own not in jump:
                return "soft", nothing, -jump[None] / decay
            if not _same(-jump[own], decay):
                raise _Other("reset a part of their potential")
            return "hard", jump.get(None, nothing) / decay, nothing
        if set(jump) <= {None}:
            return "soft", nothing, -jump[None]
        left = {base: charge.get(base, nothing) + jump.get(base, nothing) for base in {*charge, *jump} if base is not None}
        if any(not _negligible(factor, charge.get(base)) for base, factor in left.items()):
            raise _Other("reset a part of their potential")
        return "hard", charge.get(None, nothing) + jump.get(None, nothing), nothing

    def _inputs(self, sum_: Mapping[Base, Constant]) -> tuple[Constant, ...]:
        return tuple(sum_.get(("input", number), np.zeros(())) for number in range(self.update.inputs))

    def _read_out(self, after: Expression) -> tuple[Constant, Constant]:
        """Factor and offset by which a membrane's answer is its potential."""
        first = next((term for term in after if term != _ONE), None)
        if first is None or first not in self.output:
            raise _Other("answer something else than their potential")
        factor = self.output[first] / after[first]
        rest = _sum(self.output, _times(-1, _times(factor, after)))
        rest = {term: value for term, value in rest.items() if not _negligible(value, self.output.get(term))}
        if set(rest) - {_ONE}:
            raise _Other("answer something else than their potential")
        return factor, rest.get(_ONE, np.zeros(()))

    def _fed(
        self, state: int, factor: Constant, gains: tuple[Constant, ...], bias: Constant, form: dict[str, Any]
    ) -> StandardForm:
        """With the synaptic current before the membrane: of this step if the membrane reads the inputs alike, or the last."""
        after, own = self.following[state], ("state", state)
        if any(term[0] for term in after) or _bases(after) & {("state", other) for other in self.following if other != state}:
            raise _Other("have a current that depends on their spikes or potential")
        if np.any(self.initial[state]):
            raise _Other("have a current that does not begin with 0")
        inner = {base: value for (_, base), value in after.items()}
        nothing = np.zeros(())
        decay, entering, constant = inner.get(own, nothing), self._inputs(inner), inner.get(None, nothing)
        late = not any(np.any(gain) for gain in gains)
        if not late:
            if not np.all(decay):
                raise _Other("read a current of the last step and inputs of this one")
            factor = factor / decay
            if not all(_same(gain, factor * one) for gain, one in zip(gains, entering, strict=True)):
                raise _Other("read inputs beside their current")
            bias = bias - factor * constant
        current = Current(decay, entering, constant, late)
        return StandardForm(gains=(factor,), current=current, bias=bias, **form)


def _negligible(value: Constant, beside: Constant | None) -> bool:
    """Whether a difference is one of rounding."""
    size = 0.0 if beside is None else float(np.max(np.abs(beside), initial=0))
    return bool(np.all(np.abs(value) <= _CLOSE * size))
