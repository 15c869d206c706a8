"""Collects the operators of an ONNX model and moves tensors between their two forms: `[T, B, …]` and folded `[T·B, …]`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from neurodeploy.graph import Graph, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.external import WeightsFile
from neurodeploy_exporters.onnx.half import as_half, halved
from neurodeploy_exporters.onnx.inlining import FunctionCall, inlined, inner_names

OPSET = 18
"""Version of ONNX's operators that models have by default."""
OPSETS = range(OPSET, 27)
"""Those that they may have: older operators take other inputs, and newer ones are not in all releases of onnx that fit."""
STEPS = "steps"
"""The input that tells T."""
# keys of a model's metadata
STATES, SPIKE_COUNTS, LARGEST, TRAINED_STEPS = "states", "spike_counts", "largest_tensor", "trained_steps"
SKIPPED_STEPS, PRECISION = "skipped_steps", "precision"
HALF = "fp16"
"""Value of the metadata's `precision`."""


@dataclass(frozen=True)
class Grid:
    """The unsigned 8-bit integers of a tensor.

    Attributes:
        scale: value of one.
        zero: the integer that stands for 0.
    """

    scale: float
    zero: int


class Writer:
    """The model in the making.

    Synapses and pools work on folded tensors; what has a state, and the mean over time, on timed ones. A tensor bears its
    node's name in the form in which its node makes it; the other form is made when first asked for.

    Args:
        graph: what is written, whole or in part.
        inputs: names of the tensors that enter.
        crossing: tensors that leave one part of the network for another. They have the form `[T, B, …]`, in the whole too: what
            ONNX Runtime merges with its neighbours is then the same in the whole and in its parts, and so is every sum.
        streaming: states enter and leave the model, instead of beginning with zeros.
        grids: tensors that are rounded to 8-bit integers, as all weights are then; no rounding at all if None.
        functions: calls of local functions stay calls; else the functions' operators are written in their place.
        opset: version of ONNX's operators.
        weights: takes the large weights; the model holds all of them if None.
        half: every float tensor has 16 bits; without local functions and states that stream.

    Attributes:
        functions: local functions that were called, by name.
        calls: those that were written out.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: tuple[str, ...],
        crossing: frozenset[str],
        *,
        streaming: bool = False,
        grids: Mapping[str, Grid] | None = None,
        functions: bool = False,
        opset: int = OPSET,
        weights: WeightsFile | None = None,
        half: bool = False,
    ) -> None:
        if half and (functions or grids is not None):
            raise UserError("half precision: local functions or 8-bit integers found; leave out one of both")
        self.half, self.kind = half, TensorProto.FLOAT16 if half else TensorProto.FLOAT
        self.graph = graph
        self.weights = weights
        self.crossing = crossing
        self.grids = grids
        self.steps = STEPS
        self.streaming = streaming
        self.operators: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.functions: dict[str, onnx.FunctionProto] = {}
        self.calls: list[FunctionCall] = []
        self.opset = opset
        self._keeps_functions = functions
        self.states: dict[str, str] = {}
        self.state_inputs: list[onnx.ValueInfoProto] = []
        self.state_outputs: list[onnx.ValueInfoProto] = []
        self._taken = set(inputs)
        self._shared: set[str] = set()

    def operator(
        self, kind: str, inputs: list[str], output: str, *, extra: list[str] | None = None, domain: str = "", **attributes: Any
    ) -> str:
        """Add one operator, named like its output.

        Raises:
            UserError: another tensor has that name.
        """
        if output in self.graph and output in self.crossing and not self.graph[output].sequential:
            made = self._add(kind, inputs, f"{output}.made", extra or [], domain, attributes)
            return self._add("Reshape", [made, self._unfolded(output)], output, [], "", {})
        return self._add(kind, inputs, output, extra or [], domain, attributes)

    def _add(self, kind: str, inputs: list[str], output: str, extra: list[str], domain: str, attributes: dict[str, Any]) -> str:
        outputs = [output, *extra]
        for name in outputs:
            self._take(name)
        node = helper.make_node(kind, inputs, outputs, name=output, domain=domain, **attributes)
        self.operators += [node] if domain == "" or self._keeps_functions else self._written_out(node, attributes)
        return output

    def _written_out(self, node: onnx.NodeProto, attributes: Mapping[str, float]) -> list[onnx.NodeProto]:
        """The operators of the function that `node` calls."""
        layer = node.output[0].removesuffix(".made")
        sizes: tuple[int | str, ...] = ("B", *self.graph.shape(layer)) if layer in self.graph else ()
        call = FunctionCall(node.op_type, tuple(node.input), tuple(node.output), attributes, sizes)
        members = inlined(call, self.functions[node.op_type])
        members = halved(members, layer) if self.half else members
        for name in inner_names(members, node.output):
            self._take(name)
        self.calls.append(call)
        return members

    def call(self, function: onnx.FunctionProto, inputs: list[str], output: str, *states: str, **attributes: float) -> str:
        """Add a call of a function that makes a sequence, `output`, and the states after it."""
        for opset in function.opset_import:
            opset.version = self.opset if opset.domain == "" else opset.version
        self.functions[function.name] = function
        return self.operator(function.name, inputs, output, extra=[*states], domain=function.domain, **attributes)

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Add weights."""
        if name not in self.constants:
            self._take(name)
        array = as_half(name, np.asarray(values)) if self.half else np.asarray(values)
        outside = None if self.weights is None else self.weights.tensor(name, array)
        self.constants[name] = numpy_helper.from_array(array, name) if outside is None else outside
        return name

    def state(self, before: str, after: str, shape: list[int | str], *, kind: int | None = None) -> str:
        """Declare a state: the input `before` the first step and the output `after` the last one, which an operator makes."""
        self._take(before)
        self.states[before] = after
        kind = self.kind if kind is None else kind
        self.state_inputs.append(helper.make_tensor_value_info(before, kind, shape))
        self.state_outputs.append(helper.make_tensor_value_info(after, kind, shape))
        return before

    def initial(self, before: str, after: str, sequence: str, of: str) -> str:
        """The state `[B, …]` before the first step of `sequence`, of the shape of the tensor `of`: an input, or zeros."""
        if self.streaming:
            return self.state(before, after, ["B", *self.graph.shape(of)])
        zeros = f"zeros.{_label(self.graph.shape(of))}"
        if self.first(zeros):
            shape = self.operator("Shape", [sequence], f"{zeros}.shape", start=1)
            self.zeros(shape, zeros)
        return zeros

    def zeros(self, shape: str, name: str) -> str:
        """Add a tensor of zeros, of a shape that a tensor says."""
        value = {"value": helper.make_tensor("", self.kind, [1], [0.0])} if self.half else {}
        return self.operator("ConstantOfShape", [shape], name, **value)

    def beginning(self, before: str, after: str, sequence: str, of: str, value: str) -> str:
        """A state of the node `of` that begins with a constant, in a stream too: there zeros enter before the first step."""
        if not self.streaming:
            sample = f"{of}.sample_shape"
            if self.first(sample):
                self.operator("Shape", [sequence], sample, start=1)
            return self.operator("Expand", [value, sample], f"{before}.begun")
        steps, begun = f"{of}.steps", f"{of}.begun"
        if self.first(begun):
            steps0 = self.state(f"{steps}0", steps, [1], kind=TensorProto.INT64)
            self.operator("Add", [steps0, self.steps], steps)
            self.operator("Cast", [steps0], begun, to=TensorProto.BOOL)
        state = self.state(before, after, ["B", *self.graph.shape(of)])
        return self.operator("Where", [begun, state, value], f"{before}.begun")

    def first(self, name: str) -> bool:
        """Whether a tensor that several operators share is asked for the first time."""
        known = name in self._shared
        self._shared.add(name)
        return not known

    def made_timed(self, name: str) -> bool:
        """Whether the tensor of a node has the form `[T, B, …]` under its own name."""
        return self.graph.timed(name) and (name in self.crossing or self.graph[name].sequential)

    def folded(self, name: str) -> str:
        """The tensor as `[T·B, …]` (or `[B, …]` if it is static)."""
        if not self.made_timed(name):
            return name
        folded, shape = f"{name}.folded", self.graph.shape(name)
        if self.first(folded):
            target = self.constant(f"fold.{_label(shape)}", np.array([-1, *shape], np.int64))
            self.operator("Reshape", [name, target], folded)
        return folded

    def timed(self, name: str) -> str:
        """The tensor as `[T, B, …]`."""
        if self.made_timed(name):
            return name
        timed = f"{name}.timed"
        if self.first(timed):
            self.operator("Reshape", [name, self._unfolded(name)], timed)
        return timed

    def _unfolded(self, name: str) -> str:
        """The shape `[T, B, …]` of a tensor."""
        shape = self.graph.shape(name)
        target = f"unfold.{_label(shape)}"
        if self.first(target):
            rest = self.constant(f"{target}.sample", np.array([-1, *shape], np.int64))
            self.operator("Concat", [self.steps, rest], target, axis=0)
        return target

    def _take(self, name: str) -> None:
        if name in self._taken:
            raise UserError(f"node {name}: another tensor of the ONNX model has this name; rename the layer")
        self._taken.add(name)


