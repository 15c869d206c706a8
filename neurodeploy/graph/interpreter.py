"""The reference interpreter: runs a graph in numpy, float32, one small rule per operation. Slow and plain on purpose."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import CubaParameters, cuba_step, neuron_step, synapse_step
from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.io.errors import UserError

Array: TypeAlias = NDArray[np.float32]

_RULES: dict[type, Callable[..., Array]] = {}


def run(graph: Graph, samples: Array, *, steps: int | None = None) -> dict[str, Array]:
    """Compute every tensor of the graph.

    Args:
        graph: the network.
        samples: `[B, *shape]`, or `[T, B, *shape]` for a timed input; see `graph.input`.
        steps: T for a static input; the one that the network was trained with if None.

    Returns:
        tensor name → float32 array, `[T, B, …]` if timed, else `[B, …]`.

    Raises:
        UserError: the samples do not have the shape that the graph expects.
    """
    leading = 2 if graph.input.timed else 1
    if samples.ndim != leading + len(graph.input.shape) or samples.shape[leading:] != graph.input.shape:
        expected = ", ".join([*["T", "B"][2 - leading :], *map(str, graph.input.shape)])
        raise UserError(f"input: shape {samples.shape} found, [{expected}] expected")
    tensors: dict[str, Array] = {}
    for node in graph.nodes:
        if isinstance(node, ops.InputNode):
            tensors[node.name] = samples.astype(np.float32)
        elif isinstance(node, ops.EncodeNode):
            x = tensors[node.inputs[0]]
            tensors[node.name] = np.broadcast_to(x, (steps or node.steps, *x.shape))
        else:
            inputs = [tensors[source] for source in node.inputs]
            tensors[node.name] = _apply(node, inputs, folded=graph.timed(node.inputs[0]))
    return tensors


def spikes(graph: Graph, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Of the tensors of `run`, those that spiking layers made: layer name → `[T, B, …]`."""
    return {node.name: tensors[node.name] for node in graph.nodes if isinstance(node, ops.Spiking)}


def _apply(node: ops.Node, inputs: list[Array], *, folded: bool) -> Array:
    if isinstance(node, ops.Recurrent | ops.TimeMeanNode):
        return _RULES[type(node)](node, *inputs)
    if not folded:
        return _RULES[type(node)](node, *inputs)
    steps, batch = inputs[0].shape[:2]
    result = _RULES[type(node)](node, *(x.reshape(steps * batch, *x.shape[2:]) for x in inputs))
    return result.reshape(steps, batch, *result.shape[1:])


def _rule(kind: type) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    def register(function: Callable[..., Array]) -> Callable[..., Array]:
        _RULES[kind] = function
        return function

    return register


def _per_channel(values: Array, like: Array) -> Array:
    return values.reshape(1, -1, *(1,) * (like.ndim - 2))


@_rule(ops.ConvNode)
def _conv(node: ops.ConvNode, x: Array) -> Array:
    kernel, axes = node.weight.shape[2:], tuple(range(2, x.ndim))
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in node.padding)])
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, node.dilation, strict=True))
    windows: Any = sliding_window_view(padded, extent, axis=axes)
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in node.stride))]
    windows = windows[(..., *(slice(None, None, d) for d in node.dilation))]
    batch, channels = x.shape[:2]
    spatial, groups = windows.shape[2 : 2 + len(axes)], node.groups
    # [B, C, *out, *kernel] → [groups, B·out, C/groups·kernel], one matrix product per group
    windows = windows.reshape(batch, groups, channels // groups, *spatial, *kernel)
    order = (1, 0, *range(3, 3 + len(axes)), 2, *range(3 + len(axes), 3 + 2 * len(axes)))
    rows = windows.transpose(order).reshape(groups, batch * int(np.prod(spatial)), -1)
    y = rows @ node.weight.reshape(groups, len(node.weight) // groups, -1).transpose(0, 2, 1)
    y = y.reshape(groups, batch, *spatial, -1)
    y = np.moveaxis(y, (0, -1), (1, 2)).reshape(batch, len(node.weight), *spatial)
    return y if node.bias is None else y + _per_channel(node.bias, y)


@_rule(ops.LinearNode)
def _linear(node: ops.LinearNode, x: Array) -> Array:
    y = x @ node.weight.T
    return y if node.bias is None else y + node.bias


@_rule(ops.BatchNormNode)
def _batch_norm(node: ops.BatchNormNode, x: Array) -> Array:
    return x * _per_channel(node.scale, x) + _per_channel(node.shift, x)


@_rule(ops.NeuronNode)
def _neuron(node: ops.NeuronNode, current: Array) -> Array:
    v, emitted = np.zeros_like(current[0]), np.empty_like(current)
    for t, current_t in enumerate(current):
        emitted[t], v = neuron_step(v, current_t, node.parameters, lambda h, theta: (h > theta).astype(np.float32))
    return emitted


@_rule(ops.LowPassNode)
def _low_pass(node: ops.LowPassNode, x: Array) -> Array:
    i, currents = np.zeros_like(x[0]), np.empty_like(x)
    for t, x_t in enumerate(x):
        currents[t] = i = synapse_step(i, x_t, node.decay)
    return currents


@_rule(ops.DelayNode)
def _delay(node: ops.DelayNode, x: Array) -> Array:
    late = np.zeros_like(x)
    late[node.steps :] = x[: max(0, len(x) - node.steps)]
    return late


@_rule(ops.FixedPointNeuronNode)
def _fixed_point_neuron(node: ops.FixedPointNeuronNode, current: Array) -> Array:
    parameters = CubaParameters(node.i_decay, node.v_decay, node.threshold)
    u, emitted = np.zeros(current.shape[1:], np.int64), np.empty_like(current)
    v = np.zeros_like(u)
    for t, current_t in enumerate(current):
        emitted[t], u, v = cuba_step(u, v, current_t.astype(np.int64), parameters)
    return emitted


@_rule(ops.ReluNode)
def _relu(_: ops.ReluNode, x: Array) -> Array:
    return np.maximum(x, 0)


def _windows(node: ops.AvgPoolNode | ops.MaxPoolNode, x: Array) -> Any:
    windows = sliding_window_view(x, node.kernel, axis=tuple(range(2, x.ndim)))
    return windows[(slice(None), slice(None), *(slice(None, None, s) for s in node.stride))]


@_rule(ops.AvgPoolNode)
def _avg_pool(node: ops.AvgPoolNode, x: Array) -> Array:
    mean: Array = _windows(node, x).mean(tuple(range(-len(node.kernel), 0)), dtype=np.float32)
    return mean


@_rule(ops.MaxPoolNode)
def _max_pool(node: ops.MaxPoolNode, x: Array) -> Array:
    largest: Array = _windows(node, x).max(tuple(range(-len(node.kernel), 0)))
    return largest


@_rule(ops.FlattenNode)
def _flatten(_: ops.FlattenNode, x: Array) -> Array:
    return x.reshape(len(x), -1)


@_rule(ops.AddNode)
def _add(_: ops.AddNode, a: Array, b: Array) -> Array:
    return a + b


@_rule(ops.TimeMeanNode)
def _time_mean(_: ops.TimeMeanNode, x: Array) -> Array:
    mean: Array = x.mean(0, dtype=np.float32)
    return mean


@_rule(ops.OutputNode)
def _output(_: ops.OutputNode, x: Array) -> Array:
    return x
