"""What C makes of each operation."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import ops
from neurodeploy.graph.ops import EXACT, Range
from neurodeploy.graph.ops.operation import exponent
from neurodeploy.graph.table import Table
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.cells import emit_cell
from neurodeploy_exporters.c.deployed import steps_vary
from neurodeploy_exporters.c.file import CFile, StepCount
from neurodeploy_exporters.c.names import literal
from neurodeploy_exporters.c.neurons import emit_fixed_point, emit_low_pass, emit_neuron
from neurodeploy_exporters.c.synapses import emit_synapse
from neurodeploy_exporters.c.tables import Stored
from neurodeploy_exporters.c.tensors import CTensor, CType, channels_last, integer_type

OPERATIONS: Table[Callable[[Any, CFile], None]] = Table("in C", "export to ONNX instead")

OPERATIONS.rule(ops.ConvNode, ops.LinearNode, ops.ConvTransposeNode)(emit_synapse)
OPERATIONS.rule(ops.NeuronNode)(emit_neuron)
OPERATIONS.rule(ops.LowPassNode)(emit_low_pass)
OPERATIONS.rule(ops.FixedPointNeuronNode)(emit_fixed_point)
OPERATIONS.rule(ops.CellNode, ops.MembraneNode)(emit_cell)
OPERATIONS.lack(ops.Spiking, "describe the update as a Cell, which every target knows, or export to ONNX")
OPERATIONS.refuse(ops.MatMulNode, "a product of two signals (MatMul), whose sums have no proved range; export to ONNX instead")


@OPERATIONS.rule(ops.InputNode)
def _input(node: ops.InputNode, unit: CFile) -> None:
    """It is there: see `neurodeploy_exporters.c.entrance`."""


@OPERATIONS.rule(ops.NormalizeNode)
def _normalize(node: ops.NormalizeNode, unit: CFile) -> None:  # noqa: ARG001
    raise UserError(
        f"node {node.name} (Normalize): a normalisation behind the network's first layer has no integers; normalise the samples"
    )


@OPERATIONS.rule(ops.OutputNode)
def _output(node: ops.OutputNode, unit: CFile) -> None:
    (tensor,) = unit.inputs(node)
    unit.alias(node, tensor, tensor.shape, tensor.order)


@OPERATIONS.rule(ops.EncodeNode)
def _encode(node: ops.EncodeNode, unit: CFile) -> None:
    (tensor,) = unit.inputs(node)
    if tensor.buffer not in unit.entering:
        unit.alias(node, tensor, tensor.shape, tensor.order)
        return
    made = unit.make(node, tensor.type, tensor.grid, tensor.order)  # the caller's memory is read once
    unit.emit(_values(unit, [tensor], made, "{0}", elements=True), remark="kept for all steps")


@OPERATIONS.rule(ops.FlattenNode, ops.ReshapeNode)
def _reshape(node: ops.Node, unit: CFile) -> None:
    """The same memory: the order of values in a sample is not what changes."""
    (tensor,) = unit.inputs(node)
    unit.alias(node, tensor, unit.graph.shape(node.name), tensor.order)


@OPERATIONS.rule(ops.PermuteNode)
def _permute(node: ops.PermuteNode, unit: CFile) -> None:
    (tensor,) = unit.inputs(node)
    moved = np.arange(tensor.size).reshape(tensor.shape).transpose(node.order).reshape(-1)
    place = np.empty(tensor.size, np.int64)
    place[moved] = np.arange(tensor.size)
    unit.alias(node, tensor, unit.graph.shape(node.name), place[tensor.order])


def _moved(node: ops.Node, unit: CFile, sources: NDArray[np.int64]) -> None:
    """Values, or zeros, at other places.

    Args:
        sources: for each value of the output which value of the inputs one after the other it is, in C order, or -1.
    """
    tensors = unit.inputs(node)
    if len({tensor.integer for tensor in tensors}) > 1 or any(tensor.name in unit.divisors for tensor in tensors):
        tensors = unit.integers(node)
    finest = max(tensor.grid.exponent for tensor in tensors)
    largest = max(tensor.grid.largest << (finest - tensor.grid.exponent) for tensor in tensors)
    types = {tensor.type for tensor in tensors}
    kept = types.pop() if len(types) == 1 and len({tensor.grid.exponent for tensor in tensors}) == 1 else None
    shape = unit.graph.shape(node.name)
    made = unit.make(node, kept or integer_type(largest), Range(finest, largest))
    placed = sources.reshape(-1)[channels_last(shape)]
    lines, begin = list[str](), 0
    for number, tensor in enumerate(tensors):
        inside = (placed >= begin) & (placed < begin + tensor.size)
        place = np.empty(tensor.size, np.int64)
        place[tensor.order] = np.arange(tensor.size)
        moved = np.where(inside, place[np.where(inside, placed - begin, 0)], -1)
        clear = number == 0 and (len(tensors) > 1 or bool((placed < 0).any()) or made.type == "bits")
        if clear:
            lines += ["{", f"    {unit.target(made)}", f"    for (int32_t i = 0; i < {made.elements}; i++) out[i] = 0;", "}"]
        copy = unit.moved(tensor, made, moved, clear=False)
        lines += ["{", f"    {unit.source(tensor)}", f"    {unit.target(made)}", *copy, "}"] if copy else []
        begin += tensor.size
    unit.emit(lines)


def _numbered(tensor: CTensor, begin: int = 0) -> NDArray[np.int64]:
    return np.arange(begin, begin + tensor.size, dtype=np.int64).reshape(tensor.shape)


@OPERATIONS.rule(ops.SliceNode)
def _slice(node: ops.SliceNode, unit: CFile) -> None:
    _moved(node, unit, _numbered(unit.inputs(node)[0])[node.slices])


@OPERATIONS.rule(ops.PadNode)
def _pad(node: ops.PadNode, unit: CFile) -> None:
    _moved(node, unit, np.pad(_numbered(unit.inputs(node)[0]), node.pads, constant_values=-1))


@OPERATIONS.rule(ops.ConcatNode)
def _concat(node: ops.ConcatNode, unit: CFile) -> None:
    numbers, begin = [], 0
    for tensor in unit.inputs(node):
        numbers.append(_numbered(tensor, begin))
        begin += tensor.size
    _moved(node, unit, np.concatenate(numbers, node.axis))


def _values(unit: CFile, tensors: list[CTensor], made: CTensor, value: str, *, elements: bool = False) -> list[str]:
    """A loop over values: `{0}` and `{1}` stand for those of the inputs; over whole elements for a copy."""
    names = [f"in{number}" for number in range(len(tensors))]
    if elements:
        loop = [f"    for (int32_t i = 0; i < {made.elements}; i++) out[i] = in0[i];"]
    else:
        clear = [f"    for (int32_t i = 0; i < {made.elements}; i++) out[i] = 0;"] if made.type == "bits" else []
        read = [tensor.read(name, "i") for tensor, name in zip(tensors, names, strict=True)]
        inner = [
            f"const {'float' if not t.integer else 'int32_t'} x{n} = {r};"
            for n, (t, r) in enumerate(zip(tensors, read, strict=True))
        ]
        formula = value.format(*(f"x{n}" for n in range(len(tensors))))
        loop = [
            *clear,
            f"    for (int32_t i = 0; i < {made.size}; i++) {{",
            *("        " + line for line in inner),
            f"        {made.write('out', 'i', formula)}",
            "    }",
        ]
    pointers = [f"    {unit.source(tensor, name)}" for tensor, name in zip(tensors, names, strict=True)]
    return ["{", *pointers, f"    {unit.target(made)}", *loop, "}"]


def _checked(node: ops.Node, grid: Range) -> Range:
    if grid.largest > EXACT:
        raise UserError(
            f"node {node.name}: its values could reach {grid.largest:,} grid units, above the {EXACT:,} that are exact"
        )
    return grid


@OPERATIONS.rule(ops.AddNode)
def _add(node: ops.AddNode, unit: CFile) -> None:
    a, b = unit.integers(node)
    b = unit.aligned(b, a.order)
    grid = _checked(node, node.exact_range([a.grid, b.grid]))
    made = unit.make(node, integer_type(grid.largest), grid, a.order)
    terms = [f"{{{n}}}{_scaled(grid.exponent - tensor.grid.exponent)}" for n, tensor in enumerate((a, b))]
    unit.emit(_values(unit, [a, b], made, " + ".join(terms)))


@OPERATIONS.rule(ops.MultiplyNode)
def _multiply(node: ops.MultiplyNode, unit: CFile) -> None:
    a, b = unit.integers(node)
    if a.shape != b.shape:
        raise UserError(f"node {node.name}: factors of shapes {a.shape} and {b.shape} found, equal ones expected in C")
    b = unit.aligned(b, a.order)
    grid = _checked(node, node.exact_range([a.grid, b.grid]))
    made = unit.make(node, integer_type(grid.largest), grid, a.order)
    unit.emit(_values(unit, [a, b], made, "{0} * {1}"))


def _scaled(bits: int) -> str:
    return f" * {1 << bits}" if bits else ""


@OPERATIONS.rule(ops.ReluNode)
def _relu(node: ops.ReluNode, unit: CFile) -> None:
    (tensor,) = unit.integers(node)
    grid = _checked(node, node.exact_range([tensor.grid]))
    kind: CType = "bits" if tensor.type == "bits" and grid == tensor.grid else integer_type(grid.largest)
    made = unit.make(node, kind, grid, tensor.order)
    scaled = "{0}" + _scaled(grid.exponent - tensor.grid.exponent)
    value = f"{scaled} > 0 ? {scaled} : 0"
    if node.ceiling is not None:
        ceiling = int(float(np.float32(node.ceiling)) * 2.0**grid.exponent)
        value = f"{scaled} <= 0 ? 0 : ({scaled} < {ceiling} ? {scaled} : {ceiling})"
    unit.emit(_values(unit, [tensor], made, value))


@OPERATIONS.rule(ops.QuantizeNode)
def _quantize(node: ops.QuantizeNode, unit: CFile) -> None:
    """Halves to the even neighbour, as float32's own rounding; beyond the grid to its ends."""
    (tensor,) = unit.inputs(node)
    made = unit.make(node, integer_type(node.largest), Range(node.exponent, node.largest), tensor.order)
    shift = tensor.grid.exponent - node.exponent
    if not tensor.integer or tensor.name in unit.divisors:
        count = unit.divisors.get(tensor.name)
        value = "(float){0}" if tensor.integer else "{0}"
        value = f"{value} / {count.text}" if count is not None else value
        formula = f"model_clip_float(model_nearest(({value}) * {literal(2.0**-shift)}), {node.largest})"
    elif shift > 0:
        formula = f"model_clip(model_shifted({{0}}, {shift}), {node.largest})"
    elif tensor.grid.largest << -shift > 1 << 30:
        raise UserError(
            f"node {node.name}: values of up to {tensor.grid.largest << -shift:,} units found before they are rounded"
        )
    else:
        formula = f"model_clip({{0}}{_scaled(-shift)}, {node.largest})"
    unit.emit(_values(unit, [tensor], made, formula), remark=f"rounded to {2 * node.largest + 1} levels")


