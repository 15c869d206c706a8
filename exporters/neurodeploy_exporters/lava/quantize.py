"""From a trained body to Loihi's integers.

A neuron's equation keeps its form when weights, bias and threshold are multiplied by one scale s > 0, because after a hard
reset the membrane potential is 0 in any unit: `s h > s θ` is `h > θ`. So each layer gets its own scale, then everything is
rounded: weights to even numbers of 8 bits and a sign, biases to 13 bits, thresholds to 17 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import floor, log2
from typing import Any

import numpy as np

from neurodeploy.errors import UserError
from neurodeploy.graph import Graph, Part, nodes
from neurodeploy.graph.nodes import Node, Shape
from neurodeploy_exporters.lava.chain import Stage, stages
from neurodeploy_exporters.lava.hardware import BIAS_MAX, SUM_MAX, THRESHOLD_MAX, WEIGHT_MAX, WEIGHT_MIN
from neurodeploy_exporters.lava.layers import ConvLayer, CubaNeuron, DenseLayer, FlattenLayer, InputLayer, Layer
from neurodeploy_exporters.lava.network import Network

_CANDIDATES = 32


@dataclass(frozen=True)
class QuantizedLayer:
    """A spiking layer in integers.

    Attributes:
        name: of the neurons in the graph, whose spikes the block fires.
        synapse: name of the Conv or Linear node.
        key: of the block in recordings, such as `L0_Conv`.
        shape: of the spikes in the graph, per sample and step.
        scale: integer units per unit of the trained network.
        weight_error: ‖w_int / scale − w‖ / ‖w‖.
        bias_error: largest |b_int / scale − b|, as a share of the trained threshold.
        threshold_error: |θ_int / scale − θ|, as a share of the trained threshold.
        i_decay, v_decay, threshold: of the neurons, as in the file.
    """

    name: str
    synapse: str
    key: str
    shape: Shape
    scale: float
    weight_error: float
    bias_error: float
    threshold_error: float
    i_decay: int
    v_decay: int
    threshold: int


@dataclass(frozen=True, eq=False)
class QuantizedBody:
    """A body in integers, twice.

    Attributes:
        network: what the `.net` file holds.
        layers: its spiking layers, in order.
        graph: the whole graph with the same integers in the body's synapses (float32, exact) and FixedPointNeuron nodes;
            encoder and head are unchanged.
    """

    network: Network
    layers: tuple[QuantizedLayer, ...]
    graph: Graph


@dataclass(frozen=True, eq=False)
class _Rounded:
    scale: float
    weight: Any
    bias: Any
    threshold: int


def quantize_body(graph: Graph, body: Part | None, *, scales: Mapping[str, float] | None = None) -> QuantizedBody:
    """Round the body of a graph to what Loihi holds.

    Args:
        graph: batch norm folded.
        body: the part of `neurodeploy.graph.partition` that goes onto the chip.
        scales: of every spiking layer in the body, by name, as fine-tuning found its integers; searched for if None.

    Raises:
        UserError: there is no body, or a node has no form on the chip, or its integers at the scale given are beyond the
            chip's; the message names it and says what to do.
    """
    if body is None:
        raise UserError("body: only the first layer spikes, so nothing would run on the chip; export to ONNX instead")
    chain = stages(graph, body)
    replaced: dict[str, Node] = {}
    layers: list[Layer] = [InputLayer(shape=_input_shape(chain[0]))]
    described: list[QuantizedLayer] = []
    for index, stage in enumerate(chain):
        rounded = _round(stage) if scales is None else _round_at(stage, scales[stage.neuron.name])
        v_decay = round(4096 * (1 - stage.neuron.parameters.decay))
        neuron = CubaNeuron(4096, v_decay, rounded.threshold)
        if stage.flatten is not None and index:
            layers.append(FlattenLayer())
        layers.append(_layer(stage, rounded, neuron, graph.shape(stage.neuron.name)))
        described.append(_describe(stage, rounded, v_decay, index, graph.shape(stage.neuron.name)))
        bias = None if rounded.bias is None else rounded.bias.astype(np.float32)
        replaced[stage.synapse.name] = replace(stage.synapse, weight=rounded.weight.astype(np.float32), bias=bias)
        replaced[stage.neuron.name] = nodes.FixedPointNeuron(
            name=stage.neuron.name, inputs=stage.neuron.inputs, v_decay=v_decay, threshold=rounded.threshold
        )
        if stage.flatten is not None:
            replaced[stage.flatten.name] = stage.flatten
    members = set(body.members)
    kept = [replaced.get(node.name, node) for node in graph.nodes if node.name in replaced or node.name not in members]
    return QuantizedBody(Network(tuple(layers)), tuple(described), Graph(kept))


def _round(stage: Stage) -> _Rounded:
    """The scale, out of 33 from half the largest possible to it, with the least rounding error."""
    weight = np.asarray(stage.synapse.weight, np.float64)
    bias = None if stage.synapse.bias is None else np.asarray(stage.synapse.bias, np.float64)
    threshold = stage.neuron.parameters.threshold
    if not np.isfinite(weight).all() or not (bias is None or np.isfinite(bias).all()):
        raise UserError(f"node {stage.synapse.name}: weights that are not finite found; train the network again")
    if not weight.any():
        raise UserError(f"node {stage.synapse.name}: all weights are zero, which Lava cannot load; remove the layer")
    largest = _largest_scale(weight, bias, threshold)
    # a power of two loses nothing of weights that are on a power-of-two grid already (neurodeploy.graph.grid)
    scales = [*(largest * np.linspace(0.5, 1, _CANDIDATES)), 2.0 ** floor(log2(largest))]
    candidates = [_at_scale(weight, bias, threshold, scale) for scale in scales]
    fitting = [rounded for rounded in candidates if _fits(rounded)]
    if not fitting:
        raise UserError(
            f"node {stage.synapse.name}: its weights (up to {np.abs(weight).max():.3g}) all round to zero next to its bias or "
            f"the threshold {threshold:.3g} of {stage.neuron.name}; train with weight decay on the bias or a lower threshold"
        )
    return min(fitting, key=lambda rounded: _error(rounded, weight, bias, threshold))


def _round_at(stage: Stage, scale: float) -> _Rounded:
    weight = np.asarray(stage.synapse.weight, np.float64)
    bias = None if stage.synapse.bias is None else np.asarray(stage.synapse.bias, np.float64)
    rounded = _at_scale(weight, bias, stage.neuron.parameters.threshold, scale)
    biases = np.zeros(1) if rounded.bias is None else np.abs(rounded.bias)
    held = rounded.weight.min() >= WEIGHT_MIN and rounded.weight.max() <= WEIGHT_MAX and biases.max() <= BIAS_MAX
    if not (held and rounded.threshold <= THRESHOLD_MAX and _fits(rounded)):
        raise UserError(
            f"node {stage.synapse.name}: at the scale {scale:.6g} its integers are beyond Loihi's; use a smaller one"
        )
    return rounded


def _largest_scale(weight: Any, bias: Any, threshold: float) -> float:
    # netx changes a dense matrix of negative weights only if one is −256
    lowest = -WEIGHT_MIN if weight.max() >= 0 else WEIGHT_MAX
    fan_in = weight[0].size  # rounding to even numbers adds at most 1 per synapse
    limits = [THRESHOLD_MAX / threshold, (SUM_MAX - fan_in) / _largest_sum(weight, bias)]
    if weight.max() > 0:
        limits.append(WEIGHT_MAX / weight.max())
    if weight.min() < 0:
        limits.append(lowest / -weight.min())
    if bias is not None and bias.any():
        limits.append(BIAS_MAX / np.abs(bias).max())
    return float(min(limits))


def _at_scale(weight: Any, bias: Any, threshold: float, scale: float) -> _Rounded:
    return _Rounded(
        scale,
        (2 * np.rint(weight * scale / 2)).astype(np.int64),
        None if bias is None else np.rint(bias * scale).astype(np.int64),
        round(threshold * scale),
    )


def _fits(rounded: _Rounded) -> bool:
    return bool(rounded.weight.any()) and _largest_sum(rounded.weight, rounded.bias) <= SUM_MAX


def _largest_sum(weight: Any, bias: Any) -> float:
    """Largest magnitude of weights and bias that can come together at a neuron: all excitation, or all inhibition."""
    rows = weight.reshape(len(weight), -1)
    offset = np.zeros(len(weight)) if bias is None else bias
    excitation, inhibition = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    return float(max((excitation + np.maximum(offset, 0)).max(), -(inhibition + np.minimum(offset, 0)).min()))


def _error(rounded: _Rounded, weight: Any, bias: Any, threshold: float) -> float:
    """Squared error of a neuron's comparison with its threshold, if every input spiked, averaged over the neurons."""
    weights = np.square(rounded.weight / rounded.scale - weight).sum() / len(weight)
    biases = 0.0 if bias is None else np.square(rounded.bias / rounded.scale - bias).mean()
    return float(weights + biases + (rounded.threshold / rounded.scale - threshold) ** 2)


