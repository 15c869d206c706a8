"""Folding factors per channel into the weights on both sides of a layer, so that spikes are 0 and 1 and nothing is multiplied.

A network whose spikes stand for thresholds (`neurodeploy.dynamics.scaling`) multiplies spikes by a factor and divides currents
by one. Deployed, it does neither: `W (f · s)` is `(W f) s`, and a division goes into the weights that make the current.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import ops
from neurodeploy.graph.entry import as_normalization
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node
from neurodeploy.graph.transforms import fold_batch_norm

Factors: TypeAlias = NDArray[np.float64]


def fold_scales(graph: Graph) -> Graph:
    """The same network with its factors in its weights, batch norm folded.

    What divides the sum of two branches divides each of them; what scales the largest of a synapse's sums scales the sums. A
    factor moves on through pools, padding, slices and whatever
    else is homogeneous, into the next weights. Where it meets a sum or a join with another factor it becomes a depthwise
    convolution of size 1, which every target has, as does what remains between other layers; a factor of a vector stays. What
    samples are scaled and shifted by before all else becomes their normalisation.
    """
    graph = fold_batch_norm(graph)
    while (pushed := _pushed_back(graph)) is not None:
        graph = fold_batch_norm(_chained(pushed))
    return _as_synapses(as_normalization(_absorbed(_chained(graph))))


def _pushed_back(graph: Graph) -> Graph | None:
    """One scale and shift goes before the operation that it follows, if nothing else reads that; None if there is none."""
    for norm in graph.of(ops.BatchNormNode):
        before = graph[norm.inputs[0]]
        parts = _parts(graph, before, norm) if len(graph.consumers(before.name)) == 1 else None
        if parts is not None:
            break
    else:
        return None
    branches = [
        ops.BatchNormNode(
            name=norm.name if len(parts) == 1 else f"{norm.name}.{i}",
            inputs=(source,),
            scale=scale.astype(np.float32),
            shift=shift.astype(np.float32),
        )
        for i, (source, (scale, shift)) in enumerate(zip(before.inputs, parts, strict=True))
    ]
    members: list[Node] = []
    for node in graph.nodes:
        if node is before:
            members += [*branches, replace(before, inputs=tuple(branch.name for branch in branches))]
        elif node is not norm:
            members.append(_reading(node, {norm.name: before.name}))
    return Graph(members)


def _parts(graph: Graph, before: Node, norm: ops.BatchNormNode) -> list[tuple[Factors, Factors]] | None:
    """Scale and shift of each input of an operation that make up for those behind it; None if there are none."""
    scale, shift = norm.scale.astype(np.float64), norm.shift.astype(np.float64)
    shapes = [graph.shape(source) for source in before.inputs]
    channels = [shape[0] for shape in shapes]
    match before:
        case ops.AddNode():  # the shift goes where a synapse can take it
            takes = [_takes(graph, source) for source in before.inputs]
            taker = takes.index(True) if True in takes else 0
            return [(scale, shift if i == taker else np.zeros_like(shift)) for i in range(len(shapes))]
        case ops.ConcatNode(axis=0):
            ends = np.cumsum(channels)[:-1]
            return list(zip(np.split(scale, ends), np.split(shift, ends), strict=True))
        case ops.EncodeNode():
            return [(scale, shift)]
        case ops.MaxPoolNode() if (scale > 0).all():
            return [(scale, shift)]
        case ops.AvgPoolNode() if not (before.padded and before.count_padding and shift.any()):
            return [(scale, shift)]
        case ops.SliceNode():
            whole = np.ones(channels[0]), np.zeros(channels[0])
            whole[0][before.slices[0]], whole[1][before.slices[0]] = scale, shift
            return [whole]
        case ops.FlattenNode():
            rows = scale.reshape(channels[0], -1), shift.reshape(channels[0], -1)
            if all((row == row[:, :1]).all() for row in rows):
                return [(rows[0][:, 0], rows[1][:, 0])]
    return None


def _takes(graph: Graph, name: str) -> bool:
    return isinstance(graph[name], ops.Weighted) and len(graph.consumers(name)) == 1


def _chained(graph: Graph) -> Graph:
    """Two scales and shifts, one after the other, become one."""
    kept: dict[str, Node] = {}
    merged: dict[str, str] = {}
    for node in graph.nodes:
        current = _reading(node, merged)
        before = kept.get(current.inputs[0]) if current.inputs else None
        if (
            isinstance(current, ops.BatchNormNode)
            and isinstance(before, ops.BatchNormNode)
            and len(graph.consumers(node.inputs[0])) == 1
        ):
            kept[before.name] = _one_after_the_other(before, current)
            merged[node.name] = before.name
        else:
            kept[node.name] = current
    return Graph(kept.values())


def _one_after_the_other(first: ops.BatchNormNode, second: ops.BatchNormNode) -> ops.BatchNormNode:
    scale = first.scale.astype(np.float64) * second.scale
    shift = first.shift.astype(np.float64) * second.scale + second.shift
    return replace(first, scale=scale.astype(np.float32), shift=shift.astype(np.float32))


def _absorbed(graph: Graph) -> Graph:
    """Positive factors move from where they are to the weights that read them."""
    return _Absorbing(graph).result()


def _as_synapses(graph: Graph) -> Graph:
    """Of what remains between other layers of a spiking network, and is of channels with positions, depthwise convolutions."""
    if not graph.spiking:
        return graph
    return Graph(
        _depthwise(node.name, node.inputs, len(graph.shape(node.name)) - 1, node.scale, node.shift)
        if isinstance(node, ops.BatchNormNode)
        and len(graph.shape(node.name)) > 1
        and not isinstance(graph[node.inputs[0]], ops.InputNode)
        else node
        for node in graph.nodes
    )


def _depthwise(name: str, inputs: tuple[str, ...], axes: int, scale: Any, shift: Any) -> ops.ConvNode:
    one, none = (1,) * axes, (0,) * axes
    weight, bias = scale.reshape(-1, 1, *one), shift if shift.any() else None
    return ops.ConvNode(
        name=name, inputs=inputs, weight=weight, bias=bias, stride=one, padding=none, dilation=one, groups=len(weight)
    )


class _Absorbing:
    """A walk along the graph with the factors that the tensors so far lack.

    Attributes:
        members: the new nodes.
        sources: name in the old graph → name in the new one.
        lacking: name in the old graph → the factor of each channel that its tensor in the new one has still to be given.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.members: list[Node] = []
        self.sources: dict[str, str] = {}
        self.lacking: dict[str, Factors] = {}

    def result(self) -> Graph:
        for node in self.graph.nodes:
            self._enter(node)
        return Graph(self.members)

    def _enter(self, node: Node) -> None:
        factors = [self.lacking.get(source) for source in node.inputs]
        if isinstance(node, ops.BatchNormNode) and not node.shift.any() and (node.scale > 0).all():
            carried = node.scale.astype(np.float64)
            self.lacking[node.name] = carried if factors[0] is None else carried * factors[0]
            self.sources[node.name] = self.sources[node.inputs[0]]
            return
        if any(factor is not None for factor in factors):
            node = self._given(node, factors)
        self.sources[node.name] = node.name
        self.members.append(_reading(node, self.sources, keep=node.name))

    def _given(self, node: Node, factors: Sequence[Factors | None]) -> Node:
        """The node that makes up for what its inputs lack, or lacks the same itself."""
        (first, *others), kind = factors, type(node)
        if first is not None and kind in _WEIGHTS:
            return replace(node, **_WEIGHTS[kind](node, first))
        if isinstance(node, ops.BatchNormNode) and first is not None:
            return replace(node, scale=(node.scale * first).astype(np.float32))
        moved = self._moved(node, factors)
        if moved is not None:
            self.lacking[node.name] = moved
            return node
        for source, factor in zip(node.inputs, [first, *others], strict=True):
            if factor is not None:
                self._multiply(source, factor)
        return node

    def _moved(self, node: Node, factors: Sequence[Factors | None]) -> Factors | None:
        """The factors of what a homogeneous operation makes; None if it must be given its inputs whole."""
        shapes = [self.graph.shape(source) for source in node.inputs]
        full = [np.ones(shape[0]) if f is None else f for f, shape in zip(factors, shapes, strict=True)]
        first = full[0]
        match node:
            case ops.AvgPoolNode() | ops.MaxPoolNode() | ops.EncodeNode() | ops.TimeMeanNode() | ops.DelayNode():
                return first
            case ops.LowPassNode() | ops.ReluNode(ceiling=None):
                return first
            case ops.FlattenNode():
                return np.repeat(first, prod(shapes[0][1:]))
            case ops.PadNode():
                return np.pad(first, node.pads[0], constant_values=1)
            case ops.SliceNode():
                return first[node.starts[0] : node.stops[0] : node.steps[0]]
            case ops.ConcatNode(axis=0):
                return np.concatenate(full)
            case ops.AddNode() if all(np.array_equal(first, other) for other in full):
                return first
            case ops.ReshapeNode() | ops.PermuteNode() if (first == first[0]).all():
                return np.full(self.graph.shape(node.name)[0], first[0])
        return None

    def _multiply(self, source: str, factors: Factors) -> None:
        """A node that gives a tensor what it lacks."""
        shape, name = self.graph.shape(source), f"{source}.scale"
        weight, inputs = factors.astype(np.float32), (self.sources[source],)
        if len(shape) > 1:
            self.members.append(_depthwise(name, inputs, len(shape) - 1, weight, np.zeros_like(weight)))
        else:
            self.members.append(ops.BatchNormNode(name=name, inputs=inputs, scale=weight, shift=np.zeros_like(weight)))
        self.sources[source] = name
        del self.lacking[source]


def _reading(node: Node, names: dict[str, str], *, keep: str = "") -> Node:
    """The node with other inputs where they have other names."""
    inputs = tuple(source if source == keep else names.get(source, source) for source in node.inputs)
    return node if inputs == node.inputs else replace(node, inputs=inputs)


def _linear(node: Any, factors: Factors) -> dict[str, Any]:
    return {"weight": (node.weight * factors).astype(np.float32)}


def _convolution(node: Any, factors: Factors) -> dict[str, Any]:
    outputs, inputs = node.weight.shape[:2]
    grouped = node.weight.reshape(node.groups, outputs // node.groups, inputs, -1) * factors.reshape(node.groups, 1, inputs, 1)
    return {"weight": grouped.reshape(node.weight.shape).astype(np.float32)}


def _transposed(node: Any, factors: Factors) -> dict[str, Any]:
    return {"weight": (node.weight * factors.reshape(-1, *(1,) * (node.weight.ndim - 1))).astype(np.float32)}


_WEIGHTS: dict[type[Node], Callable[[Any, Factors], dict[str, Any]]] = {
    ops.LinearNode: _linear,
    ops.ConvNode: _convolution,
    ops.ConvTransposeNode: _transposed,
}
