"""Running exported models with ONNX Runtime, which is loaded only here and only when needed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data

from neurodeploy.errors import UserError
from neurodeploy_exporters.onnx.build import STEPS

_CPU = ("CPUExecutionProvider",)
_LONGEST_REASON = 400


class Session:
    """An exported model, ready to run.

    Args:
        model: a file, or a model in memory.
        also: inner tensors to return beside the outputs, such as spiking layers; the model's operators are not touched.
        providers: ONNX Runtime's execution providers, in order of preference.

    Raises:
        UserError: ONNX Runtime is not installed or has no such provider, or the model cannot be read or has no such tensor.
    """

    def __init__(self, model: Path | onnx.ModelProto, *, also: Sequence[str] = (), providers: Sequence[str] = _CPU) -> None:
        runtime = _onnxruntime()
        self.origin = str(model) if isinstance(model, Path) else model.graph.name
        exposed = _exposed(_read(model) if isinstance(model, Path) else model, also, self.origin)
        available = runtime.get_available_providers()
        absent = [provider for provider in providers if provider not in available]
        if absent:  # ONNX Runtime itself would fall back to the CPU
            raise UserError(f"execution provider {absent[0]}: not available; there are: {', '.join(available)}")
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised below; it is not to be printed as well
        try:
            self._session = runtime.InferenceSession(
                exposed.SerializeToString(), options, providers=list(providers), enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's errors have no common type
            raise UserError(f"{self.origin}: ONNX Runtime cannot load it: {_one_line(error)}") from None
        self.inputs = {value.name: value for value in self._session.get_inputs()}
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    def run(self, tensors: Mapping[str, NDArray[Any]], *, steps: int | None = None) -> dict[str, NDArray[np.float32]]:
        """Tensor name → value for every output.

        Args:
            tensors: at least the model's inputs by name, except `steps`.
            steps: T, where the model asks for it.

        Raises:
            UserError: an input is missing or of the wrong shape.
        """
        feed: dict[str, NDArray[Any]] = {}
        for name in self.inputs:
            if name == STEPS and STEPS not in tensors:
                if steps is None:
                    raise UserError(f"{self.origin}: the model takes a static sample, give the number of steps")
                feed[name] = np.array([steps], np.int64)
            elif name not in tensors:
                raise UserError(f"{self.origin}: input {name} is missing")
            else:
                feed[name] = tensors[name]
        try:
            values = self._session.run(list(self.outputs), feed)
        except Exception as error:  # ONNX Runtime's errors have no common type
            raise UserError(f"{self.origin}: cannot run: {_one_line(error)}") from None
        return dict(zip(self.outputs, values, strict=True))


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise UserError(f"{path}: no such file, an ONNX model expected")
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
        outside = [tensor.name for tensor in _tensors(model) if uses_external_data(tensor)]
        if outside:
            raise UserError(
                f"{path}: the weights {outside[0]} lie in another file; a model that holds all its weights expected"
            )
        # the checker first: ONNX Runtime does not survive every damaged model
        onnx.checker.check_model(model, full_check=True)
    except UserError:
        raise
    except Exception as error:  # protobuf, checker and shape inference have their own types each
        raise UserError(f"{path}: not a readable ONNX model: {_one_line(error)}") from None
    return model


def _tensors(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor in a model, those of its functions, constants and subgraphs included."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for member in [value] if isinstance(value, Message) else value:
                yield from _tensors(member)


def _exposed(model: onnx.ModelProto, also: Sequence[str], origin: str) -> onnx.ModelProto:
    """A copy of the model with the tensors `also` among its outputs."""
    made = {output for node in model.graph.node for output in node.output}
    named = {output.name for output in model.graph.output}
    missing = [name for name in also if name not in made]
    if missing:
        raise UserError(f"{origin}: no tensor {missing[0]} found")
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    exposed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in also if name not in named
    )
    return exposed


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UserError('ONNX Runtime is not installed; install it with: pip install "neurodeploy[onnx]"') from None
    return onnxruntime


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