@OPERATIONS.rule(ops.BatchNormNode)
def _batch_norm(node: ops.BatchNormNode, unit: CFile) -> None:
    """A factor and an offset of each channel, integers of the grid."""
    (tensor,) = unit.integers(node)
    k = exponent(node.scale)
    grid = _checked(node, node.exact_range([tensor.grid]))
    made = unit.make(node, "int32_t", grid, tensor.order)
    channel = np.repeat(np.arange(len(node.scale)), tensor.size // len(node.scale))[tensor.order]
    factors = np.rint(node.scale.astype(np.float64) * 2.0**k)
    offsets = np.rint(node.shift.astype(np.float64) * 2.0**grid.exponent)
    scale = unit.table("scale", "int8_t", factors.astype(np.int8))
    shift = unit.table("shift", "int32_t", offsets.astype(np.int32))
    size = (len(node.scale),)
    unit.stored[f"{node.name}/scale"] = Stored(scale, size, size, (0,), k)
    unit.stored[f"{node.name}/shift"] = Stored(shift, size, size, (0,), grid.exponent)
    count = len(node.scale)
    if np.array_equal(channel, np.arange(tensor.size) % count):
        which = f"i % {count}" if tensor.size > count else "i"
    else:
        which = f"{unit.table('channel', 'int32_t', channel)}[i]"
    unit.emit(_values(unit, [tensor], made, f"2 * {scale}[{which}] * {{0}} + {shift}[{which}]"))


def _window(node: Any, tensor: CTensor, unit: CFile) -> tuple[list[str], list[str], str, str]:
    """Loops over positions and taps of a pool, and the index that is read and the one that is written."""
    shape, made = tensor.shape, unit.graph.shape(node.name)
    outer = [f"for (int32_t o{axis} = 0; o{axis} < {size}; o{axis}++)" for axis, size in enumerate(made[1:])]
    outer.append(f"for (int32_t c = 0; c < {shape[0]}; c++)")
    inner = []
    for axis, (kernel, stride, (before, _)) in enumerate(zip(node.kernel, node.stride, node.pads, strict=True)):
        inner.append(f"for (int32_t k{axis} = 0; k{axis} < {kernel}; k{axis}++) {{")
        inner.append(f"    const int32_t i{axis} = {stride} * o{axis} + k{axis} - {before};")
        inner.append(f"    if (i{axis} < 0 || i{axis} >= {shape[1 + axis]}) continue;")
    flat = {}
    for letter, sizes in (("i", shape[1:]), ("o", made[1:])):
        text = f"{letter}0"
        for axis, size in list(enumerate(sizes))[1:]:
            text = f"({text}) * {size} + {letter}{axis}"
        flat[letter] = f"({text}) * {shape[0]} + c"
    return outer, inner, flat["i"], flat["o"]


def _pooled(node: Any, unit: CFile, tensor: CTensor, made: CTensor, start: str, step: str) -> None:
    outer, inner, read, written = _window(node, tensor, unit)
    depth = len(node.kernel)
    lines = ["{", f"    {unit.source(tensor)}", f"    {unit.target(made)}"]
    if made.type == "bits":
        lines.append(f"    for (int32_t i = 0; i < {made.elements}; i++) out[i] = 0;")
    for level, line in enumerate(outer):
        lines.append("    " * (1 + level) + line)
    pad = "    " * (1 + len(outer))
    lines[-1] += " {"
    lines.append(f"{pad}int32_t sum = {start};")
    for number, line in enumerate(inner):
        lines.append(pad + "    " * (number // 3) + line)
    lines.append(pad + "    " * depth + step.format(tensor.read("in", read)))
    lines += [pad + "    " * level + "}" for level in reversed(range(depth))]
    lines.append(pad + made.write("out", written, "sum"))
    lines += ["    " * len(outer) + "}", "}"]
    unit.emit(lines)


@OPERATIONS.rule(ops.AvgPoolNode)
def _average(node: ops.AvgPoolNode, unit: CFile) -> None:
    """A sum, in a unit that is finer by the size of the window."""
    (tensor,) = unit.integers(node)
    tensor = unit.aligned(tensor, channels_last(tensor.shape))
    grid = _checked(node, node.exact_range([tensor.grid]))
    made = unit.make(node, integer_type(grid.largest), grid)
    _pooled(node, unit, tensor, made, "0", "sum += {};")


@OPERATIONS.rule(ops.MaxPoolNode)
def _largest(node: ops.MaxPoolNode, unit: CFile) -> None:
    (tensor,) = unit.integers(node)
    tensor = unit.aligned(tensor, channels_last(tensor.shape))
    made = unit.make(node, tensor.type, tensor.grid)
    least = "0" if tensor.type == "bits" else str(-tensor.grid.largest)
    _pooled(node, unit, tensor, made, least, "{{ const int32_t x = {}; if (x > sum) sum = x; }}")


@OPERATIONS.rule(ops.DelayNode)
def _delay(node: ops.DelayNode, unit: CFile) -> None:
    """A ring of the last steps, one longer than the longest delay."""
    (tensor,) = unit.inputs(node)
    made = unit.make(node, tensor.type, tensor.grid, tensor.order)
    length, kind = node.steps + 1, "uint32_t" if tensor.type == "bits" else tensor.type
    ring = unit.state("ring", kind, length * tensor.elements)
    at = unit.state("at", "int32_t", 1)
    lines = ["{", f"    {unit.source(tensor)}", f"    {unit.target(made)}"]
    lines.append(f"    for (int32_t i = 0; i < {tensor.elements}; i++) {ring}[{at}[0] * {tensor.elements} + i] = in[i];")
    if node.each is None:
        lines.append(f"    const int32_t past = ({at}[0] + 1) % {length};")
        lines.append(f"    for (int32_t i = 0; i < {tensor.elements}; i++) out[i] = {ring}[past * {tensor.elements} + i];")
    else:
        each = np.broadcast_to(node.each, tensor.shape).reshape(prod(tensor.shape))[tensor.order]
        late = unit.table("late", "int32_t", each)
        if made.type == "bits":
            lines.append(f"    for (int32_t i = 0; i < {made.elements}; i++) out[i] = 0;")
        lines += [
            f"    for (int32_t i = 0; i < {tensor.size}; i++) {{",
            f"        const {kind} *past = {ring} + ({at}[0] + {length} - {late}[i]) % {length} * {tensor.elements};",
            f"        {made.write('out', 'i', tensor.read('past', 'i'))}",
            "    }",
        ]
    lines += [f"    {at}[0] = ({at}[0] + 1) % {length};", "}"]
    unit.emit(lines)


@OPERATIONS.rule(ops.TimeMeanNode)
def _time_mean(node: ops.TimeMeanNode, unit: CFile) -> None:
    """A sum over the steps, in a unit that is finer by their number, or divided by it outside where that is no power of two."""
    (tensor,) = unit.inputs(node)
    first = node.skip if node.skip >= 0 else unit.steps + node.skip
    node.check_steps(unit.steps)
    count, varies = unit.steps - first, steps_vary(unit.graph)
    total = tensor.grid.largest * count
    if tensor.integer and total > EXACT:
        raise UserError(
            f"node {node.name}: its sums over {count} steps could reach {total:,} grid units, above the {EXACT:,} that are "
            "exact"
        )
    kind: CType = "int32_t" if tensor.integer else "float"
    cell = unit.state("sum", kind, tensor.size)
    if tensor.name in unit.divisors:
        unit.integers(node)
    read = tensor.read("in", "i")
    condition = f"if (m->step >= {first}) " if first else ""
    unit.emit(
        [
            "{",
            f"    {unit.source(tensor)}",
            f"    {condition}for (int32_t i = 0; i < {tensor.size}; i++) {cell}[i] += {read};",
            "}",
        ]
    )
    unit.later(node)
    exact = tensor.integer and not varies and not count & (count - 1)
    grid = Range(tensor.grid.exponent + (count.bit_length() - 1 if exact else 0), total if tensor.integer else EXACT)
    made = unit.make(node, kind, grid, tensor.order)
    if not exact:
        unit.divisors[node.name] = StepCount(None if varies else count, first)
    unit.emit(["{", f"    {unit.target(made)}", f"    for (int32_t i = 0; i < {tensor.size}; i++) out[i] = {cell}[i];", "}"])
