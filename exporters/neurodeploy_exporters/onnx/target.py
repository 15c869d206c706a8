"""The ONNX target: one model for the whole network, and one for each of encoder, body and head."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import Field

from neurodeploy.graph import Graph, Part, partition
from neurodeploy.graph.grid import check_inputs, grid_layers, to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import (
    SAMPLE,
    Agreement,
    Manifest,
    MeasuredAccuracy,
    Piece,
    Sample,
    SampleEntry,
    describe,
    sample_of,
    write_bundle,
)
from neurodeploy_exporters.bundle.measuring import LOGITS_ATOL, Inputs, classes, disagreement
from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.int8 import calibrate
from neurodeploy_exporters.onnx.pieces import FORMAT
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.target import ON_GRID, Subject, Target, TargetOptions

_NO_CALIBRATION = "int8: no calibration inputs found; give training samples (--calibration 64)"


class OnnxOptions(TargetOptions):
    """Options of the target "onnx".

    Attributes:
        quantize: "none": the weights stay float32, and the few spikes in which ONNX Runtime differs from the reference
            interpreter on the sample (sums taken in another order) are counted and written into the manifest, together with
            what they do to the logits. "exact": 8-bit weights on a power-of-two grid, for which there are none. "int8": 8-bit
            integers of weights and currents; the spikes in which it differs from the float network, and the test samples that
            get another answer, are in the manifest.
        streaming: the models take and give the state of every layer (see `build`).
        spike_counts: the models count the spikes of every layer.
    """

    quantize: Literal["none", "exact", "int8"] = Field(
        default="none",
        description="exact: 8-bit weights on a power-of-two grid, on which every sum is exact. int8: in integers, faster and "
        "smaller, not exact.",
    )
    streaming: bool = Field(default=False, description="States are inputs and outputs, so a sequence may come in chunks.")
    spike_counts: bool = Field(default=False, description="Spikes per layer, step and sample as further outputs.")


class OnnxTarget(Target):
    """ONNX models that any ONNX Runtime runs: the network whole, and in its parts."""

    name = "onnx"
    Options = OnnxOptions
    formats: ClassVar = {"onnx": FORMAT}

    def check(self, graph: Graph, options: OnnxOptions, *, calibrated: bool = True, reset: bool = False) -> None:  # noqa: ARG002
        if options.quantize == "int8" and not calibrated:
            raise UserError(_NO_CALIBRATION)
        build(to_grid(graph) if options.quantize == "exact" else graph, name="check", streaming=options.streaming)

    def deployed(self, graph: Graph, options: OnnxOptions) -> Graph:
        return to_grid(graph) if options.quantize == "exact" else graph

    def notices(self, options: OnnxOptions) -> tuple[str, ...]:
        if options.quantize == "exact":
            return (ON_GRID,)
        return (
            ()
            if options.quantize == "none"
            else ("The exported artefact computes in 8-bit integers; counts are those of the network with float weights.",)
        )

    def export(self, subject: Subject, folder: Path, options: OnnxOptions) -> Path:
        """See `Target.export`.

        Raises:
            UserError: a node has no form in ONNX, or no exact one, or the sample is not on the exact grid.
        """
        graph, name, quantize = subject.graph, subject.name, options.quantize
        deployed = self.deployed(graph, options)
        if quantize == "exact":
            check_inputs(subject.sample_inputs)
        sample = sample_of(deployed, subject.sample_inputs)
        described, parts = describe(deployed, target="onnx", name=name), partition(deployed, spikes_only=False).parts
        steps = int(next(iter(sample.spikes.values())).shape[0])
        grids = calibrate(graph, _calibration(subject.calibration), steps) if quantize == "int8" else None
        make = partial(build, deployed, streaming=options.streaming, spike_counts=options.spike_counts, grids=grids)
        models = {"whole": make(name=name)} | {part.name: make(part, name=f"{name}-{part.name}") for part in parts}
        for model in models.values():
            onnx.checker.check_model(model, full_check=True)
        agreement, atol = _agreement(models["whole"], graph, sample, steps, quantize, streaming=options.streaming)
        measured = {label: MeasuredAccuracy(correct=a.correct, samples=a.samples) for label, a in subject.accuracy.items()}
        if subject.test is not None:
            found = _answers(models["whole"], graph, subject.test, steps)
            measured["exported"] = MeasuredAccuracy(correct=int((found == subject.test[1]).sum()), samples=len(found))
            if quantize == "int8":
                changed = int((found != _answers(build(graph, name=name), graph, subject.test, steps)).sum())
                agreement = agreement.model_copy(update={"answers_compared": len(found), "changed_answers": changed})
        allowed = 0 if quantize == "exact" else agreement.mismatched_spikes
        manifest = Manifest(
            **described,
            steps=steps,
            latency_steps=0,
            pieces=tuple(_piece(deployed, part) for part in (None, *parts)),
            quantization=_quantization(graph, deployed, quantize),
            accuracy=measured,
            sample=SampleEntry(file=SAMPLE, samples=len(sample.logits), logits_atol=atol, allowed_mismatched_spikes=allowed),
            agreement=agreement,
            streaming=options.streaming,
            spike_counts=options.spike_counts,
            notes=_notes(graph, quantize, agreement, subject.encoding),
        )
        writers = {f"{key}.onnx": partial(_write, model) for key, model in models.items()}
        return write_bundle(folder, manifest, writers, sample)


def _calibration(inputs: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if inputs is None or not inputs.size:
        raise UserError(_NO_CALIBRATION)
    return inputs


def _agreement(
    model: onnx.ModelProto, graph: Graph, sample: Sample, steps: int, quantize: str, *, streaming: bool
) -> tuple[Agreement, float]:
    """How a model agrees with the sample, and how closely its logits do; of several ways of running it the worst."""
    session, answer, source = Session(model, also=graph.spiking), graph.output.name, graph.input.name
    ways = [session.run({source: sample.inputs}, steps=steps)]
    if streaming:
        ways.append(session.stream().each_step(sample.inputs, steps))
    differences = [disagreement(found, sample, answer) for found in ways]
    compared = sum(spikes.size for spikes in sample.spikes.values())
    wrong = max(count for count, _ in differences)
    agreement = Agreement(
        reference="float" if quantize == "int8" else "exported",
        samples=len(sample.logits),
        spikes_compared=compared,
        mismatched_spikes=wrong,
        mismatch_rate=wrong / compared,
    )
    return agreement, LOGITS_ATOL if quantize == "exact" else max(atol for _, atol in differences)


def _answers(model: onnx.ModelProto, graph: Graph, test: tuple[Inputs, NDArray[np.int64]], steps: int) -> NDArray[np.int64]:
    session, source, answer = Session(model), graph.input.name, graph.output.name
    return classes(lambda x: session.run({source: x}, steps=steps)[answer], test[0], len(test[1]), timed=graph.input.timed)


def _write(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))


def _piece(graph: Graph, part: Part | None) -> Piece:
    if part is None:
        return Piece(name="whole", file="whole.onnx", format="onnx", inputs=(graph.input.name,), outputs=(graph.output.name,))
    values: dict[str, Any] = {"name": part.name, "file": f"{part.name}.onnx", "format": "onnx"}
    return Piece.model_validate({**values, "inputs": part.inputs, "outputs": part.outputs})


def _quantization(graph: Graph, deployed: Graph, kind: str) -> dict[str, Any]:
    if kind == "none":
        return {"kind": "none", "weights": "float32"}
    if kind == "int8":
        return {"kind": "int8", "weights": "8-bit integers, one scale per output", "currents": "8 bits, if made of spikes"}
    layers = {g.name: {"weight_step": 2.0**-g.exponent, "weight_error": g.weight_error} for g in grid_layers(graph, deployed)}
    return {"kind": "exact", "weights": "8-bit integers times a power of two, up to the last spiking layer", "layers": layers}


def _notes(graph: Graph, kind: str, agreement: Agreement, encoding: str | None) -> tuple[str, ...]:
    notes = [] if encoding is None else [encoding]
    if graph.steps is not None:
        notes.append("Inputs of whole.onnx and encoder.onnx: input [B, ...] and steps int64 [1], any number of steps.")
    if kind == "none":
        notes.append(
            f"Float weights: ONNX Runtime differed from the reference interpreter in {agreement.mismatched_spikes} spikes of "
            "the sample at export; export with --quantize exact for none."
        )
    if kind == "int8":
        notes.append(
            f"8-bit integers: {100 * agreement.mismatch_rate:.2g} % of the sample's spikes differ from the float network's, "
            f"and {agreement.changed_answers} of {agreement.answers_compared} test samples get another answer. Integer "
            "arithmetic differs between processors and runtimes, so a verification elsewhere may count a few more."
        )
    return tuple(notes)
