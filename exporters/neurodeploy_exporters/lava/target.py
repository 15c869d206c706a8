"""The Lava target: a `.net` or circuit file for the body, ONNX for the host's encoder and the off-chip head."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import Field, field_validator

from neurodeploy.graph import Graph, Part, Partition, partition
from neurodeploy.graph.grid import check_inputs, to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import (
    SAMPLE,
    GradedTensor,
    Manifest,
    MeasuredAccuracy,
    Piece,
    SampleEntry,
    describe,
    sample_of,
    write_bundle,
)
from neurodeploy_exporters.bundle.measuring import LOGITS_ATOL, disagreement, measure
from neurodeploy_exporters.lava.aware import hard_reset
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.circuitfile import write_circuit
from neurodeploy_exporters.lava.headcut import Choice, cut, head_costs, moved
from neurodeploy_exporters.lava.netfile import write
from neurodeploy_exporters.lava.pieces import CIRCUIT_FORMAT, NET_FORMAT
from neurodeploy_exporters.lava.pipeline import Replay, run_sequence
from neurodeploy_exporters.lava.quantize import QuantizedBody, QuantizedLayer, quantize_body
from neurodeploy_exporters.lava.tuning import LoihiTuning, entering_spikes
from neurodeploy_exporters.lava.wiring import Readout, readouts, stages
from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.pieces import FORMAT as ONNX_FORMAT
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.target import ON_GRID, Place, Subject, Target, TargetOptions, Tuning, TuningSettings

_NO_BODY = "body: nothing is left to run on the chip; export to ONNX instead"


def notes(
    body: QuantizedBody, graded: Sequence[GradedTensor], latency: int, steps: int, allowed: int | None
) -> tuple[str, ...]:
    """Sentences on time, on what leaves the chip and on what differs.

    Args:
        body: what runs on the chip.
        graded: tensors that leave it as numbers.
        latency: steps from an input to its last answer.
        steps: T.
        allowed: spikes of the sample in which a float encoder may differ; None where it cannot.
    """
    return tuple(_notes(body, graded, latency, steps, allowed))


def _notes(body: QuantizedBody, graded: Sequence[GradedTensor], latency: int, steps: int, allowed: int | None) -> Iterator[str]:
    if isinstance(body.network, Circuit):
        yield (
            f"The body answers {latency} steps late: each synapse layer on its longest way takes one step, and spikes that go "
            "a shorter way wait in synaptic delays. The latency of every layer is given with it."
        )
        yield (
            "body.circuit is this toolkit's own format, for bodies that branch; netx cannot read it. Where several parallel "
            "synapses carry one, their weights add up to it."
        )
    else:
        yield f"The body answers {latency} steps late: each of its {latency} synapse layers takes one step."
    yield (
        "Reset: a layer that answers d steps late clears u and v before its update at steps t with t % I == (1 + d) % I, with "
        f"an interval I of at least {steps}, so that every sample of a stream gets the result that it gets alone. Biases act "
        "at every step, also before the first spike arrives; that reset erases what they did until then."
    )
    if not graded:
        yield "encoder.onnx and head.onnx run on the host; the head reads the body's spikes of every step."
    for tensor in graded:
        when = (
            f"after the last of the sample's {steps} steps, divided by {steps}"
            if tensor.read == "after the last step"
            else "of every step"
        )
        yield (
            f"Graded read-out: the head reads {tensor.name}, which is u / 64 of the neurons {tensor.population} {when}, "
            f"{tensor.latency_steps} steps late. They never fire; this needs graded spikes (Loihi 2) or a probe of their state "
            "(Loihi 1). The bias is added in head.onnx."
        )
    if allowed is not None:
        yield (
            f"Float weights in encoder.onnx: ONNX Runtime and the chip differed from the reference interpreter in {allowed} "
            "spikes of the sample at export; export with --quantize exact for none."
        )


class LavaOptions(TargetOptions):
    """Options of the target "lava".

    The body is always in Loihi's integers (8-bit even weights, 12-bit decays, integer thresholds).

    Attributes:
        quantize: "exact": the weights are put on the power-of-two grid first, encoder included: then the body's integers are
            those weights, the host computes the encoder's spikes exactly, and the bundle fires what an exact ONNX bundle of the
            same network fires, as long as the decays round nothing away and no bias is out of the chip's range. "none": the
            host's encoder stays float32; the few spikes in which ONNX Runtime differs from the reference interpreter on the
            sample, and what follows from them, are counted and written into the manifest; the scale of every layer is chosen
            on the calibration inputs, if there are any.
        head_cut: "last-spike": spikes leave the chip; "last-synapse": it computes the last synapse too, whose currents leave
            it as graded values. What both cost is counted on the sample and written into the manifest.
    """

    quantize: Literal["none", "exact"] = Field(
        default="none",
        description="exact: weights on a power-of-two grid first, encoder included; none: the encoder stays in floats. "
        "The body is always in 8-bit integers.",
    )
    head_cut: Literal["last-spike", "last-synapse"] = Field(
        default="last-spike",
        description="Spikes leave the chip, or graded values of the last synapse, which it then computes too.",
    )

    @field_validator("quantize", mode="before")
    @classmethod
    def _always_in_integers(cls, value: Any) -> Any:
        if value == "int8":
            raise ValueError('"int8" is for the target onnx; lava has 8-bit weights always: "none" or "exact" expected')
        return value


class LavaTarget(Target):
    """A `.net` or circuit file for the body, ONNX for the host's encoder and the off-chip head."""

    name = "lava"
    Options = LavaOptions
    formats: ClassVar = {"net": NET_FORMAT, "circuit": CIRCUIT_FORMAT, "onnx": ONNX_FORMAT}
    tunable = True

    def check(self, graph: Graph, options: LavaOptions, *, calibrated: bool = True, reset: bool = False) -> None:  # noqa: ARG002
        graph = hard_reset(graph) if reset else graph
        trained = partition(graph)
        if trained.body is None:
            raise UserError(_NO_BODY)
        stages(graph, trained.body)
        _readouts(graph, trained, options.head_cut)

    def notices(self, options: LavaOptions) -> tuple[str, ...]:
        return (ON_GRID,) if options.quantize == "exact" else ()

    def deployed(self, graph: Graph, options: LavaOptions) -> Graph:
        return to_grid(graph) if options.quantize == "exact" else graph

    def places(self, graph: Graph, options: LavaOptions) -> dict[str, Place]:
        parts = partition(graph)
        taken = moved(graph, parts.head, readouts(graph, parts.head)) if options.head_cut == "last-synapse" else frozenset()
        return {name: place if name not in taken else "body" for name, place in super().places(graph, options).items()}

    def tuning(self, graph: Graph, settings: TuningSettings) -> Tuning:
        return LoihiTuning(graph, settings)

    def export(self, subject: Subject, folder: Path, options: LavaOptions) -> Path:
        """See `Target.export`. `Subject.calibration` is unused with quantize "exact", where the scales follow from the grid.

        `Subject.tuned` are the scales at which the body's weights are whole. They and, with quantize "exact", the encoder's are
        rounded already, and stay as they are.

        Raises:
            UserError: the body or the last synapse has no form on the chip, or the sample's events are not 0 or 1, or not on
                the exact grid; the message names the layer and says what to do.
        """
        graph, name, quantize, head_cut = subject.graph, subject.name, options.quantize, options.head_cut
        sample_inputs, calibration, scales = subject.sample_inputs, subject.calibration, subject.tuned
        if quantize == "exact":
            rounded = to_grid(graph)
            graph = rounded if scales is None else graph
        if quantize == "exact" or scales is not None:
            calibration = None
        trained = partition(graph)
        steps = sample_inputs.shape[0] if graph.steps is None else graph.steps
        possible = _readouts(graph, trained, head_cut)
        body = quantize_body(
            graph,
            trained.body,
            calibration=None if calibration is None else entering_spikes(graph, trained, calibration, steps),
            readouts=possible if head_cut == "last-synapse" else (),
            steps=steps,
            scales=scales,
        )
        if quantize == "exact":
            check_inputs(sample_inputs)
        graded = tuple(_graded(layer, readout) for layer, readout in zip(body.readouts, possible, strict=False))
        parts = cut(body.graph, [tensor.name for tensor in graded])
        if parts.body is None:
            raise UserError(_NO_BODY)
        latencies = {layer.name: layer.latency for layer in body.layers}
        described = describe(body.graph, target="lava", name=name, latencies=latencies)
        sample = sample_of(body.graph, sample_inputs)
        host = {part.name: build(body.graph, part, name=f"{name}-{part.name}") for part in (parts.encoder, parts.head) if part}
        for model in host.values():
            onnx.checker.check_model(model, full_check=True)
        run, answer = partial(_run, body, parts, host, graded, steps), graph.output.name
        found, latency = run(sample.inputs)
        allowed, atol = (0, LOGITS_ATOL) if quantize == "exact" else disagreement(found, sample, answer)
        measured = {label: MeasuredAccuracy(correct=a.correct, samples=a.samples) for label, a in subject.accuracy.items()}
        if subject.test is not None:
            measured["exported"] = measure(lambda x: run(x)[0][answer], *subject.test, timed=graph.input.timed)
        events = {graph.input.name: sample.inputs} if graph.input.timed else {}
        costs = head_costs(graph, trained, possible, sample.spikes | events, steps, head_cut)
        pieces = tuple(_piece(part, body, graded if part.name == "body" else ()) for part in parts.parts)
        manifest = Manifest(
            **described,
            steps=steps,
            latency_steps=latency,
            pieces=pieces,
            quantization=_quantization(body, quantize, _origin_of_scales(calibration, scales)),
            accuracy=measured,
            sample=SampleEntry(file=SAMPLE, samples=len(sample.logits), logits_atol=atol, allowed_mismatched_spikes=allowed),
            head_cut=costs,
            notes=(
                *(() if subject.encoding is None else (subject.encoding,)),
                *notes(body, graded, latency, steps, allowed if quantize == "none" and parts.encoder else None),
            ),
        )
        writers: dict[str, Callable[[Path], None]] = {
            piece.file: partial(_write_onnx, host[piece.name]) if piece.format == "onnx" else partial(_write_body, body)
            for piece in pieces
        }
        return write_bundle(folder, manifest, writers, sample)


