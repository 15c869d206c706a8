"""ONNX files as pieces of a bundle, of this target and of the host's parts of others: run again, and read back as nodes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops import Node
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, Piece
from neurodeploy_exporters.onnx.graph import read_members
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.target import Format, Tensors


def _replay(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    session = Session(bundle.path(piece.file), also=layers)
    made = dict(session.run(tensors, steps=bundle.manifest.steps))
    for layer in layers if bundle.manifest.spike_counts else ():
        counted = made.get(session.counts.get(layer, ""))
        spikes = made[layer].sum(tuple(range(2, made[layer].ndim)), dtype=np.float64)
        if counted is None or not np.array_equal(counted, spikes):
            raise UserError(f"{bundle.path(piece.file)}: layer {layer}: its spikes are not counted as the manifest says")
    return made


def _replay_each_step(bundle: Bundle, piece: Piece, inputs: NDArray[Any], layers: Sequence[str]) -> Tensors:
    session = Session(bundle.path(piece.file), also=layers)
    return session.stream().each_step(inputs, bundle.manifest.steps)


def _members(bundle: Bundle, piece: Piece, before: Mapping[str, Node]) -> tuple[Node, ...]:
    members = read_members(bundle.path(piece.file))
    return (*(() if before else members.inputs), *members.nodes)


FORMAT = Format(runtime="ONNX Runtime", replay=_replay, members=_members, replay_each_step=_replay_each_step)
