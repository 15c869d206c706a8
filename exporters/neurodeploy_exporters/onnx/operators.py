"""Each operation and its ONNX operators, both ways: the rule that writes them, and beside it the one that reads them again.

A recurrent operation takes one call: see `recurrent`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.graph import ops
from neurodeploy.graph.table import Table
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.cells import cell_function, described, initial_number, most_spikes
from neurodeploy_exporters.onnx.entering import normalize_function, quantize_attributes, quantize_fields, quantize_function
from neurodeploy_exporters.onnx.half import half_parameters, plain_neuron_function
from neurodeploy_exporters.onnx.reader import Reader
from neurodeploy_exporters.onnx.recurrence import (
    Step,
    delay_function,
    low_pass_function,
    neuron_attributes,
    neuron_function,
    step_function,
)
from neurodeploy_exporters.onnx.writer import TRAINED_STEPS, Writer, on_grid, synapse

OPERATIONS: Table[Callable[[Writer, Any], None]] = Table(
    "in the ONNX export", "replace the layer, or register a rule in neurodeploy_exporters.onnx.operators"
)
STEP_OPERATIONS: Table[Callable[[Any, Any], None]] = Table(
    "in an ONNX model of one time step",
    "export without --step, or register a rule in neurodeploy_exporters.onnx.operators.STEP_OPERATIONS",
)
"""The rules of sequential operations for models of one step, see `stepping`; others have one form."""
_Read = Callable[[Reader, onnx.NodeProto], ops.Node | None]
READ: dict[str, _Read] = dict.fromkeys(("Shape", "ConstantOfShape", "Cast", "ReduceSum", "Neg"), lambda _reader, _op: None)
"""ONNX operator, or local function without its rank, → the node that it is; None of what makes no node."""


def _reads(*kinds: str) -> Callable[[_Read], _Read]:
    def register(function: _Read) -> _Read:
        READ.update(dict.fromkeys(kinds, function))
        return function

    return register


def recurrent(
    operation: type[ops.Recurrent],
    states: tuple[str, ...],
    write: Callable[[Any], Step],
    read: Callable[[str, dict[str, float]], dict[str, Any]],
) -> None:
    """Registers both ways of an operation with one input that goes through time.

    Args:
        operation: its class.
        states: names of what it keeps from step to step; all begin with zeros.
        write: node → one of its time steps.
        read: `(variant, constants)` of such a step → the fields of the node beside name and inputs.
    """
    kind = operation.__name__.removesuffix("Node")
    for table in (OPERATIONS, STEP_OPERATIONS):
        table.rule(operation)(partial(_over_time, states, write))

    def node(reader: Reader, op: onnx.NodeProto) -> ops.Node:
        variant = "_".join(op.op_type.split("_")[1:-1])
        return operation(name=reader.named(op), inputs=reader.source(op), **read(variant, _attributes(op)))

    _reads(kind)(node)


def _over_time(states: tuple[str, ...], write: Callable[[Any], Step], writer: Writer, node: ops.Node) -> None:
    step, x = write(node), writer.timed(node.inputs[0])
    function = step_function(node.kind, states, step, 2 + len(writer.graph.shape(node.name)))
    after = [f"{node.name}.{state}" for state in states]
    before = [writer.initial(f"{state}0", state, x, node.name) for state in after]
    writer.call(function, [x, *before], node.name, *after, **step.constants)


for _table in (OPERATIONS, STEP_OPERATIONS):
    _table.lack(ops.FixedPointNeuronNode, "its neurons are a chip's, in integers: export the network in float")


@OPERATIONS.rule(ops.InputNode)
def _input(_: Writer, __: ops.InputNode) -> None:
    """No operator: `build` declares it, and `Reader.inputs` reads it."""


def _attributes(op: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in op.attribute}


_SHAPE = ".shape"
"""Ends the name of the constant that makes a Reshape a node's own: others only bring a tensor into another form."""


@_reads("Reshape")
def _read_reshape(reader: Reader, op: onnx.NodeProto) -> ops.Node | None:
    if not (reader.is_constant(op.input[1]) and op.input[1].endswith(_SHAPE)):
        reader.same(op)
        return None
    shape = tuple(map(int, reader.constant(op.input[1])[1:]))
    return ops.ReshapeNode(name=reader.named(op), inputs=reader.source(op), shape=shape)


