"""An ONNX file, read with care, checked, and cut into portions that fit the caches."""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data

from neurodeploy.io.errors import UserError
from neurodeploy.io.onnx_operators import check_operators
from neurodeploy.io.reading import check_file
from neurodeploy_exporters.onnx.external import LARGEST_FILE, Weights, external_weights
from neurodeploy_exporters.onnx.inlining import without_scans
from neurodeploy_exporters.onnx.providers import check_started, chosen, onnxruntime
from neurodeploy_exporters.onnx.writer import LARGEST, SKIPPED_STEPS, SPIKE_COUNTS, STATES, STEPS

_LONGEST_REASON = 400
_LARGE = 4096
_SIZES = {
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.FLOAT16: 2,
    onnx.TensorProto.INT64: 8,
    onnx.TensorProto.INT32: 4,
    onnx.TensorProto.INT8: 1,
    onnx.TensorProto.UINT8: 1,
}


def read(path: Path) -> tuple[bytes, onnx.ModelProto, dict[str, NDArray[Any]]]:
    """A model's bytes, the model without its large weights, which has passed ONNX's checker and shape inference, and weights.

    These are the ones that are in a file beside the model.

    The checker copies a model several times, so weights take part in it as inputs of their shape: their sizes are checked here.

    Raises:
        UserError: there is no such file, it is not a sound model, or files with its weights are not there.
    """
    check_file(path, "an ONNX model")
    try:
        data = path.read_bytes()
        model = onnx.ModelProto.FromString(data)
        weights = external_weights(path, model)
        outside = [tensor.name for tensor in _tensors(model) if uses_external_data(tensor) and tensor.name not in weights]
        if outside:
            raise UserError(
                f"{path}: the constant {outside[0]} is in another file; that is understood of a graph's own weights alone"
            )
        _lighten(model.graph)
        _check_texts(model)
        check_operators(model, path)
        onnx.checker.check_model(model, full_check=True)
    except UserError:
        raise
    except Exception as error:  # protobuf, checker and shape inference have their own types each
        raise UserError(f"{path}: not a readable ONNX model: {one_line(error)}") from None
    return data, model, weights


def check(model: onnx.ModelProto) -> None:
    """Hold a model in memory against ONNX's checker and shape inference, and against the size of a file.

    Raises:
        UserError: its weights are too large for a file.
        onnx.checker.ValidationError: it is no sound model.
    """
    size = model.ByteSize()
    if size > LARGEST_FILE:
        raise UserError(
            f"{model.graph.name}: {size / 1e9:.2f} GB of weights found, and an ONNX file holds {LARGEST_FILE / 1e9:.2f} GB; "
            "export for the target onnx with --external-data"
        )
    light = onnx.ModelProto()
    light.CopyFrom(model)
    _lighten(light.graph)
    onnx.checker.check_model(light, full_check=True)


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


def _check_texts(message: Message) -> None:
    """Refuse names that are no text: protobuf gives them as bytes.

    Raises:
        ValueError: there is one.
    """
    for field, value in message.ListFields():
        members = value if field.is_repeated else [value]
        if field.type == field.TYPE_STRING and any(isinstance(member, bytes) for member in members):
            raise ValueError(f"field {field.name}: text in UTF-8 expected")
        if field.message_type is not None:
            for member in members:
                _check_texts(member)


def _lighten(graph: onnx.GraphProto) -> None:
    """Make inputs of the large weights whose bytes are as many as their shape asks for, and of those in another file."""
    declared = {value.name for value in graph.input}
    for index in reversed(range(len(graph.initializer))):  # backwards: the ones before a deleted one keep their places
        tensor = graph.initializer[index]
        size = _SIZES.get(tensor.data_type, 0) * prod(tensor.dims)
        outside = uses_external_data(tensor)
        if (outside or size == len(tensor.raw_data) > _LARGE) and tensor.name and min(tensor.dims) > 0:
            if tensor.name not in declared:
                graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
                declared.add(tensor.name)
            del graph.initializer[index]


_CACHED = 1 << 19  # values of the largest tensor, all steps of a portion together, for each thread: 2 MiB
_BATCH = "B"

Axes = Mapping[str, int | None]
"""Tensor → its axis of samples; None where it has none."""


