"""The NIR target: a NIR file of the whole network where NIR can express it, and one of the spiking body between ONNX parts."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import Field, field_validator

from neurodeploy.graph import Graph, Part, interpreter, ops, partition
from neurodeploy.graph.grid import GridLayer, check_inputs, grid_layers, to_grid
from neurodeploy.io.errors import UserError
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
from neurodeploy_exporters.bundle.measuring import LOGITS_ATOL, disagreement, measure
from neurodeploy_exporters.nir.content import Content
from neurodeploy_exporters.nir.files import store
from neurodeploy_exporters.nir.part import graph_of, torch_run
from neurodeploy_exporters.nir.pieces import FORMAT as NIR_FORMAT
from neurodeploy_exporters.nir.primitives import NoNirForm
from neurodeploy_exporters.nir.writing import DT, content_of
from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.pieces import FORMAT as ONNX_FORMAT
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.target import ON_GRID, Subject, Target, TargetOptions

Run = Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]


class NirOptions(TargetOptions):
    """Options of the target "nir".

    Attributes:
        quantize: "exact": the weights of the spiking layers are 8-bit integers times a power of two, told in the graph's
            metadata; "none": they stay float32.
    """

    quantize: Literal["none", "exact"] = Field(
        default="none", description="exact: floats that are 8-bit integers times a power of two; none: as they were trained."
    )

    @field_validator("quantize", mode="before")
    @classmethod
    def _floats(cls, value: Any) -> Any:
        if value == "int8":
            raise ValueError('NIR files hold floats; take "none", or "exact", whose floats are whole in a unit')
        return value


class NirTarget(Target):
    """NIR files, for every framework that reads them.

    `whole.nir` is there where NIR can express all of the network. Beside it, as for a chip, `body.nir` holds the spiking body,
    and `encoder.onnx` and `head.onnx` what comes before and after, which may be anything.
    """

    name = "nir"
    Options = NirOptions
    formats: ClassVar = {"nir": NIR_FORMAT, "onnx": ONNX_FORMAT}

    def check(self, graph: Graph, options: NirOptions, *, calibrated: bool = True, reset: bool = False) -> None:  # noqa: ARG002
        deployed = self.deployed(graph, options)
        whole, reason = _whole(deployed, {})
        parts = partition(deployed)
        if parts.body is not None:
            content_of(graph_of(deployed, parts.body), outputs=parts.body.outputs[:-1], exponents={})
        elif whole is None:
            raise UserError(f"{reason}; and there is no spiking body to write without it")

    def notices(self, options: NirOptions) -> tuple[str, ...]:
        return (ON_GRID,) if options.quantize == "exact" else ()

    def deployed(self, graph: Graph, options: NirOptions) -> Graph:
        return to_grid(graph) if options.quantize == "exact" else graph

    def export(self, subject: Subject, folder: Path, options: NirOptions) -> Path:
        """See `Target.export`.

        Raises:
            UserError: neither the network nor its body has a form in NIR, or no exact one; the message names the node.
        """
        graph, name, quantize = subject.graph, subject.name, options.quantize
        deployed = self.deployed(graph, options)
        if quantize == "exact":
            check_inputs(subject.sample_inputs)
        grid = grid_layers(graph, deployed)
        exponents = {layer.name: layer.exponent for layer in grid}
        sample = sample_of(deployed, subject.sample_inputs)
        steps = int(next(iter(sample.spikes.values())).shape[0])
        whole, reason = _whole(deployed, exponents)
        parts = partition(deployed)
        if parts.body is None and whole is None:
            raise UserError(f"{reason}; and there is no spiking body to write without it")
        chain = parts.parts if parts.body is not None else ()
        body = None if parts.body is None else graph_of(deployed, parts.body)
        contents = {} if whole is None else {"whole": whole}
        if body is not None and parts.body is not None:
            contents["body"] = content_of(body, outputs=parts.body.outputs[:-1], exponents=_within(exponents, body))
        host = {part.name: build(deployed, part, name=f"{name}-{part.name}") for part in chain if part.name != "body"}
        for model in host.values():
            onnx.checker.check_model(model, full_check=True)
        answer, allowed, atol = deployed.output.name, 0, LOGITS_ATOL
        if chain:
            wrong, far = disagreement(_run(deployed, chain, host, body, steps)(sample.inputs), sample, answer)
            allowed, atol = (allowed if quantize == "exact" else wrong), max(atol, far)
        measured = {label: MeasuredAccuracy(correct=a.correct, samples=a.samples) for label, a in subject.accuracy.items()}
        if subject.test is not None:
            fast = _run(deployed, chain, host, body, steps, in_torch=True)
            measured["exported"] = measure(lambda x: fast(x)[answer], *subject.test, timed=graph.input.timed)
        pieces = tuple(_piece(deployed, part) for part in ((None,) if whole else ()) + chain)
        manifest = Manifest(
            **describe(deployed, target="nir", name=name),
            steps=steps,
            latency_steps=0,
            pieces=pieces,
            quantization=_quantization(grid, quantize),
            accuracy=measured,
            sample=SampleEntry(file=SAMPLE, samples=len(sample.logits), logits_atol=atol, allowed_mismatched_spikes=allowed),
            notes=_notes(
                deployed, reason, subject.encoding, allowed if quantize == "none" and parts.encoder and chain else None
            ),
        )
        writers: dict[str, Callable[[Path], None]] = {
            piece.file: partial(store, contents[piece.name]) if piece.format == "nir" else partial(_write, host[piece.name])
            for piece in pieces
        }
        return write_bundle(folder, manifest, writers, sample)


def _whole(graph: Graph, exponents: Mapping[str, int]) -> tuple[Content | None, str | None]:
    """The network in one file, or why there is none."""
    try:
        return content_of(graph, exponents=exponents), None
    except NoNirForm as error:
        return None, str(error)


def _within(exponents: Mapping[str, int], part: Graph) -> dict[str, int]:
    return {name: k for name, k in exponents.items() if name in part}


def _run(
    graph: Graph,
    chain: tuple[Part, ...],
    host: Mapping[str, onnx.ModelProto],
    body: Graph | None,
    steps: int,
    *,
    in_torch: bool = False,
) -> Run:
    """All that the pieces compute of samples: the parts one after the other, or the whole where there are none."""
    sessions = {
        part.name: Session(host[part.name], also=[m for m in part.members if isinstance(graph[m], ops.Spiking)])
        for part in chain
        if part.name != "body"
    }
    if body is None:
        fast = torch_run(graph)
        return lambda samples: dict(fast(samples, [graph.output.name]))
    inner = torch_run(body)

    def run(samples: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        tensors: dict[str, NDArray[Any]] = {graph.input.name: samples}
        for part in chain:
            if part.name != "body":
                tensors |= sessions[part.name].run(tensors, steps=steps)
            elif in_torch:
                tensors |= inner(tensors[part.inputs[0]], part.outputs)
            else:
                tensors |= interpreter.run(body, tensors[part.inputs[0]])
        return tensors

    return run


def _write(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))


def _piece(graph: Graph, part: Part | None) -> Piece:
    if part is None:
        return Piece(name="whole", file="whole.nir", format="nir", inputs=(graph.input.name,), outputs=(graph.output.name,))
    kind = "nir" if part.name == "body" else "onnx"
    values: dict[str, Any] = {"name": part.name, "file": f"{part.name}.{kind}", "format": kind}
    return Piece.model_validate({**values, "inputs": part.inputs, "outputs": part.outputs})


def _quantization(layers: tuple[GridLayer, ...], kind: str) -> dict[str, Any]:
    if kind == "none":
        return {"kind": "none", "weights": "float32"}
    steps = {layer.name: {"weight_step": 2.0**-layer.exponent, "weight_error": layer.weight_error} for layer in layers}
    return {"kind": "exact", "weights": "8-bit integers times a power of two, up to the last spiking layer", "layers": steps}


def _notes(graph: Graph, reason: str | None, encoding: str | None, allowed: int | None) -> tuple[str, ...]:
    notes = [
        f"Neurons are written for forward Euler with dt = {DT:g} s: tau = dt / (1 - decay), R = 1; they fire at "
        "v > v_threshold. The metadata of each neuron tell dt, decay and reset, those of the graph give it back exactly."
    ]
    if any(node.parameters.reset == "soft" for node in graph.of(ops.NeuronNode)):
        notes.append("NIR has no reset that subtracts: other readers reset these neurons to 0, unless they read the metadata.")
    if graph.steps is not None and reason is None:
        notes.append(
            f"NIR knows sequences alone: feed whole.nir the same sample at each of {graph.steps} steps, and take the mean of "
            "its output over them."
        )
    if encoding is not None:
        notes.append(encoding)
    if reason is not None:
        notes.append(f"There is no whole.nir: {reason}.")
    if allowed is not None:
        notes.append(
            f"Float weights in encoder.onnx: ONNX Runtime and the reference interpreter differed in {allowed} spikes of the "
            "sample at export; export with --quantize exact for none."
        )
    return tuple(notes)
