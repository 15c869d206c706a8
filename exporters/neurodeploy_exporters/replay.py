"""Running one artefact of a bundle, by its format."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, GradedTensor, Piece, SpikingLayer

Tensors: TypeAlias = dict[str, NDArray[Any]]


def replay(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    """Run one piece.

    Args:
        bundle: where the piece is.
        piece: what to run.
        tensors: at least the inputs of the piece, by name.
        layers: spiking layers inside the piece, whose spikes are wanted too, in order.

    Returns:
        tensor name → value, for the outputs and the layers.

    Raises:
        UserError: no replay for this format, or the artefact cannot be read or run, or does not make what the manifest says.
    """
    run = _REPLAYS.get(piece.format)
    if run is None:
        raise UserError(f"{bundle.path(piece.file)}: format {piece.format!r} found, one of {', '.join(_REPLAYS)} expected")
    found = run(bundle, piece, tensors, layers)
    for name in (*piece.outputs, *layers):
        value = found.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise UserError(f"{bundle.path(piece.file)}: tensor {name}: the manifest's output is not made as floating point")
    return found


def replay_each_step(bundle: Bundle, piece: Piece, inputs: NDArray[Any], layers: Sequence[str]) -> Tensors:
    """Run a piece of a streaming bundle one step after the other, its states passed on; otherwise as `replay`."""
    from neurodeploy_exporters.onnx.runtime import Session

    session = Session(bundle.path(piece.file), also=layers)
    return session.stream().each_step(inputs, bundle.manifest.steps)


def _onnx(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    from neurodeploy_exporters.onnx.runtime import Session

    session = Session(bundle.path(piece.file), also=layers)
    found = dict(session.run(tensors, steps=bundle.manifest.steps))
    for layer in layers if bundle.manifest.spike_counts else ():
        counted = found.get(session.counts.get(layer, ""))
        spikes = found[layer].sum(tuple(range(2, found[layer].ndim)), dtype=np.float64)
        if counted is None or not np.array_equal(counted, spikes):
            raise UserError(f"{bundle.path(piece.file)}: layer {layer}: its spikes are not counted as the manifest says")
    return found


def _nir(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    """By the reference interpreter, which a NIR file is turned into a graph for."""
    from neurodeploy.graph import interpreter
    from neurodeploy_exporters.nir.reading import read

    graph = read(bundle.path(piece.file))
    found = interpreter.run(graph, tensors[piece.inputs[0]], steps=bundle.manifest.steps)
    return {name: found[name] for name in (*piece.outputs, *layers) if name in found}


def _net(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    from neurodeploy_exporters.lava.netfile import read

    return _chip(bundle, piece, read(bundle.path(piece.file)), tensors, layers)


def _circuit(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    from neurodeploy_exporters.lava.circuitfile import read_circuit

    return _chip(bundle, piece, read_circuit(bundle.path(piece.file)), tensors, layers)


def _chip(bundle: Bundle, piece: Piece, network: Any, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    """Run a body on the simulated chip, and hold its latencies against the manifest's."""
    from neurodeploy_exporters.lava.pipeline import run_sequence

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


_REPLAYS: dict[str, Callable[[Bundle, Piece, Mapping[str, NDArray[Any]], Sequence[str]], Tensors]] = {
    "onnx": _onnx,
    "nir": _nir,
    "net": _net,
    "circuit": _circuit,
}
