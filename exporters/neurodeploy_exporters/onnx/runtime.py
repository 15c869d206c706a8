"""Running exported models: whole or in pieces, at once or step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.onnx.external import Weights
from neurodeploy_exporters.onnx.model import OnnxFile, TensorType, joined, portion, split
from neurodeploy_exporters.onnx.writer import STEPS

_CPU = ("cpu",)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network answers.

    Attributes:
        logits: `[B, K]`; of a stream those after all its steps so far.
        spike_counts: spiking layer → int64 `[T, B]`, spikes of each step and sample; empty if the export did not ask for it.
        tensors: every output by name.
    """

    logits: NDArray[np.float32]
    spike_counts: dict[str, NDArray[np.int64]]
    tensors: dict[str, NDArray[Any]]


class Session:
    """An exported network, ready to run.

    ```python
    session = Session.of_bundle(Path("runs/bundles/onnx"))
    answer = session.answer(images, steps=4)        # images [B, C, H, W], float32
    answer.logits.argmax(-1), answer.spike_counts   # the latter if exported with --spike-counts

    stream = session.stream()                       # exported with --streaming
    for frame in frames:                            # [B, C, H, W] each
        logits = stream.step(frame).logits
    ```

    Args:
        model: a file, a model in memory, or several that run one after the other, as encoder, body and head do: each reads what
            those before it made.
        also: inner tensors to return beside the outputs, such as spiking layers; the models' operators are not touched.
        providers: where to compute, in order of preference: "cpu", "cuda", or names of ONNX Runtime's execution providers.
        threads: of one operator; ONNX Runtime's choice, all cores, if None.
        portion: samples computed at a time; if None, on a CPU, so few that the tensors stay in its cache, else all at once.
        weights: of models in memory those that are in none of them; models in files find theirs beside them.

    Raises:
        UserError: ONNX Runtime is not installed or has no such provider, or a model cannot be read or has no such tensor.
    """

    def __init__(
        self,
        model: Path | onnx.ModelProto | Sequence[Path | onnx.ModelProto],
        *,
        also: Sequence[str] = (),
        providers: Sequence[str] = _CPU,
        threads: int | None = None,
        portion: int | None = None,
        weights: Weights | None = None,
    ) -> None:
        models = [model] if isinstance(model, Path | onnx.ModelProto) else list(model)
        if not models:
            raise UserError("session: no model found, at least one expected")
        if threads is not None and threads < 1:
            raise UserError(f"session: {threads} threads found, at least 1 expected")
        if portion is not None and portion < 1:
            raise UserError(f"session: a portion of {portion} samples found, at least 1 expected")
        self._models = files = [OnnxFile(each, also, providers, threads, weights) for each in models]
        self.origin = ", ".join(file.origin for file in files)
        self.outputs = tuple(dict.fromkeys(name for file in files for name in file.outputs))
        lacking = [name for name in also if name not in self.outputs]
        if lacking:
            raise UserError(f"{self.origin}: no tensor {lacking[0]} found")
        self.states = {before: after for file in files for before, after in file.states.items()}
        self.counts = {layer: output for file in files for layer, output in file.counts.items()}
        self.timed = frozenset(also).union(*(file.timed for file in files))
        self.inputs: dict[str, TensorType] = {}
        made: set[str] = set()
        for file in files:
            self.inputs |= {name: value for name, value in file.inputs.items() if name not in made}
            made |= set(file.outputs)
        self._portion, self._threads, self._largest = portion, threads, max(file.largest for file in files)
        self._axes: dict[str, int | None] = {name: axis for file in files for name, axis in file.axes.items()}
        in_portions = portion is not None or (tuple(providers) == _CPU and self._largest > 0)
        self._separable = in_portions and all(file.separable for file in files)

    @classmethod
    def of_bundle(cls, folder: str | Path, *, pieces: bool = False, **options: Any) -> "Session":
        """The network of an ONNX bundle, as a whole or in pieces (encoder, body, head); `options` as above.

        Raises:
            UserError: there is no readable bundle, or it holds pieces of another format.
        """
        bundle = read_bundle(Path(folder))
        whole = bundle.manifest.whole
        chosen = bundle.manifest.chain if pieces or whole is None else (whole,)
        foreign = [piece for piece in chosen if piece.format != "onnx"]
        if foreign:
            raise UserError(f"{bundle.path(foreign[0].file)}: format {foreign[0].format!r} found, onnx expected")
        return cls([bundle.path(piece.file) for piece in chosen], **options)

    def run(self, tensors: Mapping[str, NDArray[Any]], *, steps: int | None = None) -> dict[str, NDArray[Any]]:
        """Tensor name → value for every output of every model.

        Args:
            tensors: at least the inputs by name, except `steps`; states begin with zeros where they are not given.
            steps: T, where the model asks for it.

        Raises:
            UserError: an input is missing or of the wrong shape.
        """
        given = {name: tensors[name] for name in self.inputs if name in tensors}
        size = self._size(given, steps)
        if size is None:
            return self._run(given, steps)
        return joined([self._run(part, steps) for part in split(given, self._axes, size)], self._axes)

    def _size(self, given: Mapping[str, NDArray[Any]], steps: int | None) -> int | None:
        """Samples to compute at a time; None for all at once."""
        shapes = {name: np.shape(value) for name, value in given.items()}
        fitting = all(len(shape) == len(self.inputs[name].shape) for name, shape in shapes.items())
        batches = {shapes[name][axis] for name in given if fitting and (axis := self._axes[name]) is not None}
        if not self._separable or not fitting or len(batches) != 1:
            return None  # the runtime names what does not fit together
        (batch,) = batches
        if batch == 1:
            return None
        lengths = [shapes[name][0] for name in given if self.inputs[name].shape[0] == "T"]
        asked = int(np.max(given[STEPS], initial=1)) if STEPS in given else steps or 1
        size = self._portion or portion(self._largest, max([asked, *lengths]), self._threads)
        return size if size < batch else None

    def _run(self, tensors: Mapping[str, NDArray[Any]], steps: int | None) -> dict[str, NDArray[Any]]:
        known = dict(tensors)
        outputs: dict[str, NDArray[Any]] = {}
        for model in self._models:
            made = model.run(known, steps)
            known |= made
            outputs |= made
        return outputs

    def answer(self, samples: NDArray[np.float32], *, steps: int | None = None) -> Answer:
        """Run a batch.

        Args:
            samples: `[B, …]`, or sequences `[T, B, …]`, float32.
            steps: T of static samples.

        Raises:
            UserError: the samples are of the wrong shape, `steps` is missing, or the model takes several tensors.
        """
        return self._answer({self._entry: samples}, steps)

    def stream(self) -> "Stream":
        """A network that remembers: each call goes on where the one before ended.

        Raises:
            UserError: the models were exported without `--streaming`.
        """
        if not self.states:
            raise UserError(f"{self.origin}: keeps no state between calls; export with --streaming")
        return Stream(self)

    @property
    def _entry(self) -> str:
        """The tensor that samples enter as."""
        entries = [name for name in self.inputs if name != STEPS and name not in self.states]
        if len(entries) != 1:
            raise UserError(f"{self.origin}: takes {', '.join(entries) or 'no samples'}; give tensors by name to run()")
        return entries[0]

    def _answer(self, tensors: Mapping[str, NDArray[Any]], steps: int | None) -> Answer:
        outputs = self.run(tensors, steps=steps)
        logits = outputs[self._models[-1].outputs[0]].astype(np.float32, copy=False)
        return Answer(logits, {layer: outputs[output] for layer, output in self.counts.items()}, outputs)


