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
from neurodeploy_exporters.accuracy import LOGITS_ATOL, RightAnswers, disagreement, measure
from neurodeploy_exporters.bundle import (
    SAMPLE,
    Manifest,
    MeasuredAccuracy,
    Piece,
    SampleEntry,
    describe,
    sample_of,
    write_bundle,
)
from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.runtime import Session


def export(
    graph: Graph,
    sample_inputs: NDArray[np.float32],
    folder: Path,
    *,
    name: str,
    quantize: Literal["none", "exact"] = "none",
    accuracy: Mapping[str, RightAnswers] | None = None,
    test: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
) -> Path:
    """Write an ONNX bundle; see `neurodeploy.targets.Exporter` for the arguments.

    With quantize "none" the weights stay float32, and the few spikes in which ONNX Runtime differs from the reference
    interpreter on the sample (sums taken in another order) are counted and written into the manifest, together with what they
    do to the logits. With "exact" there are none.

    Raises:
        UserError: a node has no form in ONNX, or no exact one, or the sample is not on the exact grid.
    """
    deployed = to_grid(graph) if quantize == "exact" else graph
    if quantize == "exact":
        check_inputs(sample_inputs)
    sample = sample_of(deployed, sample_inputs)
    models = {"whole": build(deployed, name=name)}
    parts = partition(deployed).parts
    models |= {part.name: build(deployed, part, name=f"{name}-{part.name}") for part in parts}
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
    steps = int(next(iter(sample.spikes.values())).shape[0])
    source, answer = graph.input.name, graph.output.name
    allowed, atol = 0, LOGITS_ATOL
    if quantize == "none":
        found = Session(models["whole"], also=graph.spiking).run({source: sample.inputs}, steps=steps)
        allowed, atol = disagreement(found, sample, answer)
    measured = {label: MeasuredAccuracy(correct=a.correct, samples=a.samples) for label, a in (accuracy or {}).items()}
    if test is not None:
        session = Session(models["whole"])
        timed = graph.input.timed
        measured["exported"] = measure(lambda x: session.run({source: x}, steps=steps)[answer], *test, timed=timed)
    manifest = Manifest(
        **describe(deployed, target="onnx", name=name),
        steps=steps,
        latency_steps=0,
        pieces=tuple(_piece(deployed, part) for part in (None, *parts)),
        quantization=_quantization(graph, deployed, quantize),
        accuracy=measured,
        sample=SampleEntry(file=SAMPLE, samples=len(sample.logits), logits_atol=atol, allowed_mismatched_spikes=allowed),
        notes=_notes(graph, quantize, allowed),
    )
    writers = {f"{key}.onnx": partial(_write, model) for key, model in models.items()}
    return write_bundle(folder, manifest, writers, sample)


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
    layers = {g.name: {"weight_step": 2.0**-g.exponent, "weight_error": g.weight_error} for g in grid_layers(graph, deployed)}
    return {"kind": "exact", "weights": "8-bit integers times a power of two, up to the last spiking layer", "layers": layers}


def _notes(graph: Graph, kind: str, allowed: int) -> tuple[str, ...]:
    notes = []
    if graph.steps is not None:
        notes.append("Inputs of whole.onnx and encoder.onnx: input [B, ...] and steps int64 [1], any number of steps.")
    if kind == "none":
        notes.append(
            f"Float weights: ONNX Runtime differed from the reference interpreter in {allowed} spikes of the sample at export; "
            "export with --quantize exact for none."
        )
    return tuple(notes)
