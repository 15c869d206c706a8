"""One rule per graph node: the ONNX operators that compute it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from neurodeploy.graph import ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.neuron import low_pass_function, neuron_attributes, neuron_function
from neurodeploy_exporters.onnx.writer import Writer, on_grid, synapse

_RULES: dict[type, Callable[[Writer, Any], None]] = {}


def emit(writer: Writer, node: ops.Node) -> None:
    """Add the operators of one node to the model.

    Raises:
        UserError: the node has no form in ONNX.
    """
    rule = _RULES.get(type(node))
    if rule is None:
        raise UserError(f"node {node.name} ({node.kind}): has no form in the ONNX export")
    rule(writer, node)


def _rule(*kinds: type) -> Callable[[Callable[[Writer, Any], None]], Callable[[Writer, Any], None]]:
    def register(function: Callable[[Writer, Any], None]) -> Callable[[Writer, Any], None]:
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


@_rule(ops.EncodeNode)
def _encode(writer: Writer, node: ops.EncodeNode) -> None:
    source = node.inputs[0]
    shape = writer.operator("Shape", [source], f"{node.name}.sample_shape")
    target = writer.operator("Concat", [writer.steps, shape], f"{node.name}.shape", axis=0)
    writer.operator("Expand", [source, target], node.name)


@_rule(ops.ConvNode)
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


@_rule(ops.LinearNode)
def _linear(writer: Writer, node: ops.LinearNode) -> None:
    writer.operator("Gemm", _synapse(writer, node), node.name, transB=int(writer.grids is None))


def _synapse(writer: Writer, node: ops.ConvNode | ops.LinearNode) -> list[str]:
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


@_rule(ops.BatchNormNode)
def _batch_norm(writer: Writer, node: ops.BatchNormNode) -> None:
    axes = (1,) * (len(writer.graph.shape(node.name)) - 1)
    scale, shift = (values.reshape(-1, *axes) for values in (node.scale, node.shift))
    factor, offset = writer.constant(f"{node.name}.scale", scale), writer.constant(f"{node.name}.shift", shift)
    scaled = writer.operator("Mul", [writer.folded(node.inputs[0]), factor], f"{node.name}.scaled")
    writer.operator("Add", [scaled, offset], node.name)


@_rule(ops.NeuronNode)
def _neuron(writer: Writer, node: ops.NeuronNode) -> None:
    try:
        attributes = neuron_attributes(node.parameters)
    except ValueError as error:
        raise UserError(f"node {node.name}: {error}; scale the weights and the threshold") from None
    current, reset = writer.timed(node.inputs[0]), node.parameters.reset
    function = neuron_function(reset, 2 + len(writer.graph.shape(node.name)))
    v0, v = f"{node.name}.v0", f"{node.name}.v"
    before, after = writer.initial(v0, v, current, node.name), v
    negative = reset == "hard" and writer.streaming  # zeros and a potential that nobody asks for may have either sign
    if negative:
        before, after = writer.operator("Neg", [v0], f"{v0}.negative"), f"{v}.negative"
    writer.call(function, [current, before], node.name, after, **attributes)
    if negative:
        writer.operator("Neg", [after], v)


@_rule(ops.LowPassNode)
def _low_pass(writer: Writer, node: ops.LowPassNode) -> None:
    x = writer.timed(node.inputs[0])
    i0 = writer.initial(f"{node.name}.i0", f"{node.name}.i", x, node.name)
    function = low_pass_function(2 + len(writer.graph.shape(node.name)))
    writer.call(function, [x, i0], node.name, f"{node.name}.i", decay=node.decay)


@_rule(ops.DelayNode)
def _delay(writer: Writer, node: ops.DelayNode) -> None:
    """The last `steps` values come before the sequence; as many at its end wait for the next one."""
    x, before, after = writer.timed(node.inputs[0]), f"{node.name}.waiting0", f"{node.name}.waiting"
    if writer.streaming:
        writer.state(before, after, [node.steps, "B", *writer.graph.shape(node.name)])
    else:
        sample = writer.operator("Shape", [x], f"{node.name}.sample_shape", start=1)
        steps = writer.constant(f"{node.name}.steps", np.array([node.steps], np.int64))
        shape = writer.operator("Concat", [steps, sample], f"{before}.shape", axis=0)
        writer.operator("ConstantOfShape", [shape], before)
    both = writer.operator("Concat", [before, x], f"{node.name}.both", axis=0)
    first, end, cut = (
        writer.constant(f"{node.name}.{name}", np.array([value], np.int64))
        for name, value in (("first", 0), ("end", np.iinfo(np.int64).max), ("cut", -node.steps))
    )
    writer.operator("Slice", [both, first, cut, first], node.name)
    if writer.streaming:
        writer.operator("Slice", [both, cut, end, first], after)


@_rule(ops.ReluNode)
def _relu(writer: Writer, node: ops.ReluNode) -> None:
    writer.operator("Relu", [writer.folded(node.inputs[0])], node.name)


@_rule(ops.AvgPoolNode, ops.MaxPoolNode)
def _pool(writer: Writer, node: ops.AvgPoolNode | ops.MaxPoolNode) -> None:
    kind = "AveragePool" if isinstance(node, ops.AvgPoolNode) else "MaxPool"
    source = writer.folded(node.inputs[0])
    writer.operator(kind, [source], node.name, kernel_shape=list(node.kernel), strides=list(node.stride))


@_rule(ops.FlattenNode)
def _flatten(writer: Writer, node: ops.FlattenNode) -> None:
    writer.operator("Flatten", [writer.folded(node.inputs[0])], node.name, axis=1)


@_rule(ops.AddNode)
def _add(writer: Writer, node: ops.AddNode) -> None:
    writer.operator("Add", [writer.folded(source) for source in node.inputs], node.name)


@_rule(ops.TimeMeanNode)
def _time_mean(writer: Writer, node: ops.TimeMeanNode) -> None:
    x = writer.timed(node.inputs[0])
    if not writer.streaming:
        axes = writer.constant(f"{node.name}.axes", np.array([0], np.int64))
        writer.operator("ReduceMean", [x, axes], node.name, keepdims=0)
        return
    # the mean over all steps so far; the sum is taken step by step, so that it does not depend on how they are cut into chunks
    shape = list(writer.graph.shape(node.name))
    total, count = f"{node.name}.sum", f"{node.name}.steps"
    sum0 = writer.state(f"{total}0", total, ["B", *shape])
    writer.call(low_pass_function(2 + len(shape)), [x, sum0], f"{node.name}.sums", total, decay=1.0)
    count0 = writer.state(f"{count}0", count, [1], kind=TensorProto.INT64)
    writer.operator("Add", [count0, writer.steps], count)
    steps = writer.operator("Cast", [count], f"{node.name}.divisor", to=TensorProto.FLOAT)
    writer.operator("Div", [total, steps], node.name)


@_rule(ops.OutputNode)
def _output(writer: Writer, node: ops.OutputNode) -> None:
    source = node.inputs[0]
    writer.operator("Identity", [writer.timed(source) if writer.graph.timed(source) else source], node.name)
