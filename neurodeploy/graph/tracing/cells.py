"""Neurons in the body of a loop: what reads its own past, with all that belongs to it, as the update of a node.

Calls that read each other's past in a circle are a state and its update. To them belong the calls value by value that follow
from them alone, up to the spikes (the comparison with a threshold may come after the circle), and those before them that
nothing else reads (an input divided by a time constant). A comparison in no circle is a neuron without a memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.dynamics.updates import Instruction, Operand, Update
from neurodeploy.graph import ops
from neurodeploy.graph.ops import Node
from neurodeploy.graph.tracing.body import Body, Constant, Outer, Past, Reference, Same, Varying, flat
from neurodeploy.graph.tracing.elementwise import COMPARISONS, ELEMENTWISE, ONE_READ, SAME
from neurodeploy.graph.tracing.running import first_line
from neurodeploy.graph.tracing.traced_tensor import TracedTensor
from neurodeploy.io.errors import UserError

_LINEAR = ("linear", "matmul", "mm")
_SYNAPSES = (*_LINEAR, "conv1d", "conv2d", "conv3d")
_MOST_NEURONS = 4096
"""Of a layer whose spikes come back through a convolution: its weights are written as a matrix."""
_VIEWS = ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", *SAME)
_JOINS = ("cat", "concat", "concatenate")


@dataclass
class Unit:
    """Calls of a body that become nodes together.

    Attributes:
        position: of the first of them.
        members: all of them if they are an update; none of a call on its own.
        outputs: position and slot of what others read of them.
        title: what it is called if its layer's name is taken.
        path, module: of its layer.
    """

    position: int
    members: frozenset[int] = frozenset()
    outputs: list[tuple[int, int]] = field(default_factory=list)
    title: str = "neuron"
    path: str = ""
    module: nn.Module = field(default_factory=nn.Module)


def units_of(body: Body) -> list[Unit]:
    """The calls of a body that depend on the samples, in an order in which each unit comes after what it reads.

    Raises:
        UserError: something reads its own past that is no neuron.
    """
    positions = [p for p in range(len(body)) if body.depends[p]]
    reads = {p: _reads(body, p) for p in positions}
    readers: dict[int, set[int]] = {p: set() for p in positions}
    for p in positions:
        for q in reads[p]:
            readers[q].add(p)
    binary = _binary(body, positions)
    circles = [set(circle) for circle in _circles(positions, reads) if not _collects(body, circle)]
    taken: set[int] = set().union(*circles) if circles else set()
    for circle in circles:
        _grow(body, circle, taken, reads, readers, binary)
    for p in positions:
        if p not in taken and body.last(p).name.strip("_") in COMPARISONS:
            circle = {p}
            taken.add(p)
            _grow(body, circle, taken, reads, readers, binary)
            circles.append(circle)
    units = [_unit(body, circle, readers) for circle in circles]
    units += [Unit(p) for p in positions if p not in taken]
    return _ordered(units, reads)


def _reads(body: Body, p: int) -> set[int]:
    found = {one.position for one in body.references(p) if isinstance(one, Same | Past)}
    return {q for q in found if body.depends[q]}


def _circles(positions: list[int], reads: dict[int, set[int]]) -> list[list[int]]:
    """Strongly connected calls, and those that read their own past (Tarjan's algorithm, without recursion)."""
    number: dict[int, int] = {}
    lowest: dict[int, int] = {}
    stack: list[int] = []
    found = []
    for root in positions:
        if root in number:
            continue
        work = [(root, iter(sorted(reads[root])))]
        number[root] = lowest[root] = len(number)
        stack.append(root)
        while work:
            p, following = work[-1]
            q = next(following, None)
            if q is None:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[p])
                if lowest[p] == number[p]:
                    circle = stack[stack.index(p) :]
                    del stack[stack.index(p) :]
                    if len(circle) > 1 or p in reads[p]:
                        found.append(circle)
            elif q not in number:
                number[q] = lowest[q] = len(number)
                stack.append(q)
                work.append((q, iter(sorted(reads[q]))))
            elif q in stack:
                lowest[p] = min(lowest[p], number[q])
    return found


