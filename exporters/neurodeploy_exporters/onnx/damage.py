"""The values in an ONNX file that can be damaged: tensors of weights and biases, and the constants of neurons."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from neurodeploy.graph.ops.operation import exponent
from neurodeploy_exporters.bundle import Bundle, Piece
from neurodeploy_exporters.bundle.values import Values

_KINDS = {".weight": "weight", ".bias": "bias", ".decay": "decay", ".threshold": "threshold"}


def values(bundle: Bundle, piece: Piece) -> Iterator[Values]:
    """See `Format.values`. Weights and biases on the exact grid move by one step of it, other floats by one bit, integers by 1.

    A threshold moves down: on the grid no potential is less than a bit above one, so that a higher one is the same network.
    """
    model = onnx.load(str(bundle.path(piece.file)), load_external_data=False)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        layer, dot, ending = tensor.name.rpartition(".")
        kind = _KINDS.get(dot + ending)
        count = int(np.prod(tensor.dims, dtype=np.int64))
        if kind is not None and count and not uses_external_data(tensor):
            weight = tensors.get(f"{layer}.weight") if bundle.manifest.is_exact else None
            step = None if weight is None or uses_external_data(weight) else _step_of(tensor, weight)
            yield Values(layer, kind, count, partial(_change_tensor, tensor.name, step))
    for number, (op, _, kind) in enumerate(_constants(model.graph)):
        layer = op.output[0].partition("/")[0]
        yield Values(layer, kind, 1, partial(_change_attribute, number, _TOWARDS[kind]))


_TOWARDS = {"decay": -np.inf, "threshold": np.inf}
_OF_NEURONS = {
    # it fires: its slope is a power of two, its offset −θ times that
    ("HardSigmoid", "beta"): "threshold",
    # it resets what is −h, or not: beyond the float32 below −θ
    ("ThresholdedRelu", "alpha"): "threshold",
}
_OF_CALLS = {"offset": "threshold", "floor": "threshold", "decay": "decay"}


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, onnx.AttributeProto, str]]:
    """Operator, attribute and kind of the constants of neurons, of those in the bodies of loops and in calls too."""
    for op in graph.node:
        for attribute in op.attribute:
            kind = _OF_NEURONS.get((op.op_type, attribute.name))
            if op.op_type == "Constant" and attribute.name == "value_float":
                kind = "decay" if op.output[0].endswith("/decay") else None
            elif op.domain not in ("", "ai.onnx"):
                kind = _OF_CALLS.get(attribute.name)
            if kind is not None and attribute.type == onnx.AttributeProto.FLOAT:
                yield op, attribute, kind
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _constants(attribute.g)


def _step_of(tensor: onnx.TensorProto, weight: onnx.TensorProto) -> float | None:
    """That of the layer's grid, of biases half of it, where its values are on one: the head's are floats and move by a bit."""
    weights = numpy_helper.to_array(weight)
    if weights.dtype != np.float32:
        return None
    step = 2.0 ** -exponent(weights)
    for values, unit in ((weights, step), (numpy_helper.to_array(tensor), step / 2)):
        scaled = values.astype(np.float64) / unit
        if not np.array_equal(scaled, np.rint(scaled)):
            return None
    return step if tensor.name == weight.name else step / 2


def _changed(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(str(path), load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _change_tensor(name: str, step: float | None, path: Path, index: int) -> None:
    def change(model: onnx.ModelProto) -> None:
        (tensor,) = (one for one in model.graph.initializer if one.name == name)
        array: NDArray[Any] = numpy_helper.to_array(tensor).copy()
        flat = array.reshape(-1)
        if flat.dtype.kind == "f":
            flat[index] = flat[index] + np.float32(step) if step else np.nextafter(flat[index], flat.dtype.type(np.inf))
        else:
            flat[index] = flat[index] - 1 if flat[index] == np.iinfo(flat.dtype).max else flat[index] + 1
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    _changed(path, change)


def _change_attribute(number: int, towards: float, path: Path, index: int) -> None:  # noqa: ARG001 - there is one value
    def change(model: onnx.ModelProto) -> None:
        _, attribute, _ = next(islice(_constants(model.graph), number, None))
        attribute.f = float(np.nextafter(np.float32(attribute.f), np.float32(towards)))

    _changed(path, change)
