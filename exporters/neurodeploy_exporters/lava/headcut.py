"""Where the chip ends: behind the last spikes, or behind the last synapse, whose currents then leave it as graded values;
and what both cost, counted on data."""

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from neurodeploy.graph import Graph, Part, Partition, ops, partition
from neurodeploy_exporters.bundle import HeadCost, HeadCut
from neurodeploy_exporters.lava.calibration import delivered
from neurodeploy_exporters.lava.rounding import at_scale, candidates, readout_target
from neurodeploy_exporters.lava.wiring import Readout

Choice = Literal["last-spike", "last-synapse"]


def moved(graph: Graph, head: Part, readouts: Sequence[Readout]) -> frozenset[str]:
    """The nodes of the head that the host need not compute, were the chip to end behind the last synapse."""
    return frozenset({*head.members} - left(graph, readouts))


def left(graph: Graph, readouts: Sequence[Readout]) -> frozenset[str]:
    """The nodes that the host computes nevertheless."""
    made = {readout.name for readout in readouts}
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
    # what crosses is what the host reads and does not make, even where both sides compute a sum of the same spikes
    read = {source for name in outside for source in graph[name].inputs} - outside
    made = {*body.members, *inside}
    return Partition(
        encoder=parts.encoder,
        body=Part("body", _in_order(graph, made), body.inputs, _in_order(graph, read & made)),
        head=Part("head", _in_order(graph, outside), _in_order(graph, read), head.outputs),
    )


def _back(graph: Graph, tensors: Collection[str], *, stop: Collection[str]) -> set[str]:
    """The nodes that make some tensors, up to those that others have made."""
    nodes: set[str] = set()
    pending = list(tensors)
    while pending:
        name = pending.pop()
        if name not in nodes:
            nodes.add(name)
            pending += [source for source in graph[name].inputs if source not in stop and source != graph.input.name]
    return nodes


def _in_order(graph: Graph, names: Collection[str]) -> tuple[str, ...]:
    return tuple(node.name for node in graph.nodes if node.name in names)


def head_costs(
    graph: Graph,
    parts: Partition,
    readouts: Sequence[Readout],
    tensors: Mapping[str, NDArray[Any]],
    steps: int,
    chosen: Choice,
    why: str = "",
) -> HeadCut:
    """Count both choices.

    Args:
        graph: the trained network.
        parts: of it, cut behind the last spikes.
        readouts: the synapses of the head that the chip could compute; may be empty.
        tensors: spiking layer, or input of events → `[T, B, …]`, what the exported network fires on the sample.
        steps: T.
        chosen: the choice made.
        why: in a sentence, where it was not asked for.
    """
    assert parts.body is not None
    samples = next(iter(tensors.values())).shape[1]
    from_chip = [name for name in parts.head.inputs if name in parts.body.outputs]
    macs = sum(_dense(graph, graph[name]) for name in moved(graph, parts.head, readouts))
    spikes = sum(float(tensors[name].sum()) for name in from_chip) / samples
    nothing = dict.fromkeys(("graded_values", "synaptic_operations", "neuron_updates", "neuron_updates_active"), 0.0)
    last_spike = HeadCost(spikes=spikes, multiply_accumulates=float(macs * steps), **nothing)
    last_synapse = _on_chip(graph, parts, readouts, tensors, steps) if readouts else None
    return HeadCut(chosen=chosen, why=why, last_spike=last_spike, last_synapse=last_synapse)


def _on_chip(
    graph: Graph,
    parts: Partition,
    readouts: Sequence[Readout],
    tensors: Mapping[str, NDArray[Any]],
    steps: int,
) -> HeadCost:
    samples = next(iter(tensors.values())).shape[1]
    assert parts.body is not None
    read = {source for name in left(graph, readouts) for source in graph[name].inputs} & {*parts.body.outputs}
    operations, updates, active, values = 0.0, 0, 0, 0
    for readout in readouts:
        current: Any = 0
        target = readout_target(readout, steps)
        for afferent, parallel in zip(readout.afferents, at_scale(target, candidates(target)[0]).parallel, strict=True):
            spikes = torch.from_numpy(np.ascontiguousarray(tensors[afferent.source], np.uint8))
            synapses = delivered(afferent, spikes, np.ones(afferent.node.weight.shape))
            operations += parallel * float(synapses.sum(dtype=torch.float64))
            current = current + synapses
        size = prod(readout.shape)
        updates += size * steps
        active += int((current != 0).sum())
        values += size if readout.integrates else size * steps
    return HeadCost(
        spikes=sum(float(tensors[name].sum()) for name in read) / samples,
        graded_values=float(values),
        synaptic_operations=operations / samples,
        neuron_updates=float(updates),
        neuron_updates_active=active / samples,
        multiply_accumulates=float(values),
    )


def _dense(graph: Graph, node: ops.Node) -> int:
    """Multiply-accumulates of one evaluation; what meets the padding is none, as in energy reports."""
    if isinstance(node, ops.ConvNode):
        read, made = graph.shape(node.inputs[0])[1:], graph.shape(node.name)[1:]
    elif isinstance(node, ops.ConvTransposeNode):  # the other way around
        read, made = graph.shape(node.name)[1:], graph.shape(node.inputs[0])[1:]
    else:
        return node.weight.size if isinstance(node, ops.LinearNode) else 0
    axes = zip(made, read, node.weight.shape[2:], node.stride, node.padding, node.dilation, strict=True)
    return prod(node.weight.shape[:2]) * prod(_taps(*axis) for axis in axes)


def _taps(places: int, size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pairs of a window's place and a tap that meet a value, along one axis of that `size`."""
    at = np.arange(places)[:, None] * stride + np.arange(kernel) * dilation - padding
    return int(((at >= 0) & (at < size)).sum())