def _collects(body: Body, circle: list[int]) -> bool:
    """Whether a circle only writes each step into a tensor that was there before: `out[t] = spikes`."""
    if len(circle) != 1 or body.last(circle[0]).name != "__setitem__":
        return False
    _, index, *_ = body.arguments[circle[0]][0]
    return any(isinstance(one, Varying) for one in flat(index))


def _binary(body: Body, positions: list[int]) -> set[int]:
    """Calls whose answer is 0 or 1 whatever they read."""
    found: set[int] = set()
    for p in positions:
        name = body.last(p).name.strip("_")
        known = [_is_binary(one, found) for one in body.references(p)]
        same = name in SAME and known[:1] == [True]
        product = name in ("mul", "multiply", "logical_and", "and", "maximum", "minimum") and all(known)
        inverted = name == "rsub" and known == [True] and 1 in body.arguments[p][0]
        if name in COMPARISONS or name == "invert" or same or product or inverted:
            found.add(p)
    return found


def _is_binary(reference: Reference, found: set[int]) -> bool:
    if isinstance(reference, Same):
        return reference.position in found
    return isinstance(reference, Constant) and isinstance(reference.value, Tensor) and reference.value.dtype == torch.bool


def _value_by_value(body: Body, p: int) -> bool:
    event = body.last(p)
    return event.name in ELEMENTWISE and len(event.results) == 1


def _grow(
    body: Body,
    circle: set[int],
    taken: set[int],
    reads: dict[int, set[int]],
    readers: dict[int, set[int]],
    binary: set[int],
) -> None:
    """Add what belongs to an update: calls after it that read it alone, up to its spikes, and calls before it."""
    changed = True
    while changed:
        changed = False
        for p in sorted(set().union(*(readers[q] for q in circle)) - taken):
            outside = any(isinstance(one, Outer) for one in body.references(p)) or not reads[p] <= circle
            after_spikes = reads[p] <= binary and p not in binary
            if not outside and not after_spikes and _value_by_value(body, p):
                circle.add(p)
                taken.add(p)
                changed = True
        for p in sorted(set().union(*(reads[q] for q in circle)) - taken):
            signals = [one for one in body.references(p) if isinstance(one, Outer | Same | Past) and _is_signal(body, one)]
            if readers[p] <= circle and len(signals) == 1 and p not in binary and _value_by_value(body, p):
                circle.add(p)
                taken.add(p)
                changed = True


def _is_signal(body: Body, reference: Reference) -> bool:
    return isinstance(reference, Outer) or (isinstance(reference, Same | Past) and body.depends[reference.position])


def _unit(body: Body, circle: set[int], readers: dict[int, set[int]]) -> Unit:
    outputs = {
        (one.position, one.slot)
        for p in circle
        for q in readers[p] - circle
        for one in body.references(q)
        if isinstance(one, Same | Past) and one.position in circle
    }
    read_later = {
        (p, slot)
        for p in circle
        for slot, value in enumerate(body.last(p).results)
        if p not in {q for q, _ in outputs} and body.loop.read_after(value)
    }
    outputs |= read_later
    first = min(circle)
    comparing = [p for p in circle if body.last(p).name.strip("_") in COMPARISONS]
    speaks = body.last(min(comparing, default=first))
    title = "neuron" if comparing else "membrane"
    return Unit(first, frozenset(circle), sorted(outputs), title, speaks.path, speaks.module)


def _ordered(units: list[Unit], reads: dict[int, set[int]]) -> list[Unit]:
    """Each after those that it reads; the first in the code first."""
    owner = {p: number for number, unit in enumerate(units) for p in unit.members or {unit.position}}
    needs = [
        {owner[q] for p in unit.members or {unit.position} for q in reads[p] if owner[q] != number}
        for number, unit in enumerate(units)
    ]
    done: set[int] = set()
    order: list[Unit] = []
    while len(order) < len(units):
        ready = [number for number in range(len(units)) if number not in done and needs[number] <= done]
        following = min(ready, key=lambda number: max(units[number].members or {units[number].position}))
        done.add(following)
        order.append(units[following])
    return order


