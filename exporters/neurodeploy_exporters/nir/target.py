"""The NIR target: a NIR file of the whole network where NIR can express it, and one of the spiking body between ONNX parts.

NIR files are run by the reference interpreter; the accuracy is measured in torch, which gives the same but for rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from neurodeploy.graph import Graph, Part, fold_padding, interpreter, ops, partition
from neurodeploy.graph.grid import grid_layers, grid_node
from neurodeploy.graph.integers import in_floats
from neurodeploy.graph.module import torch_run
from neurodeploy.graph.standard import Standardized, standardized
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, Manifest, Piece, describe
from neurodeploy_exporters.bundle.bundle import LOGITS_ATOL, piece_of
from neurodeploy_exporters.bundle.states import asked, state_sums
from neurodeploy_exporters.nir.content import Content, store
from neurodeploy_exporters.nir.dialects import DIALECTS, Dialect
from neurodeploy_exporters.nir.files import content_of, read
from neurodeploy_exporters.nir.primitives import NoNirForm
from neurodeploy_exporters.onnx.build import FORMAT as ONNX_FORMAT
from neurodeploy_exporters.onnx.build import chained, checked, save
from neurodeploy_exporters.provenance import completed
from neurodeploy_exporters.runtime import Variant
from neurodeploy_exporters.target import Format, GridOptions, GridTarget, Place, Subject, Tensors


class NirOptions(GridOptions):
    """Options of the target "nir".

    Attributes:
        quantize: "exact": the weights of the spiking layers are 8-bit integers times a power of two, which are in the graph's
            metadata; "none": they stay float32.
        nir_dialect: for which readers the files are written (`nir.dialects`).
    """

    quantize: Literal["none", "exact"] = Field(
        default="none", description="exact: floats that are 8-bit integers times a power of two; none: as they were trained."
    )

    nir_dialect: Literal["nir", "norse", "spikingjelly", "snn-mlir", "spyx", "nir2fpga", "sinabs"] = Field(
        default="nir",
        description="the reader whose form the files have, where readers differ (docs/nir.md); nir: that of most.",
    )

    @field_validator("quantize", mode="before")
    @classmethod
    def _floats(cls, value: Any) -> Any:
        if value == "int8":
            raise ValueError('NIR files hold floats; take "none", or "exact", whose floats are whole in a unit')
        return value


def graph_of(graph: Graph, part: Part) -> Graph:
    """A body: the tensor that enters it becomes the input, its last tensor the output.

    Raises:
        UserError: several tensors enter.
    """
    if len(part.inputs) != 1:
        raise UserError(f"{part.name}: {', '.join(part.inputs)} enter it, one tensor expected; export to ONNX instead")
    entry = ops.InputNode(name=part.inputs[0], shape=graph.shape(part.inputs[0]), timed=True)
    name = "output"
    while name in graph:
        name += "_"
    return Graph([entry, *(graph[member] for member in part.members), ops.OutputNode(name=name, inputs=(part.outputs[-1],))])


def _replay(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    return _open(bundle, piece, layers, 1)(tensors)


def _open(
    bundle: Bundle,
    piece: Piece,
    layers: Sequence[str],
    threads: int,  # noqa: ARG001 - numpy takes what it was started with
) -> Callable[[Mapping[str, NDArray[Any]]], Tensors]:
    graph = read(bundle.path(piece.file))

    def run(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
        made = interpreter.run(graph, tensors[piece.inputs[0]], steps=bundle.manifest.steps)
        fired, held = asked(layers)
        return {name: made[name] for name in (*piece.outputs, *fired) if name in made} | state_sums(graph, made, held)

    return run


def _members(bundle: Bundle, piece: Piece, before: Mapping[str, ops.Node]) -> tuple[ops.Node, ...]:
    """A file of a body has an Input and an Output of its own, which are none of the network's."""
    foreign = (*((ops.InputNode,) if before else ()), *((ops.OutputNode,) if piece.name == "body" else ()))
    return tuple(node for node in read(bundle.path(piece.file)).nodes if not isinstance(node, foreign))


def _in_nir(graph: Graph) -> Standardized:
    """With the neurons that NIR has, those of SLAYER in floats."""
    floats = in_floats(graph)
    made = standardized(floats.graph, arrays=True)
    return Standardized(made.graph, (*floats.replaced, *made.replaced))


