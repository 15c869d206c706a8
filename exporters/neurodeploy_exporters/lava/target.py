"""The Lava target: a `.net` or circuit file for the body, ONNX for the host's encoder and the off-chip head."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from neurodeploy.graph import Graph, Part, Partition, ops, partition
from neurodeploy.graph.integers import in_floats, in_integers
from neurodeploy.graph.standard import Standardized, leaky, standardized, why_not
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, GradedTensor, Manifest, describe
from neurodeploy_exporters.bundle.bundle import LOGITS_ATOL, piece_of
from neurodeploy_exporters.lava.aware import LoihiTuning, entering_spikes, hard_reset
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.circuitfile import write_circuit
from neurodeploy_exporters.lava.headcut import Choice, cut, head_costs, moved
from neurodeploy_exporters.lava.mapping import load, map_circuit
from neurodeploy_exporters.lava.mapping.result import faults
from neurodeploy_exporters.lava.netfile import write
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.quantize import NO_SPIKES_LEFT, QuantizedBody, QuantizedLayer, quantize_body
from neurodeploy_exporters.lava.reading import FORMAT, open_circuit
from neurodeploy_exporters.lava.sanafe import simulate_body
from neurodeploy_exporters.lava.wiring import Readout, readouts, stages
from neurodeploy_exporters.onnx.build import FORMAT as ONNX_FORMAT
from neurodeploy_exporters.onnx.build import chained, checked, save
from neurodeploy_exporters.provenance import completed
from neurodeploy_exporters.runtime import Fit, Variant
from neurodeploy_exporters.simulation import ChipSimulation, Simulator
from neurodeploy_exporters.target import GridOptions, GridTarget, Place, Subject, Tensors, Tuning, TuningSettings

_CHIP = "loihi1"


def _on_loihi(graph: Graph) -> Standardized:
    """With the neurons that a chip has: those of SLAYER in whole numbers, and standard ones."""
    whole = in_integers(graph)
    floats = in_floats(whole.graph)
    made = standardized(floats.graph)
    return Standardized(made.graph, (*whole.replaced, *floats.replaced, *made.replaced))


_NO_BODY = "body: nothing is left to run on the chip; export to ONNX instead"


def _notes(
    body: QuantizedBody, graded: Sequence[GradedTensor], latency: int, steps: int, allowed: int | None, *, exact: bool
) -> Iterator[str]:
    """Sentences on time, on what leaves the chip and on what differs.

    Args:
        body: what runs on the chip.
        graded: tensors that leave it as numbers.
        latency: steps from an input to its last answer.
        steps: T.
        allowed: spikes of the sample in which a float encoder may differ; None where it cannot.
        exact: the weights are on the power-of-two grid.
    """
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
    delays = [synapse.delay for layer in body.layers for synapse in layer.synapses if synapse.delay]
    if body.delayed:
        yield (
            f"Delays: spikes wait up to {max(delays)} steps in synapses, as the network has it, and a reset clears no spike "
            "that waits. Run every sample on a chip that has seen nothing before."
        )
    if body.recurrent:
        yield (
            "Recurrent layers: what a layer fires comes back to it in the next step, and a reset clears no spike on its way. "
            "Run every sample on a chip that has seen nothing before."
        )
    again = [layer.name for layer in body.layers if layer.recurrent_error] if exact else []
    if again:
        yield (
            f"Rounded again: the weights that enter {', '.join(again)} and those that bring its spikes back are on grids of "
            "their own, and share one scale on the chip; weight_error and recurrent_weight_error say how far they moved."
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


class LavaOptions(GridOptions):
    """Options of the target "lava".

    The body is always in Loihi's integers (8-bit even weights, 12-bit decays, integer thresholds).

    Attributes:
        quantize: "exact": the weights are put on the power-of-two grid first, encoder included: then the body's integers are
            those weights, the host computes the encoder's spikes exactly, and the bundle fires what an exact ONNX bundle of the
            same network fires, as long as the decays round nothing away, no bias is out of the chip's range, and no layer is
            recurrent. "none": the host's encoder stays float32; the few spikes in which ONNX Runtime differs from the reference
            interpreter on the sample, and what follows from them, are counted and written into the manifest; the scale of every
            layer is chosen on the calibration inputs, if there are any.
        scales: "layer": all channels of a layer have one scale and one threshold; "channel": each has its own, for less
            rounding error, and its own `vThMant`.
        head_cut: "last-spike": spikes leave the chip; "last-synapse": it computes the last synapse too, whose currents leave
            it as graded values. "cheapest": the one with less estimated energy of chip and host together, which `nd.export`
            and the commands choose; a target that is called without them takes the last spike. What both cost is counted on the
            sample and written into the manifest.
    """

    quantize: Literal["none", "exact"] = Field(
        default="none",
        description="exact: weights on a power-of-two grid first, encoder included; none: the encoder stays in floats. "
        "The body is always in 8-bit integers.",
    )
    scales: Literal["layer", "channel"] = Field(
        default="layer",
        description="One scale and threshold for all channels of a layer, or one for each (less rounding error).",
    )
    head_cut: Literal["cheapest", "last-spike", "last-synapse"] = Field(
        default="cheapest",
        description="Spikes leave the chip, or graded values of the last synapse, which it then computes too; cheapest: "
        "what costs chip and host together less estimated energy.",
        json_schema_extra={"formerly": ["last-spike"]},
    )

    @field_validator("quantize", mode="before")
    @classmethod
    def _always_in_integers(cls, value: Any) -> Any:
        if value == "int8":
            raise ValueError('"int8" is for the target onnx; lava has 8-bit weights always: "none" or "exact" expected')
        return value


class LavaTarget(GridTarget):
    """A `.net` or circuit file for the body, ONNX for the host's encoder and the off-chip head."""

    name = "lava"
    Options = LavaOptions
    formats: ClassVar = {"net": FORMAT, "circuit": FORMAT, "onnx": ONNX_FORMAT}
    tunable = True

    def documents(self) -> Mapping[str, tuple[str, type]]:
        from neurodeploy_exporters.lava.mapping.result import ChipMapDocument

        return {"chip-map": ("map.json of `neurodeploy map` of a chip's file", ChipMapDocument)}

    def check(self, graph: Graph, options: LavaOptions, *, calibrated: bool = True, reset: bool = False) -> None:  # noqa: ARG002
        graph = _on_loihi(graph).graph
        graph = hard_reset(graph) if reset else graph
        trained = _parts(graph)
        if trained.body is None:
            raise UserError(_NO_BODY)
        stages(graph, trained.body)
        _readouts(graph, trained, "last-synapse" if options.head_cut == "last-synapse" else "last-spike")

    def check_samples(self, graph: Graph, samples: NDArray[np.float32], options: LavaOptions) -> None:  # noqa: ARG002
        _check_events(graph, partition(_on_loihi(graph).graph), samples)

    def deployed(self, graph: Graph, options: LavaOptions) -> Graph:
        """With cells as standard neurons: the chip has no others."""
        return super().deployed(_on_loihi(graph).graph, options)

    def places(self, graph: Graph, options: LavaOptions) -> dict[str, Place]:
        made = _on_loihi(graph)
        if made.replaced:  # the layers of both: a report may count either
            return self.places(made.graph, options) | super().places(graph, options)
        parts = partition(graph)
        taken = moved(graph, parts.head, readouts(graph, parts.head)) if options.head_cut == "last-synapse" else frozenset()
        return {name: place if name not in taken else "body" for name, place in super().places(graph, options).items()}

    def cuts(self, graph: Graph, options: LavaOptions) -> Mapping[str, LavaOptions]:
        if options.head_cut != "cheapest":
            return {options.head_cut: options}
        graph = _on_loihi(graph).graph
        possible: list[Choice] = ["last-spike", "last-synapse"] if _readouts(graph, partition(graph), "last-spike") else []
        return {name: self.settled(name, options) for name in possible or ["last-spike"]}

    def settled(self, name: str, options: LavaOptions) -> LavaOptions:
        return options.model_copy(update={"head_cut": name}) if name else options

    def variants(self) -> tuple[Variant, ...]:
        return (Variant("8-bit"), Variant("8-bit, exact", {"quantize": "exact"}))

    def fit(self, bundle: Bundle) -> Fit:
        """On Loihi 1, whose limits are known; `neurodeploy map` shows the whole map, and other chips."""
        mapping = map_circuit(open_circuit(bundle.folder), load(_CHIP))
        wrong = faults(mapping)
        cores = (
            f"{mapping.cores:,}"
            if mapping.cores_at_most == mapping.cores
            else f"{mapping.cores:,} to {mapping.cores_at_most:,}"
        )
        taken = f"{cores} cores of {mapping.chips_allowed * mapping.chip.cores.value:,}"
        return Fit(mapping.chip.title, mapping.verdict, wrong[0] if wrong else taken)

    def simulate(self, bundle: Bundle, inputs: NDArray[Any], simulator: Simulator) -> ChipSimulation:
        """See `Target.simulate`: the body in SANA-FE, fed with what the host's encoder fires."""
        tensors: Tensors = {bundle.manifest.input_name: inputs}
        body = next(piece for piece in bundle.manifest.chain if piece.name == "body")
        for piece in bundle.manifest.chain[: bundle.manifest.chain.index(body)]:
            tensors |= self.replay(bundle, piece, tensors, [])
        circuit = open_circuit(bundle.folder)
        firing = [layer.name for layer in bundle.manifest.spiking_layers if layer.part == body.name]
        graded = {tensor.population for tensor in body.graded}
        keys = [population.key for population in circuit.populations if population.key not in graded]
        names = dict(zip(keys, firing, strict=True))
        spikes = tensors[body.inputs[0]]
        return simulate_body(circuit, spikes, simulator, origin=str(bundle.folder), names=names)

    def tuning(self, graph: Graph, settings: TuningSettings) -> Tuning:
        return LoihiTuning(_on_loihi(graph).graph, settings)

    def export(self, subject: Subject, folder: Path, options: LavaOptions) -> Path:
        """See `Target.export`. `Subject.calibration` is unused with quantize "exact", where the scales follow from the grid.

        `Subject.tuned` are the scales at which the body's weights are whole. They and, with quantize "exact", the encoder's are
        rounded already, and stay as they are.

        Raises:
            UserError: the body or the last synapse has no form on the chip, or the sample's events are not 0 or 1; the message
                names the layer and says what to do.
        """
        subject, rewritten = subject.standard(_on_loihi(subject.graph))
        graph, exact, scales = subject.graph, options.quantize == "exact", subject.tuned
        head_cut: Choice = "last-synapse" if options.head_cut == "last-synapse" else "last-spike"
        if options.scales == "channel" and (exact or scales is not None):
            what = 'quantize "exact", whose grid loses nothing,' if exact else "fine-tuning, which finds the scales itself,"
            raise UserError(f'scales: "channel" found with {what}; leave one of them out')
        if scales is None:
            graph = self.on_grid(subject, options)
        else:
            self.on_grid(subject, options)  # the tuned network is on it already: only refused where it could not be
        calibration = None if exact or scales is not None else subject.calibration
        trained = _parts(graph)
        if trained.body is None:
            raise UserError(NO_SPIKES_LEFT)
        _check_kept(subject.graph, graph, trained.body)
        _check_events(graph, trained, subject.sample_inputs)
        steps = subject.sample_inputs.shape[0] if graph.steps is None else graph.steps
        possible = _readouts(graph, trained, head_cut)  # even if unused: the manifest tells what each cut would cost
        body = quantize_body(
            graph,
            trained.body,
            calibration=None if calibration is None else entering_spikes(graph, trained, calibration, steps),
            readouts=possible if head_cut == "last-synapse" else (),
            steps=steps,
            scales=scales,
            per_channel=options.scales == "channel",
        )
        graded = tuple(_graded(layer, readout) for layer, readout in zip(body.readouts, possible, strict=False))
        parts = cut(body.graph, [tensor.name for tensor in graded])
        if parts.body is None:
            raise UserError(_NO_BODY)
        latencies = {layer.name: layer.latency for layer in (*body.layers, *body.readouts)}
        latency = max(latencies.values())
        described = describe(body.graph, target="lava", name=subject.name, latencies=latencies)
        sample = subject.sample(body.graph, exact=exact)
        host = checked(body.graph, [part for part in parts.parts if part.name != "body"], name=subject.name)
        run, answer = chained(body.graph, parts.parts, host, steps, partial(_on_chip, body, graded)), graph.output.name
        wrong, atol = (0, LOGITS_ATOL) if exact else sample.disagreement(run(sample.inputs), answer)
        given = sample.first(len(sample.logits) - sample.chosen, timed=graph.input.timed)
        events = {graph.input.name: given.inputs} if graph.input.timed else {}
        kind = "circuit" if isinstance(body.network, Circuit) else "net"
        pieces = [
            piece_of(body.graph, part, kind, graded) if part.name == "body" else piece_of(body.graph, part, "onnx")
            for part in parts.parts
        ]
        known = (*subject.assumed, *(() if subject.encoding is None else (subject.encoding,)))
        manifest = Manifest(
            **described,
            steps=steps,
            latency_steps=latency,
            pieces=tuple(pieces),
            quantization=_quantization(body, exact, _origin_of_scales(options, calibration is not None, scales)),
            accuracy=subject.measured(subject.answers(lambda samples: run(samples)[answer])),
            sample=sample.entry(wrong, atol),
            head_cut=head_costs(graph, trained, possible, given.spikes | events, steps, head_cut, subject.cut),
            module=subject.compared(sample),
            provenance=completed(subject.provenance),
            **self.inputs(subject, graph, options),
            notes=(
                *known,
                *rewritten,
                *_notes(body, graded, latency, steps, None if exact or not parts.encoder else wrong, exact=exact),
            ),
        )
        writers: dict[str, Callable[[Path], None]] = {f"{name}.onnx": partial(save, model) for name, model in host.items()}
        return self.write_bundle(folder, manifest, writers | {f"body.{kind}": partial(_write_body, body)}, sample)


