"""What samples go through before the first layer: nodes put there, taken out again, and folded into the layer after them."""

from dataclasses import replace

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node


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


def as_normalization(graph: Graph) -> Graph:
    """A factor and an offset that samples get before all else, as where a module normalises them itself, as a normalisation.

    Its values are off the grid of the samples, so an exact export rounds inputs after it, as it does after any normalisation.
    Of several inputs none is known to be the one that is normalised: then it stays what it is.
    """
    readers = [] if len(graph.inputs) > 1 else graph.consumers(graph.input.name)
    if len(readers) != 1:
        return graph
    norm = readers[0]
    if not isinstance(norm, ops.BatchNormNode) or not (norm.scale > 0).all():
        return graph
    inverse = 1 / norm.scale.astype(np.float64)
    with np.errstate(over="ignore"):
        mean, std = (-norm.shift * inverse).astype(np.float32), inverse.astype(np.float32)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        return graph
    normal = ops.NormalizeNode(name=norm.name, inputs=norm.inputs, mean=mean, std=std)
    return Graph(normal if node is norm else node for node in graph.nodes)


def fold_normalization(graph: Graph) -> Graph:
    """Merge the normalisation of samples into the weights of the layers that read it.

    `w' = w / std`, `b' = b - Σ w · mean / std`, computed in float64. It stays where a layer has zeros around its input, which
    are zeros after the normalisation and would be others before it, or where something else than a synapse reads it.
    """
    normal = next(iter(graph.of(ops.NormalizeNode)), None)
    readers = [] if normal is None else _readers(graph, normal.name)
    if normal is None or not all(_takes_normalization(node) for node in readers):
        return graph
    merged = {node.name: _normalising(node, normal) for node in readers if isinstance(node, ops.Weighted)}
    return without(Graph(merged.get(node.name, node) for node in graph.nodes), normal.name)


def _readers(graph: Graph, name: str) -> list[Node]:
    """What reads a tensor, at once or at every step."""
    found: list[Node] = []
    for node in graph.consumers(name):
        found += _readers(graph, node.name) if isinstance(node, ops.EncodeNode) else [node]
    return found


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
