"""One rule per node of a graph: the NIR nodes that compute it.

Neurons are written for a reader that steps NIR's equations forward by Euler's method with the step `dt`: `τ v̇ = −v + R I` then
is `v ← λ v + (1 − λ) R I` with `τ = dt / (1 − λ)`, and `R = τ / dt` makes the gain of the input 1: our update as it is. Without
leak it is `v̇ = R I` with `R = 1 / dt`. Readers that need another form of the same have a dialect (`dialects`).
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
from neurodeploy_exporters.nir.dialects import DIALECTS, Dialect

_MOST_WEIGHTS = 1 << 26  # that readers take of one node
_NOTHING = np.exp(-100.0)  # stands for a decay of 0, of which no time constant has the exponential


class NoNirForm(UserError):
    """NIR has no node for what a node of a graph computes."""


@dataclass(frozen=True)
class Context:
    """What a rule sees beside its node.

    Attributes:
        graph: that is written.
        dt: one time step in the unit of the time constants.
        dialect: of the reader.
        currents: neuron → decay of the synaptic current that is written in one node with it.
        binary: tensors of which every value is 0 or 1.
    """

    graph: Graph
    dt: float
    dialect: Dialect = DIALECTS["nir"]
    currents: dict[str, float] = field(default_factory=dict)
    binary: frozenset[str] = frozenset()

    def tau(self, decay: Any) -> NDArray[np.float64]:
        """The time constants that the reader turns into these decays."""
        decay = np.asarray(decay, np.float64)
        if not self.dialect.exponential:
            return np.asarray(self.dt / (1 - decay))
        return np.asarray(-self.dt / np.log(np.maximum(decay, _NOTHING)))

    def threshold(self, value: Any) -> NDArray[np.float64]:
        """What the reader compares with to decide whether a potential is above a value."""
        value = np.asarray(value, np.float64)
        return (
            np.nextafter(value.astype(np.float32), np.float32(np.inf)).astype(np.float64) if self.dialect.inclusive else value
        )

    def constants(self, shape: Shape, **values: Any) -> dict[str, Value]:
        """The numbers of a layer: one for each neuron, or one alone where all are equal and the reader wants that."""

        def spread(value: Any) -> NDArray[np.float64]:
            value = np.asarray(value, np.float64)
            if self.dialect.single and value.min() == value.max():
                return np.array([value.flat[0]])
            return np.broadcast_to(value, shape).astype(np.float64)

        return {name: spread(value) for name, value in values.items()}

    def stepping(self) -> dict[str, Value]:
        """How the reader of a neuron steps through time."""
        rule = "decay by exp(-dt/tau)" if self.dialect.exponential else "forward Euler"
        return {"dt": np.array(self.dt), "discretisation": rule}


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
    p, shape = node.parameters, context.graph.shape(node.name)
    if p.reset == "none":
        raise NoNirForm(f"node {node.name}: neurons without reset found, which NIR does not have; export to ONNX instead")
    metadata = context.stepping() | {
        "decay": np.array(p.decay),
        "threshold": np.array(p.threshold),
        "comparison": "v > threshold",
        "reset": "to zero" if p.reset == "hard" else "subtracts threshold",
    }
    if node.name not in context.currents:
        return [_firing(context, shape, p.decay, p.threshold, metadata)]
    decay, tau = context.currents[node.name], context.tau(p.decay)
    tau_syn = context.tau(decay)
    fields = context.constants(
        shape,
        tau_syn=tau_syn,
        tau_mem=tau,
        w_in=tau_syn / context.dt,
        r=tau / context.dt,
        v_leak=0.0,
        v_threshold=context.threshold(p.threshold),
    )
    return [Primitive("CubaLIF", fields, metadata | {"current_decay": np.array(decay)})]


def _firing(context: Context, shape: Shape, decay: Any, threshold: Any, metadata: dict[str, Value]) -> Primitive:
    """Neurons with or without a leak; v_reset is 0 where it is not said."""
    if np.all(np.asarray(decay) == 1):
        r = 1.0 if context.dialect.integrating == "1" else 1 / context.dt
        return Primitive("IF", context.constants(shape, r=r, v_threshold=context.threshold(threshold)), metadata)
    tau = context.tau(decay)
    resistance = tau / context.dt
    if context.dialect.resistance == "1":
        resistance = np.ones(())
        if not context.dialect.exponential:  # whose readers do not scale their input
            threshold = (1 - np.asarray(decay, np.float64)) * threshold
    fields = context.constants(shape, tau=tau, r=resistance, v_leak=0.0, v_threshold=context.threshold(threshold))
    return Primitive("LIF", fields, metadata)


@OPERATIONS.rule(ops.CellNode, ops.MembraneNode)
def _cell(context: Context, node: ops.Updated) -> list[Primitive]:
    """Of standard neurons that differ within a layer: NIR has a number for each neuron."""
    constants, shape = leaky(node), context.graph.shape(node.name)
    if constants is None:
        reason = why_not(node, shape, arrays=True) or "it is written by an update of its own"
        raise NoNirForm(
            f"node {node.name} ({node.kind}): has no form in NIR, which knows standard neurons alone: {reason}; train LIF or "
            "CubaLIF neurons, or export to ONNX instead"
        )
    if constants.reset == "none" and constants.threshold is not None:
        raise NoNirForm(f"node {node.name}: neurons without reset found, which NIR does not have; export to ONNX instead")
    decay = np.broadcast_to(constants.decay, shape).astype(np.float64)
    leaking = decay < 1
    if leaking.any() != leaking.all():
        raise NoNirForm(f"node {node.name}: neurons with and without leak found, which are two layers in NIR; export to ONNX")
    if constants.threshold is None:
        return [_integrating(context, shape, decay, context.stepping())]
    threshold = np.broadcast_to(constants.threshold, shape).astype(np.float64)
    if constants.late:
        raise NoNirForm(
            f"node {node.name}: neurons that read their current a step late found, which NIR does not tell from others; export "
            "to ONNX instead"
        )
    reset = "to zero" if constants.reset == "hard" else "subtracts threshold"
    metadata = context.stepping() | {"comparison": "v > threshold", "reset": reset}
    if constants.current_decay is not None:
        return [_with_current(context, node.name, decay, threshold, np.broadcast_to(constants.current_decay, shape), metadata)]
    return [_firing(context, shape, decay, threshold, metadata)]


def _with_current(
    context: Context, name: str, decay: Any, threshold: Any, current_decay: Any, metadata: dict[str, Value]
) -> Primitive:
    if decay.max() >= 1 or current_decay.max() >= 1:
        raise NoNirForm(
            f"node {name}: a current, or a potential behind one, without leak found, which NIR's CubaLIF do not have"
        )
    shape, tau, tau_syn = decay.shape, context.tau(decay), context.tau(current_decay.astype(np.float64))
    fields = context.constants(
        shape,
        tau_syn=tau_syn,
        tau_mem=tau,
        w_in=tau_syn / context.dt,
        r=tau / context.dt,
        v_leak=0.0,
        v_threshold=context.threshold(threshold),
    )
    return Primitive("CubaLIF", fields, metadata)


@OPERATIONS.rule(ops.LowPassNode)
def _low_pass(context: Context, node: ops.LowPassNode) -> list[Primitive]:
    metadata = context.stepping() | {"decay": np.array(node.decay)}
    return [_integrating(context, context.graph.shape(node.name), node.decay, metadata)]


def _integrating(context: Context, shape: Shape, decay: Any, metadata: dict[str, Value]) -> Primitive:
    """A membrane that is read out, with a gain of 1."""
    if np.all(np.asarray(decay) == 1):
        r = 1.0 if context.dialect.integrating == "1" else 1 / context.dt
        return Primitive("I", context.constants(shape, r=r), metadata)
    tau = context.tau(decay)
    resistance = np.ones(()) if context.dialect.exponential else tau / context.dt
    return Primitive("LI", context.constants(shape, tau=tau, r=resistance, v_leak=0.0), metadata)


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
    if len(node.kernel) == 2 and context.dialect.average == "AvgPool2d":
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
    total, shape = context.dialect.total, context.graph.shape(node.name)
    pooled = len(node.kernel) == 2 and (total == "SumPool2d" or (total == "unpadded" and not any(_symmetric(node))))
    summed = _pool("SumPool2d", node) if pooled else _as_convolution(context, node, 1.0)
    if context.dialect.above == "Threshold":
        return [summed, Primitive("Threshold", {"threshold": np.full(shape, 0.5)})]
    return [summed, _firing(context, shape, context.dialect.forgetting, 0.5, context.stepping())]


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