def nodes_of(
    body: Body, unit: Unit, output: tuple[int, int], name: str, signal: Callable[[Reference], TracedTensor]
) -> list[Node]:
    """The nodes that answer one of a unit's values; the last one is called `name`.

    Args:
        body: of the loop.
        unit: of it.
        output: position and slot of the value.
        name: of the node.
        signal: what a reference to something outside of the unit is.

    Raises:
        UserError: a call of it is nothing that an update can have.
    """
    return _UpdateWriter(body, unit, output, name, signal).nodes()


class _UpdateWriter:
    """An update in the making."""

    def __init__(
        self,
        body: Body,
        unit: Unit,
        output: tuple[int, int],
        name: str,
        signal: Callable[[Reference], TracedTensor],
    ) -> None:
        self.body, self.unit, self.output, self.name, self.signal = body, unit, output, name, signal
        self.shape = tuple(body.last(output[0]).results[output[1]].tensor.shape[1:])
        self.instructions: list[Instruction] = []
        self.arrays: list[NDArray[np.float32]] = []
        self.inputs: list[str] = []
        self.states: dict[Past, int] = {}
        self.initial: list[Operand] = []
        self.places: dict[tuple[int, int], Operand] = {}
        self.synapse: int | None = None
        self.recurrence: tuple[Any, Any] = (None, None)
        self.before: list[Node] = []

    def nodes(self) -> list[Node]:
        needed = self._needed()
        back = [p for p in needed if self.body.last(p).name in _SYNAPSES]
        if len(back) > 1:
            raise UserError(f"{self.body.where(back[1])}: a second recurrent synapse of one layer of neurons; one is possible")
        self.synapse = back[0] if back else None
        for p in needed:
            if p == self.synapse:
                self._recurrence(p)
            elif not self._is_view(p) and self.body.last(p).name not in _JOINS:
                self.places[p, 0] = self._instructions(p)
        following = [self._following(past) for past in list(self.states)]
        output = self._operand(self.output[0], Same(*self.output))
        if self.synapse is not None and output != self._operand(self.output[0], self._returned(self.synapse)):
            raise UserError(
                f"{self.body.where(self.synapse)}: reads something else than what its layer of neurons answers; that alone can "
                "come back"
            )
        count = len(self.inputs)

        def numbered(operand: Operand) -> Operand:
            return ("input", count) if operand == _BACK else operand

        instructions = tuple(Instruction(one.operation, tuple(map(numbered, one.operands))) for one in self.instructions)
        instructions, (output, *following) = _needed(instructions, tuple(map(numbered, (output, *following))))
        update = Update(count + (self.synapse is not None), instructions, tuple(self.initial), tuple(following), output)
        if not self.inputs:
            raise UserError(f"{self.body.where(self.unit.position)}: neurons that read nothing found")
        both: dict[str, Any] = {"name": self.name, "inputs": tuple(self.inputs), "update": update}
        both |= {"arrays": tuple(self.arrays), "recurrent": self.recurrence[0], "recurrent_bias": self.recurrence[1]}
        if update.binary():
            return [*self.before, ops.CellNode(**both)]
        if _counts(update) and _fires(update):
            return [*self.before, ops.CellNode(**both, largest=None)]
        return [*self.before, ops.MembraneNode(**both)]

    def _needed(self) -> list[int]:
        """The calls that the output and its states need, in order."""
        found: set[int] = set()
        pending = [self.output[0]]
        while pending:
            p = pending.pop()
            if p in found or p not in self.unit.members:
                continue
            found.add(p)
            pending += [one.position for one in self.body.references(p) if isinstance(one, Same | Past)]
        return sorted(found)

    def _instructions(self, p: int) -> Operand:
        event = self.body.last(p)
        if event.name not in ELEMENTWISE or len(event.results) != 1:
            raise UserError(
                f"{event.where}: is part of what reads its own past, and computes not value by value; a linear layer of the "
                "spikes of the step before is possible"
            )
        made = event.results[0].tensor
        if tuple(made.shape[1:]) != self.shape and made.numel() != 1:
            raise UserError(
                f"{event.where}: {tuple(made.shape[1:])} found within an update of values {self.shape}; equal shapes expected"
            )
        args, kwargs = self.body.arguments[p]
        if event.name in ONE_READ:
            args, kwargs = args[:1], {}
        try:
            return ELEMENTWISE[event.name](
                self._emit, *(self._operand(p, one) for one in args), **{k: self._operand(p, one) for k, one in kwargs.items()}
            )
        except UserError:
            raise
        except Exception as error:  # arguments that its rule does not take
            raise UserError(f"{event.where}: has no form in the update of a neuron ({first_line(error)})") from None

    def _emit(self, operation: str, *operands: Operand) -> Operand:
        passed = self._passed_through(operation, operands)
        if passed is not None:
            return passed
        self.instructions.append(Instruction(operation, tuple(operands)))
        return "result", len(self.instructions) - 1

    def _passed_through(self, operation: str, operands: tuple[Operand, ...]) -> Operand | None:
        """Spikes to which something is added and taken away again for a gradient: `soft + (spikes - soft).detach()`.

        They are 0 and 1 but for the rounding of that, which nobody means.
        """
        if operation not in ("add", "sub"):
            return None
        pairs = [operands] if operation == "sub" else [operands, operands[::-1]]
        for (place, which), other in pairs:
            if place != "result":
                continue
            inner = self.instructions[int(which)]
            inverse = {"add": "sub", "sub": "add"}[operation]
            if inner.operation == inverse and other in inner.operands[inverse == "sub" :]:
                rest = inner.operands[0] if inner.operands[1] == other else inner.operands[1]
                if rest[0] == "result" and self._fires(rest):
                    return rest
        return None

    def _fires(self, operand: Operand) -> bool:
        """Whether a value so far is 0 or 1 whatever is read."""
        alone = tuple(Instruction(one.operation, tuple(map(_unnumbered, one.operands))) for one in self.instructions)
        return Update(1, alone, (), (), operand).binary() if alone else False

    def _operand(self, p: int, given: Any) -> Any:
        if isinstance(given, Varying):
            raise UserError(f"{self.body.where(p)}: computes with a number that differs from step to step")
        if isinstance(given, Constant):
            return self._constant(given.value)
        if isinstance(given, Same | Past) and not self.body.depends[given.position]:
            return self._constant(self.body.constant(p, given))
        if isinstance(given, Same | Past):
            given = self._seen(given)
        if isinstance(given, Same | Past) and given.position == self.synapse:
            return self._back(given)
        if isinstance(given, Same) and given.position in self.unit.members:
            return self.places[given.position, given.slot]
        if isinstance(given, Past) and given.position in self.unit.members:
            return self._state(given)
        if isinstance(given, Outer | Same | Past):
            return self._input(given)
        if isinstance(given, bool) or given is None or isinstance(given, str | torch.dtype | torch.device):
            return given
        if isinstance(given, int | float):
            return "number", float(given)
        return given

    def _constant(self, value: Any) -> Operand:
        if not isinstance(value, Tensor):
            return "number", float(value)
        held = value.detach().cpu().float()
        if held.numel() == 1:
            return "number", held.item()
        if held.ndim > len(self.shape):
            if held.ndim > len(self.shape) + 1 or not (held == held[:1]).all():
                raise UserError(
                    f"{self.body.where(self.unit.position)}: a constant {tuple(held.shape)} differs between samples"
                )
            held = held[0]
        if (held == held.flatten()[0]).all():
            return "number", held.flatten()[0].item()
        for number, known in enumerate(self.arrays):
            if known.shape == tuple(held.shape) and np.array_equal(known, held.numpy()):
                return "array", number
        self.arrays.append(held.numpy().copy())
        return "array", len(self.arrays) - 1

    def _input(self, reference: Reference) -> Operand:
        node = self.signal(reference).node
        if node not in self.inputs:
            self.inputs.append(node)
        return "input", self.inputs.index(node)

    def _state(self, past: Past) -> Operand:
        """What a call made so many steps before; each step is a state of its own."""
        for distance in range(1, past.distance + 1):
            one = Past(past.position, past.slot, distance)
            if one not in self.states:
                self.states[one] = len(self.states)
                self.initial.append(self._constant(self.body.initial.get(one, 0)))
        return "state", self.states[past]

    def _following(self, past: Past) -> Operand:
        if past.distance == 1:
            return self._operand(past.position, Same(past.position, past.slot))
        return "state", self.states[Past(past.position, past.slot, past.distance - 1)]

    def _is_view(self, p: int) -> bool:
        """Whether a call only changes a shape; one that changes nothing at all is elementwise."""
        event = self.body.last(p)
        alike = tuple(event.results[0].tensor.shape[1:]) == self.shape
        return event.name in _VIEWS and not (event.name in ELEMENTWISE and alike)

    def _seen(self, given: Reference) -> Reference:
        """What a reference is through calls of the unit that only change a shape."""
        while isinstance(given, Same | Past) and given.position in self.unit.members:
            if not self._is_view(given.position):
                break
            inner = self.body.arguments[given.position][0][0]
            if not isinstance(inner, Same | Past):
                break
            distance = _distance(given) + _distance(inner)
            if isinstance(given, Past) and given in self.body.initial and isinstance(inner, Same):
                self.body.initial.setdefault(Past(inner.position, inner.slot, distance), self.body.initial[given])
            given = Past(inner.position, inner.slot, distance) if distance else Same(inner.position, inner.slot)
        return given

    def _returned(self, synapse: int) -> Same:
        """What a synapse brings back, as it was when it was made."""
        found = self._read_back(synapse)
        return Same(found.position, found.slot)

    def _read_back(self, synapse: int) -> Same | Past:
        read = self._seen(self.body.arguments[synapse][0][0])
        if isinstance(read, Same) and self.body.last(read.position).name in _JOINS:
            parts = [self._seen(one) for one in self.body.arguments[read.position][0][0]]
            own = [one for one in parts if isinstance(one, Same | Past) and one.position in self.unit.members]
            if len(own) == 1:
                read = own[0]
        if not isinstance(read, Same | Past) or read.position not in self.unit.members:
            raise UserError(_SEVERAL.format(self.body.where(synapse)))
        return read

    def _back(self, given: Same | Past) -> Operand:
        """What the synapse brings back from the step before."""
        assert self.synapse is not None
        if _distance(given) + _distance(self._read_back(self.synapse)) != 1:
            raise UserError(_SEVERAL.format(self.body.where(self.synapse)))
        if isinstance(given, Past):
            self.body.check_zero(given)
            if self.recurrence[1] is not None:
                raise UserError(f"{self.body.where(self.synapse)}: has a bias that comes a step later; leave it out")
        return self.places.get((self.synapse, 0), _BACK)

    def _weights(self, p: int) -> tuple[Tensor, Tensor | None]:
        """A synapse's weights `[N_out, N_in]` and bias; those of a convolution as the matrix that it is."""
        event = self.body.last(p)
        args, kwargs = self.body.arguments[p]
        weight = self.body.tensor(p, args[1] if len(args) > 1 else kwargs["weight"])
        given = args[2] if len(args) > 2 else kwargs.get("bias")
        bias = None if given is None else self.body.tensor(p, given)
        if event.name in _LINEAR:
            return weight if event.name == "linear" else weight.T, bias
        made = event.results[0].tensor
        shape = tuple(event.args[0].tensor.shape[1:])
        if tuple(made.shape[1:]) != shape or made[0].numel() > _MOST_NEURONS:
            raise UserError(
                f"{event.where}: brings {shape} back as {tuple(made.shape[1:])}; equal shapes of at most {_MOST_NEURONS:,} "
                "neurons expected"
            )
        convolve = {"conv1d": functional.conv1d, "conv2d": functional.conv2d, "conv3d": functional.conv3d}[event.name]
        others = {key: value for key, value in kwargs.items() if key not in ("input", "weight", "bias")}
        columns = convolve(torch.eye(made[0].numel()).unflatten(1, shape), weight, None, *args[3:], **others)
        constant = None if bias is None else bias.view(-1, *(1,) * (len(shape) - 1)).expand(shape).flatten()
        return columns.flatten(1).T, constant

    def _recurrence(self, p: int) -> None:
        """Weights and bias of the synapse that brings back what the layer answered; of a joined input its own part of them."""
        args, _ = self.body.arguments[p]
        weight, bias = self._weights(p)
        read = self._seen(args[0])
        own = self._read_back(p)
        if isinstance(own, Past):
            self.body.check_zero(own)
        if not isinstance(read, Same) or read.position == own.position:
            self.recurrence = weight.numpy().copy(), None if bias is None else bias.numpy().copy()
            return
        at, joined = 0, self.body.arguments[read.position][0][0]
        for number, one in enumerate(joined):
            value = self.body.last(read.position).args[0][number]
            width = value.tensor.shape[-1]
            part = weight[:, at : at + width].numpy().copy()
            at += width
            if self._seen(one) == own:
                self.recurrence = part, None
                continue
            node = ops.LinearNode(
                name=f"{self.name}.input{'' if not self.before else len(self.before) + 1}",
                inputs=(self.signal(one).node,),
                weight=part,
                bias=None if bias is None or self.before else bias.numpy().copy(),
            )
            self.before.append(node)
            self.inputs.append(node.name)
            here: Operand = "input", len(self.inputs) - 1
            self.places[p, 0] = self._emit("add", self.places.get((p, 0), _BACK), here)


