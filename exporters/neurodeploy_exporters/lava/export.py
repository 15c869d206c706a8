"""The Lava target: a `.net` file for the body, ONNX for the host's encoder and the off-chip head."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from neurodeploy.errors import UserError
from neurodeploy.graph import Graph, Part, Partition, partition
from neurodeploy.graph.grid import check_inputs, to_grid
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
from neurodeploy_exporters.lava.netfile import write
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.quantize import QuantizedBody, quantize_body
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
    scales: Mapping[str, float] | None = None,
) -> Path:
    """Write a Lava bundle; see `neurodeploy.targets.Exporter` for the other arguments.

    The body is always in Loihi's integers (8-bit even weights, 12-bit decays, integer thresholds). With quantize "exact" the
    weights are put on the power-of-two grid first, encoder included: then the body's integers are those weights, the host
    computes the encoder's spikes exactly, and the bundle fires what an exact ONNX bundle of the same network fires, as long
    as the decays round nothing away. With "none" the host's encoder stays float32; the few spikes in which ONNX Runtime
    differs from the reference interpreter on the sample, and what follows from them, are counted and written into the manifest.

    A network that was fine-tuned (`lava.aware`) comes with its `scales`, at which the body's weights are whole; they and, with
    "exact", the encoder's are rounded already, and stay as they are.

    Raises:
        UserError: the body has no form on the chip, or the sample's events are not 0 or 1, or not on the exact grid; the
            message names the layer and says what to do.
    """
    rounded = to_grid(graph) if quantize == "exact" else graph
    body = quantize_body(rounded if scales is None else graph, partition(graph).body, scales=scales)
    if quantize == "exact":
        check_inputs(sample_inputs)
    parts = partition(body.graph)
    if parts.body is None:
        raise UserError("body: nothing is left to run on the chip; export to ONNX instead")
    sample = sample_of(body.graph, sample_inputs)
    host = {part.name: build(body.graph, part, name=f"{name}-{part.name}") for part in (parts.encoder, parts.head) if part}
    for model in host.values():
        onnx.checker.check_model(model, full_check=True)
    steps = int(next(iter(sample.spikes.values())).shape[0])
    run, answer = partial(_run, body, parts, host, steps), graph.output.name
    found, latency = run(sample.inputs)
    allowed, atol = (0, LOGITS_ATOL) if quantize == "exact" else disagreement(found, sample, answer)
    measured = {label: MeasuredAccuracy(correct=a.correct, samples=a.samples) for label, a in (accuracy or {}).items()}
    if test is not None:
        measured["exported"] = measure(lambda x: run(x)[0][answer], *test, timed=graph.input.timed)
    manifest = Manifest(
        **describe(body.graph, target="lava", name=name),
        steps=steps,
        latency_steps=latency,
        pieces=tuple(_piece(part) for part in parts.parts),
        quantization=_quantization(body, quantize),
        accuracy=measured,
        sample=SampleEntry(file=SAMPLE, samples=len(sample.logits), logits_atol=atol, allowed_mismatched_spikes=allowed),
        notes=_notes(latency, steps, allowed if quantize == "none" and parts.encoder else None),
    )
    writers = {f"{part}.onnx": partial(_write_onnx, model) for part, model in host.items()}
    return write_bundle(folder, manifest, {**writers, "body.net": partial(write, body.network)}, sample)


def _write_onnx(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))


def _piece(part: Part) -> Piece:
    kind = "net" if part.name == "body" else "onnx"
    values: dict[str, Any] = {"name": part.name, "file": f"{part.name}.{kind}", "format": kind}
    return Piece.model_validate({**values, "inputs": part.inputs, "outputs": part.outputs})


def _run(
    body: QuantizedBody,
    parts: Partition,
    host: Mapping[str, onnx.ModelProto],
    steps: int,
    samples: NDArray[np.float32],
) -> tuple[dict[str, NDArray[Any]], int]:
    """Spikes and logits by the artefacts, and the body's latency: ONNX Runtime on the host, the simulator for the chip."""
    assert parts.body is not None
    tensors: dict[str, NDArray[Any]] = {body.graph.input.name: samples}
    if parts.encoder is not None:
        tensors |= Session(host["encoder"]).run(tensors, steps=steps)
    replay = run_sequence(body.network, tensors[parts.body.inputs[0]])
    for layer, spikes in zip(body.layers, replay.spikes.values(), strict=True):
        tensors[layer.name] = spikes.reshape(*spikes.shape[:2], *layer.shape).astype(np.float32)
    return tensors | Session(host["head"]).run(tensors), replay.latency_steps


def _quantization(body: QuantizedBody, kind: str) -> dict[str, Any]:
    layers = {
        layer.synapse: {
            "scale": layer.scale,
            "weight_error": layer.weight_error,
            "bias_error": layer.bias_error,
            "threshold_error": layer.threshold_error,
            "iDecay": layer.i_decay,
            "vDecay": layer.v_decay,
            "vThMant": layer.threshold,
        }
        for layer in body.layers
    }
    host = "8-bit integers times a power of two" if kind == "exact" else "float32"
    return {"kind": "loihi8", "weights": "even integers from -256 to 254", "host_encoder_weights": host, "layers": layers}


def _notes(latency: int, steps: int, allowed: int | None) -> tuple[str, ...]:
    notes = [
        f"The body answers {latency} steps late: each of its {latency} synapse layers takes one step.",
        f"Reset: block i clears u and v before its update at steps t with t % I == (2 + i) % I, with an interval I of at least "
        f"{steps}, so that every sample of a stream gets the result that it gets alone.",
        "encoder.onnx and head.onnx run on the host; the head reads the body's spikes of every step.",
    ]
    if allowed is not None:
        notes.append(
            f"Float weights in encoder.onnx: ONNX Runtime and the chip differed from the reference interpreter in {allowed} "
            "spikes of the sample at export; export with --quantize exact for none."
        )
    return tuple(notes)
