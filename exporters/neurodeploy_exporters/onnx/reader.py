"""Reading an exported model: its tensors and what they are called, for the rules of `operators.py`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from neurodeploy.graph import ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.external import Weights
from neurodeploy_exporters.onnx.inlining import with_calls
from neurodeploy_exporters.onnx.model import one_line
from neurodeploy_exporters.onnx.writer import HALF, PRECISION, STEPS

_FORMS = (".sums", ".made")  # a node's tensor before it is rounded, and before it gets its time axis


class Reader:
    """One model on its way to nodes.

    What only brings a tensor into another form (reshapes, 8-bit integers and back) stands for the tensor itself; integer
    weights come back as the numbers that they stand for. States, spike counts and shapes make no nodes.

    Args:
        path: of the model, for messages.
        model: read and checked.
        states: see below.
        weights: those that are in another file.

    Raises:
        UserError: the operators are not those of the functions that the metadata list.

    Attributes:
        metadata: key → text.
        half: whether its float tensors have 16 bits.
        states: input → output of what a stream keeps.
        operators: in order of computation.
        dividends: tensors that are divided.
        scaled: product → what was multiplied, and by which numbers.
        totals: sum over time → what is summed up.
        skipped: part of a sequence that a mean over time reads → number of first time steps that it lacks.
        padded: sequence behind the values that wait in a delay → the sequence alone.
        begins: state → the value that it begins with, if that is not zero.
    """

    def __init__(self, path: Path, model: onnx.ModelProto, states: Mapping[str, str], weights: Weights) -> None:
        self.path, self._model = path, model
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self.states = states
        self.half = self.metadata.get(PRECISION) == HALF
        try:
            self.operators, written_out = with_calls(model.graph.node, self.metadata, half=self.half)
        except ValueError as error:
            raise UserError(f"{path}: {one_line(error)}; export the model again") from None
        self._functions = {(one.domain, one.name): one for one in (*model.functions, *written_out.values())}
        self.dividends = {op.input[0] for op in self.operators if op.op_type == "Div" and op.input}
        self.scaled: dict[str, tuple[str, NDArray[np.float32]]] = {}
        self.totals: dict[str, str] = {}
        self.skipped: dict[str, int] = {}
        self.padded: dict[str, str] = {}
        self.begins: dict[str, NDArray[Any]] = {}
        self.constants: dict[str, NDArray[Any]] = dict(weights)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._same: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._formed = {op.output[0] for op in self.operators if op.op_type in ("Reshape", "DequantizeLinear") and op.output}

    def inputs(self) -> Iterator[ops.InputNode]:
        """What enters the model, but for states and the number of steps."""
        for value in self._model.graph.input:
            if value.name == STEPS or value.name in self.states:
                continue
            dims = value.type.tensor_type.shape.dim
            timed = bool(dims) and dims[0].dim_param == "T"
            shape = tuple(int(dim.dim_value) for dim in dims[1 + timed :])
            if not dims or dims[timed].dim_param != "B" or min(shape, default=1) < 1:
                raise UserError(f"{self.path}: input {value.name}: [B, ...] or [T, B, ...] of known sizes expected")
            yield ops.InputNode(name=value.name, shape=shape, timed=timed)

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

    def function(self, op: onnx.NodeProto) -> onnx.FunctionProto:
        """The local function that an operator calls."""
        return self._functions[op.domain, op.op_type]

    def is_constant(self, tensor: str) -> bool:
        return tensor in self._tensors or tensor in self.constants

    def constant(self, tensor: str) -> NDArray[Any]:
        """Weights."""
        if tensor not in self.constants:
            self.constants[tensor] = numpy_helper.to_array(self._tensors[tensor])
        return self.constants[tensor]

    def weights(self, tensor: str) -> NDArray[np.float32]:
        return self.constant(tensor).astype(np.float32, copy=False)
