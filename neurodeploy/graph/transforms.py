"""Folding batch norm into the synapse before it, and whether two graphs are the same network."""

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
