"""NIR files as pieces of a bundle: run by the reference interpreter, and read back as nodes."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from neurodeploy.graph import interpreter, ops
from neurodeploy.graph.ops import Node
from neurodeploy_exporters.bundle import Bundle, Piece
from neurodeploy_exporters.nir.reading import read
from neurodeploy_exporters.target import Format, Tensors


def _replay(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> Tensors:
    graph = read(bundle.path(piece.file))
    made = interpreter.run(graph, tensors[piece.inputs[0]], steps=bundle.manifest.steps)
    return {name: made[name] for name in (*piece.outputs, *layers) if name in made}


def _members(bundle: Bundle, piece: Piece, before: Mapping[str, Node]) -> tuple[Node, ...]:
    """A file of a body has an Input and an Output of its own, which are none of the network's."""
    foreign: tuple[type[Node], ...] = (ops.InputNode,) if before else ()
    if piece.name == "body":
        foreign += (ops.OutputNode,)
    return tuple(node for node in read(bundle.path(piece.file)).nodes if not isinstance(node, foreign))


FORMAT = Format(runtime="the reference interpreter", replay=_replay, members=_members)
