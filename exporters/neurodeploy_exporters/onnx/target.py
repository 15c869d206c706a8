"""The ONNX target: one model for the whole network, and one for each of encoder, body and head.

With quantize "int8" they compute in static 8-bit integers: weights, and the currents of convolutions, where spikes enter.
That is smaller and faster, and never exact. Spikes are 0 or 1, and sums and averages of a few of them small multiples of a
step: an unsigned 8-bit integer holds them as they are. So only two things are rounded: weights, with one step per output
channel, and the currents that a convolution makes of spikes, with one step per layer, chosen on calibration inputs; ONNX
Runtime computes a convolution in integers only if its result is one. Where values that are no spikes enter (the first layer,
a head behind a ReLU) weights alone are rounded: those layers are small, or computed once per sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import Field, model_validator

from neurodeploy.graph import Graph, Part, ops, partition
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Agreement, Bundle, Manifest, Sample, StepModel, describe
from neurodeploy_exporters.bundle.bundle import LOGITS_ATOL, piece_of
from neurodeploy_exporters.onnx.build import FORMAT, build, checked, save
from neurodeploy_exporters.onnx.external import LARGEST_FILE, WEIGHTS_FILE, Weights, WeightsFile, weight_bytes
from neurodeploy_exporters.onnx.model import check
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.onnx.runtimes import runtimes
from neurodeploy_exporters.onnx.stepping import build_step, run_steps, step_model
from neurodeploy_exporters.onnx.writer import OPSET, OPSETS, Grid
from neurodeploy_exporters.provenance import completed
from neurodeploy_exporters.runtime import Runtime, Variant
from neurodeploy_exporters.target import GridOptions, GridTarget, Subject, Tensors

_INT8_OPSET = 19
_LEVELS = 255
_BATCH = 16
# two products of neighbours are added in 16 bits on processors without VNNI: more would overflow
_LARGEST_INPUT = 127


@dataclass(frozen=True)
class _Multiples:
    """Values are 0, 1, … `largest` times `step`."""

    step: float
    largest: int


def calibrate(graph: Graph, inputs: NDArray[np.float32], steps: int) -> dict[str, Grid]:
    """The grids of a graph's tensors: what convolutions and linear layers read, if it is made of spikes, and currents.

    Args:
        graph: batch norm folded.
        inputs: `[B, …]` or `[T, B, …]`, none of them of the test set.
        steps: T.

    Returns:
        tensor → its grid: currents of convolutions by the name of the node, and what they read.
    """
    made_of_spikes: dict[str, _Multiples] = {}
    for node in graph.nodes:
        made = _values(node, [made_of_spikes.get(source) for source in node.inputs], inputs)
        if made is not None and made.largest <= _LARGEST_INPUT:
            made_of_spikes[node.name] = made
    read = [node.inputs[0] for node in graph.nodes if isinstance(node, ops.Weighted)]
    grids = {name: Grid(made_of_spikes[name].step, 0) for name in read if name in made_of_spikes}
    currents = [node.name for node in graph.of(ops.ConvNode) if node.inputs[0] in grids]
    return grids | _ranges(graph, currents, inputs, steps)


def _values(node: ops.Node, sources: list[_Multiples | None], inputs: NDArray[np.float32]) -> _Multiples | None:
    if isinstance(node, ops.Spiking):
        return None if node.largest is None else _Multiples(1.0, node.largest)
    if isinstance(node, ops.InputNode) and node.timed and np.array_equal(inputs, np.rint(inputs)) and inputs.min() >= 0:
        return _Multiples(1.0, int(inputs.max()))
    known = [source for source in sources if source is not None]
    if not known or len(known) < len(sources):
        return None
    if node.keeps_values and len({one.step for one in known}) == 1:
        return _Multiples(known[0].step, max(one.largest for one in known))
    if isinstance(node, ops.AvgPoolNode) and node.count_padding:
        size = int(np.prod(node.kernel))
        return _Multiples(known[0].step / size, known[0].largest * size)
    if isinstance(node, ops.AddNode) and known[0].step == known[1].step:
        return _Multiples(known[0].step, known[0].largest + known[1].largest)
    return None


def _ranges(graph: Graph, currents: list[str], inputs: NDArray[np.float32], steps: int) -> dict[str, Grid]:
    """Grids from the least to the largest value of each current, 0 among them."""
    least, largest = dict.fromkeys(currents, 0.0), dict.fromkeys(currents, 0.0)
    session = Session(build(graph, name="calibration"), also=currents)
    samples = inputs.shape[1 if graph.input.timed else 0]
    for start in range(0, samples, _BATCH):
        batch = slice(start, start + _BATCH)
        made = session.run({graph.input.name: inputs[:, batch] if graph.input.timed else inputs[batch]}, steps=steps)
        for name in currents:
            least[name] = float(np.minimum(least[name], made[name].min()))  # of a NaN, NaN
            largest[name] = float(np.maximum(largest[name], made[name].max()))
    return {name: _between(name, least[name], largest[name]) for name in currents}


def _between(name: str, least: float, largest: float) -> Grid:
    if not np.isfinite(largest - least):
        raise UserError(f"node {name}: currents that are not finite found; train the network again")
    scale = (largest - least) / _LEVELS or 1.0
    return Grid(scale, round(-least / scale))


_NO_CALIBRATION = "int8: no calibration inputs found; give training samples (--calibration 64)"


class OnnxOptions(GridOptions):
    """Options of the target "onnx".

    Attributes:
        quantize: "none": the weights stay float32, and the few spikes in which ONNX Runtime differs from the reference
            interpreter on the sample (sums taken in another order) are counted and written into the manifest, together with
            what they do to the logits. "exact": 8-bit weights on a power-of-two grid, for which there are none. "int8": 8-bit
            integers of weights and currents; the spikes in which it differs from the float network, and the test samples that
            get another answer, are in the manifest.
        streaming: the models take and give the state of every layer (see `build`).
        spike_counts: the models count the spikes of every layer.
        functions: what goes through time is a call of a local function, and not the function's operators.
        step: for every piece a model of one time step too: plain operators, sizes fixed, states as inputs and outputs.
        batch: samples of a call of such a model.
        external_data: large weights are in a file beside the models, `weights.data`, in any case; else from 2 GB on.
        precision: "fp16": half precision throughout, with float weights alone. What that changes is counted as for "int8".
        opset: version of ONNX's operators; if None 18, and 19 of "int8", from which on ONNX's own reference runs it.
    """

    quantize: Literal["none", "exact", "int8"] = Field(
        default="none",
        description="exact: 8-bit weights on a power-of-two grid, on which every sum is exact. int8: in integers, faster and "
        "smaller, not exact.",
    )
    streaming: bool = Field(default=False, description="States are inputs and outputs, so a sequence may come in chunks.")
    spike_counts: bool = Field(default=False, description="Spikes per layer, step and sample as further outputs.")
    functions: bool = Field(
        default=False, description="Keep local functions, one per kind of layer, which many other readers of ONNX do not know."
    )
    step: bool = Field(
        default=False,
        description="Write models of one time step too (whole.step.onnx ...): plain operators, fixed sizes, states in and out.",
    )
    batch: int = Field(default=1, ge=1, description="Samples of a call of a model of one time step.")
    external_data: bool = Field(
        default=False,
        description="Large weights in a file beside the models, weights.data, as is done in any case from 2 GB on.",
    )
    precision: Literal["fp32", "fp16"] = Field(
        default="fp32", description="fp16: half precision throughout, for accelerators; not exact, and without streaming."
    )
    opset: int | None = Field(
        default=None,
        ge=OPSETS.start,
        le=OPSETS.stop - 1,
        description=f"Version of ONNX's operators, {OPSETS.start} to {OPSETS.stop - 1}; if not given {OPSET}, and of int8 "
        f"{_INT8_OPSET}.",
    )

    @model_validator(mode="after")
    def _options_fit_together(self) -> "OnnxOptions":
        if self.batch != 1 and not self.step:
            raise ValueError(f"batch: {self.batch} found, and only models of one time step have a fixed batch; add step")
        for name, value in (("quantize", self.quantize), ("streaming", self.streaming), ("functions", self.functions)):
            if self.precision == "fp16" and value not in ("none", False):
                raise ValueError(f"precision: fp16 found, which does not go with {name} = {value}; leave out one of both")
        return self

    @property
    def rounds(self) -> bool:
        """Whether currents are rounded too, so that the float network is what it is compared with."""
        return self.quantize == "int8" or self.precision == "fp16"

    @property
    def form(self) -> dict[str, Any]:
        """What `build` needs to know of how models are written."""
        opset = self.opset or (_INT8_OPSET if self.quantize == "int8" else OPSET)
        return {"functions": self.functions, "opset": opset, "half": self.precision == "fp16"}


class OnnxTarget(GridTarget):
    """ONNX models that any ONNX Runtime runs: the network whole, and in its parts."""

    name = "onnx"
    Options = OnnxOptions
    formats: ClassVar = {"onnx": FORMAT}
    host_alone = True
    several = True

    def check(self, graph: Graph, options: OnnxOptions, *, calibrated: bool = True, reset: bool = False) -> None:  # noqa: ARG002
        if options.quantize == "int8" and not calibrated:
            raise UserError(_NO_CALIBRATION)
        _check_several(graph, options)
        deployed = self.deployed(graph, options)
        half = options.precision == "fp16"
        build(deployed, name="check", streaming=options.streaming, half=half)
        if options.step:
            build_step(deployed, name="check", half=half)

    def runtimes(self, bundle: Bundle) -> tuple[Runtime, ...]:
        (own,) = super().runtimes(bundle)
        return runtimes(own, bundle)

    def variants(self) -> tuple[Variant, ...]:
        step = {"step": True}
        return (
            Variant("float32", further=step),
            Variant("exact", {"quantize": "exact"}, step),
            Variant("8-bit integers", {"quantize": "int8"}, step),
            Variant("float16", {"precision": "fp16"}, step),
        )

    def notices(self, options: OnnxOptions) -> tuple[str, ...]:
        if options.precision == "fp16":
            return ("The exported artefact computes in half precision; counts are those of the network with float weights.",)
        if options.quantize != "int8":
            return super().notices(options)
        return ("The exported artefact computes in 8-bit integers; counts are those of the network with float weights.",)

    def export(self, subject: Subject, folder: Path, options: OnnxOptions) -> Path:
        """See `Target.export`.

        Raises:
            UserError: a node has no form in ONNX, or no exact one, or the sample holds values that are not finite.
        """
        graph, name, quantize, integers = subject.graph, subject.name, options.quantize, options.quantize == "int8"
        _check_several(graph, options)
        deployed = self.on_grid(subject, options)
        sample = subject.sample(deployed, exact=quantize == "exact")
        described, parts = describe(deployed, target="onnx", name=name), (None, *partition(deployed, spikes_only=False).parts)
        settings: dict[str, Any] = {"streaming": options.streaming, "spike_counts": options.spike_counts}
        if integers and (subject.calibration is None or not subject.calibration.size):
            raise UserError(_NO_CALIBRATION)
        grids = calibrate(graph, subject.calibration, sample.steps) if integers and subject.calibration is not None else None
        weights = WeightsFile() if options.external_data or weight_bytes(deployed) > LARGEST_FILE else None
        models = checked(deployed, parts, name=name, grids=grids, weights=weights, **settings, **options.form)
        stepped = _stepped(deployed, parts, options, name=name, grids=grids, weights=weights)
        outside = None if weights is None else weights.arrays
        agreement, atol = _agreement(
            _ways(models["whole"], outside, deployed, sample, stepped, streaming=options.streaming), graph, sample, options
        )
        answers = _answers(Session(models["whole"], weights=outside), subject, sample.steps)
        if options.rounds and answers is not None:
            changed = int((answers != _answers(Session(build(graph, name=name)), subject, sample.steps)).sum())
            agreement = agreement.model_copy(update={"answers_compared": len(answers), "changed_answers": changed})
        manifest = Manifest(
            **described,
            **settings,
            steps=sample.steps,
            latency_steps=0,
            pieces=tuple(piece_of(deployed, part, "onnx") for part in parts),
            weights_file=None if weights is None else WEIGHTS_FILE,
            steps_alone=tuple(entry for entry, _ in stepped),
            quantization=self.quantization(graph, deployed, options),
            accuracy=subject.measured(answers),
            sample=sample.entry(0 if quantize == "exact" else agreement.mismatched_spikes, atol),
            agreement=agreement,
            module=subject.compared(sample),
            provenance=completed(subject.provenance),
            **self.inputs(subject, deployed, options),
            notes=(*subject.assumed, *_notes(graph, options, agreement, subject.encoding)),
        )
        files = {f"{key}.onnx": model for key, model in models.items()} | {entry.file: model for entry, model in stepped}
        writers: dict[str, Callable[[Path], None]] = {file: partial(save, model) for file, model in files.items()}
        if weights is not None:
            writers[WEIGHTS_FILE] = weights.write
        return self.write_bundle(folder, manifest, writers, sample)

    def quantization(self, graph: Graph, deployed: Graph, options: OnnxOptions) -> dict[str, Any]:
        if options.precision == "fp16":
            return {"kind": "fp16", "weights": "float16", "currents": "float16"}
        if options.quantize == "int8":
            return {"kind": "int8", "weights": "8-bit integers, one scale per output", "currents": "8 bits, if made of spikes"}
        return super().quantization(graph, deployed, options)


def _check_several(graph: Graph, options: OnnxOptions) -> None:
    """Raises UserError for options that are for networks of one input, or of one answer."""
    taken, given = ([node.name for node in nodes] for nodes in (graph.inputs, graph.outputs))
    if len(taken) == len(given) == 1:
        return
    several = f"inputs ({', '.join(taken)})" if len(taken) > 1 else f"answers ({', '.join(given)})"
    if options.quantize != "none":
        raise UserError(f'quantize: "{options.quantize}" found with a network of several {several}; "none" expected')
    if options.streaming:
        raise UserError(f"streaming: found with a network of several {several}, whose states are not passed on; leave it out")
    if options.step:
        raise UserError(f"step: found with a network of several {several}, one of each expected; leave it out")


def _stepped(
    graph: Graph,
    parts: Sequence[Part | None],
    options: OnnxOptions,
    *,
    name: str,
    grids: dict[str, Grid] | None,
    weights: WeightsFile | None,
) -> list[tuple[StepModel, onnx.ModelProto]]:
    """The models of one step, by what the manifest says of them; none if the options do not ask for them."""
    form: dict[str, Any] = {**options.form, "grids": grids, "weights": weights}
    del form["functions"]  # which models of one step have none of
    made = list[tuple[StepModel, onnx.ModelProto]]()
    for part in parts if options.step else ():
        called = f"{name}-{part.name}" if part else name
        model = build_step(graph, part, name=called, batch=options.batch, spike_counts=options.spike_counts, **form)
        check(model)
        made.append((step_model(graph, part, model), model))
    return made


def _ways(
    model: onnx.ModelProto,
    weights: Weights | None,
    graph: Graph,
    sample: Sample,
    stepped: Sequence[tuple[StepModel, onnx.ModelProto]],
    *,
    streaming: bool,
) -> list[Tensors]:
    """What the network makes of the sample, whole, in every way of running it."""
    session = Session(model, also=graph.spiking, weights=weights)
    ways = [session.run({graph.inputs[0].name: sample.inputs, **sample.further}, steps=sample.steps)]
    if streaming:
        ways.append(session.stream().each_step(sample.inputs, sample.steps))
    for entry, one in stepped:
        if entry.name == "whole":
            single = Session(one, also=graph.spiking, weights=weights)
            ways.append(run_steps(single, entry, {graph.input.name: sample.inputs}, sample.steps, graph.spiking))
    return ways


def _agreement(ways: Sequence[Tensors], graph: Graph, sample: Sample, options: OnnxOptions) -> tuple[Agreement, float]:
    """How the ways of running a network agree with the sample, and how closely its logits do: the worst of them.

    Raises:
        UserError: logits in half precision are not finite.
    """
    answer = graph.outputs[0].name
    if options.precision == "fp16" and not all(np.isfinite(made[answer]).all() for made in ways):
        raise UserError(f"node {answer}: values beyond those of half precision found on the sample; export in fp32")
    counts, distances = zip(*(sample.disagreement(made, answer) for made in ways), strict=True)
    compared, wrong = sum(spikes.size for spikes in sample.spikes.values()), max(counts)
    agreement = Agreement(
        reference="float" if options.rounds else "exported",
        samples=len(sample.logits),
        spikes_compared=compared,
        mismatched_spikes=wrong,
        mismatch_rate=wrong / compared,
    )
    return agreement, LOGITS_ATOL if options.quantize == "exact" else max(distances)


def _answers(session: Session, subject: Subject, steps: int) -> NDArray[np.int64] | None:
    if subject.test is None:
        return None
    source, answer = subject.graph.input.name, subject.graph.output.name
    return subject.answers(lambda samples: session.run({source: samples}, steps=steps)[answer])


def _notes(graph: Graph, options: OnnxOptions, agreement: Agreement, encoding: str | None) -> tuple[str, ...]:
    notes = [] if encoding is None else [encoding]
    if graph.steps is not None:
        notes.append("Inputs of whole.onnx and encoder.onnx: input [B, ...] and steps int64 [1], any number of steps.")
    rate = f"{100 * agreement.mismatch_rate:.2g} % of the sample's spikes differ from the float network's, and "
    rate += f"{agreement.changed_answers} of {agreement.answers_compared} test samples get another answer"
    if options.precision == "fp16":
        notes.append(
            f"Half precision: {rate}. Runtimes round it in different places, so elsewhere others may differ, and more."
        )
    elif options.quantize == "none":
        notes.append(
            f"Float weights: ONNX Runtime differed from the reference interpreter in {agreement.mismatched_spikes} spikes of "
            "the sample at export; export with --quantize exact for none."
        )
    if options.quantize == "int8":
        notes.append(
            f"8-bit integers: {rate}. Integer arithmetic differs between processors and runtimes, so a verification elsewhere "
            "may count a few more."
        )
    return tuple(notes)