@_reads("QuantizeLinear")
def _another_form(reader: Reader, op: onnx.NodeProto) -> None:
    reader.same(op)


@_reads("DequantizeLinear")
def _from_integers(reader: Reader, op: onnx.NodeProto) -> None:
    if not reader.is_constant(op.input[0]):
        reader.same(op)
        return
    integers, scale = reader.constant(op.input[0]), reader.constant(op.input[1])
    axes = [1] * integers.ndim
    axes[_attributes(op)["axis"]] = -1
    reader.constants[op.output[0]] = integers.astype(np.float32) * scale.reshape(axes)


@OPERATIONS.rule(ops.NormalizeNode)
def _normalize(writer: Writer, node: ops.NormalizeNode) -> None:
    axes = (1,) * (len(writer.graph.shape(node.name)) - 1)
    constants = [
        writer.constant(f"{node.name}.{name}", values.reshape(-1, *axes))
        for name, values in (("mean", node.mean), ("std", node.std))
    ]
    writer.call(normalize_function(), [writer.folded(node.inputs[0]), *constants], node.name)


@_reads("Normalize")
def _read_normalize(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    mean, std = (reader.weights(tensor).reshape(-1) for tensor in op.input[1:])
    return ops.NormalizeNode(name=reader.named(op), inputs=reader.source(op), mean=mean, std=std)


@OPERATIONS.rule(ops.QuantizeNode)
def _quantize(writer: Writer, node: ops.QuantizeNode) -> None:
    attributes = quantize_attributes(node.exponent, node.largest)
    writer.call(quantize_function(), [writer.folded(node.inputs[0])], node.name, **attributes)


@_reads("Quantize")
def _read_quantize(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.QuantizeNode(name=reader.named(op), inputs=reader.source(op), **quantize_fields(_attributes(op)))


@OPERATIONS.rule(ops.EncodeNode)
def _encode(writer: Writer, node: ops.EncodeNode) -> None:
    source = node.inputs[0]
    shape = writer.operator("Shape", [source], f"{node.name}.sample_shape")
    target = writer.operator("Concat", [writer.steps, shape], f"{node.name}.shape", axis=0)
    writer.operator("Expand", [source, target], node.name)


@_reads("Expand")
def _read_encode(reader: Reader, op: onnx.NodeProto) -> ops.Node | None:
    if reader.is_constant(op.input[0]):  # with which a state begins
        reader.begins[op.output[0]] = reader.constant(op.input[0])
        return None
    return ops.EncodeNode(name=reader.named(op), inputs=reader.source(op), steps=int(reader.metadata[TRAINED_STEPS]))


@OPERATIONS.rule(ops.ConvNode)
def _conv(writer: Writer, node: ops.ConvNode) -> None:
    current = None if writer.grids is None else writer.grids.get(node.name)
    writer.operator(
        "Conv",
        _synapse(writer, node),
        node.name if current is None else f"{node.name}.sums",
        kernel_shape=list(node.weight.shape[2:]),
        strides=list(node.stride),
        pads=[*node.padding, *node.padding],
        dilations=list(node.dilation),
        group=node.groups,
    )
    if current is not None:
        on_grid(writer, f"{node.name}.sums", current, node.name)


@_reads("Conv")
def _read_conv(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    plan, axes = _attributes(op), len(reader.constant(op.input[1]).shape) - 2
    return ops.ConvNode(
        name=reader.named(op),
        inputs=reader.source(op),
        weight=reader.weights(op.input[1]),
        bias=reader.weights(op.input[2]) if len(op.input) > 2 else None,
        stride=tuple(plan["strides"]),
        padding=tuple(plan["pads"][:axes]),
        dilation=tuple(plan["dilations"]),
        groups=plan["group"],
    )


@OPERATIONS.rule(ops.LinearNode)
def _linear(writer: Writer, node: ops.LinearNode) -> None:
    writer.operator("Gemm", _synapse(writer, node), node.name, transB=int(writer.grids is None))


@OPERATIONS.rule(ops.ConvTransposeNode)
def _conv_transpose(writer: Writer, node: ops.ConvTransposeNode) -> None:
    if any(more >= stride for more, stride in zip(node.output_padding, node.stride, strict=True)):
        raise UserError(
            f"node {node.name}: output padding {node.output_padding} with strides {node.stride} found, which ONNX Runtime does "
            "not compute; train with less than the stride, and put a padding layer after it"
        )
    writer.operator(
        "ConvTranspose",
        _synapse(writer, node),
        node.name,
        kernel_shape=list(node.weight.shape[2:]),
        strides=list(node.stride),
        pads=[*node.padding, *node.padding],
        output_padding=list(node.output_padding),
        dilations=list(node.dilation),
        group=node.groups,
    )


@_reads("ConvTranspose")
def _read_conv_transpose(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    plan = _attributes(op)
    return ops.ConvTransposeNode(
        name=reader.named(op),
        inputs=reader.source(op),
        weight=reader.weights(op.input[1]),
        bias=reader.weights(op.input[2]) if len(op.input) > 2 else None,
        stride=tuple(plan["strides"]),
        padding=tuple(plan["pads"][: len(plan["strides"])]),
        output_padding=tuple(plan["output_padding"]),
        dilation=tuple(plan["dilations"]),
        groups=plan["group"],
    )


def _synapse(writer: Writer, node: ops.Weighted) -> list[str]:
    """What a layer reads: its input, weights and bias, as numbers or as integers with their scales."""
    source = node.inputs[0]
    if writer.grids is not None:
        grid = writer.grids.get(source)
        x = writer.folded(source) if grid is None else on_grid(writer, writer.folded(source), grid, f"{source}.whole")
        return [x, *synapse(writer, node, grid)]
    inputs = [writer.folded(source), writer.constant(f"{node.name}.weight", node.weight)]
    if node.bias is not None:
        inputs.append(writer.constant(f"{node.name}.bias", node.bias))
    return inputs


@_reads("Gemm")
def _read_linear(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    weight = reader.weights(op.input[1])
    bias = reader.weights(op.input[2]) if len(op.input) > 2 else None
    stored = weight if _attributes(op)["transB"] else np.ascontiguousarray(weight.T)
    return ops.LinearNode(name=reader.named(op), inputs=reader.source(op), weight=stored, bias=bias)


@OPERATIONS.rule(ops.BatchNormNode)
def _batch_norm(writer: Writer, node: ops.BatchNormNode) -> None:
    axes = (1,) * (len(writer.graph.shape(node.name)) - 1)
    scale, shift = (values.reshape(-1, *axes) for values in (node.scale, node.shift))
    factor, offset = writer.constant(f"{node.name}.scale", scale), writer.constant(f"{node.name}.shift", shift)
    scaled = writer.operator("Mul", [writer.folded(node.inputs[0]), factor], f"{node.name}.scaled")
    writer.operator("Add", [scaled, offset], node.name)


@OPERATIONS.rule(ops.MultiplyNode)
def _multiply(writer: Writer, node: ops.MultiplyNode) -> None:
    writer.operator("Mul", [writer.folded(source) for source in node.inputs], node.name)


@_reads("Mul")
def _scaled(reader: Reader, op: onnx.NodeProto) -> ops.Node | None:
    if not reader.is_constant(op.input[1]):
        return ops.MultiplyNode(name=reader.named(op), inputs=(*reader.source(op), *reader.source(op, 1)))
    reader.scaled[op.output[0]] = reader.maker(op.input[0]), reader.weights(op.input[1]).reshape(-1)
    return None


@OPERATIONS.rule(ops.MatMulNode)
def _matmul(writer: Writer, node: ops.MatMulNode) -> None:
    writer.operator("MatMul", [writer.folded(source) for source in node.inputs], node.name)


@_reads("MatMul")
def _read_matmul(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.MatMulNode(name=reader.named(op), inputs=(*reader.source(op), *reader.source(op, 1)))


@OPERATIONS.rule(ops.NeuronNode)
def _neuron(writer: Writer, node: ops.NeuronNode) -> None:
    current, reset, rank = writer.timed(node.inputs[0]), node.parameters.reset, 2 + len(writer.graph.shape(node.name))
    if writer.half:
        before, after = writer.initial(f"{node.name}.v0", f"{node.name}.v", current, node.name), f"{node.name}.v"
        numbers = half_parameters(node.name, node.parameters)
        writer.call(plain_neuron_function(reset, rank), [current, before], node.name, after, **numbers)
        return
    try:
        attributes = neuron_attributes(node.parameters)
    except ValueError as error:
        raise UserError(f"node {node.name}: {error}; scale the weights and the threshold") from None
    function = neuron_function(reset, rank)
    v0, v = f"{node.name}.v0", f"{node.name}.v"
    before, after = writer.initial(v0, v, current, node.name), v
    negative = reset == "hard" and writer.streaming  # zeros and a potential that nobody asks for may have either sign
    if negative:
        before, after = writer.operator("Neg", [v0], f"{v0}.negative"), f"{v}.negative"
    writer.call(function, [current, before], node.name, after, **attributes)
    if negative:
        writer.operator("Neg", [after], v)


@_reads("LIF")
def _read_neuron(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    reset = next(reset for reset in RESETS if reset == op.op_type.split("_")[1])
    constants = _attributes(op)
    parameters = NeuronParameters(constants["decay"], constants["threshold"], reset)
    if constants != (half_parameters(op.name, parameters) if reader.half else neuron_attributes(parameters)):
        raise ValueError("constants that do not belong together")
    return ops.NeuronNode(name=reader.named(op), inputs=reader.source(op), parameters=parameters)


@STEP_OPERATIONS.rule(ops.LowPassNode)
@OPERATIONS.rule(ops.LowPassNode)
def _low_pass(writer: Writer, node: ops.LowPassNode) -> None:
    x = writer.timed(node.inputs[0])
    i0 = writer.initial(f"{node.name}.i0", f"{node.name}.i", x, node.name)
    function = low_pass_function(2 + len(writer.graph.shape(node.name)))
    writer.call(function, [x, i0], node.name, f"{node.name}.i", decay=node.decay)


@_reads("LowPass")
def _read_low_pass(reader: Reader, op: onnx.NodeProto) -> ops.Node | None:
    if op.output[1] in reader.dividends:  # the sum over time of a stream's mean
        reader.totals[op.output[1]] = reader.maker(op.input[0])
        return None
    return ops.LowPassNode(name=reader.named(op), inputs=reader.source(op), decay=_attributes(op)["decay"])


@OPERATIONS.rule(ops.DelayNode)
def _delay(writer: Writer, node: ops.DelayNode) -> None:
    """The last `steps` values come before the sequence; as many at its end wait for the next one."""
    x, before, after = writer.timed(node.inputs[0]), f"{node.name}.waiting0", f"{node.name}.waiting"
    if writer.streaming:
        writer.state(before, after, [node.steps, "B", *writer.graph.shape(node.name)])
    else:
        sample = writer.operator("Shape", [x], f"{node.name}.sample_shape", start=1)
        steps = writer.constant(f"{node.name}.steps", np.array([node.steps], np.int64))
        shape = writer.operator("Concat", [steps, sample], f"{before}.shape", axis=0)
        writer.zeros(shape, before)
    both = writer.operator("Concat", [before, x], f"{node.name}.both", axis=0)
    first, end, cut = (
        writer.constant(f"{node.name}.{name}", np.array([value], np.int64))
        for name, value in (("first", 0), ("end", np.iinfo(np.int64).max), ("cut", -node.steps))
    )
    if node.each is None:
        writer.operator("Slice", [both, first, cut, first], node.name)
    else:
        delays = writer.constant(f"{node.name}.delays", node.each)
        writer.call(delay_function(2 + len(writer.graph.shape(node.name))), [both, x, delays], node.name)
    if writer.streaming:
        writer.operator("Slice", [both, cut, end, first], after)


@_reads("Delay")
def _read_delays(reader: Reader, op: onnx.NodeProto) -> ops.DelayNode:
    each = reader.constant(op.input[2]).astype(np.int64)
    return ops.DelayNode(name=reader.named(op), inputs=(reader.padded[op.input[0]],), steps=int(each.max()), each=each)


@STEP_OPERATIONS.rule(ops.CellNode, ops.MembraneNode)
@OPERATIONS.rule(ops.CellNode, ops.MembraneNode)
def _cell(writer: Writer, node: ops.Updated) -> None:
    """States that begin with other values than zeros do so inside the model: all that enter it begin with zeros."""
    sequences = [writer.timed(source) for source in node.inputs]
    constants = [writer.constant(f"{node.name}.array{number}", array) for number, array in enumerate(node.arrays)]
    weights = {"recurrent": node.recurrent, "recurrent_bias": node.recurrent_bias}
    held = [writer.constant(f"{node.name}.{name}", array) for name, array in weights.items() if array is not None]
    before, after = [], []
    for number, operand in enumerate(node.update.initial):
        names = f"{node.name}.before.{number}", f"{node.name}.after.{number}"
        value = initial_number(operand)
        if operand[0] == "array":
            before.append(writer.beginning(*names, sequences[0], node.name, constants[int(operand[1])]))
        elif value is not None:
            constant = writer.constant(f"{node.name}.initial.{number}", value)
            before.append(writer.beginning(*names, sequences[0], node.name, constant))
        else:
            before.append(writer.initial(*names, sequences[0], node.name))
        after.append(names[1])
    if node.recurrent is not None:
        before.append(writer.initial(f"{node.name}.before.answer", f"{node.name}.after.answer", sequences[0], node.name))
        after.append(f"{node.name}.after.answer")
    function = cell_function(node, 2 + len(writer.graph.shape(node.name)))
    writer.call(function, [*sequences, *constants, *held, *before], node.name, *after)


@_reads("Where")
def _read_begun(reader: Reader, op: onnx.NodeProto) -> None:
    reader.begins[op.output[0]] = reader.constant(op.input[2])


@_reads("Cell", "Membrane")
def _read_cell(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    """The update is what the function's description says, if the function made of it is the one that is there."""
    function = reader.function(op)
    update, taken = described(function.doc_string), list(op.input)
    recurrent, biased = "weight" in function.input, "bias" in function.input
    read = [taken.pop(0) for _ in range(update.inputs - recurrent)]
    arrays = [taken.pop(0) for name in function.input if name.startswith("array")]
    weight = reader.weights(taken.pop(0)) if recurrent else None
    bias = reader.weights(taken.pop(0)) if biased else None
    fields: dict[str, Any] = {
        "name": reader.named(op),
        "inputs": tuple(map(reader.maker, read)),
        "update": update,
        "arrays": tuple(map(reader.weights, arrays)),
        "recurrent": weight,
        "recurrent_bias": bias,
    }
    is_cell = op.op_type.split("_")[0] == "Cell"
    node = ops.CellNode(**fields, largest=most_spikes(op.op_type)) if is_cell else ops.MembraneNode(**fields)
    expected = cell_function(node, int(op.op_type.rpartition("_r")[2]))
    expected.opset_import[0].version = function.opset_import[0].version
    if function != expected:
        raise ValueError("operators that do not belong to the update")
    for operand, state in zip(update.initial, taken, strict=False):
        value: Any = node.arrays[int(operand[1])] if operand[0] == "array" else initial_number(operand)
        begins: Any = reader.begins.get(state)
        if reader.half and operand[0] == "number" and value is not None:
            value = np.float16(value)
        if (value is None) != (begins is None) or (value is not None and not np.array_equal(value, begins)):
            raise ValueError("states that begin with other values")
    return node


@OPERATIONS.rule(ops.ConcatNode)
def _concat(writer: Writer, node: ops.ConcatNode) -> None:
    writer.operator("Concat", [writer.folded(source) for source in node.inputs], node.name, axis=1 + node.axis)


@_reads("Concat")
def _read_concat(reader: Reader, op: onnx.NodeProto) -> ops.Node | None:
    """Along the first axis: values that wait in a delay and the sequence; elsewhere sizes."""
    axis = _attributes(op)["axis"]
    if axis == 0:
        reader.padded[op.output[0]] = reader.maker(op.input[1])
        return None
    inputs = tuple(reader.maker(source) for source in op.input)
    return ops.ConcatNode(name=reader.named(op), inputs=inputs, axis=axis - 1)


@OPERATIONS.rule(ops.SliceNode)
def _slice(writer: Writer, node: ops.SliceNode) -> None:
    axes = tuple(range(1, 1 + len(node.starts)))
    bounds = (("starts", node.starts), ("stops", node.stops), ("axes", axes), ("steps", node.steps))
    constants = [writer.constant(f"{node.name}.{name}", np.array(values, np.int64)) for name, values in bounds]
    writer.operator("Slice", [writer.folded(node.inputs[0]), *constants], node.name)


@_reads("Slice")
def _read_slice(reader: Reader, op: onnx.NodeProto) -> ops.Node | None:
    if op.output[0] in reader.states.values():
        return None
    if len(op.input) == 5:
        starts, stops, _, steps = (tuple(map(int, reader.constant(name))) for name in op.input[1:])
        return ops.SliceNode(name=reader.named(op), inputs=reader.source(op), starts=starts, stops=stops, steps=steps)
    if op.input[0] not in reader.padded:  # before a mean over time
        reader.skipped[op.output[0]] = int(reader.constant(op.input[1])[0])
        reader.same(op)
        return None
    late = -int(reader.constant(op.input[2])[0])
    return ops.DelayNode(name=reader.named(op), inputs=(reader.padded[op.input[0]],), steps=late)


@OPERATIONS.rule(ops.ReluNode)
def _relu(writer: Writer, node: ops.ReluNode) -> None:
    source = writer.folded(node.inputs[0])
    if node.ceiling is None:
        writer.operator("Relu", [source], node.name)
        return
    bounds = (("floor", 0.0), ("ceiling", node.ceiling))
    limits = [writer.constant(f"{node.name}.{name}", np.float32(value)) for name, value in bounds]
    writer.operator("Clip", [source, *limits], node.name)


@_reads("Relu")
def _read_relu(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.ReluNode(name=reader.named(op), inputs=reader.source(op))


@_reads("Clip")
def _read_clip(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    """With the shortest decimal number that is the ceiling in float32: what was written, such as 0.1."""
    if reader.constant(op.input[1]) != 0:
        raise ValueError("a rectifier begins at 0")
    ceiling = float(str(np.float32(reader.constant(op.input[2]))))
    return ops.ReluNode(name=reader.named(op), inputs=reader.source(op), ceiling=ceiling)


@OPERATIONS.rule(ops.AvgPoolNode, ops.MaxPoolNode)
def _pool(writer: Writer, node: ops.AvgPoolNode | ops.MaxPoolNode) -> None:
    attributes: dict[str, Any] = {"kernel_shape": list(node.kernel), "strides": list(node.stride)}
    if node.padding:
        attributes["pads"] = [before for before, _ in node.padding] + [after for _, after in node.padding]
        if isinstance(node, ops.AvgPoolNode):
            attributes["count_include_pad"] = int(node.count_padding)
    kind = "AveragePool" if isinstance(node, ops.AvgPoolNode) else "MaxPool"
    writer.operator(kind, [writer.folded(node.inputs[0])], node.name, **attributes)


@_reads("AveragePool", "MaxPool")
def _read_pool(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    plan = _attributes(op)
    axes, pads = len(plan["kernel_shape"]), plan.get("pads", [])
    windows: dict[str, Any] = {
        "kernel": tuple(plan["kernel_shape"]),
        "stride": tuple(plan["strides"]),
        "padding": tuple(zip(pads[:axes], pads[axes:], strict=True)),
    }
    if op.op_type == "MaxPool":
        return ops.MaxPoolNode(name=reader.named(op), inputs=reader.source(op), **windows)
    counts = bool(plan.get("count_include_pad", not pads))
    return ops.AvgPoolNode(name=reader.named(op), inputs=reader.source(op), count_padding=counts, **windows)


@OPERATIONS.rule(ops.PadNode)
def _pad(writer: Writer, node: ops.PadNode) -> None:
    numbers = [0, *(before for before, _ in node.pads), 0, *(after for _, after in node.pads)]
    pads = writer.constant(f"{node.name}.pads", np.array(numbers, np.int64))
    writer.operator("Pad", [writer.folded(node.inputs[0]), pads], node.name, mode="constant")


@_reads("Pad")
def _read_pad(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    numbers = [int(number) for number in reader.constant(op.input[1])]
    axes = len(numbers) // 2
    pads = tuple(zip(numbers[1:axes], numbers[axes + 1 :], strict=True))
    return ops.PadNode(name=reader.named(op), inputs=reader.source(op), pads=pads)


@OPERATIONS.rule(ops.ReshapeNode)
def _reshape(writer: Writer, node: ops.ReshapeNode) -> None:
    target = writer.constant(f"{node.name}{_SHAPE}", np.array([-1, *node.shape], np.int64))
    writer.operator("Reshape", [writer.folded(node.inputs[0]), target], node.name)


@OPERATIONS.rule(ops.PermuteNode)
def _permute(writer: Writer, node: ops.PermuteNode) -> None:
    order = [0, *(1 + axis for axis in node.order)]
    writer.operator("Transpose", [writer.folded(node.inputs[0])], node.name, perm=order)


@_reads("Transpose")
def _read_permute(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    order = tuple(axis - 1 for axis in _attributes(op)["perm"][1:])
    return ops.PermuteNode(name=reader.named(op), inputs=reader.source(op), order=order)


@OPERATIONS.rule(ops.FlattenNode)
def _flatten(writer: Writer, node: ops.FlattenNode) -> None:
    writer.operator("Flatten", [writer.folded(node.inputs[0])], node.name, axis=1)


@_reads("Flatten")
def _read_flatten(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.FlattenNode(name=reader.named(op), inputs=reader.source(op))


@OPERATIONS.rule(ops.AddNode)
def _add(writer: Writer, node: ops.AddNode) -> None:
    writer.operator("Add", [writer.folded(source) for source in node.inputs], node.name)


@_reads("Add")
def _read_add(reader: Reader, op: onnx.NodeProto) -> ops.Node | None:
    if op.output[0] in reader.states.values():  # steps so far, of a stream
        return None
    if op.input[0] in reader.scaled:
        source, scale = reader.scaled[op.input[0]]
        shift = reader.weights(op.input[1]).reshape(-1)
        return ops.BatchNormNode(name=reader.named(op), inputs=(source,), scale=scale, shift=shift)
    return ops.AddNode(name=reader.named(op), inputs=(*reader.source(op), *reader.source(op, 1)))


_LATER = ".later"
"""Ends the name of the time steps that a mean does not skip."""


@OPERATIONS.rule(ops.TimeMeanNode)
def _time_mean(writer: Writer, node: ops.TimeMeanNode) -> None:
    x = writer.timed(node.inputs[0])
    if not writer.streaming:
        axes = writer.constant(f"{node.name}.axes", np.array([0], np.int64))
        if node.skip:
            bounds = (("first", node.skip), ("end", np.iinfo(np.int64).max))
            first, end = (writer.constant(f"{node.name}.{name}", np.array([value], np.int64)) for name, value in bounds)
            x = writer.operator("Slice", [x, first, end, axes], f"{node.name}{_LATER}")
        writer.operator("ReduceMean", [x, axes], node.name, keepdims=0)
        return
    if node.skip:
        raise UserError(
            f"node {node.name} (TimeMean): skips the first {node.skip} time steps, and a stream answers from its first step "
            "on; export without streaming, or make the network with evaluate_after=0"
        )
    # the mean over all steps so far; the sum is taken step by step, so that it does not depend on how they are cut into chunks
    shape = list(writer.graph.shape(node.name))
    total, count = f"{node.name}.sum", f"{node.name}.steps"
    sum0 = writer.state(f"{total}0", total, ["B", *shape])
    writer.call(low_pass_function(2 + len(shape)), [x, sum0], f"{node.name}.sums", total, decay=1.0)
    count0 = writer.state(f"{count}0", count, [1], kind=TensorProto.INT64)
    writer.operator("Add", [count0, writer.steps], count)
    steps = writer.operator("Cast", [count], f"{node.name}.divisor", to=TensorProto.FLOAT)
    writer.operator("Div", [total, steps], node.name)


@_reads("ReduceMean", "Div")
def _read_time_mean(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    if op.op_type == "Div":
        return ops.TimeMeanNode(name=reader.named(op), inputs=(reader.totals[op.input[0]],))
    skip = reader.skipped.get(op.input[0], 0)
    return ops.TimeMeanNode(name=reader.named(op), inputs=reader.source(op), skip=skip)


@OPERATIONS.rule(ops.OutputNode)
def _output(writer: Writer, node: ops.OutputNode) -> None:
    source = node.inputs[0]
    writer.operator("Identity", [writer.timed(source) if writer.graph.timed(source) else source], node.name)


@_reads("Identity")
def _read_output(reader: Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.OutputNode(name=reader.named(op), inputs=reader.source(op))
