"""NIR files: HDF5 groups of anybody's, read through guarded access, and ours, written."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurodeploy.io.files import atomic_file
from neurodeploy.io.hdf5 import Folder, opened
from neurodeploy_exporters.nir.content import FIELDS, TEXTS, Content, Edges, Primitive, Value

EXPECTED = "a NIR file"
_MOST_NODES = 2048  # of a file, those of graphs inside graphs included
_DEEPEST = 8  # graphs inside graphs
_LONGEST_NAME = 256
_LONGEST_TEXT = 1 << 20  # of metadata
_MOST_METADATA = 1000  # entries of the graph


def load(path: Path) -> Content:
    """What a file holds, without the metadata of its nodes.

    Raises:
        UserError: there is no such file, it is damaged or hostile, or holds nodes that NIR does not know or fields that it does
            not have; one line, which names the file and the place in it.
    """
    with opened(path, expected=EXPECTED) as root:
        if "node" not in root:
            raise root.error(f"node: missing; {EXPECTED} expected")
        top = root.folder("node")
        if top.text("type") != "NIRGraph":
            raise top.error(f"type: {top.text('type')!r} found, 'NIRGraph' expected")
        return _graph(top, [0], 0)


def _graph(folder: Folder, seen: list[int], depth: int) -> Content:
    if depth > _DEEPEST:
        raise folder.error(f"nodes: graphs inside graphs found, more than {_DEEPEST} deep; write the graph flat")
    within = folder.folder("nodes")
    nodes: dict[str, Primitive | Content] = {}
    for name in within.names():
        seen[0] += 1
        if seen[0] > _MOST_NODES or len(name.encode()) > _LONGEST_NAME:
            raise within.error(f"{name}: at most {_MOST_NODES} nodes with names of at most {_LONGEST_NAME} bytes expected")
        member = within.folder(name)
        kind = member.text("type")
        nodes[name] = _graph(member, seen, depth + 1) if kind == "NIRGraph" else _primitive(member, kind)
    return Content(nodes, _edges(folder, nodes), {} if depth else _metadata(folder))


def _edges(folder: Folder, nodes: dict[str, Primitive | Content]) -> Edges:
    edges = folder.pairs_of_text("edges", longest=2 * _LONGEST_NAME, most=4 * _MOST_NODES)
    for end in (end for edge in edges for end in edge):
        if end not in nodes:
            raise folder.error(f"edges: {end!r} found, the name of a node expected")
    return tuple(dict.fromkeys(edges))


def _primitive(folder: Folder, kind: str) -> Primitive:
    if kind not in FIELDS:
        raise folder.error(f"type: {kind!r} found, one of {', '.join(FIELDS)} expected")
    required, optional = FIELDS[kind]
    present = [name for name in (*required, *optional) if name in required or name in folder]
    return Primitive(kind, {name: _value(folder, name) for name in present})


def _value(folder: Folder, name: str) -> Value:
    if name in TEXTS and folder.holds_text(name):
        return folder.text(name)
    numbers = folder.numbers(name)
    if numbers.dtype.kind == "f" and np.isnan(numbers).any():
        raise folder.error(f"{name}: nan found, numbers expected")
    return numbers


def _metadata(folder: Folder) -> dict[str, Value]:
    """Numbers and texts; what is of another kind is left out, as nothing depends on it."""
    if "metadata" not in folder or not folder.is_folder("metadata"):
        return {}
    within, found = folder.folder("metadata"), dict[str, Value]()
    for name in within.names()[:_MOST_METADATA]:
        if not within.is_folder(name):
            if within.holds_text(name):
                found[name] = within.text(name, longest=_LONGEST_TEXT, encoding="utf-8")
            else:
                found[name] = within.numbers(name)
    return found


_SHAPES = {"Input": "input_type", "Output": "output_type"}


def store(content: Content, path: Path) -> None:
    """Write a file, whole or not at all."""
    memory = io.BytesIO()  # HDF5 would lock the file itself
    nir.write(memory, as_nir(content))
    with atomic_file(path) as temporary:
        temporary.write_bytes(memory.getvalue())


def as_nir(content: Content) -> Any:
    """The graph in the `nir` package's own classes; its types are not checked again, our graph has checked them."""
    nodes = {name: _node(node) if isinstance(node, Primitive) else as_nir(node) for name, node in content.nodes.items()}
    return _Graph(nodes, list(content.edges), metadata=_plain(content.metadata), type_check=False)


class _Graph(nir.NIRGraph):
    """Leaves out what the `nir` package fills in: its versions up to 1.0.4 do not know v_reset, and refuse it."""

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = super().to_dict()
        for node in told["nodes"].values():
            node.pop("v_reset", None)
        return told | {"type": "NIRGraph"}


def _node(node: Primitive) -> Any:
    kind: Any = getattr(nir, node.kind)
    fields: dict[str, Any] = _plain(node.fields)
    metadata: dict[str, Any] = {"metadata": _plain(node.metadata)}
    if node.kind in _SHAPES:
        return kind({"input" if node.kind == "Input" else "output": fields["shape"]}, **metadata)
    if node.kind == "Flatten":
        return kind({"input": fields.pop("input_type")}, **fields, **metadata)
    return kind(**fields, **metadata)


def _plain(values: Mapping[str, Value]) -> dict[str, Any]:
    """Single numbers as Python's own: the `nir` package would compress an array without axes, which HDF5 cannot."""
    return {name: value.item() if isinstance(value, np.ndarray) and not value.ndim else value for name, value in values.items()}
