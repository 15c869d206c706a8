"""Reading an ONNX file that may be damaged or hostile: ONNX Runtime itself does not survive every one of them."""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import Message
from onnx.external_data_helper import uses_external_data

from neurodeploy.errors import UserError

_LONGEST_REASON = 400
_LARGE = 4096
_SIZES = {
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.INT64: 8,
    onnx.TensorProto.INT32: 4,
    onnx.TensorProto.INT8: 1,
    onnx.TensorProto.UINT8: 1,
}


def read(path: Path) -> tuple[bytes, onnx.ModelProto]:
    """A model's bytes, and the model without its large weights, which has passed ONNX's checker and shape inference.

    The checker copies a model several times, so weights take part in it as inputs of their shape: their sizes are checked here.

    Raises:
        UserError: there is no such file, it is not a sound model, or weights of it lie in other files.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file, an ONNX model expected")
    try:
        data = path.read_bytes()
        model = onnx.ModelProto.FromString(data)
        outside = [tensor.name for tensor in _tensors(model) if uses_external_data(tensor)]
        if outside:
            raise UserError(
                f"{path}: the weights {outside[0]} lie in another file; a model that holds all its weights expected"
            )
        _lighten(model.graph)
        onnx.checker.check_model(model, full_check=True)
    except UserError:
        raise
    except Exception as error:  # protobuf, checker and shape inference have their own types each
        raise UserError(f"{path}: not a readable ONNX model: {one_line(error)}") from None
    return data, model


def one_line(error: Exception) -> str:
    """The beginning of an error's text."""
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__


def _tensors(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor in a model, those of its functions, constants and subgraphs included."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for member in [value] if isinstance(value, Message) else value:
                yield from _tensors(member)


def _lighten(graph: onnx.GraphProto) -> None:
    """Make inputs of the large weights whose bytes are as many as their shape asks for."""
    declared = {value.name for value in graph.input}
    for place in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[place]
        size = _SIZES.get(tensor.data_type, 0) * prod(tensor.dims)
        if size == len(tensor.raw_data) > _LARGE and tensor.name and min(tensor.dims) > 0:
            if tensor.name not in declared:
                graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
                declared.add(tensor.name)
            del graph.initializer[place]
