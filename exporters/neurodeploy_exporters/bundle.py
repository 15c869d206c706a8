"""The deployment bundle: a folder with the artefacts, a sample that verifies them, and a manifest that describes both."""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

import neurodeploy
from neurodeploy.graph import Graph, interpreter, partition
from neurodeploy.io.arrays import read_arrays
from neurodeploy.io.errors import UserError
from neurodeploy.io.files import atomic_folder, sha256

MANIFEST = "manifest.json"
SAMPLE = "sample.npz"
_SPIKES = "spikes/"
_CHAIN = ("encoder", "body", "head")

# one plain name, so that no manifest makes a reader leave the bundle's folder
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GradedTensor(_Entry):
    """A tensor that leaves a chip as numbers, read from the synaptic current `u` of neurons that never fire.

    Attributes:
        name: of the tensor.
        population: key of the neurons in recordings.
        shape: per sample (and step).
        read: "every step": `u / 64` of each step, or "after the last step": that after the sample's last step, divided by T.
        latency_steps: steps from an input to these neurons' answer.
    """

    name: str
    population: str
    shape: tuple[int, ...]
    read: Literal["every step", "after the last step"]
    latency_steps: int = Field(ge=1)


class Piece(_Entry):
    """One artefact.

    Attributes:
        name: "whole", "encoder", "body" or "head"; encoder, body and head run in this order, tensors passed on by name.
        file: in the bundle's folder.
        format: "onnx"; for Lava "net", or "circuit" where the body branches.
        inputs, outputs: tensor names.
        graded: those of the outputs that are no spikes; a body's alone.
    """

    name: Literal["whole", "encoder", "body", "head"]
    file: FileName
    format: str
    inputs: tuple[str, ...] = Field(min_length=1)
    outputs: tuple[str, ...] = Field(min_length=1)
    graded: tuple[GradedTensor, ...] = ()


class SpikingLayer(_Entry):
    """A spiking layer.

    Attributes:
        name: of the tensor.
        shape: per sample and step.
        part: where it runs.
        latency_steps: steps from an input to its answer on a chip; 0 on the host.
    """

    name: str
    shape: tuple[int, ...]
    part: Literal["encoder", "body", "head"]
    latency_steps: int = Field(default=0, ge=0)


class HeadCost(_Entry):
    """What one place of the head cut asks for, per sample, counted on the bundle's sample.

    Attributes:
        spikes: spikes that leave the chip.
        graded_values: numbers that leave the chip.
        synaptic_operations: of the last synapse on the chip; a spike that n parallel synapses carry counts n times.
        neuron_updates, neuron_updates_active: of the neurons that add them up; active are those with a current.
        multiply_accumulates: of the last synapse on the host, computed densely at every step; or of bringing the graded values
            back to the trained unit.
    """

    spikes: float = Field(ge=0, allow_inf_nan=False)
    graded_values: float = Field(ge=0, allow_inf_nan=False)
    synaptic_operations: float = Field(ge=0, allow_inf_nan=False)
    neuron_updates: float = Field(ge=0, allow_inf_nan=False)
    neuron_updates_active: float = Field(ge=0, allow_inf_nan=False)
    multiply_accumulates: float = Field(ge=0, allow_inf_nan=False)


class HeadCut(_Entry):
    """Where a chip ends, and what both choices cost.

    Attributes:
        chosen: behind the last spikes, or behind the last synapse.
        last_spike, last_synapse: what they cost; None where the chip cannot compute the last synapse.
    """

    chosen: Literal["last-spike", "last-synapse"]
    last_spike: HeadCost
    last_synapse: HeadCost | None


class MeasuredAccuracy(_Entry):
    """Right answers out of a number of test samples."""

    correct: int = Field(ge=0)
    samples: int = Field(ge=1)


class Agreement(_Entry):
    """How closely an ONNX artefact follows the network that it was made of, measured at export.

    Attributes:
        reference: what it was compared with: the reference interpreter, on the network that the artefact holds ("exported") or
            on the one before its weights were rounded ("float").
        samples: of the bundle's sample, on which spikes are compared.
        spikes_compared: values (neuron, step, sample), spiking or silent.
        mismatched_spikes: those that differ; `mismatch_rate` is their share.
        answers_compared: test samples on which the most likely class is compared with that of the float network; 0 for none.
        changed_answers: those with another one.
    """

    reference: Literal["exported", "float"]
    samples: int = Field(ge=1)
    spikes_compared: int = Field(ge=1)
    mismatched_spikes: int = Field(ge=0)
    mismatch_rate: float = Field(ge=0, le=1)
    answers_compared: int = Field(default=0, ge=0)
    changed_answers: int = Field(default=0, ge=0)


class SampleEntry(_Entry):
    """The sample file and how closely a replay must agree with it.

    Attributes:
        file: in the bundle's folder.
        samples: number of inputs.
        logits_atol: largest allowed difference of a logit.
        allowed_mismatched_spikes: 0 for exact bundles; for others the number measured at export.
    """

    file: FileName
    samples: int = Field(ge=1)
    logits_atol: float = Field(ge=0, allow_inf_nan=False)
    allowed_mismatched_spikes: int = Field(ge=0)


