"""Networks without spikes in ONNX files, whoever wrote them: multiply-accumulates layer by layer, on data.

Unlike a torch module, a file is run by ONNX Runtime with the inputs of its layers as further outputs. It says how wide the
values are that a layer multiplies: those that come from `DequantizeLinear`, or enter an operator on integers, are integers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.io.errors import UserError
from neurodeploy.io.onnx_operators import check_operators
from neurodeploy.io.reading import check_file
from neurodeploy.io.values import as_samples
from neurodeploy_energy.count.layer import InputKinds, LayerRow, MemoryAccesses, SynapseGeometry
from neurodeploy_energy.count.onnx_operators import (
    Value,
    along,
    attribute,
    convolution_geometry,
    convolution_macs,
    convolved,
    dequantised,
    integer_width,
)

if TYPE_CHECKING:
    import onnx

_CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv")
_PRODUCTS = ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "QGemm")
_POOLS = ("AveragePool", "GlobalAveragePool", "QLinearAveragePool", "QLinearGlobalAveragePool")
_SUMS = ("Add", "Sum", "QLinearAdd")
_QUANTISED = ("QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd")
"""Their two operands are the first and the fourth input, each with its scale and zero point behind it."""
_INTEGER = ("ConvInteger", "MatMulInteger")
_GRID_KEPT = ("Relu", "MaxPool", "GlobalMaxPool", "Flatten", "Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze", "Pad")
"""Operators whose output holds no other values than their input, or 0."""
_FREE = {
    *_GRID_KEPT,
    *("Clip", "BatchNormalization", "QuantizeLinear", "DequantizeLinear", "Cast", "Constant", "Shape", "Gather", "Slice"),
    *("Concat", "Split", "Dropout", "LeakyRelu", "ConstantOfShape", "Expand", "DynamicQuantizeLinear", "ArgMax", "Equal"),
}
"""Not counted by convention, or no arithmetic at all; what adds or multiplies otherwise is named as uncounted."""


@dataclass
class _OnnxLayer:
    """One operator with weights, a pool or a sum; counts are summed over the samples."""

    name: str
    kind: str
    weight_bits: int = 0
    activation_bits: int = 0
    macs: float = 0.0
    effective: float = 0.0
    adds: float = 0.0
    zeros: float = 0.0
    values: float = 0.0
    outputs: float = 0.0
    geometry: SynapseGeometry | None = None


@dataclass(frozen=True)
class OnnxCounts:
    """What one run over data counted.

    Attributes:
        layers: per sample.
        uncounted: operator → why it is missing.
        samples: number of samples.
    """

    layers: tuple[LayerRow, ...]
    uncounted: dict[str, str]
    samples: int


@dataclass
class OnnxNetwork:
    """A network in a file.

    Args:
        path: of the file.

    Attributes:
        input: its name.
        shape: of a sample, as far as the file says; None for an axis of any size.
        batch: the number of samples that it takes at a time; None for any.

    Raises:
        UserError: it is no ONNX model, has several inputs, or ONNX and its runtime are not installed.
    """

    path: Path
    input: str = ""
    shape: tuple[int | None, ...] = ()
    batch: int | None = None
    _model: Any = None
    _constants: dict[str, Value] = field(default_factory=dict)
    _makers: "dict[str, onnx.NodeProto]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._model = _read(self.path)
        graph = self._model.graph
        from onnx import numpy_helper

        self._constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._makers = {output: node for node in graph.node for output in node.output}
        for node in graph.node:
            for one in node.attribute:
                if node.op_type == "Constant" and one.name == "value":
                    self._constants[node.output[0]] = numpy_helper.to_array(one.t)
        entries = [one for one in graph.input if one.name not in self._constants]
        if len(entries) != 1:
            raise UserError(f"{self.path}: inputs {', '.join(one.name for one in entries) or 'none'} found, one expected")
        axes = [one.dim_value or None for one in entries[0].type.tensor_type.shape.dim]
        if not axes:
            raise UserError(f"{self.path}: input {entries[0].name}: no axes found, samples [N, …] expected")
        self.input, self.batch, self.shape = entries[0].name, axes[0], tuple(axes[1:])

    def answers(self, samples: Tensor) -> Tensor:
        """The first output for samples `[N, …]`."""
        made = [outputs[0] for outputs, _ in self._runs([samples], ())]
        return torch.from_numpy(np.concatenate(made))

    def count(self, batches: Iterable[Tensor]) -> OnnxCounts:
        """Run the network on samples `[N, …]`, and count.

        Raises:
            UserError: there are no samples, they do not fit, or there is no layer that can be counted.
        """
        nodes = [node for node in self._model.graph.node if node.op_type in (*_CONVOLUTIONS, *_PRODUCTS, *_POOLS, *_SUMS)]
        nodes = [node for node in nodes if node.op_type not in _SUMS or len(self._moving(node)) > 1]
        layers = {node.output[0]: self._layer(node) for node in nodes}
        if not any(layer.kind == "synapse" for layer in layers.values()):
            raise UserError(f"{self.path}: no layer that can be counted; Conv, Gemm or MatMul expected{self._loops()}")
        wanted = dict.fromkeys(name for node in nodes for name in (*self._moving(node), node.output[0]))
        samples = 0
        for _, values in self._runs(batches, tuple(wanted)):
            samples += len(values[nodes[0].output[0]])
            for node in nodes:
                self._add(layers[node.output[0]], node, values | self._constants)
        if not samples:
            raise UserError(f"{self.path}: no samples given, at least one expected")
        rows = tuple(_row(layer, samples) for layer in layers.values())
        return OnnxCounts(rows, self._uncounted(), samples)

    def _runs(self, batches: Iterable[Tensor], also: Sequence[str]) -> Iterator[tuple[list[Value], dict[str, Value]]]:
        """Outputs, and the values of further tensors, batch by batch."""
        session, own = self._session(also)
        for batch in batches:
            for part in batch.split(self.batch or len(batch)):
                values = as_samples(part, self.path)
                if self.batch is not None and len(values) != self.batch:
                    raise UserError(f"{self.path}: takes {self.batch} samples at a time, a multiple of that many expected")
                try:
                    made = session.run(None, {self.input: values})
                except Exception as error:  # the runtime has exceptions of its own
                    raise UserError(f"{self.path}: does not run on samples {values.shape[1:]}: {_brief(error)}") from None
                yield made[:own], dict(zip(also, made[own:], strict=True))

    def _session(self, also: Sequence[str]) -> tuple[Any, int]:
        import onnx
        import onnxruntime

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        own = [output.name for output in model.graph.output]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in also)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # fused layers have no inputs
        options.log_severity_level = 4  # what goes wrong is raised; it is not to be printed as well
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserError(f"{self.path}: ONNX Runtime does not take it: {_brief(error)}") from None
        return session, len(own)

    def _moving(self, node: "onnx.NodeProto") -> list[str]:
        """The inputs of an operator that are no constants: activations."""
        every: Sequence[int] = range(len(node.input))
        if node.op_type in _QUANTISED:
            every = (0, 3)
        elif node.op_type in _INTEGER:
            every = (0, 1)
        elif node.op_type in _POOLS:
            every = (0,)
        names = [node.input[i] for i in every]
        return [name for name in names if name and self._constant(name) is None]

    def _constant(self, name: str) -> Value | None:
        """The value of a tensor that does not depend on the input; integers of weights as floats."""
        if name in self._constants:
            return self._constants[name]
        node = self._makers.get(name)
        if node is None or node.op_type not in ("DequantizeLinear", "Identity", "Transpose", "Reshape", "Cast"):
            return None
        given = [self._constant(source) for source in node.input if source]
        inner = [one for one in given if one is not None]
        if len(inner) < len(given):
            return None
        value = inner[0]
        attributes = {one.name: one for one in node.attribute}
        if node.op_type == "DequantizeLinear":
            value = dequantised(inner, attributes["axis"].i if "axis" in attributes else 1)
        elif node.op_type == "Transpose":
            value = np.transpose(value, list(attributes["perm"].ints) if "perm" in attributes else None)
        elif node.op_type == "Reshape":
            value = value.reshape(inner[1].tolist())
        self._constants[name] = value
        return value

    def _bits(self, name: str) -> int:
        """The width of the integers that a tensor's values are, up to a scale; 0 where they are none, or it is not known."""
        node = self._makers.get(name)
        if node is None:
            return 0
        if node.op_type == "DequantizeLinear":
            stored = node.input[0]
            return integer_width(self._constants[stored].dtype) if stored in self._constants else self._quantised(stored)
        return self._bits(node.input[0]) if node.op_type in _GRID_KEPT else 0

    def _quantised(self, name: str) -> int:
        """The width of a tensor of integers, by what makes it."""
        node = self._makers.get(name)
        if node is None:
            return 0
        if node.op_type == "QuantizeLinear":
            zero = self._constants.get(node.input[2]) if len(node.input) > 2 else None
            return 8 if zero is None else integer_width(zero.dtype)
        if node.op_type in _QUANTISED or node.op_type == "DynamicQuantizeLinear":
            return 8
        return self._quantised(node.input[0]) if node.op_type in _GRID_KEPT else 0

    def _layer(self, node: "onnx.NodeProto") -> _OnnxLayer:
        name = node.name or node.output[0]
        if node.op_type in _POOLS:
            return _OnnxLayer(name, "average pool")
        if node.op_type in _SUMS:
            return _OnnxLayer(name, "sum")
        if node.op_type in (*_QUANTISED, *_INTEGER):
            return _OnnxLayer(name, "synapse", 8, 8)
        widths = [self._bits(source) for source in node.input[:2]]
        constant = 0 if self._constant(node.input[0]) is not None else 1
        weight, activation = widths[constant], widths[1 - constant]
        return _OnnxLayer(name, "synapse", weight, activation) if weight and activation else _OnnxLayer(name, "synapse")

    def _add(self, layer: _OnnxLayer, node: "onnx.NodeProto", values: Mapping[str, Value]) -> None:
        """Count one batch."""
        out = values[node.output[0]]
        if layer.kind == "sum":
            layer.adds += out.size * (len(self._moving(node)) - 1)
            return
        if layer.kind == "average pool":
            window = attribute(node, "kernel_shape")
            layer.adds += out.size * prod(window) if window else values[node.input[0]].size
            return
        first, second = (self._masked(node, side, values) for side in (0, 1))
        moving = self._moving(node)
        x = first if node.input[0] in moving else second
        layer.zeros += float((x == 0).sum())
        layer.values += x.numel()
        layer.outputs += out.size
        if node.op_type in _CONVOLUTIONS:
            layer.macs += convolution_macs(node, first, second, out)
            layer.effective += float(convolved(node, first, second, out).sum(dtype=torch.float64))
            layer.geometry = convolution_geometry(
                node, first, second, out, bias=len(node.input) > (8 if node.op_type in _QUANTISED else 2)
            )
            return
        left = first.T if attribute(node, "transA") == [1] else first
        right = second.T if attribute(node, "transB") == [1] else second
        layer.macs += float(out.size * left.shape[-1])
        layer.effective += float(torch.matmul(left, right).sum(dtype=torch.float64))
        if len(moving) == 1 and second.dim() == 2:
            layer.geometry = SynapseGeometry("linear", left.shape[-1], right.shape[-1], bias=len(node.input) > 2)

    def _masked(self, node: "onnx.NodeProto", side: int, values: Mapping[str, Value]) -> Tensor:
        """1 where an operand is not zero; integers stand for 0 at their zero point."""
        quantised = node.op_type in _QUANTISED
        name = node.input[3 * side if quantised else side]
        value = values[name] if name in values else self._constant(name)
        assert value is not None
        position = 3 * side + 2 if quantised else 2 + side if node.op_type in _INTEGER else -1
        if 0 <= position < len(node.input) and node.input[position]:
            zero = values[node.input[position]] if node.input[position] in values else self._constant(node.input[position])
            value = value.astype(np.int64) - along(np.asarray(zero, np.int64), value.ndim, side)
        return torch.from_numpy(np.asarray(value != 0, np.float32))

    def _uncounted(self) -> dict[str, str]:
        counted = {*_CONVOLUTIONS, *_PRODUCTS, *_POOLS}
        reasons = {}
        for node in self._model.graph.node:
            inner = node.op_type in ("Loop", "Scan", "If")
            constant = all(self._constant(name) is not None for name in node.input if name)
            bias = node.op_type in _SUMS  # of two activations it is a layer, else a bias
            if node.op_type in counted or node.op_type in _FREE or bias or (constant and not inner):
                continue
            why = "its inside cannot be seen" if inner else f"{node.op_type} has no counting rule"
            reasons[node.name or node.output[0]] = why
        return reasons

    def _loops(self) -> str:
        loops = [node.op_type for node in self._model.graph.node if node.op_type in ("Loop", "Scan")]
        return f"; there is a {loops[0]}: count the bundle that the file belongs to, or the module" if loops else ""


