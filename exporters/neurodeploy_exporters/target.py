"""What an export target is: its options, the bundle that it writes, and how that is run again and read back.

A target is one class in one folder, found through the entry-point group `neurodeploy.exporters`. Bundles, verification, energy
counts, recipes and the command line know this interface and no target's name, so one of another package is a full citizen.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurodeploy.graph import Graph, interpreter, partition
from neurodeploy.graph.entry import fold_normalization
from neurodeploy.graph.grid import grid_layers, to_grid, with_peak
from neurodeploy.graph.ops import Node
from neurodeploy.graph.ops.terminals import INPUT_BITS
from neurodeploy.graph.standard import Standardized
from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import installed
from neurodeploy_exporters.bundle import (
    Bundle,
    BundleProvenance,
    Manifest,
    MeasuredAccuracy,
    ModuleAgreement,
    Piece,
    Sample,
    StepModel,
    sample_of,
    write_bundle,
)
from neurodeploy_exporters.bundle.bundle import Inputs, RightAnswers, most_likely
from neurodeploy_exporters.bundle.constants import sums_of
from neurodeploy_exporters.bundle.sample import UNLABELLED
from neurodeploy_exporters.bundle.states import asked
from neurodeploy_exporters.bundle.values import Values
from neurodeploy_exporters.bundle.visibility import chosen
from neurodeploy_exporters.inputs import HostNormalization as HostNormalization
from neurodeploy_exporters.inputs import grid_entry, normalization_entry
from neurodeploy_exporters.runtime import Fit, Run, Runtime, Variant, in_sequence, pieces_run
from neurodeploy_exporters.simulation import ChipSimulation, Simulator

GROUP = "neurodeploy.exporters"

Place: TypeAlias = Literal["encoder", "body", "head"]
Tensors: TypeAlias = dict[str, NDArray[Any]]


class TargetOptions(BaseModel):
    """The options of a target. A field is a key in recipes (`[export]`, or `[export.NAME]` for one target) and a command-line
    option of `neurodeploy export`; its description is the help text.

    Fields are booleans, numbers, texts or a `Literal` of texts, each with a default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, eq=False)
