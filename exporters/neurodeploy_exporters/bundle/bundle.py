"""The deployment bundle: a folder with the artefacts, a sample that verifies them, and a manifest that describes both."""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from neurodeploy.graph import Graph, Part, interpreter, partition
from neurodeploy.io.arrays import read_arrays
from neurodeploy.io.errors import UserError
from neurodeploy.io.files import atomic_folder, sha256
from neurodeploy.io.version import VERSION
from neurodeploy_exporters.bundle.manifest import (
    MANIFEST,
    SAMPLE,
    FurtherAnswer,
    FurtherInput,
    GradedTensor,
    Manifest,
    Piece,
    SampleEntry,
    SpikingLayer,
)

LOGITS_ATOL = 1e-4
_SPIKES, _INPUTS, _ANSWERS = "spikes/", "inputs/", "answers/"
_BATCH = 250


class Inputs(Protocol):
    """Test samples, `[N, …]` or `[T, N, …]`: an array, or something that makes one batch after the other."""

    def __getitem__(self, batch: Any, /) -> NDArray[np.float32]: ...


class RightAnswers(Protocol):
    """An accuracy measured before export."""

    @property
    def correct(self) -> int: ...

    @property
    def samples(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs, and what the network answers to them.

    Attributes:
        inputs: float32 `[B, …]` (or `[T, B, …]`).
        spikes: spiking layer → uint8 `[T, B, …]`.
        logits: float32 `[B, K]`.
        further: of a network with several inputs, those beside the first, by name.
        answers: of one with several answers, those beside the logits, by name.
    """

    inputs: NDArray[np.float32]
    spikes: dict[str, NDArray[np.uint8]]
    logits: NDArray[np.float32]
    further: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    answers: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """T."""
        return len(next(iter(self.spikes.values())))

    def disagreement(self, made: Mapping[str, NDArray[Any]], logits: str) -> tuple[int, float]:
        """Spikes in which a float artefact differs from the sample, and the tolerance of the logits that this asks for.

        Args:
            made: tensor name → value, by the artefact; at least the spiking layers and the logits.
            logits: name of that tensor.
        """
        wrong = sum(int(np.count_nonzero(made[layer] != spikes)) for layer, spikes in self.spikes.items())
        apart = (float(np.abs(made[name] - value).max()) for name, value in {logits: self.logits, **self.answers}.items())
        return wrong, max(LOGITS_ATOL, *apart)

    def entry(self, allowed: int, atol: float = LOGITS_ATOL) -> SampleEntry:
        """The manifest's, with the number of spikes and the difference of a logit by which a replay may differ."""
        return SampleEntry(file=SAMPLE, samples=len(self.logits), logits_atol=atol, allowed_mismatched_spikes=allowed)


@dataclass(frozen=True, repr=False)
class Bundle:
    """A bundle on disk, whose manifest has been read and checked."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        return self.folder / name

    def __str__(self) -> str:
        """Where it is and what it holds, in 80 columns."""
        manifest = self.manifest
        lines = [
            f"{self.folder}: {manifest.target} bundle of {manifest.model}",
            f"files: {', '.join(manifest.artefacts)}; quantization: {manifest.quantization.get('kind')}; "
            f"T = {manifest.steps}; {manifest.sample.samples} samples",
            *(f"{label}: {found.correct} of {found.samples} test samples right" for label, found in manifest.accuracy.items()),
            *([] if manifest.module is None else [str(manifest.module)]),
            *manifest.notes,
        ]
        return "\n".join(part for line in lines for part in wrap(line, 80))

    def __repr__(self) -> str:
        return f"<Bundle {self.folder}; print it>"

    def sample(self) -> Sample:
        """Read the sample.

        Raises:
            UserError: the file is missing or damaged.
        """
        return _read_sample(self.path(self.manifest.sample.file))


def sample_of(
    graph: Graph,
    inputs: NDArray[np.float32],
    *,
    steps: int | None = None,
    further: Mapping[str, NDArray[np.float32]] | None = None,
) -> Sample:
    """What the reference interpreter computes for `inputs`: the answer that every artefact must reproduce.

    Args:
        graph: the network.
        inputs: of the sample; of several those of the first.
        steps: T, if it is another one than the network was trained with.
        further: the other inputs, by name.

    Raises:
        UserError: there is no sample or no step in `inputs`, or they do not have the shape that the graph expects.
    """
    if 0 in inputs.shape:
        raise UserError(f"sample: inputs of shape {inputs.shape} found, at least one sample and one step expected")
    beside = {name: values.astype(np.float32) for name, values in (further or {}).items()}
    tensors = interpreter.run(graph, {graph.inputs[0].name: inputs, **beside}, steps=steps)
    spikes = {name: tensors[name].astype(np.uint8) for name in graph.spiking}
    first, *others = (node.name for node in graph.outputs)
    return Sample(inputs.astype(np.float32), spikes, tensors[first], beside, {name: tensors[name] for name in others})


def most_likely(
    answer: Callable[[NDArray[np.float32]], NDArray[Any]], samples: Inputs, count: int, *, timed: bool
) -> NDArray[np.int64]:
    """The most likely class of each sample, `[N]`.

    Args:
        answer: samples → logits `[B, K]`, by an artefact.
        samples: `[N, …]`, or sequences `[T, N, …]` if `timed`.
        count: N.
        timed: whether the samples are sequences.
    """
    batches = [slice(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    return np.concatenate([answer(samples[:, batch] if timed else samples[batch]).argmax(-1) for batch in batches])


def piece_of(graph: Graph, part: Part | None, format: str, graded: tuple[GradedTensor, ...] = ()) -> Piece:
    """The manifest's entry of one part, or of the whole network: a file of the part's name and of the format's ending."""
    name = "whole" if part is None else part.name
    inputs, outputs = (tuple(node.name for node in nodes) for nodes in (graph.inputs, graph.outputs))
    if part is not None:
        inputs, outputs = part.inputs, part.outputs
    values = {"name": name, "file": f"{name}.{format}", "format": format, "inputs": inputs, "outputs": outputs}
    return Piece.model_validate(values | {"graded": graded})


def describe(graph: Graph, *, target: str, name: str, latencies: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The fields of a manifest that follow from the graph alone.

    Args:
        graph: the network that the bundle holds.
        target: of the export.
        name: of the network.
        latencies: spiking layer on a chip → steps from an input to its answer.

    Raises:
        UserError: the network does not end with one logit per class.
    """
    for node in graph.outputs:
        answer = graph.shape(node.name)
        if len(answer) != 1:
            raise UserError(
                f"node {node.name}: an answer of shape {answer} found, one logit per class expected; "
                "end the network with a Flatten or Linear layer"
            )
    entry, *inputs = graph.inputs
    first, *answers = (graph.shape(node.name)[0] for node in graph.outputs)
    where = {member: part.name for part in partition(graph, spikes_only=False).parts for member in part.members}
    late = latencies or {}
    return {
        "target": target,
        "model": name,
        "created_by": f"neurodeploy {VERSION}",
        "input_shape": entry.shape,
        "timed_input": entry.timed,
        "classes": first,
        "further_inputs": tuple(FurtherInput(name=node.name, shape=node.shape) for node in inputs),
        "further_answers": tuple(
            FurtherAnswer(name=node.name, size=size) for node, size in zip(graph.outputs[1:], answers, strict=True)
        ),
        "spiking_layers": tuple(
            SpikingLayer.model_validate(
                {"name": layer, "shape": graph.shape(layer), "part": where[layer], "latency_steps": late.get(layer, 0)}
            )
            for layer in graph.spiking
        ),
    }


def write_bundle(folder: Path, manifest: Manifest, writers: Mapping[str, Callable[[Path], None]], sample: Sample) -> Path:
    """Write a bundle as a whole or not at all.

    Args:
        folder: replaced if it is a bundle already.
        manifest: without the files' hashes.
        writers: file name → writes that file.
        sample: written as `sample.npz`.

    Raises:
        UserError: `folder` holds something other than a bundle.
    """
    with atomic_folder(folder, marker=MANIFEST) as temporary:
        for name, write in writers.items():
            write(temporary / name)
        _write_sample(temporary / SAMPLE, sample)
        hashes = {path.name: sha256(path) for path in sorted(temporary.iterdir())}
        complete = manifest.model_copy(update={"files": hashes})
        unused = {name for name in ("further_inputs", "further_answers") if not getattr(complete, name)}
        text = complete.model_dump_json(indent=2, exclude=unused)  # of one input and one answer it is what it was before
        (temporary / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return folder


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest.

    Raises:
        UserError: it is missing, damaged or of another version; the message names the field.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder}: no {MANIFEST} found, so this is no bundle; make one with `neurodeploy export`")
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a valid manifest: {_fault(error)}") from None
    named = {*manifest.artefacts, manifest.sample.file}
    unlisted = sorted(named - manifest.files.keys())
    if unlisted:
        raise UserError(f"{path}: field files: {unlisted[0]} is used by the bundle but not listed")
    return Bundle(folder, manifest)


def _fault(error: ValidationError | UnicodeDecodeError | OSError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        text = f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)  # the names are the file's
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"


def _write_sample(path: Path, sample: Sample) -> None:
    arrays: dict[str, NDArray[Any]] = {"inputs": sample.inputs, "logits": sample.logits}
    arrays |= {f"{_SPIKES}{layer}": spikes for layer, spikes in sample.spikes.items()}
    arrays |= {f"{_INPUTS}{name}": values for name, values in sample.further.items()}
    arrays |= {f"{_ANSWERS}{name}": values for name, values in sample.answers.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            memory = io.BytesIO()
            np.save(memory, array, allow_pickle=False)
            # a fixed date, so that the same network gives the same bytes
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, memory.getvalue(), zipfile.ZIP_DEFLATED)


def _read_sample(path: Path) -> Sample:
    arrays = read_arrays(path)
    for name in ("inputs", "logits"):
        if name not in arrays:
            raise UserError(f"{path}: array {name} is missing")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise UserError(f"{path}: array {name}: {array.dtype} found, numbers expected")
    spikes = {name.removeprefix(_SPIKES): array for name, array in arrays.items() if name.startswith(_SPIKES)}
    further, answers = (
        {name.removeprefix(head): array.astype(np.float32) for name, array in arrays.items() if name.startswith(head)}
        for head in (_INPUTS, _ANSWERS)
    )
    return Sample(arrays["inputs"].astype(np.float32), spikes, arrays["logits"].astype(np.float32), further, answers)