class Manifest(_Entry):
    """`manifest.json`.

    Attributes:
        target: "onnx" or "lava".
        model: name of the network.
        created_by: toolkit and version.
        input_shape: of one sample; `timed_input` is True if it is a sequence `[T, B, …]`.
        classes: K.
        steps: T that the network was trained with.
        latency_steps: steps from an input to the last answer of the body on the chip; 0 where it answers in the same step.
        quantization: kind ("none", "exact", "int8" or "loihi8") and its details by layer.
        accuracy: measured before ("float") and after export ("exported").
        agreement: of the target "onnx".
        streaming: the ONNX pieces take and give the state of every layer, so that a sequence may be cut into chunks.
        spike_counts: the ONNX pieces count the spikes of every layer.
        head_cut: of a target with a chip.
        notes: what a user of the artefacts must know.
        files: file → SHA-256.
    """

    schema_version: Literal[2] = 2
    target: str
    model: str
    created_by: str
    input_shape: tuple[int, ...]
    timed_input: bool
    classes: int = Field(ge=1)
    steps: int = Field(ge=1)
    latency_steps: int = Field(ge=0)
    pieces: tuple[Piece, ...] = Field(min_length=1)
    spiking_layers: tuple[SpikingLayer, ...] = Field(min_length=1)
    quantization: dict[str, Any]
    accuracy: dict[str, MeasuredAccuracy]
    sample: SampleEntry
    agreement: Agreement | None = None
    streaming: bool = False
    spike_counts: bool = False
    head_cut: HeadCut | None = None
    notes: tuple[str, ...] = ()
    files: dict[FileName, str] = Field(default_factory=dict)

    @property
    def whole(self) -> Piece | None:
        """The network in one piece, where the target has that."""
        return next((piece for piece in self.pieces if piece.name == "whole"), None)

    @property
    def chain(self) -> tuple[Piece, ...]:
        """Encoder, body and head, those that exist, in the order in which they run."""
        return tuple(piece for name in _CHAIN for piece in self.pieces if piece.name == name)

    @property
    def input_name(self) -> str:
        """The tensor that samples enter as."""
        return (self.whole or self.chain[0]).inputs[0]

    @property
    def output_name(self) -> str:
        """The tensor of the logits."""
        return (self.whole or self.chain[-1]).outputs[0]

    @model_validator(mode="after")
    def _pieces_fit_together(self) -> "Manifest":
        names = [piece.name for piece in self.pieces]
        if len(set(names)) != len(names):
            raise ValueError(f"pieces: {', '.join(names)} found, each at most once expected")
        for piece in self.pieces:
            lacking = [tensor.name for tensor in piece.graded if tensor.name not in piece.outputs]
            if lacking:
                raise ValueError(f"pieces: {piece.name}: graded: {lacking[0]} found, one of its outputs expected")
        made = {self.input_name}
        for piece in (*((self.whole,) if self.whole else ()), *self.chain):
            absent = [tensor for tensor in piece.inputs if tensor not in made]
            if absent:
                raise ValueError(f"pieces: {piece.name} reads {absent[0]}, which no piece before it makes")
            if piece.name != "whole":
                made |= set(piece.outputs)
        for last in (self.whole, self.chain[-1] if self.chain else None):
            if last is not None and (last.name not in ("whole", "head") or last.outputs != (self.output_name,)):
                raise ValueError(
                    f"pieces: {last.name} ends with {', '.join(last.outputs)}, a head that makes the logits expected"
                )
        return self


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs, and what the network answers to them.

    Attributes:
        inputs: float32 `[B, …]` (or `[T, B, …]`).
        spikes: spiking layer → uint8 `[T, B, …]`.
        logits: float32 `[B, K]`.
    """

    inputs: NDArray[np.float32]
    spikes: dict[str, NDArray[np.uint8]]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, whose manifest has been read and checked."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        return self.folder / name

    def sample(self) -> Sample:
        """Read the sample.

        Raises:
            UserError: the file is missing or damaged.
        """
        return _read_sample(self.path(self.manifest.sample.file))


def sample_of(graph: Graph, inputs: NDArray[np.float32], *, steps: int | None = None) -> Sample:
    """What the reference interpreter computes for `inputs`: the answer that every artefact must reproduce.

    Raises:
        UserError: there is no sample or no step in `inputs`, or they do not have the shape that the graph expects.
    """
    if 0 in inputs.shape:
        raise UserError(f"sample: inputs of shape {inputs.shape} found, at least one sample and one step expected")
    tensors = interpreter.run(graph, inputs, steps=steps)
    spikes = {name: tensors[name].astype(np.uint8) for name in graph.spiking}
    return Sample(inputs.astype(np.float32), spikes, tensors[graph.output.name])


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
    answer = graph.shape(graph.output.name)
    if len(answer) != 1:
        raise UserError(
            f"node {graph.output.name}: an answer of shape {answer} found, one logit per class expected; "
            "end the network with a Flatten or Linear layer"
        )
    where = {member: part.name for part in partition(graph, spikes_only=False).parts for member in part.members}
    late = latencies or {}
    return {
        "target": target,
        "model": name,
        "created_by": f"neurodeploy {neurodeploy.__version__}",
        "input_shape": graph.input.shape,
        "timed_input": graph.input.timed,
        "classes": answer[0],
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
        (temporary / MANIFEST).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
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
    named = {piece.file for piece in manifest.pieces} | {manifest.sample.file}
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
    return Sample(arrays["inputs"].astype(np.float32), spikes, arrays["logits"].astype(np.float32))
