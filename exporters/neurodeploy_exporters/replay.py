"""Running one artefact of a bundle, by its format."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import UserError
from neurodeploy_exporters.bundle import Bundle, Piece

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


def _onnx(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    from neurodeploy_exporters.onnx.runtime import Session

    session = Session(bundle.path(piece.file), also=layers)
    return dict(session.run(tensors, steps=bundle.manifest.steps))


def _net(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    from neurodeploy_exporters.lava.netfile import read
    from neurodeploy_exporters.lava.pipeline import run_sequence

    path = bundle.path(piece.file)
    replayed = run_sequence(read(path), tensors[piece.inputs[0]])
    if replayed.latency_steps != bundle.manifest.latency_steps:
        raise UserError(
            f"{path}: answers {replayed.latency_steps} steps late, the manifest says {bundle.manifest.latency_steps}"
        )
    fired = list(replayed.spikes.values())
    if len(fired) != len(layers):
        raise UserError(f"{path}: {len(fired)} spiking blocks found, the {len(layers)} of the manifest expected")
    shapes = {layer.name: layer.shape for layer in bundle.manifest.spiking_layers}
    found: Tensors = {}
    for layer, spikes in zip(layers, fired, strict=True):
        if int(np.prod(spikes.shape[2:])) != int(np.prod(shapes[layer])):
            raise UserError(f"{path}: layer {layer}: shape {spikes.shape[2:]} found, {shapes[layer]} expected")
        found[layer] = spikes.reshape(*spikes.shape[:2], *shapes[layer]).astype(np.float32)
    return found


_REPLAYS: dict[str, Callable[[Bundle, Piece, Mapping[str, NDArray[Any]], Sequence[str]], Tensors]] = {
    "onnx": _onnx,
    "net": _net,
}
