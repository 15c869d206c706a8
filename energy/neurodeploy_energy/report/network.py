"""The network as a graph: its rows, what each of them reads, and how much of that fires."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from neurodeploy_energy.count.layer import LayerRow
from neurodeploy_energy.count.provenance import INPUT
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.report.tables import number, percent

_MOST = 400
"""Rows of a graph that anyone would look at."""


@dataclass(frozen=True)
class GraphNode:
    """A row of the report, or the data.

    Attributes:
        name: beside it.
        tip: what it tells.
        style: "fires" for neurons, "data", or "works" for all others.
    """

    name: str
    tip: str
    style: Literal["fires", "works", "data"]


@dataclass(frozen=True)
class GraphEdge:
    """What one row reads of another.

    Attributes:
        source, target: numbers of the nodes.
        lane: 0 to the node just below; else the number of the track that it takes round the nodes between.
        label: rate, or share of values that are not 0; "" for currents.
        tip: what it tells.
        share: 0 to 1; None for currents, of which nothing is counted.
    """

    source: int
    target: int
    lane: int
    label: str
    tip: str
    share: float | None


@dataclass(frozen=True)
class NetworkGraph:
    """Nodes in the order in which they run, and edges between them.

    Attributes:
        legend: what the colours stand for.
        profile: none: it is the same under all.
    """

    nodes: Sequence[GraphNode]
    edges: Sequence[GraphEdge]
    caption: str
    legend: Sequence[str] = ("spikes, or values that are not 0: the thicker, the more of them",)
    profile: str = ""


def network_of(report: Account) -> NetworkGraph | None:
    """The graph of a report; None if it does not say what its rows read, or is too large to look at."""
    read = {name for row in report.layers for name in row.reads}
    rows = [row for row in report.layers if row.reads or row.name in read]
    if not any(row.reads for row in rows) or len(rows) > _MOST:
        return None
    data = [GraphNode(INPUT, f"{INPUT}: {report.samples:,} samples", "data")] if INPUT in read else []
    nodes = [*data, *(_node(row) for row in rows)]
    places = {node.name: i for i, node in enumerate(nodes)}
    by_name = {row.name: row for row in rows}
    pairs = [(name, row) for row in rows for name in row.reads if name in places and name != row.name]
    lanes = _lanes([(places[name], places[row.name]) for name, row in pairs])
    edges = [_edge(by_name.get(name), row, places, lane) for (name, row), lane in zip(pairs, lanes, strict=True)]
    caption = f"What every layer of {report.name} reads, and how much of it fires: means over {report.samples:,} samples"
    return NetworkGraph(nodes, edges, caption)


def _node(row: LayerRow) -> GraphNode:
    if row.kind == "neuron":
        said = f"{number(row.spikes)} spikes per sample of {row.neurons:,} neurons in {row.steps:g} steps"
        return GraphNode(row.name, f"{row.name}: {said}", "fires")
    counts = [f"{number(row.sops)} synaptic operations" if row.sops else "", f"{number(row.macs)} MACs" if row.macs else ""]
    return GraphNode(row.name, f"{row.name} ({row.kind}): {', '.join(filter(None, counts)) or 'no operations'}", "works")


def _edge(source: LayerRow | None, target: LayerRow, places: dict[str, int], lane: int) -> GraphEdge:
    """With a rate where the source fires; where a layer reads values, with the share of them that is not 0."""
    name = INPUT if source is None else source.name
    between = f"{name} to {target.name}"
    if source is not None and source.kind == "neuron":
        rate, tip = source.rate, f"{between}: {percent(source.rate)} of the neurons fire in a step"
    elif target.kind != "neuron" and target.rate:
        rate, tip = target.rate, f"{between}: {percent(target.rate)} of the values that it reads are not 0"
    else:
        return GraphEdge(places[name], places[target.name], lane, "", f"{between}: currents", None)
    return GraphEdge(places[name], places[target.name], lane, percent(rate), tip, rate)


def _lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """A track for every edge: 0 from one node to the next, else the first that no other edge takes beside the same nodes."""
    taken: list[list[tuple[int, int]]] = []
    lanes = [0] * len(spans)
    for i in sorted(range(len(spans)), key=lambda i: abs(spans[i][1] - spans[i][0])):
        low, high = sorted(spans[i])
        if spans[i][1] - spans[i][0] == 1:
            continue
        free = (n for n, lane in enumerate(taken) if all(high <= a or b <= low for a, b in lane))
        track = next(free, len(taken))
        if track == len(taken):
            taken.append([])
        taken[track].append((low, high))
        lanes[i] = track + 1
    return lanes