class ModuleAnswers:
    """What the user's own module answers to the sample's inputs.

    Attributes:
        spikes: spiking layer → `[T, B, …]`.
        logits: `[B, K]`.
        further: of several answers those beside the first, by name.
    """

    spikes: Mapping[str, NDArray[np.float32]]
    logits: NDArray[np.float32]
    further: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A network to be exported, and what is known of it.

    Attributes:
        graph: batch norm folded.
        sample_inputs: float32 `[B, …]`, or `[T, B, …]` where the graph takes sequences: inputs of the bundle's sample.
        name: of the network, for the manifest.
        accuracy: measured before export, by label.
        test: inputs and labels on which the accuracy of the exported artefact is measured. The inputs can be indexed like
            `sample_inputs`, one batch after the other.
        calibration: as `sample_inputs`, of the training set: inputs on which a target may choose how it rounds.
        encoding: a sentence on how a host makes the inputs of samples; None where it does not.
        host_normalization: mean and std of each channel, by which a host normalises samples before it makes inputs of them.
        tuned: what `Tuning.result` gave, where the network was fine-tuned for the target.
        cut: why the network is cut into host and chip where it is, in a sentence; "" if it was asked for, or is the only way.
        module: what the module that the graph was traced from answers to `sample_inputs`, where it is at hand.
        assumed: what was assumed of the file that the graph was read from, a sentence each, for the manifest's notes.
        further: of a network with several inputs those beside the first, by name, as `sample_inputs`.
        labels: of `sample_inputs`, where they are known.
        provenance: what is known of where the network comes from.
        candidates: as `sample_inputs`: further inputs, of which the sample of an exact network gets those, and made ones, that
            show more changes of single values; there may be none. With None the sample is `sample_inputs` alone.
    """

    graph: Graph
    sample_inputs: NDArray[np.float32]
    name: str
    accuracy: Mapping[str, RightAnswers] = field(default_factory=dict)
    test: tuple[Inputs, NDArray[np.int64]] | None = None
    calibration: NDArray[np.float32] | None = None
    encoding: str | None = None
    host_normalization: HostNormalization | None = None
    tuned: Any = None
    module: ModuleAnswers | None = None
    cut: str = ""
    assumed: tuple[str, ...] = ()
    further: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    provenance: BundleProvenance = field(default_factory=BundleProvenance)
    candidates: NDArray[np.float32] | None = None

    def sample(self, deployed: Graph, *, exact: bool = False) -> Sample:
        """The bundle's sample: what the deployed network answers to the inputs.

        Args:
            deployed: the network in the bundle.
            exact: every runtime makes the same bits of it, so that the states of its neurons are compared too.

        Raises:
            UserError: see `sample_of`.
        """
        given, labels = self.sample_inputs, self.labels
        if not exact or self.candidates is None:
            return replace(sample_of(deployed, given, further=self.further, states=exact), labels=labels)
        axis = int(deployed.input.timed)
        added = chosen(deployed, given, self.candidates)
        if labels is not None:  # what was chosen for what it shows says nothing of the accuracy
            labels = np.concatenate([labels, np.full(added.shape[axis], UNLABELLED)])
        made = sample_of(deployed, np.concatenate([given, added], axis), states=True)
        return replace(made, labels=labels, chosen=added.shape[axis])

    def standard(self, made: Standardized) -> tuple["Subject", tuple[str, ...]]:
        """The subject with its cells as standard neurons, and a sentence on the spikes in which these round otherwise.

        What it is compared with stays the module, or the graph that it was where no module is at hand.
        """
        if not made.replaced:
            return self, ()
        before, after = (interpreter.run(graph, self.sample_inputs) for graph in (self.graph, made.graph))
        spikes = interpreter.spikes(self.graph, before)
        compared = sum(values.size for values in spikes.values())
        differing = sum(int(np.count_nonzero(values != after[layer])) for layer, values in spikes.items())
        note = (
            f"Layers {', '.join(made.replaced)}: their own updates are those of neurons that the target knows, and are written "
            f"as such; because these round otherwise, {differing:,} of {compared:,} spikes of the sample differ."
        )
        own = ModuleAnswers(spikes, before[self.graph.output.name])
        return replace(self, graph=made.graph, module=self.module or own), (note,)

    def compared(self, sample: Sample) -> ModuleAgreement | None:
        """How a bundle's sample compares with the module; None where that is not at hand, or has other layers or steps."""
        module = self.module
        sample = sample.first(len(sample.logits) - sample.chosen, timed=self.graph.inputs[0].timed)
        if module is None or any(
            layer not in module.spikes or module.spikes[layer].shape != spikes.shape for layer, spikes in sample.spikes.items()
        ):
            return None
        answers = [(module.logits, sample.logits), *((own, sample.answers[name]) for name, own in module.further.items())]
        return ModuleAgreement(
            samples=len(sample.logits),
            spikes_compared=sum(spikes.size for spikes in sample.spikes.values()),
            differing_spikes=sum(
                int(np.count_nonzero(module.spikes[layer] != spikes)) for layer, spikes in sample.spikes.items()
            ),
            changed_answers=int(np.any([own.argmax(-1) != made.argmax(-1) for own, made in answers], axis=0).sum()),
            logits_apart=max(float(np.abs(own - made).max()) for own, made in answers),
        )

    def answers(self, answer: Callable[[NDArray[np.float32]], NDArray[Any]]) -> NDArray[np.int64] | None:
        """The class of each test sample, for `answer`: samples → logits; None where there are no test samples."""
        if self.test is None:
            return None
        return most_likely(answer, self.test[0], len(self.test[1]), timed=self.graph.input.timed)

    def measured(self, exported: NDArray[np.int64] | None) -> dict[str, MeasuredAccuracy]:
        """The accuracy before export, and as "exported" that of these classes of the test samples."""
        accuracies = {label: MeasuredAccuracy(correct=a.correct, samples=a.samples) for label, a in self.accuracy.items()}
        if self.test is None or exported is None:
            return accuracies
        right = MeasuredAccuracy(correct=int((exported == self.test[1]).sum()), samples=len(exported))
        return accuracies | {"exported": right}