def _unnumbered(operand: Operand) -> Operand:
    """An operand that is no result, as an input: whether values are 0 or 1 does not depend on it, unless it is a number."""
    return operand if operand[0] in ("result", "number") else ("input", 0)


def _needed(
    instructions: tuple[Instruction, ...], read: tuple[Operand, ...]
) -> tuple[tuple[Instruction, ...], tuple[Operand, ...]]:
    """The instructions that values depend on, and where these are then."""
    needed: set[int] = set()
    pending = [int(which) for place, which in read if place == "result"]
    while pending:
        number = pending.pop()
        if number not in needed:
            needed.add(number)
            pending += [int(which) for place, which in instructions[number].operands if place == "result"]
    places = {old: new for new, old in enumerate(sorted(needed))}

    def moved(operand: Operand) -> Operand:
        return ("result", places[int(operand[1])]) if operand[0] == "result" else operand

    kept = tuple(
        Instruction(one.operation, tuple(map(moved, one.operands))) for i, one in enumerate(instructions) if i in needed
    )
    return kept, tuple(map(moved, read))


_SEVERAL = (
    "{}: is on a way back through several layers, or through more than one step; what one layer of neurons answered can come "
    "back to that layer in the next step"
)
_BACK: Operand = ("input", -1)
"""What comes back through weights, until the number of inputs is known: it is the last of them."""


def _distance(reference: Same | Past) -> int:
    return reference.distance if isinstance(reference, Past) else 0


def _fires(update: Update) -> bool:
    """Whether what it answers changes a state, as spikes do that are subtracted; the value of a state alone is no spike."""
    reached = {update.output, *(("state", i) for i, one in enumerate(update.following) if one == update.output)}
    for number, one in enumerate(update.instructions):
        if not reached.isdisjoint(one.operands):
            reached.add(("result", number))
    return any(one in reached and one != update.output for one in update.following)


def _counts(update: Update) -> bool:
    """Whether an update answers whole numbers: rounded ones, times 0 or 1."""
    whole: list[bool] = []

    def known(operand: Operand) -> bool:
        place, which = operand
        return whole[int(which)] if place == "result" else place == "number" and float(which).is_integer()

    for one in update.instructions:
        rounding = one.operation in ("floor", "ceil", "round", "trunc", "sign", "gt", "ge", "lt", "le", "eq", "ne")
        keeping = one.operation in ("add", "sub", "mul", "maximum", "minimum", "abs", "neg")
        whole.append(rounding or (keeping and all(map(known, one.operands))))
        if one.operation == "where":
            whole[-1] = all(map(known, one.operands[1:]))
    return known(update.output)
