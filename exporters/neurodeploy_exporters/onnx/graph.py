"""An exported model as a graph again: its operators are those of `operators.py`, each of them named like its node.

What only brings a tensor into another form (reshapes, 8-bit integers and back) stands for the tensor itself; integer weights
come back as the numbers that they stand for. States, spike counts and shapes make no nodes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.graph import Graph, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.build import STATES, STEPS
from neurodeploy_exporters.onnx.model import named_tensors, read
from neurodeploy_exporters.onnx.neuron import DOMAIN, neuron_attributes

_FORMS = (".sums", ".made")  # a node's tensor before it is rounded, and before it gets its time axis
_TRAINED_STEPS = "trained_steps"


@dataclass(frozen=True, eq=False)
class Members:
    """The nodes of a model.

    Attributes:
        inputs: of a whole network its Input; of a part the tensors that enter it, as if each were one.
        nodes: in order of computation; a model that makes logits ends with an Output.
    """

    inputs: tuple[ops.InputNode, ...]
    nodes: tuple[ops.Node, ...]


def read_graph(path: Path) -> Graph:
    """The network in a model of the whole, such as `whole.onnx`.

    Raises:
        UserError: the file is damaged, was not written by this toolkit, or holds a part of a network.
    """
    members = read_members(path)
    try:
        return Graph([*members.inputs, *members.nodes])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_members(path: Path) -> Members:
    """The nodes in a model of a network, or of a part of one.

    Raises:
        UserError: the file is damaged, or was not written by this toolkit; the message names the operator.
    """
    data, _ = read(path)
    return _Reader(path, onnx.ModelProto.FromString(data)).members()


class _Reader:
    """One model on its way to nodes."""

    def __init__(self, path: Path, model: onnx.ModelProto) -> None:
        self.path, self._model = path, model
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self.states = named_tensors(str(path), model, STATES)
        self.operators = list(model.graph.node)
        self.dividends = {op.input[0] for op in self.operators if op.op_type == "Div" and op.input}
        self.scaled: dict[str, tuple[str, NDArray[np.float32]]] = {}
        self.totals: dict[str, str] = {}
        self.padded: dict[str, str] = {}
        self.constants: dict[str, NDArray[Any]] = {}
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._same: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._formed = {op.output[0] for op in self.operators if op.op_type in ("Reshape", "DequantizeLinear") and op.output}

    def members(self) -> Members:
        """All nodes."""
        found = [node for op in self.operators if (node := self._node(op)) is not None]
        return Members(tuple(self._inputs()), tuple(found))

    def _inputs(self) -> Any:
        for value in self._model.graph.input:
            if value.name == STEPS or value.name in self.states:
                continue
            dims = value.type.tensor_type.shape.dim
            timed = bool(dims) and dims[0].dim_param == "T"
            shape = tuple(int(dim.dim_value) for dim in dims[1 + timed :])
            if not dims or dims[timed].dim_param != "B" or min(shape, default=1) < 1:
                raise UserError(f"{self.path}: input {value.name}: [B, ...] or [T, B, ...] of known sizes expected")
            yield ops.InputNode(name=value.name, shape=shape, timed=timed)

    def _node(self, op: onnx.NodeProto) -> ops.Node | None:
        what = f"{self.path}: operator {op.name or '?'} ({op.op_type})"
        kind = op.op_type if op.domain == "" else op.op_type.split("_")[0] if op.domain == DOMAIN else ""
        rule = _RULES.get(kind)
        if rule is None or self._model.producer_name != "neurodeploy":
            writer = self._model.producer_name or "another program"
            raise UserError(f"{what}: written by {writer!r}; a model that neurodeploy has exported expected")
        try:
            return rule(self, op)
        except (KeyError, ValueError, IndexError, TypeError, UserError) as error:
            reason = str(error) if isinstance(error, UserError) else "not as neurodeploy writes it"
            raise UserError(f"{what}: {reason}; export the model again") from None

    def same(self, op: onnx.NodeProto) -> None:
        """The operator's output is its first input in another form."""
        self._same[op.output[0]] = op.input[0]

    def named(self, op: onnx.NodeProto) -> str:
        """The name of the node that the operator computes."""
        name = op.output[0]
        for form in _FORMS:
            if name.endswith(form) and name.removesuffix(form) in self._formed:
                name = name.removesuffix(form)
        self._names[op.output[0]] = name
        return name

    def source(self, op: onnx.NodeProto, place: int = 0) -> tuple[str]:
        """The name of the node that made an operator's input."""
        return (self.maker(op.input[place]),)

    def maker(self, tensor: str) -> str:
        """The name of the node that made a tensor."""
        while tensor in self._same:
            tensor = self._same[tensor]
        return self._names.get(tensor, tensor)

    def is_constant(self, tensor: str) -> bool:
        return tensor in self._tensors or tensor in self.constants

    def constant(self, tensor: str) -> NDArray[Any]:
        """Weights."""
        if tensor not in self.constants:
            self.constants[tensor] = numpy_helper.to_array(self._tensors[tensor])
        return self.constants[tensor]

    def weights(self, tensor: str) -> NDArray[np.float32]:
        return self.constant(tensor).astype(np.float32)


