"""Convolutions and linear layers in C, each by one of two kernels that give equal sums.

The event kernel walks the values that are not 0 and adds the weights of each to the sums that it reaches; the dense one goes
through all products of each sum. Weights are laid out for the kernel that a layer has: its inner loop reads neighbours.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import ops
from neurodeploy.graph.ops import EXACT, Range, Shape
from neurodeploy.graph.ops.operation import exponent
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.file import CFile, KernelChoice
from neurodeploy_exporters.c.potentials import decayed
from neurodeploy_exporters.c.tables import Stored
from neurodeploy_exporters.c.tensors import CTensor, channels_last


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A linear map between channels at positions; a linear layer has one position.

    Attributes:
        weight: integers `[G, outputs of a group, inputs of a group, *kernel]`.
        inputs, outputs: spatial sizes.
        stride, padding, dilation: one per spatial axis.
        transposed: an input at i reaches `stride i + dilation k - padding`; else an output at i reads that.
    """

    weight: NDArray[np.int64]
    inputs: Shape
    outputs: Shape
    stride: Shape = ()
    padding: Shape = ()
    dilation: Shape = ()
    transposed: bool = False

    @property
    def groups(self) -> int:
        return self.weight.shape[0]

    @property
    def made(self) -> int:
        """Channels of the output in a group."""
        return self.weight.shape[1]

    @property
    def read(self) -> int:
        """Channels of the input in a group."""
        return self.weight.shape[2]

    @property
    def kernel(self) -> Shape:
        return self.weight.shape[3:]


@dataclass(frozen=True)
class _Sums:
    """Where the sums of a layer go.

    Attributes:
        type: of their elements.
        shift: a product counts 2^shift.
        adds: to what is there, as to potentials; else they begin with the bias.
        kept: expression of what is left of the potential `out[i]`, where that comes first; "" else.
    """

    type: str
    shift: int
    adds: bool = False
    kept: str = ""

    @property
    def times(self) -> str:
        return f" * {1 << self.shift}" if self.shift else ""

    def plus(self, place: str, value: str) -> str:
        """The statement that adds a value."""
        if self.type == "int32_t":
            return f"{place} += {value};"
        return f"{place} = ({self.type})({place} + {value});"


def exponent_of(node: ops.Weighted) -> int:
    """k of a layer whose weights are integers of 8 bits times 2^-k.

    Raises:
        UserError: they are not.
    """
    k = exponent(node.weight)
    scaled = node.weight.astype(np.float64) * 2.0**k
    if not (np.abs(scaled) <= 127).all() or (scaled != np.rint(scaled)).any():
        raise UserError(f"node {node.name}: weights that are no 8-bit integers times a power of two found")
    return k


def biases(node: ops.Weighted, unit: int) -> NDArray[np.float64]:
    """The biases in units of 2^-unit; zeros if there are none."""
    if node.bias is None:
        count = node.by_output().shape[0]
        return np.zeros(count)
    return node.bias.astype(np.float64) * 2.0**unit


