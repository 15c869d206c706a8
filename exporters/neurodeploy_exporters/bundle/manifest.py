"""`manifest.json`: what a bundle holds, entry by entry."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from neurodeploy_exporters.bundle.claims import (
    Agreement,
    BundleProvenance,
    HeadCut,
    InputGrid,
    InputNormalization,
    MeasuredAccuracy,
    ModuleAgreement,
    MutationScore,
    at_most,
)
from neurodeploy_exporters.bundle.entry import ManifestEntry

MANIFEST = "manifest.json"
SAMPLE = "sample.npz"
_CHAIN = ("encoder", "body", "head")

# one plain name, so that no manifest makes a reader leave the bundle's folder
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]


class GradedTensor(ManifestEntry):
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


class Piece(ManifestEntry):
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


class StepModel(ManifestEntry):
    """A piece once more, as a model of one time step that is called step after step.

    Attributes:
        name: of the piece.
        file: in the bundle's folder.
        format: "onnx".
        batch: samples of a call; sizes are fixed.
        inputs, outputs: tensor names, without the states.
        sequences: those of them that have a value for each step; others have one for a sample, and as an output that of the
            steps so far.
        states: input → output of what is handed on from step to step; all begin with zeros.
    """

    name: Literal["whole", "encoder", "body", "head"]
    file: FileName
    format: str
    batch: int = Field(ge=1)
    inputs: tuple[str, ...] = Field(min_length=1)
    outputs: tuple[str, ...] = Field(min_length=1)
    sequences: tuple[str, ...] = ()
    states: dict[str, str] = Field(default_factory=dict)


class SpikingLayer(ManifestEntry):
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


class FurtherInput(ManifestEntry):
    """An input beside the first.

    Attributes:
        name: of the tensor.
        shape: of one sample; a sequence of such where the first input is one.
    """

    name: str
    shape: tuple[int, ...]


class FurtherAnswer(ManifestEntry):
    """An answer beside the first: its name, and the number of its values per sample."""

    name: str
    size: int = Field(ge=1)


class SampleEntry(ManifestEntry):
    """The sample file and how closely a replay must agree with it.

    Attributes:
        file: in the bundle's folder.
        samples: number of inputs.
        chosen: of these, the last so many were chosen from further inputs, or made, so that more changes of single values show.
        correct: right answers among those with a label; None where none has one.
        logits_atol: largest allowed difference of a logit.
        allowed_mismatched_spikes: 0 for exact bundles; for others the number measured at export.
        mutations: what the sample shows of single values, by layer and kind; of exact bundles, as others differ by rounding.
    """

    file: FileName
    samples: int = Field(ge=1)
    chosen: int = Field(default=0, ge=0)
    correct: int | None = Field(default=None, ge=0)
    logits_atol: float = Field(ge=0, allow_inf_nan=False)
    allowed_mismatched_spikes: int = Field(ge=0)
    mutations: tuple[MutationScore, ...] = ()

    @model_validator(mode="after")
    def _counts_fit(self) -> "SampleEntry":
        at_most(self, "chosen", "samples")
        said = [(one.layer, one.kind) for one in self.mutations]
        if len(set(said)) != len(said):
            raise ValueError("mutations: a layer and kind found twice, each once expected")
        return self


class Manifest(ManifestEntry):
    """`manifest.json`.

    Attributes:
        target: "onnx" or "lava".
        model: name of the network.
        created_by: toolkit and version.
        input_shape: of one sample; `timed_input` is True if it is a sequence `[T, B, …]`.
        classes: K, of the first answer.
        further_inputs, further_answers: of a network that has several.
        steps: T that the network was trained with.
        latency_steps: steps from an input to the last answer of the body on the chip; 0 where it answers in the same step.
        quantization: kind ("none", "exact", "int8" or "loihi8") and its details by layer.
        accuracy: measured before ("float") and after export ("exported").
        agreement: of the target "onnx".
        module: how the sample compares with the module that was exported, where that was at hand.
        input_grid: of exact bundles.
        normalization: of the samples, where one is known.
        streaming: the ONNX pieces take and give the state of every layer, so that a sequence may be cut into chunks.
        spike_counts: the ONNX pieces count the spikes of every layer.
        steps_alone: the pieces as models of one time step, where the export was asked for them.
        sources: further files that the pieces are made of, such as headers and tables of C.
        weights_file: with the large weights of the ONNX pieces, where these do not hold them themselves.
        head_cut: of a target with a chip.
        notes: what a user of the artefacts must know.
        provenance: where the bundle comes from.
        files: file → SHA-256.
        sizes: file → bytes.
        digest: SHA-256 of all the other fields (see `seal.digest_of`), and by their hashes of all files. Manifests of schema 2
            have none.
    """

    schema_version: Literal[2, 3] = 3
    target: str
    model: str
    created_by: str
    input_shape: tuple[int, ...]
    timed_input: bool
    classes: int = Field(ge=1)
    further_inputs: tuple[FurtherInput, ...] = ()
    further_answers: tuple[FurtherAnswer, ...] = ()
    steps: int = Field(ge=1)
    latency_steps: int = Field(ge=0)
    pieces: tuple[Piece, ...] = Field(min_length=1)
    spiking_layers: tuple[SpikingLayer, ...] = Field(min_length=1)
    quantization: dict[str, Any]
    accuracy: dict[str, MeasuredAccuracy]
    sample: SampleEntry
    agreement: Agreement | None = None
    module: ModuleAgreement | None = None
    input_grid: InputGrid | None = None
    normalization: InputNormalization | None = None
    streaming: bool = False
    spike_counts: bool = False
    steps_alone: tuple[StepModel, ...] = ()
    weights_file: FileName | None = None
    sources: tuple[FileName, ...] = ()
    head_cut: HeadCut | None = None
    notes: tuple[str, ...] = ()
    provenance: BundleProvenance | None = None
    files: dict[FileName, str] = Field(default_factory=dict)
    sizes: dict[FileName, int] = Field(default_factory=dict)
    digest: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether every sum before the last spikes is exact, so that each runtime makes the same bits: on a chip's host too."""
        host = str(self.quantization.get("host_encoder_weights", ""))
        return self.quantization.get("kind") == "exact" or host.startswith("8-bit integers")

    @property
    def whole(self) -> Piece | None:
        """The network in one piece, where the target has that."""
        return next((piece for piece in self.pieces if piece.name == "whole"), None)

    @property
    def chain(self) -> tuple[Piece, ...]:
        """Encoder, body and head, those that exist, in the order in which they run."""
        return tuple(piece for name in _CHAIN for piece in self.pieces if piece.name == name)

    @property
    def artefacts(self) -> tuple[str, ...]:
        """The files of all pieces, what else they are made of, and the one with their weights."""
        files = (*(piece.file for piece in self.pieces), *(model.file for model in self.steps_alone), *self.sources)
        return files if self.weights_file is None else (*files, self.weights_file)

    @property
    def step_ways(self) -> tuple[tuple[StepModel, ...], ...]:
        """The models of one step that make the whole network, in order: it in one piece, and its parts."""
        found = {model.name: model for model in self.steps_alone}
        whole = (found["whole"],) if "whole" in found else ()
        return tuple(way for way in (whole, tuple(found[name] for name in _CHAIN if name in found)) if way)

    @property
    def input_name(self) -> str:
        """The tensor that samples enter as; the first of several."""
        return (self.whole or self.chain[0]).inputs[0]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Of all inputs."""
        return (self.input_name, *(one.name for one in self.further_inputs))

    @property
    def output_name(self) -> str:
        """The tensor of the logits; the first of several answers."""
        return (self.whole or self.chain[-1]).outputs[0]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of all answers."""
        return (self.output_name, *(one.name for one in self.further_answers))

    @model_validator(mode="after")
    def _pieces_fit_together(self) -> "Manifest":
        names = [piece.name for piece in self.pieces]
        if len(set(names)) != len(names):
            raise ValueError(f"pieces: {', '.join(names)} found, each at most once expected")
        for piece in self.pieces:
            lacking = [tensor.name for tensor in piece.graded if tensor.name not in piece.outputs]
            if lacking:
                raise ValueError(f"pieces: {piece.name}: graded: {lacking[0]} found, one of its outputs expected")
        self._check_steps()
        for crossing in (self.input_names, self.output_names):
            if len(set(crossing)) != len(crossing):
                raise ValueError(f"further_inputs, further_answers: {', '.join(crossing)} found, each once expected")
        made = set(self.input_names)
        for piece in (*((self.whole,) if self.whole else ()), *self.chain):
            absent = [tensor for tensor in piece.inputs if tensor not in made]
            if absent:
                raise ValueError(f"pieces: {piece.name} reads {absent[0]}, which no piece before it makes")
            if piece.name != "whole":
                made |= set(piece.outputs)
        if self.whole is not None and self.whole.inputs != self.input_names:
            raise ValueError(f"pieces: whole reads {', '.join(self.whole.inputs)}, {', '.join(self.input_names)} expected")
        for last in (self.whole, self.chain[-1] if self.chain else None):
            if last is not None and (last.name not in ("whole", "head") or last.outputs != self.output_names):
                raise ValueError(
                    f"pieces: {last.name} ends with {', '.join(last.outputs)}, a head that makes the logits expected"
                )
        return self

    def _check_steps(self) -> None:
        """Models of one step are of pieces, each at most once, and make what those make."""
        pieces = {piece.name: piece for piece in self.pieces}
        for model in self.steps_alone:
            piece = pieces.get(model.name)
            if piece is None or (model.inputs, model.outputs) != (piece.inputs, piece.outputs):
                raise ValueError(f"steps_alone: {model.name}: inputs and outputs of the piece of this name expected")
        names = [model.name for model in self.steps_alone]
        if names and sorted(names) != sorted(pieces):
            raise ValueError(f"steps_alone: {', '.join(names)} found, one model for each of {', '.join(pieces)} expected")
