"""Static 8-bit integers: weights, and the currents of convolutions, where spikes enter. Smaller and faster, never exact.

Spikes are 0 or 1, and sums and averages of a few of them small multiples of a step: an unsigned 8-bit integer holds them as
they are. So only two things are rounded: weights, with one step per output channel, and the currents that a convolution makes
of spikes, with one step per layer, chosen on calibration inputs; ONNX Runtime computes a convolution in integers only if its
result is one. Where values that are no spikes enter (the first layer, a head behind a ReLU) weights alone are rounded: those
layers are small, or computed once per sample.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.onnx.writer import Grid

_LEVELS = 255
_BATCH = 16
# two products of neighbours are added in 16 bits on processors without VNNI: more would overflow
_LARGEST_INPUT = 127


@dataclass(frozen=True)
class _Multiples:
    """Values are 0, 1, … `largest` times `step`."""

    step: float
    largest: int


def calibrate(graph: Graph, inputs: NDArray[np.float32], steps: int) -> dict[str, Grid]:
    """The grids of a graph's tensors: what convolutions and linear layers read, if it is made of spikes, and currents.

    Args:
        graph: batch norm folded.
        inputs: `[B, …]` or `[T, B, …]`, none of them of the test set.
        steps: T.

    Returns:
        tensor → its grid: currents of convolutions by the name of the node, and what they read.
    """
    made_of_spikes = _made_of_spikes(graph, inputs)
    synapses = graph.of(ops.ConvNode) + graph.of(ops.LinearNode)
    grids = {node.inputs[0]: _exact(made_of_spikes[node.inputs[0]]) for node in synapses if node.inputs[0] in made_of_spikes}
    currents = [node.name for node in graph.of(ops.ConvNode) if node.inputs[0] in grids]
    return grids | _ranges(graph, currents, inputs, steps)


def _exact(values: _Multiples) -> Grid:
    return Grid(values.step, 0)


def _made_of_spikes(graph: Graph, inputs: NDArray[np.float32]) -> dict[str, _Multiples]:
    found: dict[str, _Multiples] = {}
    for node in graph.nodes:
        sources = [found.get(source) for source in node.inputs]
        made = _values(node, sources, inputs)
        if made is not None and made.largest <= _LARGEST_INPUT:
            found[node.name] = made
    return found


def _values(node: ops.Node, sources: list[_Multiples | None], inputs: NDArray[np.float32]) -> _Multiples | None:
    if isinstance(node, ops.Spiking):
        return _Multiples(1.0, 1)
    if isinstance(node, ops.InputNode) and node.timed and np.array_equal(inputs, np.rint(inputs)) and inputs.min() >= 0:
        return _Multiples(1.0, int(inputs.max()))
    known = [source for source in sources if source is not None]
    if not known or len(known) < len(sources):
        return None
    if node.keeps_values:
        return known[0]
    if isinstance(node, ops.AvgPoolNode):
        size = int(np.prod(node.kernel))
        return _Multiples(known[0].step / size, known[0].largest * size)
    if isinstance(node, ops.AddNode) and known[0].step == known[1].step:
        return _Multiples(known[0].step, known[0].largest + known[1].largest)
    return None


def _ranges(graph: Graph, currents: list[str], inputs: NDArray[np.float32], steps: int) -> dict[str, Grid]:
    """Grids from the least to the largest value of each current, 0 among them."""
    least, largest = dict.fromkeys(currents, 0.0), dict.fromkeys(currents, 0.0)
    session = Session(build(graph, name="calibration"), also=currents)
    samples = inputs.shape[1 if graph.input.timed else 0]
    for start in range(0, samples, _BATCH):
        batch = slice(start, start + _BATCH)
        found = session.run({graph.input.name: inputs[:, batch] if graph.input.timed else inputs[batch]}, steps=steps)
        for name in currents:
            least[name] = float(np.minimum(least[name], found[name].min()))  # of a NaN, NaN
            largest[name] = float(np.maximum(largest[name], found[name].max()))
    return {name: _between(name, least[name], largest[name]) for name in currents}


def _between(name: str, least: float, largest: float) -> Grid:
    if not np.isfinite(largest - least):
        raise UserError(f"node {name}: currents that are not finite found; train the network again")
    scale = (largest - least) / _LEVELS or 1.0
    return Grid(scale, round(-least / scale))
