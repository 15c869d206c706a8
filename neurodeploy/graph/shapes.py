"""The shape of each node's output, per sample, from the shapes of its inputs: one small rule per operation."""

from collections.abc import Callable
from math import prod
from typing import Any

from neurodeploy.graph import nodes
from neurodeploy.graph.nodes import Node, Shape
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


@_rule(nodes.Input)
def _input(node: nodes.Input, _: list[Shape]) -> Shape:
    return node.shape


_SAME_SHAPE = (
    nodes.Encode,
    nodes.Neuron,
    nodes.LowPass,
    nodes.Delay,
    nodes.FixedPointNeuron,
    nodes.Relu,
    nodes.TimeMean,
    nodes.Output,
)
for _kind in _SAME_SHAPE:
    _RULES[_kind] = lambda _node, inputs: inputs[0]


@_rule(nodes.BatchNorm)
def _batch_norm(node: nodes.BatchNorm, inputs: list[Shape]) -> Shape:
    if inputs[0][0] != len(node.scale):
        raise UserError(f"node {node.name}: {inputs[0][0]} channels found, {len(node.scale)} expected")
    return inputs[0]


@_rule(nodes.Conv)
def _conv(node: nodes.Conv, inputs: list[Shape]) -> Shape:
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


@_rule(nodes.Linear)
def _linear(node: nodes.Linear, inputs: list[Shape]) -> Shape:
    if inputs[0] != (node.weight.shape[1],):
        raise UserError(f"node {node.name}: input of shape {inputs[0]} found, ({node.weight.shape[1]},) expected")
    return (node.weight.shape[0],)


def _pool(node: nodes.AvgPool | nodes.MaxPool, inputs: list[Shape]) -> Shape:
    (shape,) = inputs
    if len(shape) != len(node.kernel) + 1 or any(s < k for s, k in zip(shape[1:], node.kernel, strict=True)):
        raise UserError(f"node {node.name}: input of shape {shape} does not fit a pooling window of {node.kernel}")
    sizes = zip(shape[1:], node.kernel, node.stride, strict=True)
    return (shape[0], *((size - k) // s + 1 for size, k, s in sizes))


_RULES[nodes.AvgPool] = _RULES[nodes.MaxPool] = _pool


@_rule(nodes.Flatten)
def _flatten(_: nodes.Flatten, inputs: list[Shape]) -> Shape:
    return (prod(inputs[0]),)


@_rule(nodes.Add)
def _add(node: nodes.Add, inputs: list[Shape]) -> Shape:
    if inputs[0] != inputs[1]:
        raise UserError(f"node {node.name}: inputs of shapes {inputs[0]} and {inputs[1]} found, equal shapes expected")
    return inputs[0]