def _label(shape: ops.Shape) -> str:
    return "x".join(map(str, shape))


_LARGEST_WEIGHT = 127
_LARGEST_BIAS = 1 << 30


def on_grid(writer: Writer, name: str, grid: Grid, result: str) -> str:
    """The tensor `name`, rounded to the grid and back again, as `result`; once for all that read it."""
    if writer.first(result):
        scale = writer.constant(f"{result}.scale", np.float32(grid.scale))
        zero = writer.constant(f"{result}.zero", np.uint8(grid.zero))
        writer.operator("QuantizeLinear", [name, scale, zero], f"{result}.int8")
        writer.operator("DequantizeLinear", [f"{result}.int8", scale, zero], result)
    return result


def synapse(writer: Writer, node: ops.Weighted, source: Grid | None) -> list[str]:
    """Weights and bias of a layer: signed 8-bit integers with one scale per output, and 32-bit ones where the input has a grid.

    Of a Linear the weights are `[N_in, N_out]`: ONNX Runtime takes its scales along the last axis. Of a transposed convolution
    outputs of the same number in each group share a scale, and its bias stays as it is: it is computed in float.
    """
    upward = isinstance(node, ops.ConvTransposeNode)
    weight = (node.weight if upward or isinstance(node, ops.ConvNode) else node.weight.T).astype(np.float64)
    axis = 0 if isinstance(node, ops.ConvNode) else 1
    largest = np.abs(weight).max(tuple(other for other in range(weight.ndim) if other != axis))
    scale = np.where(largest > 0, largest / _LARGEST_WEIGHT, 1.0)
    source = None if upward else source
    if node.bias is not None and source is not None:  # the bias counts in products of both scales, and must fit its integers
        scale = np.maximum(scale, np.abs(node.bias) / source.scale / _LARGEST_BIAS)
    scale = scale.astype(np.float32)
    along = [1] * weight.ndim
    along[axis] = -1
    integers = np.rint(weight / scale.reshape(along)).astype(np.int8)
    made = [_integers(writer, f"{node.name}.weight", integers, scale, axis)]
    if node.bias is None:
        return made
    if source is None:
        return [*made, writer.constant(f"{node.name}.bias", node.bias)]
    unit = scale * np.float32(source.scale)
    whole = np.rint(node.bias.astype(np.float64) / unit).astype(np.int32)
    return [*made, _integers(writer, f"{node.name}.bias", whole, unit, 0)]


def _integers(writer: Writer, name: str, integers: np.ndarray, scale: np.ndarray, axis: int) -> str:
    inputs = [
        writer.constant(name, np.ascontiguousarray(integers)),
        writer.constant(f"{name}.scale", scale),
        writer.constant(f"{name}.zero", np.zeros(len(scale), integers.dtype)),
    ]
    return writer.operator("DequantizeLinear", inputs, f"{name}.value", axis=axis)
