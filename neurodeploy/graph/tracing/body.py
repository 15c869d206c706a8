"""The body of a loop: what each of its calls reads, of the same step, of steps before, or of what is outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from neurodeploy.graph.tracing.elementwise import ONE_READ
from neurodeploy.graph.tracing.loops import Loop
from neurodeploy.graph.tracing.tape import Event, Value
from neurodeploy.graph.tracing.traced_tensor import TracedTensor
from neurodeploy.io.errors import UserError


@dataclass(frozen=True)
class OneStep:
    """One step of a signal over time, which is a node's output.

    Attributes:
        signal: with the axes that a step has.
        t: its number.
    """

    signal: TracedTensor
    t: int


@dataclass(frozen=True)
class Constant:
    """A number, a tensor, or anything else that is the same in every step."""

    value: Any


@dataclass(frozen=True)
class Varying:
    """A number that differs from step to step."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Outer:
    """What was made before the loop; of a sequence over time that of the same step."""

    signal: TracedTensor


@dataclass(frozen=True)
class Same:
    """What another call of the same step made."""

    position: int
    slot: int


@dataclass(frozen=True)
class Past:
    """What a call made so many steps before."""

    position: int
    slot: int
    distance: int


Reference: TypeAlias = Constant | Varying | Outer | Same | Past


@dataclass(eq=False)
class Body:
    """A loop whose calls' arguments are references.

    Attributes:
        steps: T.
        arguments: of each call, with references in place of values.
        initial: what stands for a past that is before the first step: number or tensor; by the reference.
        forwarded: calls that only take out what the step has written before, which their readers read instead.
        depends: whether a call depends on the samples, and is read.
        made: position and slot → the signal, once it is there.
    """

    loop: Loop
    steps: int
    arguments: list[tuple[Any, Any]] = field(default_factory=list)
    initial: dict[Past, Any] = field(default_factory=dict)
    forwarded: set[int] = field(default_factory=set)
    depends: list[bool] = field(default_factory=list)
    made: dict[tuple[int, int], TracedTensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arguments)

    def calls(self, position: int) -> list[Event | None]:
        return self.loop.body[position]

    def last(self, position: int) -> Event:
        event = self.loop.body[position][-1]
        assert event is not None
        return event

    def where(self, position: int) -> str:
        return self.last(position).where

    def references(self, position: int) -> list[Reference]:
        return [one for one in flat(self.arguments[position]) if isinstance(one, Constant | Varying | Outer | Same | Past)]

    def mapped(self, position: int, read: Callable[[Reference], Any]) -> tuple[Any, Any]:
        """The arguments of a call, with what each reference is."""

        def change(given: Any) -> Any:
            if isinstance(given, Varying):
                return given
            if isinstance(given, Constant | Outer | Same | Past):
                if isinstance(given, Same) and not self.depends[given.position]:
                    return self.constant(position, given)
                return read(given)
            if isinstance(given, dict):
                return {key: change(one) for key, one in given.items()}
            if isinstance(given, tuple):
                return tuple(map(change, given))
            return given

        args, kwargs = self.arguments[position]
        return change(args), change(kwargs)

    def constant(self, reader: int, reference: Same | Past) -> Tensor:
        """The value of a call that depends on no sample, the same in every step."""
        calls = self.calls(reference.position)
        tensors = [call.results[reference.slot].tensor for call in calls if call is not None]
        if any(not _equal(tensors[-1], other) for other in tensors):
            raise UserError(f"{self.where(reader)}: reads a constant that changes from step to step")
        return tensors[-1]

    def tensor(self, reader: int, reference: Reference) -> Tensor:
        """A constant tensor that a call reads."""
        if isinstance(reference, Constant) and isinstance(reference.value, Tensor):
            return reference.value.detach().cpu().float()
        if isinstance(reference, Same | Past) and not self.depends[reference.position]:
            return self.constant(reader, reference).detach().cpu().float()
        raise UserError(f"{self.where(reader)}: its weights depend on the samples")

    def step_of(self, position: int, args: Any) -> TracedTensor | None:
        """The signal of each step if the call takes that step out of a sequence."""
        event = self.last(position)
        if event.name not in ("__getitem__", "select") or not args or not isinstance(args[0], TracedTensor):
            return None
        signal, index = args[0], args[1:]
        if event.name == "select":
            entries = [slice(None)] * (index[0] % signal.axes) + [index[1]]
        else:
            entries = list(index[0]) if isinstance(index[0], tuple) else [index[0]]
        if not any(isinstance(entry, Varying) for entry in entries):
            return None
        axis, values = varying_axis(entries, signal.axes)
        if axis is None or signal.name_of(axis) != "T":
            raise UserError(f"{event.where}: takes another part in every step, along an axis that is not time")
        taken = list(values)
        if taken != list(range(self.steps)):
            raise UserError(
                f"{event.where}: takes the steps {taken[:4]}… of a sequence of {self.steps}; each in order expected"
            )
        return TracedTensor(signal.node, signal.step_lead(), signal.shape)

    def check_zero(self, reference: Past) -> None:
        """Whether a signal of steps before begins with zeros."""
        first = self.initial.get(reference, 0)
        if isinstance(first, Tensor) and not first.any():
            return
        if isinstance(first, int | float) and first == 0:
            return
        raise UserError(
            f"{self.where(reference.position)}: what it makes is read a step later, and is not 0 before the first step"
        )


