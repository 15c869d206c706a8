"""Where the chip ends: behind the last spikes, or behind the last synapse, whose currents then leave it as graded values."""

from collections.abc import Collection, Sequence
from typing import Literal

from neurodeploy.graph import Graph, Part, Partition, nodes, partition
from neurodeploy_exporters.lava.wiring import Readout

Choice = Literal["last-spike", "last-synapse"]


def moved(graph: Graph, head: Part, found: Sequence[Readout]) -> frozenset[str]:
    """The nodes of the head that the host need not compute, were the chip to end behind the last synapse."""
    return frozenset({*head.members} - left(graph, found))


def left(graph: Graph, found: Sequence[Readout]) -> frozenset[str]:
    """The nodes that the host computes nevertheless."""
    made = {readout.name for readout in found}
    return frozenset(_back(graph, [graph.output.name], stop={*graph.spiking, *made}))


def cut(graph: Graph, graded: Collection[str] = ()) -> Partition:
    """The parts of a quantised graph.

    Args:
        graph: of `quantize.QuantizedBody`.
        graded: tensors that leave the chip as numbers; what they depend on is computed there.
    """
    parts = partition(graph)
    if not graded or parts.body is None:
        return parts
    body, head = parts.body, parts.head
    inside = _back(graph, graded, stop=graph.spiking)
    outside = _back(graph, [graph.output.name], stop={*graph.spiking, *graded})
    read = {source for name in outside for source in graph[name].inputs} - outside
    made = {*body.members, *inside}
    return Partition(
        encoder=parts.encoder,
        body=Part("body", _in_order(graph, made), body.inputs, _in_order(graph, read & made)),
        head=Part("head", _in_order(graph, outside), _in_order(graph, read), head.outputs),
    )


def _back(graph: Graph, tensors: Collection[str], *, stop: Collection[str]) -> set[str]:
    """The nodes that make some tensors, up to those that others have made."""
    found: set[str] = set()
    pending = list(tensors)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += [source for source in graph[name].inputs if source not in stop and not _enters(graph, source)]
    return found


def _enters(graph: Graph, name: str) -> bool:
    return isinstance(graph[name], nodes.Input)


def _in_order(graph: Graph, names: Collection[str]) -> tuple[str, ...]:
    return tuple(node.name for node in graph.nodes if node.name in names)
