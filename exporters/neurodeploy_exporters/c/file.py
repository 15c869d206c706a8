"""One C file in the making: its tensors, its states and tables, and the statements of each of its phases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.ops import Range, Shape
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.names import CNames, comment, literal
from neurodeploy_exporters.c.potentials import Accumulation
from neurodeploy_exporters.c.tables import ConstTable, Stored
from neurodeploy_exporters.c.tensors import BYTES, CTensor, CType, Order, channels_last, element

Phase: TypeAlias = Literal["once", "step", "end"]
"""When a node is computed: once per sample, in every time step, after the last one."""
PHASES: tuple[Phase, ...] = ("once", "step", "end")


@dataclass(eq=False)
class _Buffer:
    """Memory of a tensor: a part of the arena of its type, or a field of its own."""

    type: str
    elements: int
    pointer: str = ""


@dataclass(eq=False)
class _Block:
    phase: Phase
    lines: list[str]
    title: str


@dataclass(frozen=True)
class StepCount:
    """Of how many steps something is the mean, which its values are to be divided by.

    Attributes:
        fixed: that number; None where it is that of the steps that were done.
        skip: steps that are left out at the beginning, where it is not fixed.
    """

    fixed: int | None
    skip: int = 0

    @property
    def text(self) -> str:
        """The expression of a float in C, of a head's context `m`."""
        if self.fixed is not None:
            return literal(self.fixed)
        return f"(float)(m->step - {self.skip})" if self.skip else "(float)m->step"

    def of(self, steps: int) -> int:
        """The number, of a sample of so many steps."""
        return steps - self.skip if self.fixed is None else self.fixed


@dataclass(frozen=True)
class KernelChoice:
    """How a synapse is computed.

    Attributes:
        kernel: "event" walks the values that are not 0, "dense" all of them.
        rate: share of its inputs that are not 0, measured; None where that is unknown.
    """

    kernel: Literal["event", "dense"]
    rate: float | None = None


