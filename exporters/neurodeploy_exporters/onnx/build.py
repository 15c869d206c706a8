"""From a graph, or one part of it, to an ONNX model, and how such a file is run and read back as a piece of a bundle.

A model is built node by node, so layers keep their names.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from neurodeploy.graph import Graph, Part, ops, partition
from neurodeploy.io.errors import UserError
from neurodeploy.io.version import VERSION
from neurodeploy_exporters.bundle import Bundle, Piece
from neurodeploy_exporters.bundle.states import asked
from neurodeploy_exporters.onnx.constants import constants
from neurodeploy_exporters.onnx.damage import values
from neurodeploy_exporters.onnx.external import WeightsFile
from neurodeploy_exporters.onnx.graph import read_members
from neurodeploy_exporters.onnx.inlining import described
from neurodeploy_exporters.onnx.model import check, read
from neurodeploy_exporters.onnx.operators import OPERATIONS
from neurodeploy_exporters.onnx.recurrence import DOMAIN
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.onnx.stepping import replay_steps
from neurodeploy_exporters.onnx.watching import watched
from neurodeploy_exporters.onnx.writer import (
    HALF,
    LARGEST,
    OPSET,
    OPSETS,
    PRECISION,
    SKIPPED_STEPS,
    SPIKE_COUNTS,
    STATES,
    STEPS,
    TRAINED_STEPS,
    Grid,
    Writer,
)
from neurodeploy_exporters.target import Format, Tensors


def build(
    graph: Graph,
    part: Part | None = None,
    *,
    name: str,
    streaming: bool = False,
    spike_counts: bool = False,
    grids: Mapping[str, Grid] | None = None,
    functions: bool = False,
    opset: int = OPSET,
    weights: WeightsFile | None = None,
    half: bool = False,
) -> onnx.ModelProto:
    """The ONNX model of a graph, or of one part of it.

    Dynamic in T and B. Inputs: `input`, `[B, …]` for a static sample (then `steps`, int64 `[1]`, gives T) or `[T, B, …]`; of a
    later part the tensors that it reads, under the names of their layers: sequences `[T, B, …]`, or means over time `[B, …]`.
    Outputs: `logits` `[B, K]`, several answers each under its name, or the tensors that leave the part: spikes, and others
    where shortcuts cross a cut.

    Args:
        graph: the network.
        part: which of it; all if None.
        name: of the model.
        streaming: what every layer keeps from step to step is an input and an output more: `<layer>.v0` and `<layer>.v`, the
            membrane potential; `.i0` and `.i`, a synaptic current; `.waiting0` and `.waiting`, values in a delay. Means over
            time are those over all steps so far, with the states `.sum` and `.steps`. The model's metadata `states` is a JSON
            object, input → output; all begin with zeros. Chunks of any length then give what the whole sequence gives.
        spike_counts: for every spiking layer an output `<layer>.spikes` more, int64 `[T, B]`: spikes per step and sample. The
            metadata `spike_counts` is a JSON object, layer → output.
        grids: weights become 8-bit integers, and so do these tensors (see `target.calibrate`).
        functions: what goes through time is a call of a local function; if not, the function's operators in its place, which
            more readers of ONNX files know. Both compute the same.
        opset: version of ONNX's operators, one of `OPSETS`.
        weights: takes the large weights; the model holds all of them if None.
        half: in half precision, inputs and outputs too; not with `streaming`, `grids` or `functions`.

    Raises:
        UserError: a node has no form in ONNX, or the name of another tensor; the message names it. Or the opset is none of
            `OPSETS`.
    """
    if STEPS in graph:
        raise UserError(f"node {STEPS}: this name is taken by the model's input for the number of steps; rename the layer")
    if opset not in OPSETS:
        raise UserError(f"opset: {opset} found, {OPSETS.start} to {OPSETS.stop - 1} expected")
    members = tuple(node.name for node in graph.nodes if not isinstance(node, ops.InputNode)) if part is None else part.members
    inputs, outputs = (tuple(node.name for node in nodes) for nodes in (graph.inputs, graph.outputs))
    if part is not None:
        inputs, outputs = part.inputs, part.outputs
    sequences = [tensor for tensor in inputs if graph.timed(tensor)]
    crossing = _crossing(graph) | {tensor for tensor in (*inputs, *outputs) if graph.timed(tensor)}
    form: dict[str, Any] = {"functions": functions, "opset": opset, "weights": weights, "half": half}
    if half and streaming:
        raise UserError(
            "half precision: states of a stream found, and a sum over time would not be kept; leave out one of both"
        )
    writer = Writer(graph, inputs, crossing, streaming=streaming, grids=grids, **form)
    if sequences:
        writer.operator("Shape", [sequences[0]], STEPS, start=0, end=1)
    for member in members:
        OPERATIONS[graph[member]](writer, graph[member])
    counts = {layer: _count(writer, layer) for layer in graph.spiking if layer in members} if spike_counts else {}
    declared = [_value(writer, tensor) for tensor in inputs]
    if any(isinstance(graph[member], ops.EncodeNode) for member in members):
        declared.append(helper.make_tensor_value_info(STEPS, TensorProto.INT64, [1]))
    counted = [helper.make_tensor_value_info(count, TensorProto.INT64, ["T", "B"]) for count in counts.values()]
    body = helper.make_graph(
        writer.operators,
        name,
        [*declared, *writer.state_inputs],
        [*(_value(writer, tensor) for tensor in outputs), *counted, *writer.state_outputs],
        list(writer.constants.values()),
        # for those who look at the model
        value_info=[_value(writer, member) for member in members if member not in outputs],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        body,
        opset_imports=[*imports, helper.make_opsetid(DOMAIN, 1)] if functions else imports,
        functions=[writer.functions[key] for key in sorted(writer.functions)] if functions else [],
        producer_name="neurodeploy",
        producer_version=VERSION,
    )
    model.ir_version = helper.find_min_ir_version_for(imports)
    # of the whole network for its parts too: they then cut a batch at the same places as the whole
    facts = {LARGEST: str(max(prod(graph.shape(node.name)) for node in graph.nodes))}
    if half:
        facts[PRECISION] = HALF
    if graph.steps is not None:
        facts[TRAINED_STEPS] = str(graph.steps)
    if graph.skipped:
        facts[SKIPPED_STEPS] = str(graph.skipped)
    if streaming:
        facts[STATES] = json.dumps(writer.states)
    if spike_counts:
        facts[SPIKE_COUNTS] = json.dumps(counts)
    facts |= described(writer.functions, writer.calls)
    helper.set_model_props(model, facts)
    return model


def _count(writer: Writer, layer: str) -> str:
    """Spikes per step and sample. A sum of zeros and ones is exact in float32 up to 2²⁴, more neurons than a layer has."""
    axes = np.arange(2, 2 + len(writer.graph.shape(layer)), dtype=np.int64)
    spikes = writer.timed(layer)
    if writer.half:  # which ends with sums of 2,048
        spikes = writer.operator("Cast", [spikes], f"{layer}.single", to=TensorProto.FLOAT)
    total = writer.operator("ReduceSum", [spikes, writer.constant(f"{layer}.axes", axes)], f"{layer}.total", keepdims=0)
    return writer.operator("Cast", [total], f"{layer}.spikes", to=TensorProto.INT64)


def _value(writer: Writer, tensor: str) -> onnx.ValueInfoProto:
    """The shape of a tensor in the form in which it bears its node's name."""
    timed = writer.graph.timed(tensor)
    leading = ["T", "B"] if writer.made_timed(tensor) else ["T*B"] if timed else ["B"]
    return helper.make_tensor_value_info(tensor, writer.kind, [*leading, *writer.graph.shape(tensor)])