def emit_synapse(node: ops.Weighted, unit: CFile) -> None:
    """The statements of a layer, its tables, and the tensor of its sums.

    Raises:
        UserError: its sums could leave the range in which float32 is exact, or it reads floats.
    """
    (tensor,) = unit.integers(node)
    if not isinstance(node, ops.LinearNode):
        tensor = unit.aligned(tensor, channels_last(tensor.shape))
    k = exponent_of(node)
    synapse, weight = _synapse(node, tensor, unit.graph.shape(node.name), k)
    # biases are multiples of half a weight's unit: where one is odd, the sums are counted in halves
    half = bool((biases(node, tensor.grid.exponent + k) % 1).any())
    grid = _grid(node, tensor.grid, k, half)
    accumulation = unit.accumulations.get(node.name)
    if accumulation is None:
        made = unit.make(node, "int32_t", grid)
        target, sums = unit.target(made), _Sums("int32_t", grid.exponent - tensor.grid.exponent - k)
    else:
        cell = unit.state("v", accumulation.type, prod(unit.graph.shape(node.name)), owner=accumulation.neuron)
        grid = accumulation.form.grid
        first = node.name == accumulation.synapses[0]
        kept = decayed("out[i]", accumulation.form) if first else ""
        target = f"{accumulation.type} *out = {cell};"
        sums = _Sums(accumulation.type, grid.exponent - tensor.grid.exponent - k, adds=True, kept=kept)
    bias = biases(node, grid.exponent)
    if (bias != np.rint(bias)).any():
        raise UserError(f"node {node.name}: a bias off the grid of its sums found; export with quantize exact")
    choice = unit.choices.get(node.name, KernelChoice("dense"))
    axes = (0, 2, *range(3, synapse.weight.ndim), 1) if choice.kernel == "event" else (0, 1, *range(3, synapse.weight.ndim), 2)
    split = synapse.weight.shape
    if synapse.transposed:  # of [C_in, C_out / groups, *kernel]
        split = (split[0], split[2], split[1], *split[3:])
        axes = tuple({1: 2, 2: 1}.get(axis, axis) for axis in axes)
    columns = tuple(tensor.order.tolist()) if isinstance(node, ops.LinearNode) else None
    if columns == tuple(range(tensor.size)):
        columns = None
    name = f"{unit.names[node.name]}_weight"
    unit.stored[f"{node.name}/weight"] = Stored(name, node.weight.shape, split, axes, k, columns)
    unit.table("weight", "int8_t", unit.stored[f"{node.name}/weight"].values(weight).astype(np.int8))
    held = None
    if node.bias is not None:
        held = unit.table("bias", "int32_t", bias.astype(np.int32))
        unit.stored[f"{node.name}/bias"] = Stored(held, node.bias.shape, node.bias.shape, (0,), grid.exponent)
    lines = (
        _event(synapse, tensor, name, held, sums)
        if choice.kernel == "event"
        else _dense(synapse, tensor, name, held, sums, unit)
    )
    rate = "" if choice.rate is None else f", {100 * choice.rate:.2g} % of its inputs are not 0"
    where = "" if accumulation is None else f", adds to the potentials of {accumulation.neuron}"
    unit.emit(
        ["{", f"    {unit.source(tensor)}", f"    {target}", *("    " + line for line in lines), "}"],
        remark=f"{choice.kernel} kernel{rate}{where}",
    )


