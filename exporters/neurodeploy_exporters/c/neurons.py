"""Neurons and their currents in C: in integers where that is proved to be exact, else in the reference's own floats."""

from math import prod

import numpy as np

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import ops
from neurodeploy.graph.ops import Range
from neurodeploy_exporters.c.file import CFile
from neurodeploy_exporters.c.names import literal
from neurodeploy_exporters.c.potentials import Accumulation, IntegerState, decayed, integer_state
from neurodeploy_exporters.c.tensors import CTensor, integer_type

FLOATS = "its potential is float32"
_SPIKES = Range(0, 1)


def emit_neuron(node: ops.NeuronNode, unit: CFile) -> None:
    """The statements and the state of a layer, and the tensor of its spikes."""
    if node.name in unit.accumulations:
        _emit_accumulated(node, unit.accumulations[node.name], unit)
        return
    (tensor,) = unit.inputs(node)
    made = unit.make(node, "bits", _SPIKES, tensor.order)
    parameters, size = node.parameters, tensor.size
    form = integer_state(tensor.grid, parameters.decay, unit.steps, parameters) if tensor.integer else None
    if form is not None:
        lines, remark = _integers(form, parameters, tensor, unit)
    else:
        lines, remark = _floats(parameters, tensor, unit), FLOATS
    unit.emit(
        ["{", *("    " + line for line in firing(tensor, made, unit, size, lines)), *trace(node, made, unit), "}"],
        remark=remark,
    )


def _emit_accumulated(node: ops.NeuronNode, accumulation: Accumulation, unit: CFile) -> None:
    """The same where the synapses have added to the potentials already."""
    form, order, size = accumulation.form, accumulation.order, prod(unit.graph.shape(node.name))
    values = [unit.aligned(unit.tensors[name], order) for name in accumulation.values]
    made = unit.make(node, "bits", _SPIKES, order)
    terms = [
        tensor.read(f"in{number}", "i") + _scaled(form.grid.exponent - tensor.grid.exponent)
        for number, tensor in enumerate(values)
    ]
    cell = unit.state("v", accumulation.type, size) + "[i]"
    lines = [f"const int32_t h = {' + '.join([cell, *terms])};", *_fired(form, node.parameters, cell, accumulation.type)]
    pointers = [unit.source(tensor, f"in{number}") for number, tensor in enumerate(values)]
    body = [*pointers, *_packed(made, unit, size, lines)]
    unit.emit(["{", *("    " + line for line in body), *trace(node, made, unit), "}"], remark=_range(form, accumulation.type))


def firing(tensor: CTensor, made: CTensor, unit: CFile, size: int, lines: list[str]) -> list[str]:
    """A loop over neurons i that leaves whether each fires in `fired`, and packs that."""
    return [unit.source(tensor), *_packed(made, unit, size, lines)]


def _packed(made: CTensor, unit: CFile, size: int, lines: list[str]) -> list[str]:
    full, rest = size % 32 == 0, "    if ((i & 31) == 31) { out[i >> 5] = word; word = 0; }"
    return [
        unit.target(made),
        "uint32_t word = 0;",
        f"for (int32_t i = 0; i < {size}; i++) {{",
        *("    " + line for line in lines),
        "    word |= fired << (i & 31);",
        rest,
        "}",
        *([] if full else [f"out[{size // 32}] = word;"]),
    ]


def trace(node: ops.Node, made: CTensor, unit: CFile) -> list[str]:
    return [f"    MODEL_TRACE({unit.spiking[node.name]}, {unit.at(made)});"]


def _integers(form: IntegerState, parameters: NeuronParameters, tensor: CTensor, unit: CFile) -> tuple[list[str], str]:
    current = tensor.read("in", "i") + _scaled(form.shift)
    if not form.factor:  # nothing of the potential is kept
        return [f"const int32_t h = {current};", _FIRED.format(form.threshold)], "no potential is kept"
    type = integer_type(form.grid.largest)
    cell = unit.state("v", type, tensor.size) + "[i]"
    rounded = "model_round24({})" if form.rounds else "{}"
    kept = decayed(cell, form)
    if form.rounds and form.factor != 1:
        kept = rounded.format(kept)
    lines = [
        f"const int32_t h = {rounded.format(f'{kept} + {current}')};",
        *_fired(form, parameters, cell, type),
    ]
    return lines, _range(form, type) + (", rounded as float32 rounds" if form.rounds else "")


def _fired(form: IntegerState, parameters: NeuronParameters, cell: str, type: str) -> list[str]:
    """Whether a neuron of potential `h` fires, and what it keeps."""
    after = {
        "none": "h",
        "hard": "fired ? 0 : h",
        "soft": f"model_round24(h - {form.amount})" if form.rounds else f"h - {form.amount}",
    }[parameters.reset]
    if parameters.reset == "soft":
        after = f"fired ? {after} : h"
    cast = "" if type == "int32_t" else f"({type})"
    kept = f"{cell} = {cast}({after});" if cast else f"{cell} = {after};"
    return [_FIRED.format(form.threshold), kept]


_FIRED = "const uint32_t fired = h > {} ? 1u : 0u;"


def _range(form: IntegerState, type: str) -> str:
    return f"potentials up to {form.grid.largest:,} in {type.removeprefix('int').removesuffix('_t')} bits"


def _scaled(shift: int) -> str:
    return f" * {1 << shift}" if shift else ""