class NirTarget(GridTarget):
    """NIR files, for every framework that reads them.

    `whole.nir` is there where NIR can express all of the network. Beside it, as for a chip, `body.nir` holds the spiking body,
    and `encoder.onnx` and `head.onnx` what comes before and after, which may be anything.
    """

    name = "nir"
    Options = NirOptions
    formats: ClassVar = {
        "nir": Format(runtime="the reference interpreter", replay=_replay, members=_members, open=_open),
        "onnx": ONNX_FORMAT,
    }

    def deployed(self, graph: Graph, options: NirOptions) -> Graph:
        """With cells as standard neurons, and zeros around an image in the convolution that reads them: NIR has no others."""
        return super().deployed(fold_padding(_in_nir(graph).graph), options)

    def places(self, graph: Graph, options: NirOptions) -> dict[str, Place]:
        return super().places(graph, options) | super().places(_in_nir(graph).graph, options)

    def variants(self) -> tuple[Variant, ...]:
        return (Variant("float32"), Variant("exact", {"quantize": "exact"}))

    def check(self, graph: Graph, options: NirOptions, *, calibrated: bool = True, reset: bool = False) -> None:  # noqa: ARG002
        _contents(self.deployed(graph, options), {}, options.nir_dialect)

    def export(self, subject: Subject, folder: Path, options: NirOptions) -> Path:
        """See `Target.export`.

        Raises:
            UserError: neither the network nor its body has a form in NIR, or no exact one; the message names the node.
        """
        subject, rewritten = subject.standard(_in_nir(subject.graph))
        graph, name, exact = fold_padding(subject.graph), subject.name, options.quantize == "exact"
        deployed = self.on_grid(subject, options)
        sample = subject.sample(deployed, exact=exact)
        exponents = {layer.name: layer.exponent for layer in grid_layers(graph, deployed)}
        contents, reason = _contents(deployed, exponents, options.nir_dialect)
        parts = partition(deployed)
        chain = parts.parts if parts.body is not None else ()
        host = checked(deployed, [part for part in chain if part.name != "body"], name=name)
        answer, wrong, atol = deployed.output.name, 0, LOGITS_ATOL
        if parts.body is None:
            fast = torch_run(deployed)
            run: Callable[[NDArray[np.float32]], Tensors] = lambda samples: fast(samples, [answer])  # noqa: E731
        else:
            body = graph_of(deployed, parts.body)
            inner, link = torch_run(body), partial(chained, deployed, chain, host, sample.steps)
            run = link(lambda part, made: inner(made[part.inputs[0]], part.outputs))
            exactly = link(lambda part, made: interpreter.run(body, made[part.inputs[0]]))
            wrong, atol = sample.disagreement(exactly(sample.inputs), answer)
        allowed = 0 if exact else wrong
        pieces = tuple(
            piece_of(deployed, part, "nir" if part is None or part.name == "body" else "onnx")
            for part in (*([None] if reason is None else []), *chain)
        )
        differing = None if exact or not parts.encoder or not chain else allowed
        manifest = Manifest(
            **describe(deployed, target="nir", name=name),
            steps=sample.steps,
            latency_steps=0,
            pieces=pieces,
            quantization=self.quantization(graph, deployed, options),
            accuracy=subject.measured(subject.answers(lambda samples: run(samples)[answer])),
            sample=sample.entry(allowed, atol),
            module=subject.compared(sample),
            provenance=completed(subject.provenance),
            **self.inputs(subject, deployed, options),
            notes=(
                *subject.assumed,
                *rewritten,
                *_notes(deployed, reason, subject.encoding, differing, DIALECTS[options.nir_dialect]),
            ),
        )
        writers = {f"{key}.nir": partial(store, content) for key, content in contents.items()}
        writers |= {f"{key}.onnx": partial(save, model) for key, model in host.items()}
        return self.write_bundle(folder, manifest, writers, sample)


def _contents(graph: Graph, exponents: Mapping[str, int], dialect: str) -> tuple[dict[str, Content], str | None]:
    """Piece → its file, and why there is none of the whole network, if there is none.

    Raises:
        UserError: there is none at all, or the body has no form in NIR.
    """
    contents, reason, body = dict[str, Content](), None, partition(graph).body
    try:
        contents["whole"] = content_of(graph, dialect=dialect, exponents=exponents)
    except NoNirForm as error:
        if body is None:
            raise UserError(f"{error}; and there is no spiking body to write without it") from None
        reason = str(error)
    if body is not None:
        within = {name: k for name, k in exponents.items() if name in body.members}
        contents["body"] = content_of(graph_of(graph, body), dialect=dialect, outputs=body.outputs[:-1], exponents=within)
    return contents, reason


def _notes(graph: Graph, reason: str | None, encoding: str | None, allowed: int | None, dialect: Dialect) -> tuple[str, ...]:
    rule = "decay = exp(-dt / tau)" if dialect.exponential else "tau = dt / (1 - decay)"
    fires = ">=" if dialect.inclusive else ">"
    notes = [
        f"Neurons are written for {dialect.readers}, with dt = {dialect.dt:g}: {rule}, R = {dialect.resistance}; they fire at "
        f"v {fires} v_threshold. The metadata of each neuron tell dt, decay and reset, those of the graph give it back exactly."
    ]
    if any(node.parameters.reset == "soft" for node in graph.of(ops.NeuronNode)):
        notes.append("NIR has no reset that subtracts: other readers reset these neurons to 0, unless they read the metadata.")
    if graph.steps is not None and reason is None:
        after, last = f"those after the first {graph.skipped}", f"the last {-graph.skipped} of them"
        later = f"{after if graph.skipped > 0 else last}, which the metadata's logits_skip counts"
        which = later if graph.skipped else "them"
        notes.append(
            f"NIR knows sequences alone: feed whole.nir the same sample at each of {graph.steps} steps, and take the mean of "
            f"its output over {which}."
        )
    grid = grid_node(graph)
    if grid is not None and reason is None:
        step, end = 2.0**-grid.exponent, grid.largest * 2.0**-grid.exponent
        notes.append(
            f"NIR does not round: give other readers of whole.nir multiples of {step:g} from {-end:g} to {end:g}, as its "
            "metadata's input_step and input_largest say. This toolkit's reader rounds by itself."
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