def _readouts(graph: Graph, parts: Partition, head_cut: Choice) -> tuple[Readout, ...]:
    """The last synapses, if the chip can compute them; it must, if that is what is asked for."""
    try:
        return readouts(graph, parts.head)
    except UserError:
        if head_cut == "last-synapse":
            raise
        return ()


def _graded(layer: QuantizedLayer, readout: Readout) -> GradedTensor:
    return GradedTensor(
        name=readout.graded,
        population=layer.key,
        shape=layer.shape,
        read="after the last step" if readout.integrates else "every step",
        latency_steps=layer.latency,
    )


def _write_onnx(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))


def _write_body(body: QuantizedBody, path: Path) -> None:
    if isinstance(body.network, Circuit):
        write_circuit(body.network, path)
    else:
        write(body.network, path)


def _piece(part: Part, body: QuantizedBody, graded: tuple[GradedTensor, ...]) -> Piece:
    kind = "onnx"
    if part.name == "body":
        kind = "circuit" if isinstance(body.network, Circuit) else "net"
    values: dict[str, Any] = {"name": part.name, "file": f"{part.name}.{kind}", "format": kind, "graded": graded}
    return Piece.model_validate({**values, "inputs": part.inputs, "outputs": part.outputs})


def _run(
    body: QuantizedBody,
    parts: Partition,
    host: Mapping[str, onnx.ModelProto],
    graded: tuple[GradedTensor, ...],
    steps: int,
    samples: NDArray[np.float32],
) -> tuple[dict[str, NDArray[Any]], int]:
    """Spikes and logits by the artefacts, and the body's latency: ONNX Runtime on the host, the simulator for the chip."""
    assert parts.body is not None
    tensors: dict[str, NDArray[Any]] = {body.graph.input.name: samples}
    if parts.encoder is not None:
        tensors |= Session(host["encoder"]).run(tensors, steps=steps)
    replay: Replay = run_sequence(body.network, tensors[parts.body.inputs[0]], graded=[tensor.population for tensor in graded])
    for layer in body.layers:
        tensors[layer.name] = replay.spikes_of(layer.key, layer.shape)
    for tensor in graded:
        mean = tensor.read == "after the last step"
        tensors[tensor.name] = replay.graded_of(tensor.population, tensor.shape, mean=mean)
    return tensors | Session(host["head"]).run(tensors), replay.latency_steps


def _origin_of_scales(calibration: NDArray[np.float32] | None, scales: Mapping[str, float] | None) -> str:
    if scales is not None:
        return "those that the network was fine-tuned with"
    return "least rounding error" if calibration is None else "least difference of spikes on calibration data"


def _quantization(body: QuantizedBody, kind: str, scales: str) -> dict[str, Any]:
    layers = {
        layer.name: {
            "scale": layer.scale,
            "synapses": {
                synapse.name: {
                    "source": synapse.source,
                    "parallel": synapse.parallel,
                    "delay": synapse.delay,
                    "weight_error": synapse.weight_error,
                }
                for synapse in layer.synapses
            },
            "bias_error": layer.bias_error,
            "threshold_error": layer.threshold_error,
            "iDecay": layer.i_decay,
            "vDecay": layer.v_decay,
            "vThMant": layer.threshold,
        }
        for layer in (*body.layers, *body.readouts)
    }
    host = "8-bit integers times a power of two" if kind == "exact" else "float32"
    return {
        "kind": "loihi8",
        "weights": "even integers from -256 to 254",
        "host_encoder_weights": host,
        "scales": scales,
        "layers": layers,
    }
