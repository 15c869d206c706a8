"""From graphs inside graphs to one graph in an order in which it can be computed, or a refusal that names what hinders it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.graph.ops import Shape
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import NEURONS, Content, Primitive, Value
from neurodeploy_exporters.nir.recurrence import returning

_SHOWN = 6
_MOST_EDGES = 1 << 16  # bridging inner graphs multiplies edges, so a small file could ask for millions


@dataclass(frozen=True, eq=False)
class Flat:
    """A graph without inner graphs, and without cycles but those of single layers.

    Attributes:
        nodes: name → node, each after those that it reads; one Input without sources, one Output that nobody reads.
        sources: name → names of the nodes whose sum it reads, in the file's order.
        notes: what was left out.
        returning: neuron → name and node of the synapses through which its own spikes come back.
    """

    nodes: dict[str, Primitive]
    sources: dict[str, tuple[str, ...]]
    notes: tuple[str, ...] = field(default=())
    returning: dict[str, dict[str, Primitive]] = field(default_factory=dict)


def flat(content: Content, path: Path) -> Flat:
    """One graph, from the input to the output.

    Raises:
        UserError: recurrent connections through several layers, or not exactly one input and one output; names what was found.
    """
    nodes = dict(_nodes(content, ""))
    edges = list(dict.fromkeys(_edges(content, "")))
    notes = [
        f"connection of {a} to itself left out: extraction from torch makes such where there is none"
        for a, b in edges
        if a == b
    ]
    edges = [(a, b) for a, b in edges if a != b]
    for name in [name for name in nodes if "." in name and nodes[name].kind in ("Input", "Output")]:
        if name not in content.nodes:  # of an inner graph, rather than one with a dot in its name
            edges = _bridged(edges, name)
            del nodes[name]
        if len(edges) > _MOST_EDGES:
            raise UserError(f"{path}: {len(edges)} connections found, {_MOST_EDGES} at most expected")
    first, last = _end(path, nodes, edges, "Input", 0), _end(path, nodes, edges, "Output", 1)
    living = _reach(edges, last, backwards=True) & _reach(edges, first, backwards=False)
    dead = [name for name in nodes if name not in living]
    if dead:
        notes.append(f"not on the way from {first} to {last}, and left out: {_shown(dead)}")
    if not living:
        raise UserError(f"{path}: no way leads from {first} to {last}")
    edges = [(a, b) for a, b in edges if a in living and b in living]
    back = returning({name: nodes[name] for name in nodes if name in living}, edges)
    apart = {name for synapses in back.values() for name in synapses}
    edges = [(a, b) for a, b in edges if a not in apart and b not in apart]
    notes += [
        f"what {neuron} fires comes back to it in the next step, through {_shown([*names])}" for neuron, names in back.items()
    ]
    order = _ordered(path, living - apart, edges)
    sources: dict[str, list[str]] = {name: [] for name in order}
    for a, b in edges:
        sources[b].append(a)
    read = {name: tuple(found) for name, found in sources.items()}
    synapses = {neuron: {name: nodes[name] for name in names} for neuron, names in back.items()}
    return Flat({name: nodes[name] for name in order}, read, tuple(notes), synapses)


def _nodes(content: Content, prefix: str) -> Iterator[tuple[str, Primitive]]:
    for name, node in content.nodes.items():
        if isinstance(node, Primitive):
            yield prefix + name, node
        else:
            yield from _nodes(node, f"{prefix}{name}.")


def _edges(content: Content, prefix: str) -> Iterator[tuple[str, str]]:
    """All edges; those to and from an inner graph go to its inputs and come from its outputs."""
    for start, end in content.edges:
        for a in _ends(content, start, prefix, "Output"):
            for b in _ends(content, end, prefix, "Input"):
                yield a, b
    for name, node in content.nodes.items():
        if isinstance(node, Content):
            yield from _edges(node, f"{prefix}{name}.")


def _ends(content: Content, name: str, prefix: str, kind: str) -> list[str]:
    node = content.nodes[name]
    if isinstance(node, Primitive):
        return [prefix + name]
    inner = f"{prefix}{name}."
    return [inner + name for name, member in node.nodes.items() if isinstance(member, Primitive) and member.kind == kind]


def _bridged(edges: list[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    before, after = [a for a, b in edges if b == name], [b for a, b in edges if a == name]
    through = [(a, b) for a in before for b in after]
    return list(dict.fromkeys([edge for edge in edges if name not in edge] + through))


def _end(path: Path, nodes: dict[str, Primitive], edges: list[tuple[str, str]], kind: str, side: int) -> str:
    """The one Input or Output; without any, the one node that reads nothing or that nobody reads."""
    ends = [name for name, node in nodes.items() if node.kind == kind]
    if not ends:
        linked = {edge[1 - side] for edge in edges}
        ends = [name for name in nodes if name not in linked]
    if len(ends) != 1:
        raise UserError(f"{path}: {len(ends)} {kind} nodes found ({_shown(ends) or 'none'}), exactly one expected")
    return ends[0]


def _reach(edges: list[tuple[str, str]], start: str, *, backwards: bool) -> set[str]:
    neighbours: dict[str, list[str]] = {}
    for a, b in edges:
        neighbours.setdefault(b if backwards else a, []).append(a if backwards else b)
    reached, pending = {start}, [start]
    while pending:
        for other in neighbours.get(pending.pop(), []):
            if other not in reached:
                reached.add(other)
                pending.append(other)
    return reached


def _ordered(path: Path, names: set[str], edges: list[tuple[str, str]]) -> list[str]:
    """Every node after those that it reads; of several that could come next, the one whose sources came first."""
    missing, readers = dict.fromkeys(names, 0), dict[str, list[str]]()
    for a, b in edges:
        missing[b] += 1
        readers.setdefault(a, []).append(b)
    ready, order = sorted(name for name in names if not missing[name]), []
    while ready:
        name = ready.pop(0)
        order.append(name)
        for reader in readers.get(name, []):
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    if len(order) < len(names):
        circle = sorted(_circle(names - set(order), edges))
        raise UserError(
            f"{path}: recurrent connections found between {_shown(circle)}; what a layer of neurons fires can come back to "
            "that layer, through Affine or Linear nodes that nothing else reads"
        )
    return order


def _circle(names: set[str], edges: list[tuple[str, str]]) -> set[str]:
    """Those nodes that lead back to themselves."""
    inner = [(a, b) for a, b in edges if a in names and b in names]
    left = set(names)
    while True:
        starts, ends = {a for a, _ in inner}, {b for _, b in inner}
        kept = left & starts & ends
        if kept == left:
            return left
        left, inner = kept, [(a, b) for a, b in inner if a in kept and b in kept]


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


_MOST_AXES = 8
_LARGEST = 1 << 26


def input_shape(content: Flat, name: str, node: Primitive, given: Shape | None) -> tuple[Shape, list[str]]:
    """The shape per sample and step, and what was assumed about it.

    Raises:
        UserError: nothing tells it, or what tells it is no shape.
    """
    if given is not None:
        return given, []
    stated = _told(name, node) if node.kind == "Input" else None
    read = [name] if node.kind != "Input" else [other for other, sources in content.sources.items() if name in sources]
    known = next((shape for shape in (_of_reader(content.nodes[other]) for other in read) if shape is not None), None)
    if stated is None:
        if known is None or 0 in known:
            raise UserError(f"node {name}: the shape of a sample is unknown; give it (input_shape, or --input-shape C,H,W)")
        return known, [f"shape of a sample taken from what reads it: {known}"]
    axes = len(known) if known is not None else len(stated)
    if axes < len(stated):
        extra = len(stated) - axes
        shape = stated[extra:]
        return shape, [f"input of shape {stated}: the first {extra} of its axes taken for a batch; a sample is {shape}"]
    return stated, []


def _told(name: str, node: Primitive) -> Shape | None:
    if "shape" not in node.fields:
        return None
    shape = _sizes(node.fields["shape"])
    if shape is None or 0 in shape:
        sizes = np.ravel(np.asarray(node.fields["shape"]))[:_MOST_AXES].tolist()
        raise UserError(f"node {name}: shape: {sizes} found, 1 to {_MOST_AXES} sizes of at least 1 expected")
    return shape


def _of_reader(node: Primitive) -> Shape | None:
    """What a node that reads the input says of it; 0 where it leaves a size open. What is absurd is refused by its own rule."""
    weight = np.shape(node.fields.get("weight", 0))
    match node.kind:
        case "Affine" | "Linear" if len(weight) == 2:
            return (weight[1],)
        case "Conv1d" | "Conv2d" if len(weight) == int(node.kind[4]) + 2:
            groups, spatial = _sizes(node.fields["groups"]), _sizes(node.fields.get("input_shape"))
            axes = len(weight) - 2
            channels = weight[1] * (groups[0] if groups else 1)
            return (channels, *(spatial if spatial and len(spatial) == axes else (0,) * axes))
        case "AvgPool2d" | "SumPool2d":
            return (0, 0, 0)
        case "Flatten":
            return _sizes(node.fields.get("input_type"))
        case kind if kind in NEURONS:
            return np.shape(node.fields["r"]) or None
    return None


def _sizes(value: Value | None) -> Shape | None:
    """Numbers of a file as sizes; None if they are none."""
    if not isinstance(value, np.ndarray) or not 0 < value.size <= _MOST_AXES or value.ndim > 1:
        return None
    flat: list[Any] = np.ravel(value).tolist()
    if not all(0 <= size <= _LARGEST and size == int(size) for size in flat):
        return None
    return tuple(int(size) for size in flat)
