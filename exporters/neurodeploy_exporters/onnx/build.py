"""From a graph, or one part of it, to an ONNX model. The model is built node by node, so layers keep their names."""

import onnx
from onnx import TensorProto, helper

import neurodeploy
from neurodeploy.errors import UserError
from neurodeploy.graph import Graph, Part, nodes
from neurodeploy_exporters.onnx.neuron import DOMAIN, neuron_function
from neurodeploy_exporters.onnx.operators import emit
from neurodeploy_exporters.onnx.writer import Writer

_OPSET = 18
_IR_VERSION = 8
STEPS = "steps"


def build(graph: Graph, part: Part | None = None, *, name: str) -> onnx.ModelProto:
    """The ONNX model of a graph, or of one part of it.

    Dynamic in T and B. Inputs: `input`, `[B, …]` for a static sample (then `steps`, int64 `[1]`, gives T) or `[T, B, …]`; of a
    later part the tensors that it reads, under the names of their layers: spikes `[T, B, …]`, or means over time `[B, …]`.
    Outputs: `logits` `[B, K]`, or the spike tensors that leave the part.

    Raises:
        UserError: a node has no form in ONNX; the message names it.
    """
    if STEPS in graph:
        raise UserError(f"node {STEPS}: this name is taken by the model's input for the number of steps; rename the layer")
    members = tuple(node.name for node in graph.nodes if not isinstance(node, nodes.Input)) if part is None else part.members
    inputs = (graph.input.name,) if part is None else part.inputs
    outputs = (graph.output.name,) if part is None else part.outputs
    sequences = [tensor for tensor in inputs if graph.timed(tensor)]
    writer = Writer(graph, STEPS)
    for tensor in sequences:
        writer.mark_timed(tensor)
    if sequences:
        writer.operator("Shape", [sequences[0]], STEPS, start=0, end=1)
    for member in members:
        emit(writer, graph[member])
    declared = [_value(graph, tensor) for tensor in inputs]
    if any(isinstance(graph[member], nodes.Encode) for member in members):
        declared.append(helper.make_tensor_value_info(STEPS, TensorProto.INT64, [1]))
    body = helper.make_graph(
        writer.operators,
        name,
        declared,
        [_value(graph, tensor) for tensor in outputs],
        list(writer.constants.values()),
    )
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=[neuron_function(reset, rank) for reset, rank in sorted(writer.neuron_kinds)],
        producer_name="neurodeploy",
        producer_version=neurodeploy.__version__,
    )
    model.ir_version = _IR_VERSION
    if graph.steps is not None:
        helper.set_model_props(model, {"trained_steps": str(graph.steps)})
    return model


def _value(graph: Graph, tensor: str) -> onnx.ValueInfoProto:
    leading = ["T", "B"] if graph.timed(tensor) else ["B"]
    return helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [*leading, *graph.shape(tensor)])