@dataclass(frozen=True, eq=False, kw_only=True)
class TuningSettings:
    """How a network is made trainable in a target's arithmetic.

    Attributes:
        exact: the host's part stays on the power-of-two grid.
        reset: neurons trained with another reset learn the target's.
        calibration: training inputs, as `Subject.calibration`.
        neuron: a layer of `neurodeploy.dynamics.layers` that gives every spiking layer its surrogate gradient.
        batch_first: the module takes timed inputs as `[B, T, …]`.
        input_bits: of `GridOptions`.
    """

    exact: bool
    reset: bool
    calibration: NDArray[np.float32] | None
    neuron: Any
    batch_first: bool
    input_bits: int = INPUT_BITS


class Tuning(ABC):
    """A network as a target will run it, in torch, that learns: what `neurodeploy export --finetune` trains.

    Attributes:
        start: the network before its fine-tuning, as the target would run it.
        module: the same, trainable; calls `constrain` after each update of the weights.
    """

    start: Any
    module: Any

    @abstractmethod
    def constrain(self) -> None:
        """Bring weights that left the target's range back to it."""

    @abstractmethod
    def result(self) -> tuple[Graph, Any, Any]:
        """The tuned graph in float, what `Subject.tuned` is to be, and the tuned network in torch as the target runs it."""


@dataclass(frozen=True)
class Format:
    """A kind of artefact file: how one is run again, and how the network in it is read back.

    Attributes:
        runtime: who runs it, in a few words: "ONNX Runtime".
        replay: runs a piece: bundle, piece, tensors by name (at least its inputs), spiking layers inside it whose spikes
            are wanted, in order. Returns tensor name → value in floating point, for the piece's outputs and those layers.
            Where the bundle's sample has sums of a layer's states, they are asked for behind the layers (see `states.asked`).
        members: bundle, piece and the nodes of the pieces before it → the nodes in its file, under the names of the trained
            network; the first piece has the network's Input too, the last one its Output.
        late: whether a piece may answer later than in the step of its input, as a chip does.
        replay_each_step: as `replay` with the inputs alone, step after step with the states passed on, where a bundle streams.
        replay_chunks: bundle, pieces that run one after the other, inputs, layers, and the number of steps of each chunk, all
            of them T: as `replay`, in chunks, where a bundle streams.
        replay_in_a_row: as `replay`, the samples one after the other through one chip; None if this body cannot run so.
        replay_steps: as `replay`, of a model of one time step.
        constants: of a piece's file, or that of a model of one step: name → `constants.weighted_sums` of all constants in it.
        values: those in a piece's file that can be changed one by one, to measure whether verification sees it.
        open: as `replay` in two steps: bundle, piece, layers and threads → what takes the tensors and returns those that it
            makes, without reading the file again. `replay` itself if None.

    All raise a UserError in one line that names the file, where it cannot be read or run, or does not fit the manifest.
    """

    runtime: str
    replay: Callable[[Bundle, Piece, Mapping[str, NDArray[Any]], Sequence[str]], Tensors]
    members: Callable[[Bundle, Piece, Mapping[str, Node]], tuple[Node, ...]]
    late: bool = False
    replay_each_step: Callable[[Bundle, Piece, NDArray[Any], Sequence[str]], Tensors] | None = None
    replay_chunks: Callable[[Bundle, Sequence[Piece], NDArray[Any], Sequence[str], Sequence[int]], Tensors] | None = None
    replay_in_a_row: Callable[[Bundle, Piece, Mapping[str, NDArray[Any]], Sequence[str]], Tensors | None] | None = None
    replay_steps: Callable[[Bundle, StepModel, Mapping[str, NDArray[Any]], Sequence[str]], Tensors] | None = None
    values: Callable[[Bundle, Piece], Iterable[Values]] | None = None
    constants: Callable[[Bundle, str], Mapping[str, NDArray[np.uint64]]] | None = None
    open: Callable[[Bundle, Piece, Sequence[str], int], Callable[[Mapping[str, NDArray[Any]]], Tensors]] | None = None