class Stream:
    """A session with its states; made by `Session.stream`. Chunks of any length give what the whole sequence gives."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._states: dict[str, NDArray[Any]] = {}
        self._shape: tuple[int, ...] | None = None
        self._entry = session._entry

    def step(self, samples: NDArray[np.float32], *, steps: int | None = None) -> Answer:
        """Go on by one step or more.

        Args:
            samples: static samples `[B, …]`, which are shown for `steps` steps; of a network fed by sequences the next of
                them, `[T, B, …]`, or one step, `[B, …]`.
            steps: 1 if None.

        Raises:
            UserError: the samples are of another shape or number than before.
        """
        entry = self._session.inputs[self._entry]
        static = STEPS in self._session.inputs
        if not static and steps is not None:
            raise UserError(f"{self._session.origin}: steps: {steps} found, none expected of a network fed by sequences")
        if steps is not None and steps < 1:
            raise UserError(f"{self._session.origin}: steps: {steps} found, at least 1 expected")
        if not static and samples.ndim == len(entry.shape) - 1:
            samples = samples[None]
        shape = samples.shape if static else samples.shape[1:]
        if self._shape not in (None, shape):
            raise UserError(
                f"{self._session.origin}: samples of shape {shape} found, {self._shape} as before expected; "
                "call reset() before other samples"
            )
        answer = self._session._answer({self._entry: samples, **self._states}, (steps or 1) if static else None)
        self._states = {before: answer.tensors[after] for before, after in self._session.states.items()}
        self._shape = shape
        return answer

    def each_step(self, samples: NDArray[np.float32], steps: int) -> dict[str, NDArray[Any]]:
        """A whole sequence, one step after the other: tensor name → value, as `Session.run` gives it.

        Args:
            samples: as `Session.answer` takes them.
            steps: T.
        """
        return self.in_chunks(samples, (1,) * steps)

    def in_chunks(self, samples: NDArray[np.float32], chunks: Sequence[int]) -> dict[str, NDArray[Any]]:
        """A whole sequence in chunks: tensor name → value, as `Session.run` gives it.

        Args:
            samples: as `Session.answer` takes them.
            chunks: the steps of each.
        """
        static, start, answers = STEPS in self._session.inputs, 0, list[dict[str, NDArray[Any]]]()
        for count in chunks:
            part = samples if static else samples[start : start + count]
            answers.append(self.step(part, steps=count if static else None).tensors)
            start += count
        timed = self._session.timed
        return {
            name: np.concatenate([each[name] for each in answers]) if name in timed else last
            for name, last in answers[-1].items()
        }

    def reset(self) -> None:
        """Forget everything: the next step is the first one."""
        self._states, self._shape = {}, None
