"""Weights in a file of their own beside the models: protobuf, and so an ONNX file, holds no more than 2 GB.

One file holds the weights of all models of a bundle, each once; a model says where in it each of its tensors begins.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.external_data_helper import uses_external_data

from neurodeploy.graph import Graph
from neurodeploy.io.errors import UserError

WEIGHTS_FILE = "weights.data"
LARGEST_FILE = (1 << 31) - (1 << 24)
"""Bytes of weights that a model holds itself; operators and their names need room too."""
_SMALLEST = 1024  # bytes: what is smaller stays in the model
_PAGE = 4096
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LONGEST_NUMBER = 18

Weights = Mapping[str, NDArray[Any]]


def weight_bytes(graph: Graph) -> int:
    """Bytes of all arrays of a graph."""
    return sum(_bytes(getattr(node, one.name)) for node in graph.nodes for one in fields(node))


def _bytes(value: Any) -> int:
    return value.nbytes if isinstance(value, np.ndarray) else sum(map(_bytes, value)) if isinstance(value, tuple) else 0


class WeightsFile:
    """The file in the making.

    Attributes:
        arrays: tensor → its numbers, which are not copied.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._starts: dict[str, int] = {}
        self._end = 0

    def tensor(self, name: str, values: NDArray[Any]) -> onnx.TensorProto | None:
        """A tensor whose numbers are in the file; None for a small one.

        Raises:
            UserError: another model has other numbers under that name.
        """
        if values.nbytes < _SMALLEST:
            return None
        known = self.arrays.get(name)
        if known is None:
            self.arrays[name] = np.ascontiguousarray(values)
            self._starts[name] = self._end
            self._end += -(-values.nbytes // _PAGE) * _PAGE
        elif known is not values and not (known.dtype == values.dtype and np.array_equal(known, values)):
            raise UserError(f"tensor {name}: two models have different weights of this name; export without external data")
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        made = onnx.TensorProto(name=name, data_type=kind, dims=values.shape, data_location=onnx.TensorProto.EXTERNAL)
        where = {"location": WEIGHTS_FILE, "offset": self._starts[name], "length": values.nbytes}
        for key, value in where.items():
            made.external_data.add(key=key, value=str(value))
        return made

    def write(self, path: Path) -> None:
        """Write the file."""
        with path.open("wb") as file:
            for name, values in self.arrays.items():
                file.seek(self._starts[name])
                file.write(values.reshape(-1).view(np.uint8).data)
            file.truncate(max(self._end, 1))


def external_weights(path: Path, model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The weights of a model that are beside it, mapped and not read.

    Args:
        path: of the model.
        model: as it is in the file.

    Raises:
        UserError: a file with weights is missing or too short, or the model asks for something else; the message names both.
    """
    return {tensor.name: _mapped(path, tensor) for tensor in model.graph.initializer if uses_external_data(tensor)}


def _mapped(path: Path, tensor: onnx.TensorProto) -> NDArray[Any]:
    said = {entry.key: entry.value for entry in tensor.external_data}
    location, what = said.get("location", ""), f"{path}: weights {tensor.name[:80]}"
    if not _PLAIN_NAME.fullmatch(location):
        raise UserError(f"{what}: in the file {location[:80]!r}, one in the same folder expected")
    file = path.parent / location
    if not file.is_file():
        raise UserError(f"{file}: missing; it holds the weights of {path.name}, keep both in one folder")
    numbers = [said.get(key, "")[: _LONGEST_NUMBER + 1] for key in ("offset", "length")]
    if not all(number.isascii() and number.isdigit() and len(number) <= _LONGEST_NUMBER for number in numbers):
        raise UserError(f"{what}: offset and length {', '.join(map(repr, numbers))} found, whole numbers expected")
    offset, length = map(int, numbers)
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        raise UserError(f"{what}: data type {tensor.data_type} found, a known one expected") from None
    if min(tensor.dims, default=1) < 1 or prod(tensor.dims) * dtype.itemsize != length:
        raise UserError(f"{what}: {length} bytes found, as many as their shape {list(tensor.dims)} asks for expected")
    if file.stat().st_size < offset + length:
        raise UserError(f"{file}: {file.stat().st_size} bytes found, at least {offset + length} expected by {path.name}")
    return np.memmap(file, dtype, "r", offset, tuple(tensor.dims))