def _check_events(graph: Graph, parts: Partition, samples: NDArray[np.float32]) -> None:
    """Refuse a sequence that enters the chip itself and is not of single spikes.

    Raises:
        UserError: there is another value than 0 and 1, such as the −1 of a signed Poisson code.
    """
    if parts.encoder is not None or not graph.input.timed:
        return
    others = samples[(samples != 0) & (samples != 1)]
    if others.size:
        raise UserError(
            f"node {graph.input.name}: a value of {others.flat[0]:g} found in the samples, which enter the chip as they are; "
            "spikes of 0 and 1 expected: encode without negative spikes (signed = false) and without counts, or export to ONNX"
        )


def _parts(graph: Graph) -> Partition:
    """Encoder, body and head; there is no cell in the body.

    Raises:
        UserError: there is one, which is no standard neuron; the message says why.
    """
    parts = partition(graph)
    for name in parts.body.members if parts.body is not None else ():
        node = graph[name]
        returning = isinstance(node, ops.CellNode) and node.recurrent is not None and leaky(node) is not None
        if isinstance(node, ops.Updated) and not returning:
            raise UserError(
                f"node {name} ({node.kind}): has no form on Loihi, whose neurons are LIF neurons of one decay and threshold in "
                f"a layer: {why_not(node, graph.shape(name))}; train those, or export to ONNX"
            )
    return parts


