"""The network that C computes: the exact one, with what comes after its last spikes in integers too.

`neurodeploy.graph.grid.to_grid` leaves the host's head in float32. A microcontroller is its own host, so the head's weights get
8 bits as well, and where its sums would leave the range in which float32 is exact, what enters them is rounded first, by nodes
of the graph, which every runtime computes alike. No spike depends on it.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.entry import entering
from neurodeploy.graph.grid import DEFAULT, INPUT_GRID, grid_up_to, to_grid
from neurodeploy.graph.module import torch_run
from neurodeploy.graph.ops import EXACT, Node, Range
from neurodeploy.graph.ops.terminals import INPUT_BITS
from neurodeploy.io.errors import UserError

_MOST_BITS = 8
_BATCH = 32


def steps_vary(graph: Graph) -> bool:
    """Whether a sample is a sequence whose length is its own: no mean over the last steps must know it from the beginning."""
    return graph.input.timed and all(node.skip >= 0 for node in graph.of(ops.TimeMeanNode))


def in_integers(
    graph: Graph,
    samples: NDArray[np.float32] | None,
    steps: int,
    *,
    input_bits: int = INPUT_BITS,
    activation_bits: int | None = None,
) -> Graph:
    """The network on the grid, from its input to its answer.

    Args:
        graph: batch norm folded; `with_peak` has seen its samples. Without spiking layers it is a ReLU network.
        samples: `[B, …]` or `[T, B, …]`, on which it is seen how large the values are that are rounded; None takes the largest
            that they could be.
        steps: T.
        input_bits: see `to_grid`.
        activation_bits: of what every ReLU makes, its sign aside; None where values are rounded only if they must be.

    Raises:
        UserError: as `to_grid`, or values enter the head that are on no grid; the message names the node.
    """
    made = _rounded(graph, input_bits)
    peaks = _peaks(graph, samples)
    for _ in range(2 * len(made.nodes)):
        fitted = dict[str, Node]()
        place = _to_be_rounded(made, steps, peaks, activation_bits, fitted)
        if place is None:
            return Graph(fitted.get(node.name, node) for node in made.nodes)
        made = _with_rounding(made, *place)
    raise UserError("graph: its sums could not be brought into the range in which float32 is exact")


def _rounded(graph: Graph, input_bits: int) -> Graph:
    made = to_grid(graph, input_bits=input_bits) if graph.spiking else _entrance(graph, input_bits)
    before = {name for neuron in made.spiking for name in made.ancestors(neuron)}
    return Graph(
        node.rounded() if node.name not in before and isinstance(node, ops.Weighted | ops.BatchNormNode) else node
        for node in made.nodes
    )


def _entrance(graph: Graph, input_bits: int) -> Graph:
    """What `to_grid` does to the inputs of a spiking network."""
    if graph.input.peak is None and input_bits >= INPUT_BITS and not graph.of(ops.NormalizeNode):
        return graph
    grid = grid_up_to(graph.input.peak, input_bits)
    made = entering(graph, ops.QuantizeNode(name=INPUT_GRID, inputs=(), exponent=grid.exponent, largest=grid.largest))
    return Graph(replace(node, peak=None) if isinstance(node, ops.InputNode) else node for node in made.nodes)


def _peaks(graph: Graph, samples: NDArray[np.float32] | None) -> Mapping[str, float]:
    """How large values get, by node, on samples."""
    if samples is None or not samples.size:
        return {}
    names = [node.name for node in graph.nodes if not isinstance(node, ops.InputNode | ops.OutputNode)]
    run, peaks = torch_run(graph), dict[str, float]()
    for start in range(0, samples.shape[int(graph.input.timed)], _BATCH):
        batch = slice(start, start + _BATCH)
        made = run(samples[:, batch] if graph.input.timed else samples[batch], names)
        for name in names:
            peaks[name] = max(peaks.get(name, 0.0), float(np.abs(made[name]).max()))
    return peaks


def _to_be_rounded(
    graph: Graph, steps: int, peaks: Mapping[str, float], activation_bits: int | None, fitted: dict[str, Node]
) -> tuple[str, Range] | None:
    """The first tensor after the last spikes whose values must be rounded, and to which grid.

    Args:
        graph, steps, peaks, activation_bits: see `in_integers`.
        fitted: gets the layers whose biases are to be rounded to the grid of what the layers read.
    """
    before = {name for neuron in graph.spiking for name in graph.ancestors(neuron)} | set(graph.spiking)
    ranges: dict[str, Range | None] = {}
    for node in graph.nodes:
        read = [ranges.get(source, DEFAULT) for source in node.inputs]
        if isinstance(node, ops.InputNode | ops.NormalizeNode):
            ranges[node.name] = DEFAULT
        elif node.name in before:
            known = [DEFAULT if one is None else one for one in read]
            ranges[node.name] = node.exact_range(known)
        elif isinstance(node, ops.QuantizeNode):
            ranges[node.name] = Range(node.exponent, node.largest)
        elif isinstance(node, ops.TimeMeanNode):
            ranges[node.name] = None if steps_vary(graph) else _mean(node, read[0], steps)
            if read[0] is not None:
                peaks = {node.name: read[0].largest * 2.0 ** -read[0].exponent, **peaks}  # where no sample was seen
            if read[0] is not None and read[0].largest * steps > EXACT:
                return _grid(node.inputs[0], read[0], EXACT // steps, peaks)
        elif isinstance(node, ops.LowPassNode):
            (values,) = read
            ranges[node.name] = None
            if node.decay == 1 and values is not None:
                ranges[node.name] = Range(values.exponent, values.largest * steps)
                if values.largest * steps > EXACT:
                    return _grid(node.inputs[0], values, EXACT // steps, peaks)
        elif isinstance(node, ops.OutputNode | ops.MembraneNode) or not read:
            ranges[node.name] = read[0] if read else DEFAULT
        else:
            place = _sum(node, read, peaks)
            if place is not None:
                return place
            known = [one for one in read if one is not None]
            fitted[node.name] = _fitted(node, known[0])
            ranges[node.name] = fitted[node.name].exact_range(known)
            if activation_bits is not None and isinstance(node, ops.ReluNode):
                reader = next(iter(graph.consumers(node.name)), None)
                if not isinstance(reader, ops.QuantizeNode):
                    values = ranges[node.name]
                    assert values is not None
                    return _grid(node.name, values, (1 << activation_bits) - 1, peaks)
    return None


def _mean(node: ops.TimeMeanNode, values: Range | None, steps: int) -> Range | None:
    count = steps - node.skip if node.skip >= 0 else -node.skip
    if values is None or count & (count - 1):
        return None
    return Range(values.exponent + count.bit_length() - 1, values.largest * count)


def _sum(node: Node, read: list[Range | None], peaks: Mapping[str, float]) -> tuple[str, Range] | None:
    """What a node of the head must have rounded, as it reads no grid, or its values could be too large."""
    if isinstance(node, ops.Moving) and len(node.inputs) == 1:
        return None if read[0] is not None else _unknown(node.inputs[0], peaks)
    for source, values in zip(node.inputs, read, strict=True):
        if values is None:
            return _unknown(source, peaks)
    known = [one for one in read if one is not None]
    if _fitted(node, known[0]).exact_range(known).largest <= EXACT:  # type: ignore[union-attr]
        return None
    if len(known) > 1:
        return _coarser(node, known)
    source, values = node.inputs[0], known[0]
    for bits in range(16, 0, -1):
        _, grid = _grid(source, values, (1 << bits) - 1, peaks)
        sums = _fitted(node, grid).exact_range([grid])
        if grid.largest < values.largest and sums is not None and sums.largest <= EXACT:
            return source, grid
    raise UserError(f"node {node.name}: its sums stay too large even of inputs of one bit; use fewer inputs per neuron")


def _fitted(node: Node, values: Range) -> Node:
    """The node with biases on the grid of its sums of such values."""
    return node.on_sums_of(values) if isinstance(node, ops.Weighted | ops.BatchNormNode) else node


def _coarser(node: Node, known: list[Range]) -> tuple[str, Range]:
    """The first input of a sum that must be on a coarser grid, so that the sum is small enough."""
    finest = max(one.exponent for one in known)
    for exponent in range(finest - 1, finest - 25, -1):
        tried = [_rounded_to(one, exponent) for one in known]
        if node.exact_range(tried).largest <= EXACT:  # type: ignore[union-attr]
            return next((source, grid) for source, grid, one in zip(node.inputs, tried, known, strict=True) if grid != one)
    raise UserError(f"node {node.name}: its sums stay too large on any grid; use fewer inputs per neuron")


def _rounded_to(values: Range, exponent: int) -> Range:
    """The values on a grid that is no finer than this; none is cut off."""
    if values.exponent <= exponent:
        return values
    return Range(exponent, (values.largest >> (values.exponent - exponent)) + 1)


def _unknown(source: str, peaks: Mapping[str, float]) -> tuple[str, Range]:
    peak = peaks.get(source)
    if peak is None:
        raise UserError(f"node {source}: its values are on no grid, and no samples tell how large they are; give samples")
    return source, grid_up_to(max(peak, 2.0**-32), _MOST_BITS)


def _grid(source: str, values: Range, largest: int, peaks: Mapping[str, float]) -> tuple[str, Range]:
    """A grid for the values of a tensor, of integers up to a size: the finest that holds what was seen of them."""
    peak = min(peaks.get(source, float("inf")), values.largest * 2.0**-values.exponent)
    exponent = values.exponent
    while np.ceil(max(peak, 2.0**-32) * 2.0**exponent) > largest:
        exponent -= 1
    return source, Range(exponent, min(largest, values.largest))


def _with_rounding(graph: Graph, source: str, grid: Range) -> Graph:
    """The graph with a node that rounds a tensor, for those who read it."""
    name = f"{source}.{INPUT_GRID.removeprefix('input_')}"
    while name in graph:
        name += "_"
    made: list[Node] = []
    for node in graph.nodes:
        made.append(replace(node, inputs=tuple(name if one == source else one for one in node.inputs)))
        if node.name == source:
            made.append(ops.QuantizeNode(name=name, inputs=(source,), exponent=grid.exponent, largest=grid.largest))
    return Graph(made)