def _grid(node: ops.Weighted, values: Range, k: int, half: bool) -> Range:
    """Where the sums are: on the grid of `exact_range`, in its unit or twice that.

    Raises:
        UserError: they could be too large.
    """
    finest = node.exact_range([values])
    if finest.largest > EXACT:
        raise UserError(
            f"node {node.name}: its sums could reach {finest.largest:,} grid units, above the {EXACT:,} that are exact; use "
            "fewer inputs per neuron"
        )
    return finest if half else Range(values.exponent + k, -(-finest.largest // 2))


def _synapse(node: ops.Weighted, tensor: CTensor, shape: Shape, k: int) -> tuple[LinearMap, NDArray[np.int64]]:
    """The map, and the weights of the node as integers, in their own layout."""
    weight = np.rint(node.weight.astype(np.float64) * 2.0**k).astype(np.int64)
    if isinstance(node, ops.LinearNode):
        return LinearMap(weight[None][..., tensor.order], (), ()), weight
    geometry = (tensor.shape[1:], shape[1:], node.stride, node.padding, node.dilation)  # type: ignore[attr-defined]
    groups = node.groups  # type: ignore[attr-defined]
    grouped = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    if isinstance(node, ops.ConvTransposeNode):
        return LinearMap(grouped.swapaxes(1, 2), *geometry, transposed=True), weight
    return LinearMap(grouped, *geometry), weight


def _begin(synapse: LinearMap, bias: str | None, sums: _Sums) -> list[str]:
    """Sums begin with their bias; potentials get it after their decay."""
    places, channels = prod(synapse.outputs), synapse.groups * synapse.made
    if not sums.adds and bias is None:
        return [f"for (int32_t i = 0; i < {places * channels}; i++) out[i] = 0;"]
    lines = []
    if sums.kept and sums.kept != "out[i]":
        lines = [f"for (int32_t i = 0; i < {places * channels}; i++) out[i] = ({sums.type})({sums.kept});"]
    if bias is None:
        return lines
    if places == 1:
        head, place, value = [f"for (int32_t o = 0; o < {channels}; o++)"], "out[o]", f"{bias}[o]"
    else:
        head = [f"for (int32_t p = 0; p < {places}; p++)", f"    for (int32_t o = 0; o < {channels}; o++)"]
        place, value = f"out[p * {channels} + o]", f"{bias}[o]"
    head[-1] += f" {sums.plus(place, value) if sums.adds else f'{place} = {value};'}"
    return [*lines, *head]


def _event(synapse: LinearMap, tensor: CTensor, weight: str, bias: str | None, sums: _Sums) -> list[str]:
    if tensor.type == "bits":
        walk = [
            f"for (int32_t w = 0; w < {tensor.elements}; w++) {{",
            "    uint32_t bits = in[w];",
            "    while (bits != 0) {",
            "        const int32_t i = 32 * w + model_lowest(bits);",
            "        bits &= bits - 1;",
            *("        " + line for line in _visit(synapse, weight, "", sums)),
            "    }",
            "}",
        ]
    else:
        walk = [
            f"for (int32_t i = 0; i < {tensor.size}; i++) {{",
            "    const int32_t x = in[i];",
            "    if (x == 0) continue;",
            *("    " + line for line in _visit(synapse, weight, " * x", sums)),
            "}",
        ]
    return [*_begin(synapse, bias, sums), *walk]


def _visit(synapse: LinearMap, weight: str, times: str, sums: _Sums) -> list[str]:
    """What a value that is not 0 at place i adds."""
    channels, taps = synapse.groups * synapse.read, prod(synapse.kernel)
    step = sums.plus("sum[o]", f"row[o]{times}{sums.times}")
    inner = f"for (int32_t o = 0; o < {synapse.made}; o++) {step}"
    if not synapse.kernel:
        return [f"const int8_t *row = {weight} + i * {synapse.made};", f"{sums.type} *sum = out;", inner]
    lines = [
        f"const int32_t c = i % {channels};",
        f"const int8_t *taps = {weight} + c * {taps * synapse.made};",
    ]
    rest = f"(i / {channels})"
    for axis in range(len(synapse.inputs)):
        after = prod(synapse.inputs[axis + 1 :])
        value = rest if after == 1 else f"{rest} / {after}"
        lines.append(f"const int32_t i{axis} = {value if axis == 0 else f'{value} % {synapse.inputs[axis]}'};")
    loops = _positions(synapse, "i", "o", synapse.outputs, spreading=synapse.transposed)
    place, tap = _flat("o", synapse.outputs), _flat("k", synapse.kernel)
    group = f" + (c / {synapse.read}) * {synapse.made}" if synapse.groups > 1 else ""
    outputs = synapse.groups * synapse.made
    body = [
        f"const int8_t *row = taps + ({tap}) * {synapse.made};",
        f"{sums.type} *sum = out + ({place}) * {outputs}{group};",
        inner,
    ]
    return [*lines, *_nested(loops, body)]


def _positions(synapse: LinearMap, given: str, found: str, limit: Shape, *, spreading: bool) -> list[list[str]]:
    """Per axis: a loop over taps that leaves out those without a position, and the statements of that position."""
    loops = []
    for axis, size in enumerate(synapse.kernel):
        s, p, d = synapse.stride[axis], synapse.padding[axis], synapse.dilation[axis]
        k = f"k{axis}" if d == 1 else f"{d} * k{axis}"
        lines = [f"for (int32_t k{axis} = 0; k{axis} < {size}; k{axis}++) {{"]
        if spreading:
            scaled = f"{given}{axis}" if s == 1 else f"{s} * {given}{axis}"
            lines.append(f"    const int32_t {found}{axis} = {scaled} + {k} - {p};")
            lines.append(f"    if ({found}{axis} < 0 || {found}{axis} >= {limit[axis]}) continue;")
        elif s == 1:
            lines.append(f"    const int32_t {found}{axis} = {given}{axis} + {p} - {k};")
            lines.append(f"    if ({found}{axis} < 0 || {found}{axis} >= {limit[axis]}) continue;")
        else:
            lines.append(f"    const int32_t t{axis} = {given}{axis} + {p} - {k};")
            lines.append(f"    if (t{axis} < 0 || t{axis} % {s} != 0 || t{axis} / {s} >= {limit[axis]}) continue;")
            lines.append(f"    const int32_t {found}{axis} = t{axis} / {s};")
        loops.append(lines)
    return loops


def _nested(loops: list[list[str]], body: list[str]) -> list[str]:
    lines: list[str] = []
    for depth, loop in enumerate(loops):
        lines += ["    " * depth + line for line in loop]
    lines += ["    " * len(loops) + line for line in body]
    return lines + ["    " * depth + "}" for depth in reversed(range(len(loops)))]


def _flat(letter: str, sizes: Shape) -> str:
    """Index of a position or tap in C order."""
    text = f"{letter}0"
    for axis, size in list(enumerate(sizes))[1:]:
        text = f"({text}) * {size} + {letter}{axis}" if axis > 1 else f"{text} * {size} + {letter}{axis}"
    return text


def _dense(synapse: LinearMap, tensor: CTensor, weight: str, bias: str | None, sums: _Sums, unit: CFile) -> list[str]:
    lines, read = [], tensor
    if tensor.type == "bits":  # a byte each, once, for all sums that read it
        read = unit.memory(f"{tensor.name}~bytes for {weight}", tensor.shape, "int8_t", tensor.grid, tensor.order)
        lines = [
            unit.target(read, "x"),
            f"for (int32_t i = 0; i < {tensor.size}; i++) x[i] = (int8_t)((in[i >> 5] >> (i & 31)) & 1u);",
        ]
    else:
        lines = [f"const {tensor.type} *x = in;"]
    taps, channels, outputs = prod(synapse.kernel), synapse.groups * synapse.read, synapse.groups * synapse.made
    depth = taps * synapse.read
    start, total = "0", f"sum{sums.times}"
    if bias is not None and not sums.adds:
        start, total = (f"{bias}[o]", "sum") if not sums.shift else ("0", f"{total} + {bias}[o]")
    begin = _begin(synapse, bias, sums) if sums.adds else []
    if not synapse.kernel:
        return [
            *begin,
            *lines,
            f"for (int32_t o = 0; o < {outputs}; o++) {{",
            f"    const int8_t *row = {weight} + o * {depth};",
            f"    int32_t sum = {start};",
            f"    for (int32_t i = 0; i < {depth}; i++) sum += row[i] * x[i];",
            f"    {_stored(sums, 'out[o]', total)}",
            "}",
        ]
    loops = _positions(synapse, "o", "i", synapse.inputs, spreading=not synapse.transposed)
    group = f" + (o / {synapse.made}) * {synapse.read}" if synapse.groups > 1 else ""
    taken = [
        f"const int8_t *row = taps + ({_flat('k', synapse.kernel)}) * {synapse.read};",
        f"const {read.type} *near = x + ({_flat('i', synapse.inputs)}) * {channels}{group};",
        f"for (int32_t c = 0; c < {synapse.read}; c++) sum += row[c] * near[c];",
    ]
    place = f"out[({_flat('o', synapse.outputs)}) * {outputs} + o]"
    body = [
        f"for (int32_t o = 0; o < {outputs}; o++) {{",
        f"    const int8_t *taps = {weight} + o * {depth};",
        f"    int32_t sum = {start};",
        *("    " + line for line in _nested(loops, taken)),
        f"    {_stored(sums, place, total)}",
        "}",
    ]
    places = [[f"for (int32_t o{axis} = 0; o{axis} < {size}; o{axis}++) {{"] for axis, size in enumerate(synapse.outputs)]
    return [*begin, *lines, *_nested(places, body)]


def _stored(sums: _Sums, place: str, value: str) -> str:
    return sums.plus(place, value) if sums.adds else f"{place} = {value};"
