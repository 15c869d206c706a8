"""The ONNX target: one model for the whole network, and one for each of encoder, body and head."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from neurodeploy.graph import Graph, Part, partition
from neurodeploy.graph.grid import check_inputs, grid_layers, to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.accuracy import LOGITS_ATOL, Inputs, RightAnswers, classes, disagreement
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
from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.int8 import calibrate
from neurodeploy_exporters.onnx.runtime import Session

Quantization = Literal["none", "exact", "int8"]


def export(
    graph: Graph,
    sample_inputs: NDArray[np.float32],
    folder: Path,
    *,
    name: str,
    quantize: Quantization = "none",
    accuracy: Mapping[str, RightAnswers] | None = None,
    test: tuple[Inputs, NDArray[np.int64]] | None = None,
    calibration: NDArray[np.float32] | None = None,
    streaming: bool = False,
    spike_counts: bool = False,
    encoding: str | None = None,
) -> Path:
    """Write an ONNX bundle; see `neurodeploy.app.targets.Exporter` for the arguments.

    With quantize "none" the weights stay float32, and the few spikes in which ONNX Runtime differs from the reference
    interpreter on the sample (sums taken in another order) are counted and written into the manifest, together with what they
    do to the logits. With "exact" there are none. "int8" makes 8-bit integers of weights and currents: smaller and faster; the
    spikes in which it differs from the float network, and the test samples that get another answer, are in the manifest too.

    Args:
        calibration: inputs `[B, …]` (or `[T, B, …]`), none of them of the test set, on which "int8" chooses its steps.
        streaming: the models take and give the state of every layer (see `build`).
        spike_counts: the models count the spikes of every layer.
        encoding: how a host makes the inputs of samples, if it does.

    Raises:
        UserError: a node has no form in ONNX, or no exact one, or the sample is not on the exact grid.
    """
    deployed = to_grid(graph) if quantize == "exact" else graph
    if quantize == "exact":
        check_inputs(sample_inputs)
    sample = sample_of(deployed, sample_inputs)
    described, parts = describe(deployed, target="onnx", name=name), partition(deployed, spikes_only=False).parts
    steps = int(next(iter(sample.spikes.values())).shape[0])
    grids = calibrate(graph, _calibration(calibration), steps) if quantize == "int8" else None
    make = partial(build, deployed, streaming=streaming, spike_counts=spike_counts, grids=grids)
    models = {"whole": make(name=name)} | {part.name: make(part, name=f"{name}-{part.name}") for part in parts}
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
    agreement, atol = _agreement(models["whole"], graph, sample, steps, quantize, streaming=streaming)
    measured = {label: MeasuredAccuracy(correct=a.correct, samples=a.samples) for label, a in (accuracy or {}).items()}
    if test is not None:
        found = _answers(models["whole"], graph, test, steps)
        measured["exported"] = MeasuredAccuracy(correct=int((found == test[1]).sum()), samples=len(found))
        if quantize == "int8":
            changed = int((found != _answers(build(graph, name=name), graph, test, steps)).sum())
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
        streaming=streaming,
        spike_counts=spike_counts,
        notes=_notes(graph, quantize, agreement, encoding),
    )
    writers = {f"{key}.onnx": partial(_write, model) for key, model in models.items()}
    return write_bundle(folder, manifest, writers, sample)


def _calibration(inputs: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if inputs is None or not inputs.size:
        raise UserError("int8: no calibration inputs found; give training samples (--calibration 64)")
    return inputs


def _agreement(
    model: onnx.ModelProto, graph: Graph, sample: Sample, steps: int, quantize: Quantization, *, streaming: bool
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


def _quantization(graph: Graph, deployed: Graph, kind: Quantization) -> dict[str, Any]:
    if kind == "none":
        return {"kind": "none", "weights": "float32"}
    if kind == "int8":
        return {"kind": "int8", "weights": "8-bit integers, one scale per output", "currents": "8 bits, if made of spikes"}
    layers = {g.name: {"weight_step": 2.0**-g.exponent, "weight_error": g.weight_error} for g in grid_layers(graph, deployed)}
    return {"kind": "exact", "weights": "8-bit integers times a power of two, up to the last spiking layer", "layers": layers}


def _notes(graph: Graph, kind: Quantization, agreement: Agreement, encoding: str | None) -> tuple[str, ...]:
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
