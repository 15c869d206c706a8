"""Cells in C: a user's own update, the same float32 operations in the same order."""

from collections.abc import Callable

import numpy as np

from neurodeploy.dynamics.updates import Operand
from neurodeploy.graph import ops
from neurodeploy.graph.ops import EXACT, Range
from neurodeploy.graph.ops.linear import LinearNode
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.file import CFile, spread
from neurodeploy_exporters.c.names import literal
from neurodeploy_exporters.c.neurons import recurrent, trace
from neurodeploy_exporters.c.synapses import exponent_of
from neurodeploy_exporters.c.tables import Stored
from neurodeploy_exporters.c.tensors import CTensor, CType, Order, integer_type

_BINARY = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARED = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_CALLED: dict[str, Callable[..., str]] = {
    "neg": lambda a: f"-{a}",
    "abs": lambda a: f"({a} < 0.0f ? -{a} : {a})",
    "floor": lambda a: f"model_floor({a})",
    "ceil": lambda a: f"-model_floor(-{a})",
    "round": lambda a: f"model_nearest({a})",
    "trunc": lambda a: f"({a} < 0.0f ? -model_floor(-{a}) : model_floor({a}))",
    "sign": lambda a: f"({a} > 0.0f ? 1.0f : ({a} < 0.0f ? -1.0f : 0.0f))",
    "maximum": lambda a, b: f"({a} > {b} ? {a} : {b})",
    "minimum": lambda a, b: f"({a} < {b} ? {a} : {b})",
    "where": lambda c, a, b: f"({c} != 0.0f ? {a} : {b})",
}


def emit_cell(node: ops.CellNode | ops.MembraneNode, unit: CFile) -> None:
    """The statements and states of a layer, and the tensor of its answers.

    Raises:
        UserError: an operation of its update is rounded by every library in its own way, or its answers have no bound.
    """
    node.exact_range([])  # refuses what is not exact
    update, first = node.update, unit.inputs(node)[0]
    inputs = [first, *(unit.aligned(tensor, first.order) for tensor in unit.inputs(node)[1:])]
    size, shape, spiking = first.size, first.shape, isinstance(node, ops.CellNode)
    most = node.largest if isinstance(node, ops.CellNode) else EXACT
    if most is None:
        raise UserError(f"node {node.name}: spikes without a bound for a step found, which no integer holds; bound them")
    binary = spiking and most == 1
    kind: CType = "bits" if binary else integer_type(most, signed=False) if spiking else "float"
    made = unit.make(node, kind, Range(0, most), first.order)
    if node.recurrent is not None and not binary:
        raise UserError(f"node {node.name}: other values than single spikes come back through weights; let it fire 0 or 1")
    arrays = []
    for number, array in enumerate(node.arrays):
        if (array == array.flat[0]).all():
            arrays.append(literal(float(array.flat[0])))
        else:
            name = unit.table(f"array{number}", "float", spread(array, shape, first.order).astype(np.float32))
            unit.stored[f"{node.name}/arrays.{number}"] = _placed(name, shape, first.order)
            arrays.append(f"{name}[i]")
    states = []
    for number, (place, which) in enumerate(update.initial):
        initial = np.float32(which) if place == "number" else node.arrays[int(which)]
        values = spread(np.asarray(initial, np.float32), shape, first.order)
        states.append(unit.state(f"s{number}", "float", size, values if values.any() else None) + "[i]")
    before, after, currents = list[str](), list[str](), list[str]()
    pointers = []
    for number, tensor in enumerate(inputs):
        pointers.append(unit.source(tensor, f"in{number}"))
        value = tensor.read(f"in{number}", "i")
        scale = 2.0**-tensor.grid.exponent
        value = f"(float)({value})" if tensor.integer else value
        currents.append(value if scale == 1 else f"{value} * {literal(scale)}")
    if isinstance(node, ops.CellNode) and node.recurrent is not None:
        before, after, back = _returning(node, unit, first, made)
        currents.append(back)
    lines = [f"const float x{number} = {current};" for number, current in enumerate(currents)]

    def read(operand: Operand) -> str:
        place, which = operand
        if place == "number":
            return literal(which)
        known = {"array": arrays, "input": [f"x{n}" for n in range(len(currents))]}
        known |= {"state": [f"s{n}" for n in range(len(states))], "result": [f"r{n}" for n in range(len(update.instructions))]}
        return known[place][int(which)]

    lines += [f"const float s{number} = {state};" for number, state in enumerate(states)]
    used = {operand for one in update.instructions for operand in one.operands} | {*update.following, update.output}
    for number, one in enumerate(update.instructions):
        operands = [read(operand) for operand in one.operands]
        if one.operation in _BINARY:
            value = f" {_BINARY[one.operation]} ".join(operands)
        elif one.operation in _COMPARED:
            value = f"{operands[0]} {_COMPARED[one.operation]} {operands[1]} ? 1.0f : 0.0f"
        elif one.operation in _CALLED:
            value = _CALLED[one.operation](*operands)
        else:
            raise UserError(f"node {node.name}: {one.operation} has no exact form in C")
        lines.append(f"const float r{number} = {value};")
        if ("result", number) not in used:
            lines.append(f"(void)r{number};")
    lines += [f"(void)x{n};" for n in range(len(currents)) if ("input", n) not in used]
    lines += [f"(void)s{n};" for n in range(len(states)) if ("state", n) not in used]
    lines += [f"{state} = {read(operand)};" for state, operand in zip(states, update.following, strict=True)]
    answer = read(update.output)
    clear = []
    if binary:
        clear = [f"for (int32_t i = 0; i < {made.elements}; i++) out[i] = 0;"]
        lines.append(f"if ({answer} != 0.0f) out[i >> 5] |= (uint32_t)1 << (i & 31);")
    else:
        lines.append(f"out[i] = {answer};" if kind == "float" else f"out[i] = ({kind})({answer});")
    body = [
        *pointers,
        unit.target(made),
        *before,
        *clear,
        f"for (int32_t i = 0; i < {size}; i++) {{",
        *("    " + line for line in lines),
        "}",
        *after,
    ]
    closing = trace(node, made, unit) if spiking else []
    unit.emit(["{", *("    " + line for line in body), *closing, "}"], remark="its own update, in float32")


