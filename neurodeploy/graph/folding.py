"""Folding batch norm into the synapse layer before it: the deployed network has none."""

from dataclasses import replace

import numpy as np

from neurodeploy.graph import nodes
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.nodes import Node


def fold_batch_norm(graph: Graph) -> Graph:
    """Merge every batch norm that directly follows a convolution or linear layer into its weights and bias.

    `w' = scale · w`, `b' = scale · b + shift`, per output channel, computed in float64. A batch norm with another layer
    before it, or whose synapse is read elsewhere too, stays.
    """
    folded: dict[str, Node] = {}
    merged: dict[str, str] = {}
    for node in graph.nodes:
        current = replace(node, inputs=tuple(merged.get(source, source) for source in node.inputs))
        if isinstance(current, nodes.BatchNorm):
            before = folded[current.inputs[0]]
            if isinstance(before, nodes.Conv | nodes.Linear) and len(graph.consumers(before.name)) == 1:
                folded[before.name] = _merge(before, current)
                merged[node.name] = before.name
                continue
        folded[node.name] = current
    return Graph(folded.values())


def _merge(synapse: nodes.Conv | nodes.Linear, norm: nodes.BatchNorm) -> nodes.Conv | nodes.Linear:
    scale = norm.scale.astype(np.float64)
    weight = synapse.weight * scale.reshape(-1, *(1,) * (synapse.weight.ndim - 1))
    bias = norm.shift + scale * (0 if synapse.bias is None else synapse.bias)
    return replace(synapse, weight=weight.astype(np.float32), bias=bias.astype(np.float32))
