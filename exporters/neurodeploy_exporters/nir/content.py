"""What a NIR file holds, as plain data: nodes with their fields, edges, metadata. Both the writer and the reader speak it.

NIR (Pedersen et al. 2024, "Neuromorphic intermediate representation", neuroir.org) describes neurons by differential equations;
`Content` says nothing of how they are stepped through time. See `conventions`.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import nir
import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.files import atomic_file
from neurodeploy.io.hdf5 import Folder, opened

_EXPECTED = "a NIR file"
_MOST_NODES = 2048  # of a file, those of graphs inside graphs included
_DEEPEST = 8  # graphs inside graphs
_LONGEST_NAME = 256
_LONGEST_TEXT = 1 << 20  # of metadata
_MOST_METADATA = 1000  # entries of the graph

Value: TypeAlias = NDArray[Any] | str
Edges: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Primitive:
    """One node.

    Attributes:
        kind: NIR's name of it, such as "LIF".
        fields: name → numbers of any shape, or a text.
        metadata: name → a number or a text, free for all; no reader needs it.
    """

    kind: str
    fields: Mapping[str, Value]
    metadata: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Content:
    """A NIRGraph.

    Attributes:
        nodes: name → node, or a graph inside this one.
        edges: from → to; several edges into one node add up.
        metadata: of the graph.
        package: version of the `nir` package that wrote the file, if it is one and says so.
    """

    nodes: Mapping[str, "Primitive | Content"]
    edges: Edges
    metadata: Mapping[str, Value] = field(default_factory=dict)
    package: str = ""


# kind → fields that it must have, fields that it may have; Input and Output call theirs `shape` in a file
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": ((), ("shape",)),
    "Output": ((), ("shape",)),
    "Affine": (("weight", "bias"), ()),
    "Linear": (("weight",), ()),
    "Scale": (("scale",), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups"), ("bias", "input_shape")),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups"), ("bias", "input_shape")),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "Flatten": (("start_dim", "end_dim"), ("input_type",)),
    "Delay": (("delay",), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
}
NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
TEXTS = {"padding"}  # fields that may hold a text


def unequal(content: Content, other: Content) -> str | None:
    """The first place where two graphs differ in nodes, fields or edges, bit for bit; metadata and order do not count."""
    for name in (*content.nodes, *other.nodes):
        a, b = content.nodes.get(name), other.nodes.get(name)
        if not isinstance(a, Primitive) or not isinstance(b, Primitive) or a.kind != b.kind:
            return f"node {name}"
        for key in (*a.fields, *b.fields):
            if not _same(a.fields.get(key), b.fields.get(key)):
                return f"node {name}, field {key}"
    if sorted(content.edges) != sorted(other.edges):
        odd = sorted(set(content.edges) ^ set(other.edges))
        return f"edge {odd[0][0]} to {odd[0][1]}" if odd else "the edges"
    return None


def _same(a: Value | None, b: Value | None) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return isinstance(a, str) and isinstance(b, str) and a == b


def grouped(weight: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """`[C_out, C_in, *kernel]` → `[C_out, C_in / groups, *kernel]`; what is between the groups is left out."""
    if groups == 1:
        return weight
    outputs, inputs, *kernel = weight.shape
    number = np.arange(groups)
    spread = weight.reshape(groups, outputs // groups, groups, inputs // groups, -1)
    return np.ascontiguousarray(spread[number, :, number]).reshape(outputs, inputs // groups, *kernel)


def load(path: Path) -> Content:
    """What a file holds, without the metadata of its nodes.

    Raises:
        UserError: there is no such file, it is damaged or hostile, or holds nodes that NIR does not know or fields that it does
            not have; one line, which names the file and the place in it.
    """
    with opened(path, expected=_EXPECTED) as root:
        if "node" not in root:
            raise root.error(f"node: missing; {_EXPECTED} expected")
        top = root.folder("node")
        if top.text("type") != "NIRGraph":
            raise top.error(f"type: {top.text('type')!r} found, 'NIRGraph' expected")
        package = (
            root.text("version") if "version" in root and not root.is_folder("version") and root.holds_text("version") else ""
        )
        return replace(_graph(top, [0], 0), package=package)


def _graph(folder: Folder, seen: list[int], depth: int) -> Content:
    if depth > _DEEPEST:
        raise folder.error(f"nodes: graphs inside graphs found, more than {_DEEPEST} deep; write the graph flat")
    within = folder.folder("nodes")
    nodes: dict[str, Primitive | Content] = {}
    for name in within.names():
        seen[0] += 1  # over all depths: each graph could hold as many again
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
    within, entries = folder.folder("metadata"), dict[str, Value]()
    for name in within.names()[:_MOST_METADATA]:
        if not within.is_folder(name):
            if within.holds_text(name):
                entries[name] = within.text(name, longest=_LONGEST_TEXT, encoding="utf-8")
            else:
                entries[name] = within.numbers(name)
    return entries


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
        graph: dict[str, Any] = super().to_dict()
        for node in graph["nodes"].values():
            node.pop("v_reset", None)
        return graph | {"type": "NIRGraph"}


def _node(node: Primitive) -> Any:
    fields, end = _plain(node.fields), "output" if node.kind == "Output" else "input"
    shapes = [{end: fields.pop(name)} for name in ("shape", "input_type") if name in fields]
    return getattr(nir, node.kind)(*shapes, **fields, metadata=_plain(node.metadata))


def _plain(values: Mapping[str, Value]) -> dict[str, Any]:
    """Single numbers as Python's own: the `nir` package would compress an array without axes, which HDF5 cannot."""
    return {name: value.item() if isinstance(value, np.ndarray) and not value.ndim else value for name, value in values.items()}