def _crossing(graph: Graph) -> frozenset[str]:
    """Sequences that leave one part of the network for another."""
    try:
        parts = partition(graph, spikes_only=False).parts
    except UserError:  # no spiking layer, or no head: there are no parts
        return frozenset()
    return frozenset(tensor for part in parts for tensor in part.inputs if graph.timed(tensor))


def checked(graph: Graph, parts: Sequence[Part | None], *, name: str, **options: Any) -> dict[str, onnx.ModelProto]:
    """Part → its model, which has passed ONNX's checker; "whole" for None. `options` as of `build`.

    Raises:
        UserError: as `build`, or a model is too large for a file.
    """
    models = {
        "whole" if part is None else part.name: build(graph, part, name=f"{name}-{part.name}" if part else name, **options)
        for part in parts
    }
    for model in models.values():
        check(model)
    return models


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model; the same model makes the same bytes."""
    path.write_bytes(model.SerializeToString(deterministic=True))


def chained(
    graph: Graph,
    parts: Sequence[Part],
    models: Mapping[str, onnx.ModelProto],
    steps: int,
    body: Callable[[Part, Tensors], Mapping[str, NDArray[Any]]],
) -> Callable[[NDArray[np.float32]], Tensors]:
    """Runs the parts one after the other, samples → all that they make: ONNX on the host, and `body` what is not of it.

    Args:
        graph: that the parts are of.
        parts: in order.
        models: of the parts on the host.
        steps: T.
        body: runs another part: the part, what those before it made → what it makes.
    """
    firing = {part.name: [m for m in part.members if isinstance(graph[m], ops.Spiking)] for part in parts}
    sessions = {name: Session(model, also=firing[name]) for name, model in models.items()}

    def run(samples: NDArray[np.float32]) -> Tensors:
        tensors: Tensors = {graph.input.name: samples}
        for part in parts:
            session = sessions.get(part.name)
            tensors |= body(part, tensors) if session is None else session.run(tensors, steps=steps)
        return tensors

    return run


def _replay(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    path = bundle.path(piece.file)
    layers, held = asked(layers)
    states = watched(read(path)[1], held) if held else []
    inner = [name for one in states for name in (one.current, one.potential)]
    session = Session(path, also=[*layers, *(name for name in inner if name not in layers)])
    made = dict(session.run(tensors, steps=bundle.manifest.steps))
    sums = [one.sums(made) for one in states]
    made = {name: value for name, value in made.items() if name not in inner or name in (*piece.outputs, *layers)}
    for one in sums:
        made |= one
    for layer in layers if bundle.manifest.spike_counts else ():
        counted = made.get(session.counts.get(layer, ""))
        spikes = made[layer].sum(tuple(range(2, made[layer].ndim)), dtype=np.float64)
        if counted is None or not np.array_equal(counted, spikes):
            raise UserError(f"{bundle.path(piece.file)}: layer {layer}: its spikes are not counted as the manifest says")
    return made


def _open(bundle: Bundle, piece: Piece, layers: Sequence[str], threads: int) -> Callable[[Mapping[str, NDArray[Any]]], Tensors]:
    session = Session(bundle.path(piece.file), also=layers, threads=threads)
    return lambda tensors: session.run(tensors, steps=bundle.manifest.steps)


def _replay_each_step(bundle: Bundle, piece: Piece, inputs: NDArray[Any], layers: Sequence[str]) -> Tensors:
    session = Session(bundle.path(piece.file), also=layers)
    return session.stream().each_step(inputs, bundle.manifest.steps)


def _replay_chunks(
    bundle: Bundle, pieces: Sequence[Piece], inputs: NDArray[Any], layers: Sequence[str], chunks: Sequence[int]
) -> Tensors:
    session = Session([bundle.path(piece.file) for piece in pieces], also=layers)
    return session.stream().in_chunks(inputs, chunks)


def _members(bundle: Bundle, piece: Piece, before: Mapping[str, ops.Node]) -> tuple[ops.Node, ...]:
    members = read_members(bundle.path(piece.file))
    return (*(() if before else members.inputs), *members.nodes)


FORMAT = Format(
    runtime="ONNX Runtime",
    replay=_replay,
    members=_members,
    replay_each_step=_replay_each_step,
    replay_chunks=_replay_chunks,
    replay_steps=replay_steps,
    constants=constants,
    values=values,
    open=_open,
)
