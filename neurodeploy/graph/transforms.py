"""Graphs made of graphs: batch norm folded, nodes put in front; and whether two graphs are the same network."""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node


def fold_batch_norm(graph: Graph) -> Graph:
    """Merge every batch norm that directly follows a convolution or linear layer into its weights and bias.

    `w' = scale · w`, `b' = scale · b + shift`, per output channel, computed in float64. A batch norm with another layer
    before it, or whose synapse is read elsewhere too, stays.
    """
    folded: dict[str, Node] = {}
    merged: dict[str, str] = {}
    for node in graph.nodes:
        current = replace(node, inputs=tuple(merged.get(source, source) for source in node.inputs))
        if isinstance(current, ops.BatchNormNode):
            before = folded[current.inputs[0]]
            if isinstance(before, ops.Weighted) and len(graph.consumers(before.name)) == 1:
                folded[before.name] = _merge(before, current)
                merged[node.name] = before.name
                continue
        folded[node.name] = current
    return Graph(folded.values())


def _merge(synapse: ops.Weighted, norm: ops.BatchNormNode) -> ops.Weighted:
    scale = norm.scale.astype(np.float64)
    bias = norm.shift + scale * (0 if synapse.bias is None else synapse.bias)
    return replace(synapse.scaled(scale), bias=bias.astype(np.float32))


def entering(graph: Graph, node: Node) -> Graph:
    """The graph with one node more, which its samples go through first, or right after their normalisation.

    Args:
        graph: the network.
        node: reads one tensor; its `inputs` are set here, and its name gets a number where a layer has it already.
    """
    first = next(iter(graph.of(ops.NormalizeNode)), None)
    place: Node = graph.input if first is None or first.inputs != (graph.input.name,) else first
    name, number = node.name, 1
    while name in graph:
        number += 1
        name = f"{node.name}{number}"
    made: list[Node] = []
    for one in graph.nodes:
        if one is place:
            made += [one, replace(node, name=name, inputs=(one.name,))]
        else:
            made.append(replace(one, inputs=tuple(name if source == place.name else source for source in one.inputs)))
    return Graph(made)


def without(graph: Graph, name: str) -> Graph:
    """The graph without a node of one input: what reads it reads that."""
    (source,) = graph[name].inputs
    return Graph(
        replace(one, inputs=tuple(source if read == name else read for read in one.inputs))
        for one in graph.nodes
        if one.name != name
    )


def fold_normalization(graph: Graph) -> Graph:
    """Merge the normalisation of samples into the weights of the layers that read it.

    `w' = w / std`, `b' = b - Σ w · mean / std`, computed in float64. It stays where a layer has zeros around its input, which
    are zeros after the normalisation and would be others before it, or where something else than a synapse reads it.
    """
    normal = next(iter(graph.of(ops.NormalizeNode)), None)
    if normal is None or not all(_takes_normalization(node) for node in graph.consumers(normal.name)):
        return graph
    merged = {node.name: _normalising(node, normal) for node in graph.consumers(normal.name) if isinstance(node, ops.Weighted)}
    return without(Graph(merged.get(node.name, node) for node in graph.nodes), normal.name)


def _takes_normalization(node: Node) -> bool:
    return isinstance(node, ops.LinearNode) or (isinstance(node, ops.ConvNode) and not any(node.padding))


def _normalising(synapse: ops.Weighted, normal: ops.NormalizeNode) -> ops.Weighted:
    weight = synapse.weight.astype(np.float64)
    channels = weight.shape[1] * getattr(synapse, "groups", 1)
    mean, std = (np.broadcast_to(values.astype(np.float64), channels) for values in (normal.mean, normal.std))
    # the channels that each output reads: all of them, or those of its group
    groups = channels // weight.shape[1]
    read = np.repeat(np.arange(channels).reshape(groups, -1), len(weight) // groups, axis=0)
    axes = (1,) * (weight.ndim - 2)
    scaled = weight / std[read].reshape(*read.shape, *axes)
    bias = -(scaled * mean[read].reshape(*read.shape, *axes)).reshape(len(weight), -1).sum(1)
    bias += 0 if synapse.bias is None else synapse.bias
    return replace(synapse, weight=scaled.astype(np.float32), bias=bias.astype(np.float32))


def differences(one: Graph, other: Graph) -> tuple[str, ...]:
    """What differs, one sentence per node and field; empty if both hold the same nodes in the same order, bit for bit."""
    found = []
    names = [node.name for node in one.nodes], [node.name for node in other.nodes]
    if names[0] != names[1]:
        lacking = [name for name in names[0] if name not in other] or [name for name in names[1] if name not in one]
        return (f"node {lacking[0]}: in one graph alone" if lacking else "the nodes come in another order",)
    for node in one.nodes:
        twin = other[node.name]
        if type(node) is not type(twin):
            found.append(f"node {node.name}: {node.kind} and {twin.kind}")
            continue
        for field in fields(node):
            if not _equal(getattr(node, field.name), getattr(twin, field.name)):
                found.append(f"node {node.name}: field {field.name} differs")
    return tuple(found)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and bool(a == b)
