"""Weights on a power-of-two grid, on which every sum is exact: torch, ONNX Runtime and Loihi then compute equal currents.

A weight becomes `q 2⁻ᵏ` with a signed 8-bit integer q and one k per layer, a bias `r 2⁻ᵏ⁻¹` with an integer r. Spikes are 0 or
1 and pixels multiples of 2⁻⁸, so every partial sum is an integer times a power of two. While that integer stays within 2²⁴,
float32 holds it exactly, in whatever order the sum is taken; `to_grid` follows the ranges through the graph and checks that
bound at every layer. The neuron's own update is the same few operations everywhere, so equal currents make equal spikes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Range
from neurodeploy.graph.ops.operation import exponent as exponent
from neurodeploy.graph.ops.terminals import INPUT_BITS
from neurodeploy.io.errors import UserError

_EXACT = 1 << 24  # float32 holds every integer up to here


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
    ranges: dict[str, Range] = {}
    rounded: list[ops.Node] = []
    for node in graph.nodes:
        deployed = node.rounded() if node.name in before and isinstance(node, ops.Weighted) else node
        rounded.append(deployed)
        if node.name not in before:
            continue
        found = deployed.exact_range([ranges[source] for source in node.inputs])
        if found is None:
            _check_readers(graph, node)
        elif found.largest > _EXACT:
            raise UserError(
                f"node {node.name}: its sums could reach {found.largest:,} grid units, above the {_EXACT:,} that float32 holds "
                "exactly; use fewer inputs per neuron, or export without the exact grid"
            )
        ranges[node.name] = found or Range(0, 0)  # no number of a grid; neurons alone read it
    return Graph(rounded)


def check_inputs(values: NDArray[np.float32]) -> None:
    """Refuse inputs for which sums on the grid are not exact.

    Raises:
        UserError: a value is no multiple of 2⁻⁸ from −1 to 1.
    """
    scaled = values.astype(np.float64) * (1 << INPUT_BITS)
    off = (scaled != np.rint(scaled)) | (np.abs(scaled) > 1 << INPUT_BITS)
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
        if isinstance(node, ops.Weighted) and isinstance(other, ops.Weighted) and other is not node:
            error = float(np.abs(other.weight - node.weight).max())
            found.append(GridLayer(node.name, exponent(node.weight), error))
    return tuple(found)


def _check_readers(graph: Graph, node: ops.Node) -> None:
    """The values leave the grid, as a current does that decays: what reads them must be no sum, whose order would matter."""
    for reader in graph.consumers(node.name):
        if not isinstance(reader, ops.Spiking):
            raise UserError(
                f"node {reader.name}: reads the synaptic current {node.name}, which decays off the exact grid; "
                "let neurons alone read it"
            )