def _describe(stage: Stage, rounded: _Rounded, v_decay: int, index: int, shape: Shape) -> QuantizedLayer:
    threshold = stage.neuron.parameters.threshold
    weight = np.asarray(stage.synapse.weight, np.float64)
    bias_error = 0.0 if rounded.bias is None else float(np.abs(rounded.bias / rounded.scale - stage.synapse.bias).max())
    return QuantizedLayer(
        name=stage.neuron.name,
        synapse=stage.synapse.name,
        key=f"L{index}_{'Conv' if isinstance(stage.synapse, nodes.Conv) else 'Dense'}",
        shape=shape,
        scale=rounded.scale,
        weight_error=float(np.linalg.norm(rounded.weight / rounded.scale - weight) / np.linalg.norm(weight)),
        bias_error=bias_error / threshold,
        threshold_error=abs(rounded.threshold / rounded.scale - threshold) / threshold,
        i_decay=4096,
        v_decay=v_decay,
        threshold=rounded.threshold,
    )


def _input_shape(first: Stage) -> Shape:
    """What the chip receives: netx cannot flatten before the first block, so the host does."""
    return (int(np.prod(first.input_shape)),) if first.flatten is not None else _in_plane(first.input_shape)


def _in_plane(shape: Shape) -> Shape:
    """`(C, L)` as `(C, L, 1)`: a convolution over one axis is one over two whose other axis has one value."""
    return (*shape, 1) if len(shape) == 2 else shape


def _layer(stage: Stage, rounded: _Rounded, neuron: CubaNeuron, shape: Shape) -> Layer:
    synapse = stage.synapse
    if isinstance(synapse, nodes.Linear):
        return DenseLayer(shape=shape, weight=rounded.weight, bias=rounded.bias, neuron=neuron)
    one_axis = rounded.weight.ndim == 3
    return ConvLayer(
        shape=_in_plane(shape),
        weight=rounded.weight[..., None] if one_axis else rounded.weight,
        bias=rounded.bias,
        stride=(*synapse.stride, 1) if one_axis else synapse.stride,
        padding=(*synapse.padding, 0) if one_axis else synapse.padding,
        dilation=(*synapse.dilation, 1) if one_axis else synapse.dilation,
        groups=synapse.groups,
        neuron=neuron,
    )
