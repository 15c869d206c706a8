"""Loops in a tape: which calls are the steps of one place in the code.

Calls of one place have one token (`neurodeploy.graph.tracing.tape`). A loop is a stretch of the tape whose tokens repeat with a
period; the longest is taken first, then those before and after it. The first step may differ from the others: a state that
does not exist yet is made, or is not added.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.tracing.tape import Event, Tape, Value, values_of


@dataclass(eq=False)
class Loop:
    """Calls that are made again and again.

    Attributes:
        body: position in the body → the call of each step; None in a first step that leaves it out.
        read_later: ids of the values that calls behind the loop, or the module's answers, read.
        steps: number of them.
    """

    body: list[list[Event | None]]
    read_later: set[int] = field(default_factory=set)

    @property
    def steps(self) -> int:
        return len(self.body[0])

    def read_after(self, value: Value) -> bool:
        """Whether a call behind the loop, or the answer, reads what the last step made."""
        return id(value) in self.read_later


Item: TypeAlias = Event | Loop


def rolled_up(tape: Tape) -> list[Item]:
    """The calls in order, with loops in place of those that repeat."""
    events = tape.events
    numbers: dict[object, int] = {}
    tokens = np.array([numbers.setdefault(event.token, len(numbers)) for event in events], np.int64)
    items = _rolled(list(events), tokens)
    later = {id(value) for value in values_of(tuple(tape.answers))}
    for item in reversed(items):
        if isinstance(item, Loop):
            item.read_later = set(later)
            calls = [call for several in item.body for call in several if call is not None]
        else:
            calls = [item]
        for call in calls:
            later |= {id(value) for value in values_of((call.args, call.kwargs))}
    return items


def _rolled(events: list[Event], tokens: NDArray[np.int64]) -> list[Item]:
    found = _longest(tokens)
    if found is None:
        return list(events)
    end, period, count = found
    start = end - count * period
    body: list[list[Event | None]] = [[events[start + t * period + p] for t in range(count)] for p in range(period)]
    begin, first = _first_step(tokens, start, tokens[end - period : end])
    if not first:
        begin, first = _before_loop(events, start, [calls[-1] for calls in body])
    outside = [event for number, event in enumerate(events[begin:start], begin) if number not in first.values()]
    if first:
        for p, calls in enumerate(body):
            calls.insert(0, events[first[p]] if p in first else None)
    before = np.array([*tokens[:begin], *(tokens[i] for i in range(begin, start) if i not in first.values())], np.int64)
    return [*_rolled([*events[:begin], *outside], before), Loop(body), *_rolled(events[end:], tokens[end:])]


def _longest(tokens: NDArray[np.int64]) -> tuple[int, int, int] | None:
    """End, period and number of whole steps of the stretch of tokens that is longest."""
    best, found = 0, None
    for period in range(1, len(tokens) // 2 + 1):
        if len(tokens) - period + period <= best:
            break
        equal = np.concatenate(([False], tokens[:-period] == tokens[period:], [False]))
        edges = np.flatnonzero(equal[1:] != equal[:-1])
        for start, stop in edges.reshape(-1, 2):
            run = int(stop - start)
            if run >= period and run + period > best:
                best, found = run + period, (int(stop) + period, period, (run + period) // period)
    return found


def _first_step(tokens: NDArray[np.int64], start: int, body: NDArray[np.int64]) -> tuple[int, dict[int, int]]:
    """Where the calls of a first step begin that is shorter than the others, and position in the body → call."""
    own: dict[int, int] = {}
    expected, number, begin = len(body) - 1, start - 1, start
    in_body = set(body.tolist())
    strangers = 0
    while number >= 0 and expected >= 0 and strangers <= len(body):
        if tokens[number] in in_body:
            places = [p for p in range(expected, -1, -1) if body[p] == tokens[number]]
            if not places:
                break
            own[places[0]], expected, begin, strangers = number, places[0] - 1, number, 0
        else:
            strangers += 1
        number -= 1
    return begin, own


def _before_loop(events: list[Event], start: int, body: list[Event | None]) -> tuple[int, dict[int, int]]:
    """A first step that stands before the loop, at another place in the code: `y = net(x)`, then `y += net(x)` in the loop.

    Its calls are those of the same layers in the same order; calls of the body may be missing in it.
    """
    own: dict[int, int] = {}
    number = start - 1
    for p in range(len(body) - 1, -1, -1):
        event = body[p]
        assert event is not None
        if number >= 0 and (events[number].name, events[number].path) == (event.name, event.path):
            own[p] = number
            number -= 1
    inner = [p for p, event in enumerate(body) if event is not None and event.path]
    if not inner or any(p not in own for p in inner):
        return start, {}
    return number + 1, own