def _floats(parameters: NeuronParameters, tensor: CTensor, unit: CFile) -> list[str]:
    """In units of the current's grid: a power of two, which changes no rounding."""
    scale = 2.0**tensor.grid.exponent
    cell = unit.state("v", "float", tensor.size) + "[i]"
    threshold = literal(float(np.float32(parameters.threshold)) * scale)
    current = tensor.read("in", "i")
    current = f"(float)({current})" if tensor.integer else current
    after = {"none": "h", "hard": "fired ? 0.0f : h", "soft": f"fired ? h - {threshold} : h"}[parameters.reset]
    return [
        f"const float kept = {literal(parameters.decay)} * {cell};",
        f"const float h = kept + {current};",
        f"const uint32_t fired = h > {threshold} ? 1u : 0u;",
        f"{cell} = {after};",
    ]


def emit_low_pass(node: ops.LowPassNode, unit: CFile) -> None:
    """A current that leaks, or an integrator."""
    (tensor,) = unit.inputs(node)
    form = integer_state(tensor.grid, node.decay, unit.steps) if tensor.integer else None
    read = tensor.read("in", "i")
    if form is not None:
        made = unit.make(node, "int32_t", form.grid, tensor.order)
        cell = unit.state("i", integer_type(form.grid.largest), tensor.size) + "[i]"
        kept = decayed(cell, form) if form.factor else "0"
        rounded = "model_round24({})" if form.rounds else "{}"
        if form.rounds and form.factor != 1:
            kept = rounded.format(kept)
        current = read + (f" * {1 << form.shift}" if form.shift else "")
        narrow = integer_type(form.grid.largest)
        cast = "" if narrow == "int32_t" else f"({narrow})"
        lines = [f"const int32_t c = {rounded.format(f'{kept} + {current}')};", f"{cell} = {cast}c;", "out[i] = c;"]
        remark = "" if not form.rounds else "rounded as float32 rounds"
    else:
        made = unit.make(node, "float", Range(tensor.grid.exponent, tensor.grid.largest), tensor.order)
        cell = unit.state("i", "float", tensor.size) + "[i]"
        current = f"(float)({read})" if tensor.integer else read
        lines = [
            f"const float kept = {cell} * {literal(node.decay)};",
            f"{cell} = kept + {current};",
            f"out[i] = {cell};",
        ]
        remark = "its current is float32"
    unit.emit(
        [
            "{",
            f"    {unit.source(tensor)}",
            f"    {unit.target(made)}",
            f"    for (int32_t i = 0; i < {tensor.size}; i++) {{",
            *("        " + line for line in lines),
            "    }",
            "}",
        ],
        remark=remark,
    )


def emit_fixed_point(node: ops.FixedPointNeuronNode, unit: CFile) -> None:
    """A Loihi chip's neurons, in its own integers (`neurodeploy.dynamics.neurons.cuba_step`)."""
    (tensor,) = unit.integers(node)
    made = unit.make(node, "bits", _SPIKES, tensor.order)
    size, shape = tensor.size, tensor.shape
    u, v = (unit.state(name, "int32_t", size) + "[i]" for name in ("u", "v"))
    constants = {}
    for name in ("i_decay", "v_decay", "threshold", "bias"):
        value = np.asarray(getattr(node, name))
        if value.ndim == 0:
            constants[name] = str(int(value))
        else:
            full = value.reshape(-1, *(1,) * (len(shape) - 1)) if value.ndim == 1 else value
            placed = np.broadcast_to(full, shape).reshape(prod(shape))[tensor.order]
            constants[name] = unit.table(name, "int32_t", placed.astype(np.int32)) + "[i]"
    sums = tensor.read("in", "i") + (f" / {1 << tensor.grid.exponent}" if tensor.grid.exponent > 0 else "")
    before: list[str] = []
    if node.recurrent is not None:
        weight = node.recurrent[np.ix_(tensor.order, tensor.order)].T
        rows = unit.table("recurrent", "int16_t", weight.astype(np.int16))
        last = unit.state("last", "uint32_t", made.elements)
        back = unit.memory(f"{node.name}~back", shape, "int32_t", tensor.grid, tensor.order)
        before = [*recurrent(rows, last, size, made.elements, unit.target(back, "back"))]
        sums = f"{sums} + back[i]"
    lines = [
        f"int64_t u = model_decayed({u}, {constants['i_decay']}) + (int64_t)({sums}) * 64;",
        "if (u > 8388608) u -= 16777216; else if (u <= -8388608) u += 16777216;",
        f"{u} = (int32_t)u;",
        f"int64_t v = model_decayed({v}, {constants['v_decay']}) + u + (int64_t){constants['bias']} * 64;",
        "if (v > 8388607) v = 8388607; else if (v < -8388607) v = -8388607;",
        f"const uint32_t fired = v > (int64_t){constants['threshold']} * 64 ? 1u : 0u;",
        f"{v} = fired ? 0 : (int32_t)v;",
    ]
    body = firing(tensor, made, unit, size, lines)
    after = [f"for (int32_t i = 0; i < {made.elements}; i++) {last}[i] = out[i];"] if node.recurrent is not None else []
    unit.emit(
        ["{", *("    " + line for line in (*before, *body, *after)), *trace(node, made, unit), "}"], remark="a chip's integers"
    )


def recurrent(
    rows: str, last: str, size: int, words: int, target: str, *, bias: str | None = None, factor: int = 1
) -> list[str]:
    """What the spikes of the step before bring back through weights `[from, to]`, in `back`."""
    return [
        target,
        f"for (int32_t i = 0; i < {size}; i++) back[i] = {'0' if bias is None else bias + '[i]'};",
        f"for (int32_t w = 0; w < {words}; w++) {{",
        f"    uint32_t bits = {last}[w];",
        "    while (bits != 0) {",
        "        const int32_t j = 32 * w + model_lowest(bits);",
        "        bits &= bits - 1;",
        f"        for (int32_t i = 0; i < {size}; i++) back[i] += {factor} * {rows}[j * {size} + i];",
        "    }",
        "}",
    ]