def portion(largest: int, steps: int, threads: int | None = None) -> int:
    """How many samples to compute at a time.

    Args:
        largest: values of the largest tensor, per sample and step.
        steps: T.
        threads: that share the work on a tensor, each with a cache of its own; all cores of this process if None.
    """
    return max(1, (threads or _cores()) * _CACHED // max(1, largest * steps))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split(tensors: Mapping[str, NDArray[Any]], axes: Axes, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """The tensors of the first `size` samples, then of the next ones; tensors without samples go along each time."""
    (batch,) = {value.shape[axis] for name, value in tensors.items() if (axis := axes[name]) is not None}
    for start in range(0, batch, size):
        samples = slice(start, start + size)
        yield {
            name: value if (axis := axes[name]) is None else value[(slice(None),) * axis + (samples,)]
            for name, value in tensors.items()
        }


def joined(portions: list[dict[str, NDArray[Any]]], axes: Axes) -> dict[str, NDArray[Any]]:
    """The tensors of all portions; one without samples is the same in each."""
    return {
        name: value if (axis := axes[name]) is None else np.concatenate([each[name] for each in portions], axis)
        for name, value in portions[-1].items()
    }


_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
_LARGEST_STATE = 1 << 31  # values: a file of a few bytes can ask for any number of zeros
_LONGEST_NUMBER = 20  # digits; Python takes long to read a number of millions of them
_SINGLE_STEPS = 3  # calls of one step, after which more are likely: they are worth a session without loops
_SMALL_FILE = 1 << 26  # bytes, of which a second session may have a copy; loops cost little beside larger layers


@dataclass(frozen=True)
class TensorType:
    """What a model says of an input; ONNX Runtime makes it anew each time that it is asked.

    Attributes:
        shape: sizes; names where they are free, None without one.
        type: as ONNX Runtime writes it, such as "tensor(float)".
    """

    shape: tuple[int | str | None, ...]
    type: str


class OnnxFile:
    """See `Session` for the arguments.

    Attributes:
        origin: path, or name of the model in memory.
        inputs: name → what an input is.
        outputs: names; last those of `also` that it makes.
        timed: those of the outputs that have a time axis, `[T, B, …]`.
        states: input → output of what the model keeps from one chunk of steps to the next.
        counts: spiking layer → output with its spikes per step and sample.
        largest: number of values, per sample and step, of the largest tensor; 0 if the file does not say it.
        axes: input or output → its axis of samples, None where it has none.
        separable: whether every tensor with samples has a known axis for them.
    """

    def __init__(
        self,
        model: Path | onnx.ModelProto,
        also: Sequence[str],
        providers: Sequence[str],
        threads: int | None,
        weights: Weights | None = None,
    ) -> None:
        runtime = onnxruntime()
        self.origin = str(model) if isinstance(model, Path) else model.graph.name
        if isinstance(model, Path):
            data, self._content, weights = read(model)
        else:
            data, self._content = model.SerializeToString(), model
        made = {output for node in self._content.graph.node for output in node.output}
        asked = chosen(runtime, providers)
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised below; it is not to be printed as well
        options.enable_mem_reuse = False  # the arena hands out again what was freed last, and is still in the cache
        if threads is not None:
            options.intra_op_num_threads = threads
        outside = {} if weights is None else dict(weights)  # what is mapped stays so, as long as this session lives
        self._weights = {name: runtime.OrtValue.ortvalue_from_numpy(values) for name, values in outside.items()}
        if outside:
            options.add_external_initializers([*self._weights], [*self._weights.values()])
        data += self._further_outputs([name for name in also if name in made])
        self._started: Callable[[bytes], Any] = lambda content: runtime.InferenceSession(
            content, options, providers=asked, enable_fallback=0
        )
        try:
            self._session = self._started(data)
        except Exception as error:  # ONNX Runtime's errors have no common type
            raise UserError(f"{self.origin}: ONNX Runtime cannot load it: {one_line(error)}") from None
        self._single, self._single_steps = self._session, 0
        self._whole: bytes | None = data if len(data) <= _SMALL_FILE and not outside else None
        check_started(asked, self._session.get_providers())
        self.inputs = {value.name: TensorType(tuple(value.shape), value.type) for value in self._session.get_inputs()}
        self._names = [value.name for value in self._session.get_outputs()]
        self.outputs = tuple(self._names)
        self._sequences = [name for name, value in self.inputs.items() if value.shape[:1] == ("T",)]
        self.timed = frozenset(value.name for value in self._session.get_outputs() if value.shape[:1] == ["T"])
        self.states = named_tensors(self.origin, self._content, STATES, self.inputs, self.outputs)
        self.counts = named_tensors(self.origin, self._content, SPIKE_COUNTS, None, self.outputs)
        self.largest, self._skipped = self._number(LARGEST), self._number(SKIPPED_STEPS)
        shapes = {value.name: value.shape for value in (*self._session.get_inputs(), *self._session.get_outputs())}
        self.axes = {name: shape.index(_BATCH) if _BATCH in shape else None for name, shape in shapes.items()}
        self.separable = all(
            self.axes[name] is not None or all(isinstance(size, int) for size in shape) for name, shape in shapes.items()
        )
        del self._content

    def run(self, tensors: Mapping[str, NDArray[Any]], steps: int | None) -> dict[str, NDArray[Any]]:
        """See `Session.run`."""
        feed: dict[str, NDArray[Any]] = {}
        for name in self.inputs:
            if name in tensors:
                feed[name] = self._fitting(name, tensors[name])
            elif name in self.states:
                continue  # below, when the batch is known
            elif name != STEPS:
                raise UserError(f"{self.origin}: input {name} is missing")
            elif steps is None:
                raise UserError(f"{self.origin}: the model takes a static sample, give the number of steps")
            else:
                feed[name] = np.array([steps], np.int64)
        if absent := [name for name in self.states if name not in feed]:
            batch = self._batch(feed)
            feed |= {name: self._zeros(name, batch) for name in absent}
        self._check_steps(feed)
        try:
            session = self._single_step() if self._steps(feed) == 1 and self._agree(feed) else self._session
            values = session.run(None, feed)
        except Exception as error:  # ONNX Runtime's errors have no common type
            raise UserError(f"{self.origin}: cannot run: {one_line(error)}") from None
        return dict(zip(self.outputs, values, strict=True))

    def _fitting(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """Numbers as the model takes them: those in half precision are the only ones that are rounded."""
        return value.astype(np.float16) if self.inputs[name].type == "tensor(float16)" else value

    def _check_steps(self, feed: Mapping[str, NDArray[Any]]) -> None:
        """The runtime's mean over no steps at all would be no number."""
        if self._skipped:
            steps = self._steps(feed)
            if steps is not None and not -steps <= self._skipped < steps:
                part = f"skips the first {self._skipped}" if self._skipped > 0 else f"is of the last {-self._skipped}"
                raise UserError(f"{self.origin}: its answer {part} time steps, and {steps} found; run it for more")

    def _steps(self, feed: Mapping[str, NDArray[Any]]) -> int | None:
        """T, the least of those that are said; None if none is."""
        if STEPS in feed:
            said = feed[STEPS]
            return int(said.item() if said.size == 1 else np.min(said, initial=2**62))
        return min((len(feed[name]) for name in self._sequences if name in feed and np.ndim(feed[name])), default=None)

    def _agree(self, feed: Mapping[str, NDArray[Any]]) -> bool:
        """Whether sizes of one name are one size: a loop refuses states of another batch, single operators stretch them."""
        sizes: dict[str, int] = {}
        for name, value in feed.items():
            shape = self.inputs[name].shape
            if np.ndim(value) != len(shape):
                return False
            for said, size in zip(shape, np.shape(value), strict=True):
                if said is None or (isinstance(said, str) and sizes.setdefault(said, size) != size):
                    return False
        return True

    def _single_step(self) -> Any:
        """What runs one step: after a few of them a session without loops, if the file can be written so."""
        if self._whole is not None and self._single_steps == _SINGLE_STEPS:
            model, self._whole = without_scans(onnx.ModelProto.FromString(self._whole)), None
            self._single = self._session if model is None else self._started(model.SerializeToString())
        self._single_steps += 1
        return self._single

    def _batch(self, feed: Mapping[str, NDArray[Any]]) -> int | None:
        """B of the tensors that are given."""
        for name, value in feed.items():
            shape = self.inputs[name].shape
            if _BATCH in shape and np.ndim(value) == len(shape):
                return int(np.shape(value)[shape.index(_BATCH)])
        return None

    def _zeros(self, name: str, batch: int | None) -> NDArray[Any]:
        """A state before the first step."""
        value = self.inputs[name]
        shape = [batch if axis == _BATCH else axis for axis in value.shape]
        sizes = [axis for axis in shape if isinstance(axis, int) and axis >= 0]
        if value.type not in _DTYPES or len(sizes) != len(shape) or np.prod(sizes, dtype=float) > _LARGEST_STATE:
            raise UserError(
                f"{self.origin}: state {name}: {value.type} {shape} cannot begin with zeros; give it with the inputs"
            )
        return np.zeros(sizes, _DTYPES[value.type])

    def _number(self, key: str) -> int:
        """A count in the model's metadata; 0 if there is none."""
        text = _metadata(self._content).get(key, "0")
        if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < _LONGEST_NUMBER):
            raise UserError(f"{self.origin}: metadata {key}: {text[:40]!r} found, a number expected")
        return int(text)

    def _further_outputs(self, also: Sequence[str]) -> bytes:
        """What makes outputs of inner tensors when it follows the model: protobuf joins messages that follow each other."""
        named = {output.name for output in self._content.graph.output}
        further = onnx.ModelProto()
        known = {value.name: value for value in self._content.graph.value_info}
        further.graph.output.extend(
            known.get(name) or onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in also
            if name not in named
        )
        return further.SerializeToString() if further.graph.output else b""


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def named_tensors(
    origin: str, model: onnx.ModelProto, key: str, keys: Collection[str] | None = None, values: Collection[str] | None = None
) -> dict[str, str]:
    """A JSON object of names in a model's metadata; empty if there is none.

    Args:
        origin: of the model, for messages.
        model: with the metadata.
        key: of the entry.
        keys, values: what its names are among; any if None.

    Raises:
        UserError: something else is there.
    """
    try:
        names = json.loads(_metadata(model).get(key, "{}"))
    except (ValueError, RecursionError):
        names = None
    sound = isinstance(names, dict) and all(
        isinstance(value, str) and (values is None or value in values) and (keys is None or name in keys)
        for name, value in names.items()
    )
    if not sound:
        raise UserError(f"{origin}: metadata {key}: a JSON object of the model's inputs and outputs expected")
    return names
