"""Values on a power-of-two grid, on which every sum is exact: torch, ONNX Runtime and Loihi then compute equal currents.

A weight becomes `q 2⁻ᵏ` with a signed 8-bit integer q and one k per layer, a bias `r 2⁻ᵏ⁻¹` with an integer r. Spikes are 0 or
1, and inputs integers times a power of two: multiples of 2⁻⁸ up to 1, as pixels are, enter as they are; others are rounded by
the network's first node. So every partial sum is an integer times a power of two. While that integer stays within 2²⁴,
float32 holds it exactly, in whatever order the sum is taken; `to_grid` follows the ranges through the graph and checks that
bound at every layer. The neuron's own update is the same few operations everywhere, so equal currents make equal spikes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import frexp

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import ops
from neurodeploy.graph.entry import entering
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Range
from neurodeploy.graph.ops.operation import EXACT
from neurodeploy.graph.ops.operation import exponent as exponent
from neurodeploy.graph.ops.terminals import INPUT_BITS
from neurodeploy.io.errors import UserError
from neurodeploy.io.values import check_values

_ROUNDED = (ops.Weighted, ops.BatchNormNode, ops.Updated)
"""The operations that have weights."""
DEFAULT = Range(INPUT_BITS, 1 << INPUT_BITS)
"""The grid of inputs that need no rounding."""
INPUT_GRID = "input_grid"
"""Name of the node that rounds them; longer if a layer has it."""
_PEAK = 2.0**64


@dataclass(frozen=True)
class GridLayer:
    """How one layer was rounded.

    Attributes:
        name: of the Conv, Linear or BatchNorm node.
        exponent: k; the weights are multiples of 2⁻ᵏ, the biases of 2⁻ᵏ⁻¹.
        weight_error: largest |rounded − trained| weight.
    """

    name: str
    exponent: int
    weight_error: float


def on(values: NDArray[np.float32], grid: Range) -> bool:
    """Whether all values are on a grid."""
    scaled = _scaled(values, grid)
    return bool((np.abs(scaled) <= grid.largest).all() and (scaled == np.rint(scaled)).all())


def quantised(values: NDArray[np.float32], grid: Range) -> NDArray[np.float32]:
    """The nearest values of a grid, halves to the even neighbour, those beyond it to its ends."""
    node = ops.QuantizeNode(name=INPUT_GRID, inputs=(), exponent=grid.exponent, largest=grid.largest)
    return node.compute(values)


def saturated(values: NDArray[np.float32], grid: Range) -> int:
    """How many values are beyond a grid."""
    return int(np.count_nonzero(np.abs(np.rint(_scaled(values, grid))) > grid.largest))


def _scaled(values: NDArray[np.float32], grid: Range) -> NDArray[np.float32]:
    """In units of the grid: no rounding, but of what leaves float32, which is beyond the grid as well."""
    with np.errstate(over="ignore"):
        return values * np.float32(2.0**grid.exponent)


def input_peak(parts: Iterable[NDArray[np.float32]], *, timed: bool = False) -> float | None:
    """What `InputNode.peak` says of samples.

    Args:
        parts: samples `[N, …]`, or sequences `[T, N, …]` if `timed`, of one data set.
        timed: see above.

    Raises:
        UserError: a value is not finite; the message tells its sample.
    """
    given = [part for part in parts if part.size]
    for part in given:
        check_values(part, "inputs", axis=int(timed))
    if all(on(part, DEFAULT) for part in given):
        return None
    return max(float(np.abs(part).max()) for part in given)


def grid_up_to(peak: float | None, bits: int = INPUT_BITS) -> Range:
    """The finest power-of-two grid that holds values up to a size in so many bits beside their sign.

    Args:
        peak: that size; None for inputs that are multiples of 2⁻⁸ up to 1, for which 8 bits are enough.
        bits: b; integers are up to 2ᵇ in size.

    Raises:
        UserError: the size is beyond what float32 can compute with.
    """
    if peak is None:
        peak, bits = 1.0, min(bits, INPUT_BITS)
    if not 1 / _PEAK <= peak <= _PEAK:
        raise UserError(f"inputs: values up to {peak:.3g} found, 2^-64 to 2^64 expected by the exact grid; normalise them")
    fraction, power = frexp(peak)
    return Range(bits - power + (fraction == 0.5), 1 << bits)  # 2ᵖ itself needs no further bit


def input_grid(values: NDArray[np.float32], bits: int = INPUT_BITS) -> Range:
    """The grid for such inputs: the default one if they are on it, else the finest that their largest size allows.

    Raises:
        UserError: a value is not finite, or beyond what float32 can compute with.
    """
    return grid_up_to(input_peak([values]), bits)


def with_peak(graph: Graph, parts: Iterable[NDArray[np.float32]]) -> Graph:
    """The graph with the `InputNode.peak` of such samples; as it was if that, or a grid of its inputs, is known already.

    Args:
        graph: the network; where it normalises its samples, these are samples before that.
        parts: as of `input_peak`.

    Raises:
        UserError: as `input_peak`.
    """
    entry = graph.input
    normal = next(iter(graph.of(ops.NormalizeNode)), None)
    given = list(parts) if normal is None else [_normalised(part, normal, timed=entry.timed) for part in parts]
    peak = input_peak(given, timed=entry.timed)
    if peak is None or entry.peak is not None or grid_node(graph) is not None:
        return graph
    return Graph(replace(node, peak=peak) if node is entry else node for node in graph.nodes)


def _normalised(values: NDArray[np.float32], node: ops.NormalizeNode, *, timed: bool) -> NDArray[np.float32]:
    return node.compute(values.reshape(-1, *values.shape[2:]) if timed else values).reshape(values.shape)


def to_grid(graph: Graph, *, input_bits: int = INPUT_BITS) -> Graph:
    """Round every synapse up to the last spiking layer to its grid, and the inputs to theirs where they are not on the default.

    The layers after the last spiking layer stay as they are: their values are compared with a tolerance, not spike by spike.
    Inputs of no known `peak` are taken to be multiples of 2⁻⁸ of size up to 1, and enter as they are; those of other networks
    get a node that rounds them, after their normalisation, to `input_bits`, or to fewer where a layer's sums leave no more.

    Args:
        graph: batch norm folded.
        input_bits: of an input's size, at most.

    Raises:
        UserError: an average over other than 2, 4, 8, … values stands before the last spiking layer, or a sum could leave the
            range in which float32 is exact; the message names the node.
    """
    before = {name for neuron in graph.spiking for name in graph.ancestors(neuron)}
    if not before:
        raise UserError(
            "graph: no spiking layer found, nothing to put on the exact grid: make its spiking twin with neurodeploy.spiking"
        )
    rounded = Graph(node.rounded() if node.name in before and isinstance(node, _ROUNDED) else node for node in graph.nodes)
    fixed = grid_node(rounded) is not None
    for bits in (input_bits,) if fixed else range(input_bits, 0, -1):
        made, excess = _followed(_with_inputs_rounded(rounded, bits))
        if excess is None:
            return made
    assert excess is not None
    name, size = excess
    lowest = "" if fixed else " even with inputs of one bit"
    raise UserError(
        f"node {name}: its sums could reach {size:,} grid units{lowest}, above the {EXACT:,} that float32 holds exactly; "
        "use fewer inputs per neuron, or export without the exact grid"
    )


def grid_node(graph: Graph) -> ops.QuantizeNode | None:
    """The node that rounds a network's inputs, if there is one."""
    return next(iter(input_grids(graph.nodes)), None)