def _read(path: Path) -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401 - it is needed later, and missing is said now
        from google.protobuf.message import DecodeError
        from onnx import inliner
    except ImportError as error:
        raise UserError(f'{path}: {error.name} is not installed; pip install "neurodeploy[onnx]"') from None
    check_file(path, "an ONNX model")
    try:
        model = onnx.load(str(path))
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise UserError(f"{path}: not readable as an ONNX model: {_brief(error)}") from None
    check_operators(model, path)
    if not model.graph.node:
        raise UserError(f"{path}: not readable as an ONNX model: it has no operators")
    return inliner.inline_local_functions(model) if model.functions else model


def _brief(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _row(layer: _OnnxLayer, samples: int) -> LayerRow:
    if layer.kind != "synapse":
        return LayerRow(layer.name, layer.kind, steps=1.0, analog_adds=layer.adds / samples)
    macs, outputs = layer.macs / samples, layer.outputs / samples
    inputs = InputKinds(zeros=layer.zeros / samples, analog=(layer.values - layer.zeros) / samples)
    return LayerRow(
        layer.name,
        "synapse",
        steps=1.0,
        rate=1 - layer.zeros / layer.values if layer.values else 0.0,
        dense_macs=macs,
        macs=macs,
        effective_macs=layer.effective / samples,
        spikes_in=inputs.analog,
        inputs=inputs,
        memory=MemoryAccesses(input_reads=macs, weight_reads=macs, output_writes=outputs),
        geometry=layer.geometry,
        weight_bits=layer.weight_bits,
        activation_bits=layer.activation_bits,
    )
