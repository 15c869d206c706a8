"""From graphs inside graphs to one graph in an order in which it can be computed, or a refusal that names what hinders it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from neurodeploy.errors import UserError
from neurodeploy_exporters.nir.content import Content, Primitive

_SHOWN = 6
_MOST_EDGES = 1 << 16


@dataclass(frozen=True, eq=False)
class Flat:
    """A graph without inner graphs and cycles.

    Attributes:
        nodes: name → node, each after those that it reads; one Input without sources, one Output that nobody reads.
        sources: name → names of the nodes whose sum it reads, in the file's order.
        notes: what was left out.
    """

    nodes: dict[str, Primitive]
    sources: dict[str, tuple[str, ...]]
    notes: tuple[str, ...] = field(default=())


def flat(content: Content, path: Path) -> Flat:
    """One graph, from the input to the output.

    Raises:
        UserError: recurrent connections, or not exactly one input and one output; names what was found.
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
        if _is_wrapper(content, name):
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
    order = _ordered(path, living, edges)
    sources: dict[str, list[str]] = {name: [] for name in order}
    for a, b in edges:
        sources[b].append(a)
    return Flat({name: nodes[name] for name in order}, {name: tuple(found) for name, found in sources.items()}, tuple(notes))


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
    return [end for member, one in node.nodes.items() if _leads(one, kind) for end in _ends(node, member, inner, kind)]


def _leads(node: Primitive | Content, kind: str) -> bool:
    return node.kind == kind if isinstance(node, Primitive) else False


def _is_wrapper(content: Content, name: str) -> bool:
    """Whether a name with a dot is that of a node in an inner graph, rather than one with a dot in it."""
    return name not in content.nodes


def _bridged(edges: list[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    before, after = [a for a, b in edges if b == name], [b for a, b in edges if a == name]
    through = [(a, b) for a in before for b in after]
    return list(dict.fromkeys([edge for edge in edges if name not in edge] + through))


def _end(path: Path, nodes: dict[str, Primitive], edges: list[tuple[str, str]], kind: str, side: int) -> str:
    """The one Input or Output; without any, the one node that reads nothing or that nobody reads."""
    found = [name for name, node in nodes.items() if node.kind == kind]
    if not found:
        linked = {edge[1 - side] for edge in edges}
        found = [name for name in nodes if name not in linked]
    if len(found) != 1:
        raise UserError(f"{path}: {len(found)} {kind} nodes found ({_shown(found) or 'none'}), exactly one expected")
    return found[0]


def _reach(edges: list[tuple[str, str]], start: str, *, backwards: bool) -> set[str]:
    neighbours: dict[str, list[str]] = {}
    for a, b in edges:
        neighbours.setdefault(b if backwards else a, []).append(a if backwards else b)
    found, pending = {start}, [start]
    while pending:
        for other in neighbours.get(pending.pop(), []):
            if other not in found:
                found.add(other)
                pending.append(other)
    return found


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
            f"{path}: recurrent connections found between {_shown(circle)}, a feed-forward network expected; there is no form "
            "for recurrence here"
        )
    return order


def _circle(names: set[str], edges: list[tuple[str, str]]) -> set[str]:
    """Those nodes that lead back to themselves."""
    inner = [(a, b) for a, b in edges if a in names and b in names]
    found = set(names)
    while True:
        starts, ends = {a for a, _ in inner}, {b for _, b in inner}
        kept = found & starts & ends
        if kept == found:
            return found
        found, inner = kept, [(a, b) for a, b in inner if a in kept and b in kept]


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