def _check_kept(trained: Graph, deployed: Graph, body: Part) -> None:
    """Refuse a grid that moves weights which are a chip's integers already."""
    pending = [source for neuron in deployed.of(ops.FixedPointNeuronNode) for source in neuron.inputs]
    while pending:
        name = pending.pop()
        before, after = trained[name], deployed[name]
        if isinstance(after, ops.Spiking) or name not in body.members:
            continue
        pending += after.inputs
        if not isinstance(before, ops.Weighted) or not isinstance(after, ops.Weighted):
            continue
        if not np.array_equal(before.weight, after.weight):
            raise UserError(
                f'node {name}: its weights are the chip\'s integers already, which quantize "exact" would round again; leave '
                "it out"
            )


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


def _write_body(body: QuantizedBody, path: Path) -> None:
    if isinstance(body.network, Circuit):
        write_circuit(body.network, path)
    else:
        write(body.network, path)


def _on_chip(body: QuantizedBody, graded: Sequence[GradedTensor], part: Part, tensors: Tensors) -> Tensors:
    """What the body makes, by the simulator: spikes, and the numbers that leave the chip."""
    replay = run_sequence(body.network, tensors[part.inputs[0]], graded=[tensor.population for tensor in graded])
    spikes = {layer.name: replay.spikes_of(layer.key, layer.shape) for layer in body.layers}
    return spikes | {tensor.name: replay.read_out(tensor) for tensor in graded}