def _placed(name: str, shape: tuple[int, ...], order: Order) -> Stored:
    """A table with one value per neuron, in their order in memory."""
    flat = (int(np.prod(shape)),)
    return Stored(name, flat, flat, (0,), 0, tuple(order.tolist()), result=shape)


def _returning(node: ops.CellNode, unit: CFile, first: CTensor, made: CTensor) -> tuple[list[str], list[str], str]:
    """Statements before and after the neurons, and the expression of what comes back to each."""
    weight, shape = node.recurrent, first.shape
    assert weight is not None
    line = LinearNode(name=node.name, inputs=(node.name,), weight=weight, bias=node.recurrent_bias)
    k = exponent_of(line) + 1
    order = first.order
    integers = np.rint(weight.astype(np.float64) * 2.0 ** (k - 1)).astype(np.int64)
    placed = tuple(order.tolist())
    size = first.size
    rows = unit.table("recurrent", "int8_t", integers[np.ix_(order, order)].T.astype(np.int8))
    unit.stored[f"{node.name}/recurrent"] = Stored(rows, (size, size), (size, size), (1, 0), k - 1, placed, placed)
    bias = None
    if node.recurrent_bias is not None:
        held = np.rint(node.recurrent_bias.astype(np.float64) * 2.0**k).astype(np.int64)
        bias = unit.table("back", "int32_t", held[order].astype(np.int32))
        unit.stored[f"{node.name}/recurrent_bias"] = Stored(bias, (size,), (size,), (0,), k, placed)
    last = unit.state("last", "uint32_t", made.elements)
    back = unit.memory(f"{node.name}~back", shape, "int32_t", Range(k, EXACT), order)
    before = recurrent(rows, last, size, made.elements, unit.target(back, "back"), bias=bias, factor=2)
    after = [f"for (int32_t i = 0; i < {made.elements}; i++) {last}[i] = out[i];"]
    return before, after, f"(float)back[i] * {literal(2.0**-k)}"