class Target(ABC):
    """An export target.

    Attributes:
        name: of the entry point.
        Options: its options; see `TargetOptions`.
        formats: format of a piece, as the manifest has it → what is known of it. Parts that run on a host as ONNX files have
            `neurodeploy_exporters.onnx.FORMAT`.
        tunable: whether networks can be fine-tuned for it (`tuning`).
        host_alone: whether its bundles run on a processor as they are, every layer of them.
        several: whether it takes networks with several inputs or answers.
    """

    name: ClassVar[str]
    Options: ClassVar[type[TargetOptions]] = TargetOptions
    formats: ClassVar[Mapping[str, Format]]
    tunable: ClassVar[bool] = False
    host_alone: ClassVar[bool] = False
    several: ClassVar[bool] = False

    @property
    def chip(self) -> bool:
        """Whether a part of the network leaves the host, and answers later for it."""
        return any(kind.late for kind in self.formats.values())

    def check(  # noqa: B027 - a target may take any graph
        self, graph: Graph, options: Any, *, calibrated: bool = True, reset: bool = False
    ) -> None:
        """Refuse what cannot be exported, from the structure alone: called before a network is trained.

        Args:
            graph: batch norm folded; its weights may be untrained.
            options: of this target.
            calibrated: whether there will be calibration inputs.
            reset: whether neurons trained with another reset learn the target's in a fine-tuning first.

        Raises:
            UserError: the message names the layer or option, and says what to do.
        """

    def check_samples(self, graph: Graph, samples: NDArray[np.float32], options: Any) -> None:  # noqa: B027 - may take any values
        """Refuse values that cannot enter here, such as negative spikes: called before a network is trained.

        Args:
            graph: as in `check`.
            samples: a few as the graph takes them, `[B, …]`, or `[T, B, …]` where its input is a sequence.
            options: of this target.

        Raises:
            UserError: the message names the input and what was found, and says what to do.
        """

    @abstractmethod
    def export(self, subject: Subject, folder: Path, options: Any) -> Path:
        """Write a bundle into `folder`, which is replaced if it is a bundle already.

        Raises:
            UserError: as `check`, or the weights or samples do not fit.
        """

    def write(
        self,
        graph: Graph,
        sample_inputs: NDArray[np.float32],
        folder: str | Path,
        *,
        name: str,
        accuracy: Mapping[str, RightAnswers] | None = None,
        test: tuple[Inputs, NDArray[np.int64]] | None = None,
        calibration: NDArray[np.float32] | None = None,
        encoding: str | None = None,
        tuned: Any = None,
        **options: Any,
    ) -> Path:
        """`export` of a graph, with the options as keywords; see `Subject` for the other arguments.

        Raises:
            UserError: as `export`, or an option is unknown or has no such value.
        """
        data = {"test": test, "calibration": calibration, "encoding": encoding, "tuned": tuned}
        subject = Subject(graph=graph, sample_inputs=sample_inputs, name=name, accuracy=accuracy or {}, **data)
        return self.export(subject, Path(folder), self.options(options))

    def options(self, given: Mapping[str, Any]) -> TargetOptions:
        """Options by name, checked.

        Raises:
            UserError: an option is unknown or has no such value.
        """
        try:
            return self.Options(**given)
        except ValidationError as error:
            raise UserError(self._fault(error)) from None

    def _fault(self, error: ValidationError) -> str:
        first = error.errors()[0]
        where, text = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            having = ", ".join(self.Options.model_fields) or "none"
            return f"{where}: no option of the target {self.name}, which has: {having}"
        text = text if text[:2].isupper() else text[0].lower() + text[1:]
        return f"{where}: {first['input']!r} found, {text} (target {self.name})" if where else text

    def format_of(self, bundle: Bundle, piece: Piece) -> Format:
        """What is known of a piece's format.

        Raises:
            UserError: the target has no such format.
        """
        known = self.formats.get(piece.format)
        if known is None:
            expected = ", ".join(self.formats)
            raise UserError(f"{bundle.path(piece.file)}: format {piece.format!r} found, one of {expected} expected")
        return known

    def replay(self, bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
        """Run one piece of a bundle; see `Format.replay`.

        Raises:
            UserError: the artefact cannot be read or run, or does not make what the manifest says.
        """
        made = self.format_of(bundle, piece).replay(bundle, piece, tensors, layers)
        for name in (*piece.outputs, *asked(layers)[0]):
            value = made.get(name)
            if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
                raise UserError(
                    f"{bundle.path(piece.file)}: tensor {name}: the manifest's output is not made as floating point"
                )
        return made

    def replay_each_step(self, bundle: Bundle, piece: Piece, inputs: NDArray[Any], layers: Sequence[str]) -> Tensors:
        """Run a piece of a bundle that streams one step after the other, its states passed on; otherwise as `replay`.

        Raises:
            UserError: as `replay`, or pieces of this format do not stream.
        """
        step_by_step = self.format_of(bundle, piece).replay_each_step
        if step_by_step is None:
            raise UserError(f"{bundle.path(piece.file)}: a piece that streams expected; {piece.format} files do not")
        return step_by_step(bundle, piece, inputs, layers)

    def replay_chunks(
        self, bundle: Bundle, pieces: Sequence[Piece], inputs: NDArray[Any], layers: Sequence[str], chunks: Sequence[int]
    ) -> Tensors | None:
        """Run pieces of a bundle that streams in chunks of so many steps; None where their format has no chunks.

        Raises:
            UserError: as `replay`.
        """
        kinds = {self.format_of(bundle, piece).replay_chunks for piece in pieces}
        in_chunks = kinds.pop() if len(kinds) == 1 else None
        return None if in_chunks is None else in_chunks(bundle, pieces, inputs, layers, chunks)

    def replay_steps(
        self, bundle: Bundle, model: StepModel, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]
    ) -> Tensors:
        """Run a model of one time step for all steps of the sequences in `tensors`; otherwise as `replay`.

        Raises:
            UserError: as `replay`, or this format has no such models.
        """
        kind = self.formats.get(model.format)
        if kind is None or kind.replay_steps is None:
            raise UserError(f"{bundle.path(model.file)}: format {model.format!r} found, which has no models of one step")
        return kind.replay_steps(bundle, model, tensors, layers)

    def members(self, bundle: Bundle, piece: Piece, before: Mapping[str, Node]) -> tuple[Node, ...]:
        """The nodes in a piece's file; see `Format.members`.

        Raises:
            UserError: the file cannot be read, or is of another network than the manifest says.
        """
        return self.format_of(bundle, piece).members(bundle, piece, before)

    def constants(self, bundle: Bundle, piece: Piece | StepModel) -> Mapping[str, NDArray[np.uint64]] | None:
        """The sums of all constants in a piece's file, by name; None where its format tells its nodes alone.

        Raises:
            UserError: the file cannot be read.
        """
        kind = self.formats.get(piece.format)
        return None if kind is None or kind.constants is None else kind.constants(bundle, piece.file)

    def write_bundle(
        self, folder: Path, manifest: Manifest, writers: Mapping[str, Callable[[Path], None]], sample: Sample
    ) -> Path:
        """Write a bundle as a whole or not at all, its sample with the sums of all constants in the files; see `write_bundle`.

        Raises:
            UserError: `folder` holds something other than a bundle, or a file cannot be read back.
        """
        return write_bundle(folder, manifest, writers, sample, constants=partial(sums_of, self))

    def runtimes(self, bundle: Bundle) -> tuple[Runtime, ...]:
        """What runs a bundle, installed or not: first what it is verified with, which is all that a target must have."""
        kinds = [self.format_of(bundle, piece) for piece in pieces_run(bundle)]
        name = " and ".join(dict.fromkeys(kind.runtime for kind in kinds))
        return (Runtime(name, self.open, reopens=any(kind.open is None for kind in kinds)),)

    def open(self, bundle: Bundle, layers: Sequence[str], threads: int) -> Run:
        """A bundle, ready to be run by what it is verified with; see `Runtime.open`."""

        def piece_opened(piece: Piece, wanted: Sequence[str]) -> Callable[[Mapping[str, NDArray[Any]]], Tensors]:
            kind = self.format_of(bundle, piece)
            if kind.open is not None:
                return kind.open(bundle, piece, wanted, threads)
            return lambda tensors: kind.replay(bundle, piece, tensors, wanted)

        return in_sequence(bundle, layers, piece_opened)

    def variants(self) -> tuple[Variant, ...]:
        """The ways of exporting that a comparison of them shows, the default first."""
        return (Variant(),)

    def fit(self, bundle: Bundle) -> Fit | None:  # noqa: ARG002
        """Whether a bundle fits on the device that the target is for; None where that has no limit that is known.

        Raises:
            UserError: the bundle cannot be read.
        """
        return None

    def simulate(self, bundle: Bundle, inputs: NDArray[Any], simulator: Simulator) -> ChipSimulation:  # noqa: ARG002
        """Run a bundle's chip part in a simulator of the chip's architecture.

        Args:
            bundle: to run.
            inputs: `[B, …]`, or `[T, B, …]` where the network takes sequences.
            simulator: a program, which is not part of this toolkit.

        Raises:
            UserError: the target has no such simulator, it is not there, or cannot hold the network.
            Failure: the simulator fails.
        """
        raise UserError(f"{bundle.folder}: a {self.name} bundle; no simulator of a chip's architecture runs those")

    def deployed(self, graph: Graph, options: Any) -> Graph:  # noqa: ARG002
        """The network that the artefact computes, as far as it can be counted in torch: its weights as they are rounded."""
        return graph

    def documents(self) -> Mapping[str, tuple[str, type]]:
        """JSON formats that are this target's own: name → what is written in it, and the dataclass of its fields."""
        return {}

    def places(self, graph: Graph, options: Any) -> dict[str, Place]:  # noqa: ARG002
        """Layer → part of the deployed network that it runs in: host, chip, host.

        Raises:
            UserError: the graph has no spiking layer, or cannot be cut so that only spikes cross.
        """
        return places_of(graph)

    def cuts(self, graph: Graph, options: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """Ways of cutting the graph into host and chip between which the options leave the choice: name → options that settle
        on it, the one that a direct `export` takes first. One of no name where there is no choice.

        Whoever knows what chip and host cost takes the cheapest.
        """
        return {"": options}

    def settled(self, name: str, options: Any) -> Any:  # noqa: ARG002
        """The options with one of the `cuts` chosen by its name."""
        return options

    def notices(self, options: Any) -> tuple[str, ...]:  # noqa: ARG002
        """What a reader of an energy report must know of how this target computes, in sentences."""
        return ()

    def tuning(self, graph: Graph, settings: TuningSettings) -> Tuning:  # noqa: ARG002
        """The network, in float with its batch norm folded, as this target runs it, trainable.

        Raises:
            UserError: nothing can be fine-tuned for this target, or the network has no form on it.
        """
        raise UserError(f"target {self.name}: networks are exported as they were trained; leave out the fine-tuning")


class GridOptions(TargetOptions):
    """Options of a target with exact sums.

    Attributes:
        quantize: "exact" puts the weights on the power-of-two grid first, and inputs on theirs.
        input_bits: of an input's size, at most, where inputs are no multiples of 1/256 from -1 to 1 and are rounded therefore.
    """

    quantize: str = "none"
    input_bits: int = Field(
        default=INPUT_BITS,
        ge=1,
        le=16,
        description="exact: inputs that are no multiples of 1/256 from -1 to 1 are rounded to so many bits and a sign, or to "
        "fewer where a layer's sums leave no more.",
    )

    @model_validator(mode="after")
    def _inputs_are_rounded(self) -> "GridOptions":
        if self.input_bits != INPUT_BITS and self.quantize != "exact":
            raise ValueError(f'input_bits: inputs are rounded with quantize = "exact" alone, "{self.quantize}" found')
        return self


class GridTarget(Target):
    """A target with an option `quantize`, of which "exact" puts weights and inputs on power-of-two grids first.

    Its options are `GridOptions`.
    """

    def deployed(self, graph: Graph, options: Any) -> Graph:
        if options.quantize == "exact":
            return to_grid(graph, input_bits=options.input_bits)
        return fold_normalization(graph) if options.quantize == "none" else graph

    def notices(self, options: Any) -> tuple[str, ...]:
        return ("Weights are on an 8-bit power-of-two grid.",) if options.quantize == "exact" else ()

    def on_grid(self, subject: Subject, options: Any) -> Graph:
        """`deployed`, with what the subject's samples show of its inputs.

        Raises:
            UserError: as `to_grid`, or a sample holds values that are not finite.
        """
        graph = subject.graph
        if options.quantize == "exact":
            known = (subject.sample_inputs, subject.calibration)
            graph = with_peak(graph, [part for part in known if part is not None])
        return self.deployed(graph, options)

    def inputs(self, subject: Subject, deployed: Graph, options: Any) -> dict[str, Any]:
        """The manifest's fields on inputs, measured where they are rounded; `deployed` is of `on_grid`."""
        exact = options.quantize == "exact"
        return {
            "input_grid": grid_entry(deployed, subject.sample_inputs, subject.test) if exact else None,
            "normalization": normalization_entry(deployed, subject.graph, subject.host_normalization),
        }

    def quantization(self, graph: Graph, deployed: Graph, options: Any) -> dict[str, Any]:
        """What the manifest says of the weights of a network and of its deployed form, unless they are a chip's integers."""
        if options.quantize == "none":
            return {"kind": "none", "weights": "float32"}
        layers = grid_layers(graph, deployed)
        steps = {layer.name: {"weight_step": 2.0**-layer.exponent, "weight_error": layer.weight_error} for layer in layers}
        weights = "8-bit integers times a power of two, up to the last spiking layer"
        return {"kind": "exact", "weights": weights, "layers": steps}


def places_of(graph: Graph) -> dict[str, Place]:
    """Layer → part of the deployed network, cut at its first and last spiking layers; see `Target.places`."""
    places: dict[str, Place] = {}
    for part in partition(graph).parts:
        for name in part.members:
            places.setdefault(name, cast(Place, part.name))
    return places


def names() -> tuple[str, ...]:
    """All targets that are installed."""
    return tuple(sorted(installed(GROUP).names))


def find(name: str) -> Target:
    """The target of a name.

    Raises:
        UserError: there is none, it cannot be imported, or it is no `Target`.
    """
    points = installed(GROUP).select(name=name)
    if not points:
        raise UserError(f"target {name!r}: unknown; installed are: {', '.join(names())}")
    point = next(iter(points))
    try:
        kind = point.load()
    except Exception as error:  # another package's code may raise anything
        raise UserError(f"target {name!r}: {point.value} cannot be imported ({type(error).__name__}: {error})") from None
    if not (isinstance(kind, type) and issubclass(kind, Target)):
        raise UserError(
            f"target {name!r}: {point.value} is {kind!r}, a class derived from neurodeploy_exporters.Target expected"
        )
    target: Target = kind()
    target_name = getattr(target, "name", None)
    if target_name != name:
        raise UserError(
            f"target {name!r}: {point.value} calls itself {target_name!r}; entry point and class need the same name"
        )
    return target


def usable() -> dict[str, Target]:
    """The installed targets that can be imported, by name: a broken package of somebody else's must not stop the others."""
    targets = {}
    for name in names():
        with suppress(UserError):
            targets[name] = find(name)
    return targets


def shared_options(targets: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Target → those of the options that it has.

    Raises:
        UserError: a target is unknown, or no target has one of the options.
    """
    fields = {target: find(target).Options.model_fields for target in targets}
    for option in given:
        if not any(option in having for having in fields.values()):
            others = [name for name, target in usable().items() if option in target.Options.model_fields]
            hint = f"; add the target {' or '.join(others)}, or leave it out" if others else ""
            raise UserError(f"{option.replace('_', '-')}: no option of {', '.join(targets) or 'any target'}{hint}")
    return {target: {key: given[key] for key in given if key in having} for target, having in fields.items()}


def option_defaults() -> dict[str, list[Any]]:
    """Option → the default values that it has in any installed target, or had in an earlier version (`formerly`)."""
    values: dict[str, list[Any]] = {}
    for target in usable().values():
        for option, info in target.Options.model_fields.items():
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            former = extra.get("formerly")
            values.setdefault(option, []).extend([info.default, *(former if isinstance(former, list) else ())])
    return values
