"""`.net` and circuit files as pieces of a bundle: run on the simulated chip, and read back as nodes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Node
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, GradedTensor, Piece, SpikingLayer
from neurodeploy_exporters.lava.circuitfile import read_circuit
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.reading import circuit_nodes, open_circuit
from neurodeploy_exporters.target import Format, Tensors


def _replay(
    reader: Callable[[Path], Any], bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]
) -> Tensors:
    return _chip(bundle, piece, reader(bundle.path(piece.file)), tensors, layers)


def _chip(bundle: Bundle, piece: Piece, network: Any, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    """Run a body on the simulated chip, and hold its latencies against the manifest's."""
    path, manifest = bundle.path(piece.file), bundle.manifest
    found = run_sequence(network, tensors[piece.inputs[0]], graded=[tensor.population for tensor in piece.graded])
    if found.latency_steps != manifest.latency_steps:
        raise UserError(f"{path}: answers {found.latency_steps} steps late, the manifest says {manifest.latency_steps}")
    if len(found.spikes) != len(layers):
        raise UserError(f"{path}: {len(found.spikes)} spiking blocks found, the {len(layers)} of the manifest expected")
    told = {layer.name: layer for layer in manifest.spiking_layers}
    made: Tensors = {}
    for layer, (key, spikes) in zip(layers, found.spikes.items(), strict=True):
        _check_answer(path, f"layer {layer}", (spikes.shape[2:], found.latencies[key]), told[layer])
        made[layer] = found.spikes_of(key, told[layer].shape)
    for tensor in piece.graded:
        key = tensor.population
        _check_answer(path, f"tensor {tensor.name}", (found.graded[key].shape[2:], found.latencies[key]), tensor)
        made[tensor.name] = found.graded_of(key, tensor.shape, mean=tensor.read == "after the last step")
    return made


def _check_answer(path: Path, what: str, found: tuple[tuple[int, ...], int], told: SpikingLayer | GradedTensor) -> None:
    shape, latency = found
    if int(np.prod(shape)) != int(np.prod(told.shape)):
        raise UserError(f"{path}: {what}: shape {shape} found, {told.shape} expected")
    if latency != told.latency_steps:
        raise UserError(f"{path}: {what}: answers {latency} steps late, the manifest says {told.latency_steps}")


def _members(bundle: Bundle, piece: Piece, before: Mapping[str, Node]) -> tuple[Node, ...]:
    manifest, path = bundle.manifest, bundle.path(piece.file)
    shapes: dict[str, Any] = {layer.name: layer.shape for layer in manifest.spiking_layers}
    entry = ops.InputNode(name=manifest.input_name, shape=manifest.input_shape, timed=manifest.timed_input)
    try:
        found = circuit_nodes(open_circuit(path), manifest, piece, shapes.get(piece.inputs[0], entry.shape))
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    return found if before else (entry, *found)


NET_FORMAT, CIRCUIT_FORMAT = (
    Format(runtime="the fixed-point simulator", replay=partial(_replay, reader), members=_members, late=True)
    for reader in (read, read_circuit)
)