def body_of(loop: Loop, signal_of: Callable[[Value], TracedTensor | OneStep | None]) -> Body:
    """Find what the calls of a loop read.

    Raises:
        UserError: a call reads something else in every step, in no order that repeats.
    """
    body = Body(loop, loop.steps)
    places = {id(event): (p, t) for p, calls in enumerate(loop.body) for t, event in enumerate(calls) if event is not None}
    finder = _Finder(body, places, signal_of)
    for calls in loop.body:
        last = calls[-1]
        assert last is not None
        if last.name in ONE_READ:  # the others only say of which form the result is
            body.arguments.append(((finder.argument(calls, ("args", 0)), *last.args[1:]), {}))
        else:
            body.arguments.append((finder.argument(calls, ("args",)), finder.argument(calls, ("kwargs",))))
    _forward_writes(body)
    _find_dependent(body)
    return body


def _forward_writes(body: Body) -> None:
    """Read what was written in place of a tensor that it was written to in the same step: `out[t]` after `out[t] = x`."""
    written: dict[int, Reference] = {}
    for p, (args, _) in enumerate(body.arguments):
        if body.last(p).name != "__getitem__" or not isinstance(args[0], Same):
            continue
        source = args[0].position
        if body.last(source).name == "__setitem__" and body.arguments[source][0][1] == args[1]:
            value = body.arguments[source][0][2]
            if isinstance(value, Same | Outer | Constant):
                written[p] = value
                body.forwarded.add(p)

    def change(given: Any) -> Any:
        if isinstance(given, Same | Past) and given.position in written:
            value = written[given.position]
            if isinstance(given, Past) and isinstance(value, Same):
                past = Past(value.position, value.slot, given.distance)
                if given in body.initial:
                    body.initial.setdefault(past, body.initial[given])
                return past
            return value if isinstance(given, Same) else given
        if isinstance(given, dict):
            return {key: change(one) for key, one in given.items()}
        if isinstance(given, tuple):
            return tuple(map(change, given))
        return given

    body.arguments = [(change(args), change(kwargs)) for args, kwargs in body.arguments]


_MISSING = object()