def _origin_of_scales(options: LavaOptions, calibrated: bool, scales: Mapping[str, float] | None) -> str:
    if scales is not None:
        return "those that the network was fine-tuned with"
    if options.scales == "channel":
        return "least rounding error of every channel"
    return "least difference of spikes on calibration data" if calibrated else "least rounding error"


def _quantization(body: QuantizedBody, exact: bool, scales: str) -> dict[str, Any]:
    layers = {}
    for layer in (*body.layers, *body.readouts):
        synapses = {made.pop("name"): made for made in map(asdict, layer.synapses)}
        errors = {"bias_error": layer.bias_error, "threshold_error": layer.threshold_error}
        errors |= dict(zip(("iDecay_error", "vDecay_error"), layer.decay_errors, strict=True))
        if layer.recurrent_error is not None:
            errors["recurrent_weight_error"] = layer.recurrent_error
        neuron = {"iDecay": layer.i_decay, "vDecay": layer.v_decay, "vThMant": layer.threshold}
        layers[layer.name] = {"scale": layer.scale, "synapses": synapses, **errors, **neuron}
    return {
        "kind": "loihi8",
        "weights": "even integers from -256 to 254",
        "host_encoder_weights": "8-bit integers times a power of two" if exact else "float32",
        "scales": scales,
        "layers": layers,
    }
