"""The shape of each node's output, per sample, from the shapes of its inputs: one small rule per operation."""

from collections.abc import Callable
from math import prod
from typing import Any

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.io.errors import UserError

_RULES: dict[type, Callable[[Any, list[Shape]], Shape]] = {}


def output_shape(node: Node, inputs: list[Shape]) -> Shape:
    """Shape of `node`'s output.

    Raises:
        UserError: the inputs do not fit the node; the message names it.
    """
    if len(inputs) != node.arity:
        raise UserError(f"node {node.name}: {len(inputs)} inputs found, {node.arity} expected")
    return _RULES[type(node)](node, inputs)


def _rule(kind: type) -> Callable[[Callable[[Any, list[Shape]], Shape]], Callable[[Any, list[Shape]], Shape]]:
    def register(function: Callable[[Any, list[Shape]], Shape]) -> Callable[[Any, list[Shape]], Shape]:
        _RULES[kind] = function
        return function

    return register


@_rule(ops.InputNode)
def _input(node: ops.InputNode, _: list[Shape]) -> Shape:
    return node.shape


_SAME_SHAPE = (
    ops.EncodeNode,
    ops.NeuronNode,
    ops.LowPassNode,
    ops.DelayNode,
    ops.FixedPointNeuronNode,
    ops.ReluNode,
    ops.TimeMeanNode,
    ops.OutputNode,
)
for _kind in _SAME_SHAPE:
    _RULES[_kind] = lambda _node, inputs: inputs[0]


@_rule(ops.BatchNormNode)
def _batch_norm(node: ops.BatchNormNode, inputs: list[Shape]) -> Shape:
    if inputs[0][0] != len(node.scale):
        raise UserError(f"node {node.name}: {inputs[0][0]} channels found, {len(node.scale)} expected")
    return inputs[0]


@_rule(ops.ConvNode)
def _conv(node: ops.ConvNode, inputs: list[Shape]) -> Shape:
    (shape,), (out_channels, in_channels, *kernel) = inputs, node.weight.shape
    expected = in_channels * node.groups
    if len(shape) != len(kernel) + 1 or shape[0] != expected:
        raise UserError(
            f"node {node.name}: input of shape {shape} found, {expected} channels and {len(kernel)} spatial axes expected"
        )
    spatial = tuple(
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(shape[1:], kernel, node.stride, node.padding, node.dilation, strict=True)
    )
    if min(spatial) < 1:
        raise UserError(f"node {node.name}: input of shape {shape} is smaller than the kernel {tuple(kernel)}")
    return (out_channels, *spatial)


@_rule(ops.LinearNode)
def _linear(node: ops.LinearNode, inputs: list[Shape]) -> Shape:
    if inputs[0] != (node.weight.shape[1],):
        raise UserError(f"node {node.name}: input of shape {inputs[0]} found, ({node.weight.shape[1]},) expected")
    return (node.weight.shape[0],)


def _pool(node: ops.AvgPoolNode | ops.MaxPoolNode, inputs: list[Shape]) -> Shape:
    (shape,) = inputs
    if len(shape) != len(node.kernel) + 1 or any(s < k for s, k in zip(shape[1:], node.kernel, strict=True)):
        raise UserError(f"node {node.name}: input of shape {shape} does not fit a pooling window of {node.kernel}")
    sizes = zip(shape[1:], node.kernel, node.stride, strict=True)
    return (shape[0], *((size - k) // s + 1 for size, k, s in sizes))


_RULES[ops.AvgPoolNode] = _RULES[ops.MaxPoolNode] = _pool


@_rule(ops.FlattenNode)
def _flatten(_: ops.FlattenNode, inputs: list[Shape]) -> Shape:
    return (prod(inputs[0]),)


@_rule(ops.AddNode)
def _add(node: ops.AddNode, inputs: list[Shape]) -> Shape:
    if inputs[0] != inputs[1]:
        raise UserError(f"node {node.name}: inputs of shapes {inputs[0]} and {inputs[1]} found, equal shapes expected")
    return inputs[0]
