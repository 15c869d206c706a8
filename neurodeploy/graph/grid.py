"""Weights on a power-of-two grid, on which every sum is exact: torch, ONNX Runtime and Loihi then compute equal currents.

A weight becomes `q 2⁻ᵏ` with a signed 8-bit integer q and one k per layer, a bias `r 2⁻ᵏ⁻¹` with an integer r. Spikes are 0 or
1 and pixels multiples of 2⁻⁸, so every partial sum is an integer times a power of two. While that integer stays within 2²⁴,
float32 holds it exactly, in whatever order the sum is taken; `to_grid` follows the ranges through the graph and checks that
bound at every layer. The neuron's own update is the same few operations everywhere, so equal currents make equal spikes.
"""

from dataclasses import dataclass, replace
from math import floor, log2

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.io.errors import UserError

_EXACT = 1 << 24  # float32 holds every integer up to here
_WEIGHT_BITS = 8
_INPUT_BITS = 8


@dataclass(frozen=True)
class GridLayer:
    """How one layer was rounded.

    Attributes:
        name: of the Conv or Linear node.
        exponent: k; the weights are multiples of 2⁻ᵏ, the biases of 2⁻ᵏ⁻¹.
        weight_error: largest |rounded − trained| weight.
    """

    name: str
    exponent: int
    weight_error: float


@dataclass(frozen=True)
class _Range:
    """Values are integers of size up to `largest`, times 2^−`exponent`."""

    exponent: int
    largest: int


def to_grid(graph: Graph) -> Graph:
    """Round every synapse up to the last spiking layer to its grid.

    The layers after the last spiking layer stay as they are: their values are compared with a tolerance, not spike by spike.

    Args:
        graph: batch norm folded; inputs that are multiples of 2⁻⁸ of size up to 1 are summed exactly.

    Raises:
        UserError: a batch norm, or an average over other than 2, 4, 8, … values, stands before the last spiking layer, or a
            sum could leave the range in which float32 is exact; the message names the node.
    """
    before = {name for neuron in graph.spiking for name in graph.ancestors(neuron)}
    if not before:
        raise UserError("graph: no spiking layer found, nothing to put on the exact grid")
    ranges: dict[str, _Range] = {}
    rounded: list[ops.Node] = []
    for node in graph.nodes:
        rounded.append(_rounded(node) if node.name in before and isinstance(node, ops.ConvNode | ops.LinearNode) else node)
        if node.name in before:
            ranges[node.name] = _range(rounded[-1], [ranges[source] for source in node.inputs])
            if ranges[node.name].largest > _EXACT:
                raise UserError(
                    f"node {node.name}: its sums could reach {ranges[node.name].largest:,} grid units, above the {_EXACT:,} "
                    "that float32 holds exactly; use fewer inputs per neuron, or export without the exact grid"
                )
        if isinstance(node, ops.LowPassNode) and node.name in before:
            _check_readers(graph, node)
    return Graph(rounded)


def check_inputs(values: NDArray[np.float32]) -> None:
    """Refuse inputs for which sums on the grid are not exact.

    Raises:
        UserError: a value is no multiple of 2⁻⁸ from −1 to 1.
    """
    scaled = values.astype(np.float64) * (1 << _INPUT_BITS)
    off = (scaled != np.rint(scaled)) | (np.abs(scaled) > 1 << _INPUT_BITS)
    if off.any():
        raise UserError(
            f"inputs: {values[off][0]:.6g} found, multiples of 1/256 from -1 to 1 expected by the exact grid; round the "
            "samples before training, or export without the exact grid"
        )


def grid_layers(graph: Graph, rounded: Graph) -> tuple[GridLayer, ...]:
    """What `to_grid` did to each layer that it rounded."""
    found = []
    for node in graph.nodes:
        other = rounded[node.name]
        if (
            isinstance(node, ops.ConvNode | ops.LinearNode)
            and isinstance(other, ops.ConvNode | ops.LinearNode)
            and other is not node
        ):
            error = float(np.abs(other.weight - node.weight).max())
            found.append(GridLayer(node.name, exponent(node.weight), error))
    return tuple(found)


def _check_readers(graph: Graph, node: ops.LowPassNode) -> None:
    """The current leaves the grid as it decays: what reads it must be no sum, whose order would matter."""
    for reader in graph.consumers(node.name):
        if not isinstance(reader, ops.NeuronNode):
            raise UserError(
                f"node {reader.name}: reads the synaptic current {node.name}, which decays off the exact grid; "
                "let neurons alone read it"
            )


def _range(node: ops.Node, inputs: list[_Range]) -> _Range:
    match node:
        case ops.InputNode():
            return _Range(_INPUT_BITS, 1 << _INPUT_BITS)
        case ops.NeuronNode() | ops.FixedPointNeuronNode():
            return _Range(0, 1)
        case ops.LowPassNode():
            return _Range(0, 0)  # no number of a grid; neurons alone read it
        case ops.EncodeNode() | ops.DelayNode() | ops.FlattenNode() | ops.ReluNode() | ops.MaxPoolNode():
            return inputs[0]
        case ops.AvgPoolNode():
            return _pooled(node, inputs[0])
        case ops.AddNode():
            exponent = max(one.exponent for one in inputs)
            return _Range(exponent, sum(one.largest << (exponent - one.exponent) for one in inputs))
        case ops.ConvNode() | ops.LinearNode():
            return _summed(node, inputs[0])
        case ops.BatchNormNode():
            raise UserError(f"node {node.name}: batch norm found; fold it into the synapse before it (fold_batch_norm)")
        case _:
            raise UserError(f"node {node.name} ({node.kind}): has no exact form before a spiking layer")


def _pooled(node: ops.AvgPoolNode, values: _Range) -> _Range:
    size = int(np.prod(node.kernel))
    if size & (size - 1):
        raise UserError(f"node {node.name}: an average over {size} values is no binary fraction; pool over 2, 4, 8, … values")
    return _Range(values.exponent + size.bit_length() - 1, values.largest * size)


def _summed(node: ops.ConvNode | ops.LinearNode, values: _Range) -> _Range:
    unit = 2.0 ** (exponent(node.weight) + 1)
    sums = np.abs(node.weight.astype(np.float64)).reshape(len(node.weight), -1).sum(1) * unit * values.largest
    if node.bias is not None:
        sums += np.abs(node.bias.astype(np.float64)) * unit * 2.0**values.exponent
    return _Range(values.exponent + exponent(node.weight) + 1, round(float(sums.max())))


def exponent(weight: NDArray[np.float32]) -> int:
    """The largest k for which every `|w| 2ᵏ` rounds to a signed 8-bit integer."""
    largest = float(np.abs(weight).max())
    return floor(log2((2 ** (_WEIGHT_BITS - 1) - 0.5) / largest)) if largest else 0


def _rounded(node: ops.ConvNode | ops.LinearNode) -> ops.ConvNode | ops.LinearNode:
    if not np.isfinite(node.weight).all() or not (node.bias is None or np.isfinite(node.bias).all()):
        raise UserError(f"node {node.name}: weights that are not finite found; train the network again")
    step = 2.0 ** -exponent(node.weight)
    weight = np.rint(node.weight.astype(np.float64) / step) * step
    bias = None if node.bias is None else (np.rint(node.bias.astype(np.float64) / step * 2) * step / 2).astype(np.float32)
    return replace(node, weight=weight.astype(np.float32), bias=bias)