@dataclass(eq=False)
class CFile:
    """One C file: some nodes of a network.

    Attributes:
        graph: the network.
        part: "body" or "head".
        members: names of the nodes, in order.
        entering: tensors that others make.
        entrance: the one that is the caller's input.
        leaving: names of tensors that others read.
        steps: T, for which ranges are proved.
        choices: synapse → kernel.
        names: C names of nodes.
        spiking: spiking layer → its number, in traces.
        accumulations: node → the neurons to whose potentials it adds, for synapses, the sums between, and these neurons.
    """

    graph: Graph
    part: str
    members: tuple[str, ...]
    entering: Mapping[str, CTensor]
    entrance: str
    leaving: tuple[str, ...]
    steps: int
    choices: Mapping[str, KernelChoice]
    names: CNames
    spiking: Mapping[str, int]
    accumulations: Mapping[str, Accumulation] = field(default_factory=dict)
    tensors: dict[str, CTensor] = field(default_factory=dict)
    tables: list[ConstTable] = field(default_factory=list)
    stored: dict[str, Stored] = field(default_factory=dict)
    states: list[tuple[str, str, int, NDArray[Any] | None]] = field(default_factory=list)
    remarks: dict[str, str] = field(default_factory=dict)
    divisors: dict[str, StepCount] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._buffers: dict[str, _Buffer] = {}
        self._blocks: list[_Block] = []
        self._phases: dict[str, Phase] = {}
        self._now: tuple[Phase, str] = ("step", "")
        for name, tensor in self.entering.items():
            self.tensors[name] = tensor
            self._phases[name] = "step" if self.graph.timed(name) else "once"
            access = "input" if name == self.entrance else f"crossing->{self.names[tensor.buffer]}"
            self._buffers[tensor.buffer] = _Buffer(element(tensor.type), tensor.elements, access)

    def phase(self, name: str) -> Phase:
        return self._phases[name]

    def begin(self, node: ops.Node) -> None:
        """What is emitted from now on computes this node."""
        before = [self._phases[source] for source in node.inputs]
        phase: Phase = "step"
        if "end" in before:
            phase = "end"
        elif set(before) == {"once"} and (not node.sequential or isinstance(node, ops.EncodeNode)):
            phase = "once"
        self._phases[node.name] = phase
        self._now = (phase, node.name)

    def later(self, node: ops.Node) -> None:
        """What is emitted from now on comes after the last step."""
        self._phases[node.name] = "end"
        self._now = ("end", node.name)

    def inputs(self, node: ops.Node) -> list[CTensor]:
        return [self.tensors[source] for source in node.inputs]

    def integers(self, node: ops.Node) -> list[CTensor]:
        """The inputs of a node that cannot read others.

        Raises:
            UserError: one of them is a float, or the mean over other than 2, 4, 8, … steps.
        """
        found = self.inputs(node)
        for tensor in found:
            if not tensor.integer or tensor.name in self.divisors:
                raise UserError(
                    f"node {node.name} ({node.kind}): reads {tensor.name}, whose values are on no grid, so that its sums would "
                    "depend on their order; let neurons or the network's answer alone read it"
                )
        return found

    def alias(self, node: ops.Node, tensor: CTensor, shape: Shape, order: Order) -> CTensor:
        """The same values under another shape."""
        made = CTensor(node.name, shape, tensor.type, tensor.grid, order, tensor.buffer)
        self.tensors[node.name] = made
        if tensor.name in self.divisors:
            self.divisors[node.name] = self.divisors[tensor.name]
        return made

    def make(self, node: ops.Node, type: CType, grid: Range, order: Order | None = None, *, name: str = "") -> CTensor:
        """Memory for what a node makes, or for something on the way to it."""
        shape = self.graph.shape(node.name)
        return self.memory(name or node.name, shape, type, grid, channels_last(shape) if order is None else order)

    def memory(self, name: str, shape: Shape, type: CType, grid: Range, order: Order) -> CTensor:
        tensor = CTensor(name, shape, type, grid, order, name)
        self._buffers[name] = _Buffer(element(type), tensor.elements)
        if name in self.graph:
            self.tensors[name] = tensor
        return tensor

    def at(self, tensor: CTensor) -> str:
        """A pointer to a tensor, in statements."""
        return f"@{list(self._buffers).index(tensor.buffer)}@"

    def source(self, tensor: CTensor, name: str = "in") -> str:
        """The declaration of a pointer that reads a tensor."""
        return f"const {element(tensor.type)} *{name} = {self.at(tensor)};"

    def target(self, tensor: CTensor, name: str = "out") -> str:
        """The declaration of a pointer that writes a tensor."""
        return f"{element(tensor.type)} *{name} = {self.at(tensor)};"

    def table(self, suffix: str, type: str, values: NDArray[Any], owner: str = "") -> str:
        """Constants; returns their name."""
        name = f"{self.names[owner or self._now[1]]}_{suffix}"
        self.tables.append(ConstTable(name, type, values.reshape(-1)))
        return name

    def state(self, suffix: str, type: str, count: int, initial: NDArray[Any] | None = None, *, owner: str = "") -> str:
        """A field that keeps its value from step to step, zeros or `initial` after a reset; returns a pointer to it."""
        name = f"{self.names[owner or self._now[1]]}_{suffix}"
        if all(name != known for _, known, _, _ in self.states):
            self.states.append((type, name, count, initial))
        return f"m->{name}"

    def emit(self, lines: Iterable[str], *, remark: str = "") -> None:
        """Statements, in the phase of the current node."""
        phase, name = self._now
        if remark:
            self.remarks[name] = remark
        node = self.graph[name]
        title = comment(f"{name}: {node.kind}{', ' + remark if remark else ''}")
        self._blocks.append(_Block(phase, list(lines), title))

    def aligned(self, tensor: CTensor, order: Order) -> CTensor:
        """The tensor with its values in another order."""
        if np.array_equal(tensor.order, order):
            return tensor
        place = np.empty(tensor.size, np.int64)
        place[tensor.order] = np.arange(tensor.size)
        name = f"{tensor.name}~{len(self._buffers)}"
        made = self.memory(name, tensor.shape, tensor.type, tensor.grid, order)
        self.emit(["{", f"    {self.source(tensor)}", f"    {self.target(made)}", *self.moved(tensor, made, place[order]), "}"])
        return made

    def moved(self, source: CTensor, target: CTensor, places: NDArray[np.int64], *, clear: bool = True) -> list[str]:
        """Statements that copy `in[places[i]]` to `out[i]`, and zeros where a place is negative.

        Args:
            source, target: at the pointers `in` and `out`.
            places: in memory.
            clear: whether everything else of the target becomes 0 first; else that stays, as other sources write it.
        """
        lines = []
        partial = bool((places < 0).any())
        if clear and (partial or target.type == "bits"):
            lines.append(f"    for (int32_t i = 0; i < {target.elements}; i++) out[i] = 0;")
        to = np.flatnonzero(places >= 0)
        begins, lengths = _runs(places[to], to)
        first, length = places[to][begins], lengths
        starts = to[begins]
        if not len(begins):
            return lines
        scale = target.grid.exponent - source.grid.exponent
        factor = f" * {2**scale}" if scale else ""
        if (
            len(set(lengths.tolist())) == 1
            and len(set(np.diff(first).tolist())) <= 1
            and len(set(np.diff(starts).tolist())) <= 1
        ):
            steps = [int(values[1] - values[0]) if len(values) > 1 else 0 for values in (first, starts)]
            head = [
                f"    for (int32_t r = 0; r < {len(first)}; r++)",
                f"        for (int32_t i = 0; i < {int(length[0])}; i++) {{",
            ]
            read = source.read("in", f"{int(first[0])} + r * {steps[0]} + i")
            write = target.write("out", f"{int(starts[0])} + r * {steps[1]} + i", read + factor)
            return [*lines, *head, f"            {write}", "        }"]
        table = self.table(f"runs{len(self.tables)}", "int32_t", np.stack([first, starts, length], 1))
        return [
            *lines,
            f"    for (int32_t r = 0; r < {len(first)}; r++)",
            f"        for (int32_t i = 0; i < {table}[3 * r + 2]; i++) {{",
            f"            {target.write('out', f'{table}[3 * r + 1] + i', source.read('in', f'{table}[3 * r] + i') + factor)}",
            "        }",
        ]

    def finish(self) -> None:
        """Give every tensor its place in memory: arenas, one per type, in which those that are not needed at once share."""
        alive: dict[str, tuple[int, int]] = {}
        phases: dict[str, set[Phase]] = {}
        for name in self.leaving:
            if self.tensors[name].buffer in self.entering or self._phases[name] == "once":
                self._hand_on(name)
            self._buffers[self.tensors[name].buffer].pointer = f"crossing->{self.names[self.tensors[name].buffer]}"
        held = list(self._buffers)
        for number, block in enumerate(self._blocks):
            for buffer in {held[int(part)] for line in block.lines for part in line.split("@")[1::2]}:
                first, _ = alive.get(buffer, (number, number))
                alive[buffer] = (first, number)
                phases.setdefault(buffer, set()).add(block.phase)
        self.arenas: dict[str, int] = {}
        placed: dict[str, list[tuple[int, int, int, int]]] = {}
        for name, (first, last) in sorted(alive.items(), key=lambda item: (-self._buffers[item[0]].elements, item[1])):
            memory = self._buffers[name]
            if memory.pointer:
                continue
            # what is computed once is read in every step
            span = (first, last) if len(phases[name]) == 1 else (0, len(self._blocks))
            others = placed.setdefault(memory.type, [])
            offset = 0
            for start, end, begin, stop in sorted(others):
                if begin <= span[1] and span[0] <= stop and offset < end and start < offset + memory.elements:
                    offset = end
            others.append((offset, offset + memory.elements, *span))
            self.arenas[memory.type] = max(self.arenas.get(memory.type, 0), offset + memory.elements)
            memory.pointer = f"(m->{arena(memory.type)} + {offset})" if offset else f"m->{arena(memory.type)}"

    def _hand_on(self, name: str) -> None:
        """A value that is not computed in every step, or the caller's own, crosses to the head in every step all the same."""
        tensor = self.tensors[name]
        copy = [f"    for (int32_t i = 0; i < {tensor.elements}; i++) out[i] = in[i];"]
        phase = self._phases[name]
        if tensor.buffer in self.entering and phase == "once":  # the caller gives it in the first step alone
            self._now = ("once", name)
            kept = self.memory(f"{name}~kept", tensor.shape, tensor.type, tensor.grid, tensor.order)
            self.emit(["{", f"    {self.source(tensor)}", f"    {self.target(kept)}", *copy, "}"], remark="kept for all steps")
            tensor = kept
        self._now = ("step", name)
        buffer = self.names.crossing(name)
        made = CTensor(name, tensor.shape, tensor.type, tensor.grid, tensor.order, buffer)
        self._buffers[buffer] = _Buffer(element(tensor.type), tensor.elements)
        self.emit(["{", f"    {self.source(tensor)}", f"    {self.target(made)}", *copy, "}"])
        self.tensors[name] = made

    def code(self, phase: Phase) -> list[str]:
        """The statements of a phase."""
        lines: list[str] = []
        held = list(self._buffers.values())
        for block in self._blocks:
            if block.phase == phase:
                lines += ["", f"/* {block.title} */"]
                for line in block.lines:
                    parts = line.split("@")
                    parts[1::2] = [held[int(number)].pointer for number in parts[1::2]]
                    lines.append("".join(parts))
        return lines

    def pointer(self, name: str) -> str:
        """Where a tensor is, after `finish`."""
        return self._buffers[self.tensors[name].buffer].pointer

    @property
    def constants(self) -> tuple[ConstTable, ...]:
        """All tables: of weights, and of what states begin with."""
        begun = [
            ConstTable(f"{self.part}_{name}_initial", kind, initial)
            for kind, name, _, initial in self.states
            if initial is not None
        ]
        return (*self.tables, *begun)

    @property
    def ram(self) -> int:
        """Bytes of states and arenas."""
        return sum(BYTES[type] * count for type, _, count, _ in self.states) + sum(
            BYTES[type] * count for type, count in self.arenas.items()
        )


def arena(type: str) -> str:
    return f"arena_{type.removesuffix('_t')}"


def _runs(places: NDArray[np.int64], to: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where neighbours are copied to neighbours: beginnings, by number, and lengths."""
    if not len(places):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    breaks = np.flatnonzero((np.diff(places) != 1) | (np.diff(to) != 1)) + 1
    begins = np.concatenate([[0], breaks])
    return begins, np.diff(np.concatenate([begins, [len(places)]]))


def spread(values: NDArray[Any], shape: Shape, order: Sequence[int] | Order) -> NDArray[Any]:
    """An array that broadcasts against a sample, as one value of each position in memory."""
    return np.broadcast_to(values, shape).reshape(prod(shape))[np.asarray(order)]
