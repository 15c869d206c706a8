"""One ONNX model, loaded: what it takes, gives and keeps between its steps."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from neurodeploy.errors import UserError
from neurodeploy_exporters.onnx.build import LARGEST, SPIKE_COUNTS, STATES, STEPS
from neurodeploy_exporters.onnx.portions import batch_axis
from neurodeploy_exporters.onnx.providers import check_started, chosen, onnxruntime
from neurodeploy_exporters.onnx.reading import one_line, read

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
_LARGEST_STATE = 1 << 31
_LONGEST_NUMBER = 20


class Model:
    """See `Session` for the arguments.

    Attributes:
        origin: path, or name of the model in memory.
        inputs: name → ONNX Runtime's description of an input.
        outputs: names; last those of `also` that it makes.
        timed: those of the outputs that have a time axis, `[T, B, …]`.
        states: input → output of what the model keeps from one chunk of steps to the next.
        counts: spiking layer → output with its spikes per step and sample.
        largest: number of values, per sample and step, of the largest tensor; 0 if the file does not say it.
        axes: input or output → its axis of samples, None where it has none.
        separable: whether every tensor with samples has a known axis for them.
    """

    def __init__(
        self, model: Path | onnx.ModelProto, also: Sequence[str], providers: Sequence[str], threads: int | None
    ) -> None:
        runtime = onnxruntime()
        self.origin = str(model) if isinstance(model, Path) else model.graph.name
        if isinstance(model, Path):
            data, self._content = read(model)
        else:
            data, self._content = model.SerializeToString(), model
        made = {output for node in self._content.graph.node for output in node.output}
        asked = chosen(runtime, providers)
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised below; it is not to be printed as well
        options.enable_mem_reuse = False  # the arena hands out again what was freed last, and is still in the cache
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(
                data + self._further_outputs([name for name in also if name in made]),
                options,
                providers=asked,
                enable_fallback=0,
            )
        except Exception as error:  # ONNX Runtime's errors have no common type
            raise UserError(f"{self.origin}: ONNX Runtime cannot load it: {one_line(error)}") from None
        check_started(asked, self._session.get_providers())
        self.inputs = {value.name: value for value in self._session.get_inputs()}
        self.outputs = tuple(value.name for value in self._session.get_outputs())
        self.timed = frozenset(value.name for value in self._session.get_outputs() if value.shape[:1] == ["T"])
        self.states = named_tensors(self.origin, self._content, STATES, self.inputs, self.outputs)
        self.counts = named_tensors(self.origin, self._content, SPIKE_COUNTS, None, self.outputs)
        self.largest = self._number(LARGEST)
        shapes = {value.name: value.shape for value in (*self._session.get_inputs(), *self._session.get_outputs())}
        self.axes = {name: batch_axis(shape) for name, shape in shapes.items()}
        self.separable = all(
            self.axes[name] is not None or all(isinstance(size, int) for size in shape) for name, shape in shapes.items()
        )
        del self._content

    def run(self, tensors: Mapping[str, NDArray[Any]], steps: int | None) -> dict[str, NDArray[Any]]:
        """See `Session.run`."""
        feed: dict[str, NDArray[Any]] = {}
        for name in self.inputs:
            if name in tensors:
                feed[name] = tensors[name]
            elif name in self.states:
                continue  # below, when the batch is known
            elif name != STEPS:
                raise UserError(f"{self.origin}: input {name} is missing")
            elif steps is None:
                raise UserError(f"{self.origin}: the model takes a static sample, give the number of steps")
            else:
                feed[name] = np.array([steps], np.int64)
        absent = [name for name in self.states if name not in feed]
        if absent:
            batch = self._batch(feed)
            feed |= {name: self._zeros(name, batch) for name in absent}
        try:
            values = self._session.run(list(self.outputs), feed)
        except Exception as error:  # ONNX Runtime's errors have no common type
            raise UserError(f"{self.origin}: cannot run: {one_line(error)}") from None
        return dict(zip(self.outputs, values, strict=True))

    def _batch(self, feed: Mapping[str, NDArray[Any]]) -> int | None:
        """B of the tensors that are given."""
        for name, value in feed.items():
            shape = self.inputs[name].shape
            if "B" in shape and np.ndim(value) == len(shape):
                return int(np.shape(value)[shape.index("B")])
        return None

    def _zeros(self, name: str, batch: int | None) -> NDArray[Any]:
        """A state before the first step."""
        value = self.inputs[name]
        shape = [batch if axis == "B" else axis for axis in value.shape]
        sizes = [axis for axis in shape if isinstance(axis, int) and axis >= 0]
        if value.type not in _DTYPES or len(sizes) != len(shape) or np.prod(sizes, dtype=float) > _LARGEST_STATE:
            raise UserError(
                f"{self.origin}: state {name}: {value.type} {shape} cannot begin with zeros; give it with the inputs"
            )
        return np.zeros(sizes, _DTYPES[value.type])

    def _number(self, key: str) -> int:
        """A count in the model's metadata; 0 if there is none."""
        text = next((entry.value for entry in self._content.metadata_props if entry.key == key), "0")
        if not (text.isascii() and text.isdigit() and len(text) < _LONGEST_NUMBER):
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
    text = next((entry.value for entry in model.metadata_props if entry.key == key), "{}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    sound = isinstance(found, dict) and all(
        isinstance(value, str) and (values is None or value in values) and (keys is None or name in keys)
        for name, value in found.items()
    )
    if not sound:
        raise UserError(f"{origin}: metadata {key}: a JSON object of the model's inputs and outputs expected")
    return found