def input_grids(nodes: Iterable[ops.Node]) -> list[ops.QuantizeNode]:
    """The nodes that round what enters, as it is or normalised; others, as in the head of a C export, round what layers make.

    Args:
        nodes: of a network or of its first part.
    """
    known = {node.name: node for node in nodes}

    def enters(name: str) -> bool:
        node = known.get(name)
        if isinstance(node, ops.NormalizeNode):
            return enters(node.inputs[0])
        return node is None or isinstance(node, ops.InputNode)

    return [node for node in known.values() if isinstance(node, ops.QuantizeNode) and enters(node.inputs[0])]


def _with_inputs_rounded(graph: Graph, bits: int) -> Graph:
    peak, as_they_are = graph.input.peak, bits >= INPUT_BITS and not graph.of(ops.NormalizeNode)
    if grid_node(graph) is not None or (peak is None and as_they_are):
        return graph
    grid = grid_up_to(peak, bits)
    node = ops.QuantizeNode(name=INPUT_GRID, inputs=(), exponent=grid.exponent, largest=grid.largest)
    made = entering(graph, node)
    return Graph(replace(one, peak=None) if isinstance(one, ops.InputNode) else one for one in made.nodes)


def _followed(graph: Graph) -> tuple[Graph, tuple[str, int] | None]:
    """The graph with its biases on the grids of their sums, and the first node whose sums could be too large, and how large."""
    ranges: dict[str, Range] = {}
    needed, members = _summed(graph), list[ops.Node]()
    for node in graph.nodes:
        if node.name not in needed:
            members.append(node)
            continue
        read = [ranges.get(source, DEFAULT) for source in node.inputs]
        if isinstance(node, ops.Weighted | ops.BatchNormNode):
            node = node.on_sums_of(read[0])
        made = node.exact_range(read)
        if made is None:
            _check_readers(graph, node)
        elif made.largest > EXACT:
            return graph, (node.name, made.largest)
        ranges[node.name] = made or Range(0, 0)  # no number of a grid; neurons alone read it
        members.append(node)
    return Graph(members), None


def _summed(graph: Graph) -> set[str]:
    """The nodes that some spiking layer depends on, without those before the rounding of inputs: these are on no grid yet."""
    needed: set[str] = set()
    pending = [source for neuron in graph.spiking for source in graph[neuron].inputs]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += () if isinstance(graph[name], ops.QuantizeNode) else graph[name].inputs
    return needed


def grid_layers(graph: Graph, rounded: Graph) -> tuple[GridLayer, ...]:
    """What `to_grid` did to each layer that it rounded."""
    found = []
    for node in graph.nodes:
        if isinstance(node, ops.Updated) and node.recurrent is None:
            continue  # it has no weights; the node is another all the same where inputs are rounded before it
        other = rounded[node.name] if isinstance(node, _ROUNDED) else None
        if isinstance(node, _ROUNDED) and isinstance(other, _ROUNDED) and other is not node:
            before, after = _weights(node), _weights(other)
            found.append(GridLayer(node.name, exponent(before), float(np.abs(after - before).max())))
    return tuple(found)


def _weights(node: ops.Weighted | ops.BatchNormNode | ops.Updated) -> NDArray[np.float32]:
    if isinstance(node, ops.Updated):
        assert node.recurrent is not None
        return node.recurrent
    return node.weight if isinstance(node, ops.Weighted) else node.scale


def _check_readers(graph: Graph, node: ops.Node) -> None:
    """The values leave the grid, as a current does that decays: what reads them must be no sum, whose order would matter."""
    for reader in graph.consumers(node.name):
        if not isinstance(reader, ops.Spiking):
            raise UserError(
                f"node {reader.name}: reads the synaptic current {node.name}, which decays off the exact grid; "
                "let neurons alone read it"
            )