class _Finder:
    def __init__(
        self, body: Body, places: dict[int, tuple[int, int]], signal_of: Callable[[Value], TracedTensor | OneStep | None]
    ) -> None:
        self._body, self._places, self._signal_of = body, places, signal_of

    def argument(self, calls: list[Event | None], path: tuple[Any, ...]) -> Any:
        """An argument, and all that is inside of it."""
        given = [_MISSING if call is None else _at(call, path) for call in calls]
        last = given[-1]
        if isinstance(last, dict):
            return {key: self.argument(calls, (*path, key)) for key in last}
        if isinstance(last, tuple):
            return tuple(self.argument(calls, (*path, number)) for number in range(len(last)))
        if isinstance(last, Value):
            return self._reference(given, calls)
        later = [one for one in given[1:] if one is not _MISSING] or given
        if all(_equal(one, last) for one in later):
            return last
        if all(isinstance(one, int | float) for one in later):
            return Varying(tuple(None if one is _MISSING else one for one in given))
        return last

    def _reference(self, given: list[Any], calls: list[Event | None]) -> Reference:
        last, steps = given[-1], self._body.steps
        place = self._place(last)
        if place is not None:
            position, t = place
            distance = steps - 1 - t
            made = [self._place(one) for one in given]
            source = self._body.calls(position)
            regular = [  # a first step may lack the call that is read, as one does that adds nothing to the first value
                source[t - distance] is None or (made[t] == (position, t - distance) and given[t].slot == last.slot)
                for t in range(max(1, distance), steps)
            ]
            if all(regular):
                if not distance:
                    return Same(position, last.slot)
                reference = Past(position, last.slot, distance)
                for one in given[:distance]:
                    self._begin(reference, one)
                return reference
        signals = [self._signal_of(one) if isinstance(one, Value) else None for one in given]
        known = [one for one in signals if one is not None]
        if known and len(known) >= steps - 1:
            if all(one == known[-1] for one in known) and isinstance(known[-1], TracedTensor):
                return Outer(known[-1])
            begin = int(not isinstance(given[0], Value))  # where a state begins as a number, `0.0 + x` has it in another place
            if isinstance(known[-1], OneStep) and all(
                isinstance(one, OneStep) and one == OneStep(known[-1].signal, t) for t, one in enumerate(signals[begin:], begin)
            ):
                return Outer(known[-1].signal)
        values = [one for one in given[1:] if isinstance(one, Value)] or [last]
        if (
            not known
            and all(self._place(one) is None for one in values)
            and all(_equal(one.tensor, last.tensor) for one in values)
        ):
            return Constant(last.tensor)
        where = next(call.where for call in reversed(calls) if call is not None)
        raise UserError(f"{where}: reads something else in every time step, in no order that repeats")

    def _place(self, value: Any) -> tuple[int, int] | None:
        maker = value.maker if isinstance(value, Value) else None
        return None if maker is None else self._places.get(id(maker))

    def _begin(self, reference: Past, first: Any) -> None:
        if first is _MISSING or first is None:
            return
        held = first.tensor if isinstance(first, Value) else first
        if isinstance(first, Value) and (self._signal_of(first) is not None or self._place(first) is not None):
            return  # a first step that adds nothing to what it reads: a state of zeros, which the samples will show
        known = self._body.initial.setdefault(reference, held)
        if not _equal(known, held):
            raise UserError(f"{self._body.where(0) if len(self._body) else 'loop'}: one state begins with two values")


def _find_dependent(body: Body) -> None:
    body.depends = [
        p not in body.forwarded and any(isinstance(one, Outer) for one in body.references(p)) for p in range(len(body))
    ]
    changed = True
    while changed:
        changed = False
        for p in range(len(body)):
            reads = [one.position for one in body.references(p) if isinstance(one, Same | Past)]
            if not body.depends[p] and p not in body.forwarded and any(body.depends[q] for q in reads):
                body.depends[p] = changed = True


def _at(call: Event, path: tuple[Any, ...]) -> Any:
    found: Any = call.args if path[0] == "args" else call.kwargs
    for key in path[1:]:
        if isinstance(found, dict):
            if key not in found:
                return _MISSING
            found = found[key]
        elif isinstance(found, tuple) and key < len(found):
            found = found[key]
        else:
            return _MISSING
    return found


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)


def varying_axis(entries: Sequence[Any], axes: int) -> tuple[int | None, tuple[Any, ...]]:
    """The one axis of a tensor along which an index takes something else in every step, and what; None if there is no such.

    Args:
        entries: of the index; the others must take all of their axes.
        axes: of the tensor.
    """
    varying = [number for number, entry in enumerate(entries) if isinstance(entry, Varying)]
    others = [entry for entry in entries if not isinstance(entry, Varying)]
    if len(varying) != 1 or any(entry is not Ellipsis and entry != slice(None) for entry in others):
        return None, ()
    (number,) = varying
    axis = number + axes - len(entries) if Ellipsis in entries[:number] else number
    return axis, entries[number].values


def flat(given: Any) -> list[Any]:
    """All that is in tuples and dictionaries."""
    if isinstance(given, dict):
        return [leaf for one in given.values() for leaf in flat(one)]
    if isinstance(given, tuple | list):
        return [leaf for one in given for leaf in flat(one)]
    return [given]
