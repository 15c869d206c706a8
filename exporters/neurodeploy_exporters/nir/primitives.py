"""One rule per node of a graph: the NIR nodes that compute it.

Neurons are written for a reader that steps NIR's equations forward by Euler's method with the step `dt`: `τ v̇ = −v + R I` then
is `v ← λ v + (1 − λ) R I` with `τ = dt / (1 − λ)`. LIF nodes have R = 1 and the threshold `(1 − λ) θ`: our update, with
potentials in a unit of their own. (Norse's reader takes R for 1 whatever is written.) Where there is no threshold, or a
synaptic current, `R = τ / dt` makes the gain 1; without leak it is `v̇ = R I` with `R = 1 / dt`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.ops import Shape
from neurodeploy.graph.standard import leaky, why_not
from neurodeploy.graph.table import Table
from neurodeploy.graph.transforms import ungrouped
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import Primitive, Value

_MOST_WEIGHTS = 1 << 26  # that readers take of one node


class NoNirForm(UserError):
    """NIR has no node for what a node of a graph computes."""


@dataclass(frozen=True)
class Context:
    """What a rule sees beside its node.

    Attributes:
        graph: that is written.
        dt: seconds of one time step.
        currents: neuron → decay of the synaptic current that is written in one node with it.
        binary: tensors of which every value is 0 or 1.
    """

    graph: Graph
    dt: float
    currents: dict[str, float] = field(default_factory=dict)
    binary: frozenset[str] = frozenset()


OPERATIONS: Table[Callable[[Context, Any], list[Primitive]]] = Table("in NIR", "export to ONNX instead", NoNirForm)
"""Of a node: the NIR nodes of it, the first reading its inputs, each later one the one before it; none if edges are enough."""

OPERATIONS.lack(ops.Spiking, "it has IF, LIF and CubaLIF neurons alone: train those, or export to ONNX instead")
OPERATIONS.refuse(ops.ReluNode, "a ReLU found, which NIR does not have; export to ONNX instead")
OPERATIONS.refuse(
    ops.PadNode,
    "padding found that no convolution alone reads, or of channels, which NIR does not have; put it right before a "
    "convolution, or export to ONNX instead",
)
OPERATIONS.lack(ops.SliceNode, "put a stride in its place, or export to ONNX instead")
OPERATIONS.lack(ops.ConcatNode, "put a sum in its place, or export to ONNX instead")
OPERATIONS.lack(ops.Moving, "put a flatten right before a linear layer in its place, or export to ONNX instead")
OPERATIONS.lack(ops.ConvTransposeNode, "export to ONNX instead")
OPERATIONS.lack(ops.MultiplyNode, "it has no products of two signals: export to ONNX instead")
OPERATIONS.lack(ops.MatMulNode, "it has no products of two signals: export to ONNX instead")


def _shape(shape: Shape) -> NDArray[np.int64]:
    return np.array(shape, np.int64)


@OPERATIONS.rule(ops.InputNode)
def _input(_: Context, node: ops.InputNode) -> list[Primitive]:
    return [Primitive("Input", {"shape": _shape(node.shape)})]


@OPERATIONS.rule(ops.OutputNode)
def _output(context: Context, node: ops.OutputNode) -> list[Primitive]:
    return [output(context.graph.shape(node.name))]


def output(shape: Shape) -> Primitive:
    """Where values of this shape leave."""
    return Primitive("Output", {"shape": _shape(shape)})


@OPERATIONS.rule(ops.EncodeNode, ops.AddNode, ops.TimeMeanNode, ops.QuantizeNode)
def _edges(_: Context, __: ops.Node) -> list[Primitive]:
    """None: sums are edges, NIR knows nothing but sequences, and no rounding; the metadata say to what inputs are rounded."""
    return []


OPERATIONS.lack(ops.NormalizeNode, "normalise the samples before they are given to the network, or export to ONNX")


@OPERATIONS.rule(ops.LinearNode)
def _linear(_: Context, node: ops.LinearNode) -> list[Primitive]:
    """With zeros where there is no bias: sinabs passes over Linear nodes without a word."""
    bias = np.zeros(len(node.weight), np.float32) if node.bias is None else node.bias
    return [Primitive("Affine", {"weight": node.weight, "bias": bias})]


@OPERATIONS.rule(ops.ConvNode)
def _conv(context: Context, node: ops.ConvNode) -> list[Primitive]:
    bias = np.zeros(len(node.weight), np.float32) if node.bias is None else node.bias
    return [
        _convolution(
            node.name,
            context.graph.shape(node.inputs[0]),
            node.weight,
            bias,
            (node.stride, node.padding, node.dilation),
            node.groups,
        )
    ]


@OPERATIONS.rule(ops.BatchNormNode)
def _batch_norm(context: Context, node: ops.BatchNormNode) -> list[Primitive]:
    """One multiplication and one addition per value: a convolution of kernel 1 that keeps the channels apart."""
    shape = context.graph.shape(node.inputs[0])
    axes = len(shape) - 1
    if axes not in (1, 2):
        raise NoNirForm(f"node {node.name}: batch norm over {axes} spatial axes found; fold it into the layer before it")
    weight = node.scale.reshape(-1, *(1,) * (1 + axes))
    return [_convolution(node.name, shape, weight, node.shift, ((1,) * axes, (0,) * axes, (1,) * axes), len(weight))]


def _convolution(
    name: str,
    shape: Shape,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    geometry: tuple[Shape, Shape, Shape],
    groups: int,
) -> Primitive:
    """Without metadata: versions of the `nir` package up to 1.0.4 refuse those of a convolution."""
    axes = weight.ndim - 2
    if axes not in (1, 2):
        raise NoNirForm(f"node {name}: sums over {axes} spatial axes found, 1 or 2 expected in NIR; export to ONNX instead")
    pick: Callable[[Shape], Value] = (lambda pair: np.array(pair[0])) if axes == 1 else (lambda pair: np.array(pair))
    stride, padding, dilation = map(pick, geometry)
    if weight.size * groups > _MOST_WEIGHTS:
        raise NoNirForm(
            f"node {name}: {groups} groups found, too large to be written as a plain convolution; export to ONNX instead"
        )
    fields: dict[str, Value] = {
        "input_shape": pick(shape[1:]),
        "weight": ungrouped(weight, groups),
        "bias": bias,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": np.array(1),
    }
    return Primitive(f"Conv{axes}d", fields)


@OPERATIONS.rule(ops.NeuronNode)
def _neuron(context: Context, node: ops.NeuronNode) -> list[Primitive]:
    p, dt, shape = node.parameters, context.dt, context.graph.shape(node.name)
    if p.reset == "none":
        raise NoNirForm(f"node {node.name}: neurons without reset found, which NIR does not have; export to ONNX instead")
    metadata = _stepping(dt) | {
        "decay": np.array(p.decay),
        "threshold": np.array(p.threshold),
        "comparison": "v > threshold",
        "reset": "to zero" if p.reset == "hard" else "subtracts threshold",
    }

    def full(value: float) -> NDArray[np.float64]:
        return np.full(shape, value, np.float64)

    firing: dict[str, Value] = {"v_threshold": full(p.threshold)}  # v_reset is 0 where it is not told
    if p.decay == 1:
        return [Primitive("IF", {"r": full(1 / dt), **firing}, metadata)]
    tau = dt / (1 - p.decay)
    if node.name not in context.currents:
        firing = {"v_threshold": full((1 - p.decay) * p.threshold)}
        return [Primitive("LIF", {"tau": full(tau), "r": full(1.0), "v_leak": full(0.0), **firing}, metadata)]
    leaking: dict[str, Value] = {"r": full(tau / dt), "v_leak": full(0.0), **firing}
    decay = context.currents[node.name]
    tau_syn = dt / (1 - decay)
    synapse: dict[str, Value] = {"tau_syn": full(tau_syn), "tau_mem": full(tau), "w_in": full(tau_syn / dt)}
    return [Primitive("CubaLIF", {**synapse, **leaking}, metadata | {"current_decay": np.array(decay)})]


@OPERATIONS.rule(ops.CellNode, ops.MembraneNode)
def _cell(context: Context, node: ops.Updated) -> list[Primitive]:
    """Of standard neurons that differ within a layer: NIR has a number for each neuron."""
    constants, dt, shape = leaky(node), context.dt, context.graph.shape(node.name)
    if constants is None:
        reason = why_not(node, shape, arrays=True) or "it is written by an update of its own"
        raise NoNirForm(
            f"node {node.name} ({node.kind}): has no form in NIR, which knows standard neurons alone: {reason}; train LIF or "
            "CubaLIF neurons, or export to ONNX instead"
        )
    if constants.reset == "none" and constants.threshold is not None:
        raise NoNirForm(f"node {node.name}: neurons without reset found, which NIR does not have; export to ONNX instead")
    decay, metadata = np.broadcast_to(constants.decay, shape).astype(np.float64), _stepping(dt)
    leaking = decay < 1
    if leaking.any() != leaking.all():
        raise NoNirForm(f"node {node.name}: neurons with and without leak found, which are two layers in NIR; export to ONNX")
    without = not leaking.any()
    if constants.threshold is None:
        if without:
            return [Primitive("I", {"r": np.full(shape, 1 / dt)}, metadata)]
        tau = dt / (1 - decay)
        return [Primitive("LI", {"tau": tau, "r": tau / dt, "v_leak": np.zeros(shape)}, metadata)]
    threshold = np.broadcast_to(constants.threshold, shape).astype(np.float64)
    if constants.late:
        raise NoNirForm(
            f"node {node.name}: neurons that read their current a step late found, which NIR does not tell from others; export "
            "to ONNX instead"
        )
    reset = "to zero" if constants.reset == "hard" else "subtracts threshold"
    metadata |= {"comparison": "v > threshold", "reset": reset}
    if constants.current_decay is not None:
        return [_with_current(node.name, decay, threshold, np.broadcast_to(constants.current_decay, shape), metadata, dt)]
    if without:
        return [Primitive("IF", {"r": np.full(shape, 1 / dt), "v_threshold": threshold}, metadata)]
    fields = {"tau": dt / (1 - decay), "r": np.ones(shape), "v_leak": np.zeros(shape), "v_threshold": (1 - decay) * threshold}
    return [Primitive("LIF", fields, metadata)]


def _with_current(
    name: str, decay: Any, threshold: Any, current_decay: Any, metadata: dict[str, Value], dt: float
) -> Primitive:
    if decay.max() >= 1 or current_decay.max() >= 1:
        raise NoNirForm(
            f"node {name}: a current, or a potential behind one, without leak found, which NIR's CubaLIF do not have"
        )
    tau, tau_syn = dt / (1 - decay), dt / (1 - current_decay.astype(np.float64))
    fields = {"tau_syn": tau_syn, "tau_mem": tau, "w_in": tau_syn / dt, "r": tau / dt, "v_leak": np.zeros_like(tau)}
    return Primitive("CubaLIF", fields | {"v_threshold": threshold}, metadata)


@OPERATIONS.rule(ops.LowPassNode)
def _low_pass(context: Context, node: ops.LowPassNode) -> list[Primitive]:
    dt, shape = context.dt, context.graph.shape(node.name)
    metadata = _stepping(dt) | {"decay": np.array(node.decay)}
    if node.decay == 1:
        return [Primitive("I", {"r": np.full(shape, 1 / dt)}, metadata)]
    tau = dt / (1 - node.decay)
    return [Primitive("LI", {"tau": np.full(shape, tau), "r": np.full(shape, tau / dt), "v_leak": np.zeros(shape)}, metadata)]


def _stepping(dt: float) -> dict[str, Value]:
    return {"dt": np.array(dt), "discretisation": "forward Euler"}


@OPERATIONS.rule(ops.DelayNode)
def _delay(context: Context, node: ops.DelayNode) -> list[Primitive]:
    shape = context.graph.shape(node.name)
    steps = np.array(node.steps) if node.each is None else node.each
    return [Primitive("Delay", {"delay": np.broadcast_to(steps * context.dt, shape).copy()}, {"steps": np.array(node.steps)})]


@OPERATIONS.rule(ops.FlattenNode)
def _flatten(context: Context, node: ops.FlattenNode) -> list[Primitive]:
    shape = _shape(context.graph.shape(node.inputs[0]))
    return [Primitive("Flatten", {"input_type": shape, "start_dim": np.array(0), "end_dim": np.array(-1)})]


@OPERATIONS.rule(ops.AvgPoolNode)
def _avg_pool(context: Context, node: ops.AvgPoolNode) -> list[Primitive]:
    if not node.count_padding:
        raise NoNirForm(
            f"node {node.name}: an average that leaves out its padding found, which NIR does not have; count it "
            "(count_include_pad=True), or export to ONNX instead"
        )
    if len(node.kernel) == 2:
        return [_pool("AvgPool2d", node)]
    return [_as_convolution(context, node, 1 / prod(node.kernel))]


@OPERATIONS.rule(ops.MaxPoolNode)
def _max_pool(context: Context, node: ops.MaxPoolNode) -> list[Primitive]:
    """Of zeros and ones: the largest is 1 where their sum is above 1/2."""
    if node.inputs[0] not in context.binary:
        raise NoNirForm(
            f"node {node.name}: the largest of values other than 0 and 1 found, which NIR cannot express; pool spikes of one "
            "layer, or average"
        )
    summed = _pool("SumPool2d", node) if len(node.kernel) == 2 else _as_convolution(context, node, 1.0)
    return [summed, Primitive("Threshold", {"threshold": np.full(context.graph.shape(node.name), 0.5)})]


def _pool(kind: str, node: ops.AvgPoolNode | ops.MaxPoolNode) -> Primitive:
    padding = _shape(_symmetric(node))
    fields: dict[str, Value] = {"kernel_size": _shape(node.kernel), "stride": _shape(node.stride), "padding": padding}
    return Primitive(kind, fields)


def _symmetric(node: ops.AvgPoolNode | ops.MaxPoolNode) -> Shape:
    if any(before != after for before, after in node.pads):
        raise NoNirForm(
            f"node {node.name}: padding {node.padding} found, the same at both ends of an axis expected in NIR; train with "
            "such padding, or export to ONNX instead"
        )
    return tuple(before for before, _ in node.pads)


def _as_convolution(context: Context, node: ops.AvgPoolNode | ops.MaxPoolNode, weight: float) -> Primitive:
    """NIR has pools over two axes alone: equal weights, the channels apart."""
    shape = context.graph.shape(node.inputs[0])
    weights = np.full((shape[0], 1, *node.kernel), weight, np.float32)
    geometry = (node.stride, _symmetric(node), (1,) * len(node.kernel))
    return _convolution(node.name, shape, weights, np.zeros(shape[0], np.float32), geometry, shape[0])
