"""Folding batch norm and padding into synapses, and whether two graphs are the same network."""

from dataclasses import fields, replace
from math import prod
from typing import Any

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node, Shape


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


def fold_padding(graph: Graph) -> Graph:
    """Merge every `PadNode` over spatial axes alone into the convolution that alone reads it.

    Where it pads both ends alike the convolution's own padding grows; else the kernel grows by zeros too (see `symmetric`).
    Padding of channels, and padding that is read by others too, stays.
    """
    pads: dict[str, ops.PadNode] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        readers = graph.consumers(node.name)
        if isinstance(node, ops.PadNode) and not any(node.pads[0]) and [type(reader) for reader in readers] == [ops.ConvNode]:
            pads[node.name] = node
        elif isinstance(node, ops.ConvNode) and node.inputs[0] in pads:
            kept.append(_padded(graph, pads[node.inputs[0]], node))
        else:
            kept.append(node)
    return Graph(kept)


def _padded(graph: Graph, pad: ops.PadNode, conv: ops.ConvNode) -> ops.ConvNode:
    before = tuple(number + p for (number, _), p in zip(pad.pads[1:], conv.padding, strict=True))
    outputs, shape = graph.shape(conv.name)[1:], graph.shape(pad.inputs[0])[1:]
    weight, padding, dilation = symmetric(conv.weight, shape, conv.dilation, conv.stride, before, outputs)
    return replace(conv, inputs=pad.inputs, weight=weight, padding=padding, dilation=dilation)


def symmetric(
    weight: Any, shape: Shape, dilation: Shape, stride: Shape, before: Shape, outputs: Shape
) -> tuple[Any, Shape, Shape]:
    """A convolution that pads both ends of each axis by one number, and computes what one with two numbers does.

    `y[o] = Σ_j w[j] x[s o + d j − a]`, `o = 0 … O − 1`, with zeros outside of the n values of x, reads
    `b = s (O − 1) + d (K − 1) + 1 − n − a` values behind the last. With padding p = max(a, b, 0) instead of a, the kernel
    begins with p − a zeros, and ends with as many as keep the number of outputs at O.

    Args:
        weight: `[C_out, C_in / groups, *kernel]`.
        shape: n of each axis.
        dilation, stride: d and s.
        before: a, which may be negative: the first values are not read then.
        outputs: O.

    Returns:
        Weight, padding, and dilation: 1 along axes whose kernel has grown.
    """
    padding, dilations = [], []
    for axis, (n, d, s, a, count) in enumerate(zip(shape, dilation, stride, before, outputs, strict=True)):
        taps = weight.shape[2 + axis]
        extent = d * (taps - 1) + 1
        p = max(a, s * (count - 1) + extent - n - a, 0)
        first = p - a
        last = max(0, n + p + a - extent - s * count + 1)
        if first or last:
            sizes = list(weight.shape)
            sizes[2 + axis] = first + extent + last
            longer = np.zeros(sizes, weight.dtype)
            longer[(slice(None),) * (2 + axis) + (slice(first, first + extent, d),)] = weight
            weight, d = longer, 1
        padding.append(p)
        dilations.append(d)
    return weight, tuple(padding), tuple(dilations)


def ungrouped(weight: Any, groups: int) -> Any:
    """`[C_out, C_in / groups, *kernel]` → `[C_out, C_in, *kernel]`, with zeros between the groups of channels."""
    if groups == 1:
        return weight
    outputs, inputs, *kernel = weight.shape
    spread = np.zeros((groups, outputs // groups, groups, inputs, prod(kernel)), weight.dtype)
    number = np.arange(groups)
    spread[number, :, number] = weight.reshape(groups, outputs // groups, inputs, -1)
    return spread.reshape(outputs, groups * inputs, *kernel)


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
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return type(a) is type(b) and bool(a == b)