_Rule = Callable[[_Reader, onnx.NodeProto], ops.Node | None]
_RULES: dict[str, _Rule] = dict.fromkeys(("Shape", "ConstantOfShape", "Cast", "ReduceSum", "Neg"), lambda _reader, _op: None)


def _rule(*kinds: str) -> Callable[[_Rule], _Rule]:
    def register(function: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def _attributes(op: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in op.attribute}


@_rule("Reshape", "QuantizeLinear")
def _another_form(reader: _Reader, op: onnx.NodeProto) -> None:
    reader.same(op)


@_rule("DequantizeLinear")
def _from_integers(reader: _Reader, op: onnx.NodeProto) -> None:
    if not reader.is_constant(op.input[0]):
        reader.same(op)
        return
    integers, scale = reader.constant(op.input[0]), reader.constant(op.input[1])
    axes = [1] * integers.ndim
    axes[_attributes(op)["axis"]] = -1
    reader.constants[op.output[0]] = integers.astype(np.float32) * scale.reshape(axes)


@_rule("Expand")
def _encode(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.EncodeNode(name=reader.named(op), inputs=reader.source(op), steps=int(reader.metadata[_TRAINED_STEPS]))


@_rule("Conv")
def _conv(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
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


@_rule("Gemm")
def _linear(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
    weight = reader.weights(op.input[1])
    bias = reader.weights(op.input[2]) if len(op.input) > 2 else None
    stored = weight if _attributes(op)["transB"] else np.ascontiguousarray(weight.T)
    return ops.LinearNode(name=reader.named(op), inputs=reader.source(op), weight=stored, bias=bias)


@_rule("Mul")
def _scaled(reader: _Reader, op: onnx.NodeProto) -> None:
    reader.scaled[op.output[0]] = reader.maker(op.input[0]), reader.weights(op.input[1]).reshape(-1)


@_rule("Add")
def _add(reader: _Reader, op: onnx.NodeProto) -> ops.Node | None:
    if op.output[0] in reader.states.values():  # steps so far, of a stream
        return None
    if op.input[0] in reader.scaled:
        source, scale = reader.scaled[op.input[0]]
        shift = reader.weights(op.input[1]).reshape(-1)
        return ops.BatchNormNode(name=reader.named(op), inputs=(source,), scale=scale, shift=shift)
    return ops.AddNode(name=reader.named(op), inputs=(*reader.source(op), *reader.source(op, 1)))


@_rule("LIF")
def _neuron(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
    reset = next(reset for reset in RESETS if reset == op.op_type.split("_")[1])
    constants = _attributes(op)
    parameters = NeuronParameters(constants["decay"], constants["threshold"], reset)
    if constants != neuron_attributes(parameters):
        raise ValueError("constants that do not belong together")
    return ops.NeuronNode(name=reader.named(op), inputs=reader.source(op), parameters=parameters)


@_rule("LowPass")
def _low_pass(reader: _Reader, op: onnx.NodeProto) -> ops.Node | None:
    if op.output[1] in reader.dividends:  # the sum over time of a stream's mean
        reader.totals[op.output[1]] = reader.maker(op.input[0])
        return None
    return ops.LowPassNode(name=reader.named(op), inputs=reader.source(op), decay=_attributes(op)["decay"])


@_rule("Concat")
def _before_a_sequence(reader: _Reader, op: onnx.NodeProto) -> None:
    """Values that wait in a delay and the sequence; elsewhere sizes."""
    reader.padded[op.output[0]] = reader.maker(op.input[1])


@_rule("Slice")
def _delay(reader: _Reader, op: onnx.NodeProto) -> ops.Node | None:
    if op.output[0] in reader.states.values():
        return None
    steps = -int(reader.constant(op.input[2])[0])
    return ops.DelayNode(name=reader.named(op), inputs=(reader.padded[op.input[0]],), steps=steps)


@_rule("Relu")
def _relu(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.ReluNode(name=reader.named(op), inputs=reader.source(op))


@_rule("AveragePool", "MaxPool")
def _pool(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
    plan, kind = _attributes(op), ops.AvgPoolNode if op.op_type == "AveragePool" else ops.MaxPoolNode
    kernel, stride = tuple(plan["kernel_shape"]), tuple(plan["strides"])
    return kind(name=reader.named(op), inputs=reader.source(op), kernel=kernel, stride=stride)


@_rule("Flatten")
def _flatten(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.FlattenNode(name=reader.named(op), inputs=reader.source(op))


@_rule("ReduceMean", "Div")
def _time_mean(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
    source = reader.source(op) if op.op_type == "ReduceMean" else (reader.totals[op.input[0]],)
    return ops.TimeMeanNode(name=reader.named(op), inputs=source)


@_rule("Identity")
def _output(reader: _Reader, op: onnx.NodeProto) -> ops.Node:
    return ops.OutputNode(name=reader.named(op), inputs=reader.source(op))
