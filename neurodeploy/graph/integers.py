"""Cells that compute in whole numbers, as SLAYER trains them: as a Loihi chip's neurons, or as standard ones near to them.

SLAYER counts states in 4096ths of its unit and rounds its weights to 64ths: multiplied by 64, they are the chip's weights, and
its states the chip's. So such a network needs no quantisation; it is in the chip's integers already.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.fixed_forms import FixedCurrent, FixedPotential, fixed_current, fixed_neuron, fixed_potential
from neurodeploy.dynamics.neurons import NeuronParameters, Whole
from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.graph.partition import partition
from neurodeploy.graph.scales import fold_scales
from neurodeploy.graph.standard import Leaky, Standardized, recurrent_cell

_ONE = 4096
_UNIT = 64  # states of the chip per weight
_LARGEST_BIAS = 1 << 12


@dataclass(frozen=True, eq=False)
class _Layer:
    """Neurons in whole numbers.

    Attributes:
        cell: that fires.
        source: what its current reads.
        current, potential: its constants.
        membrane: name of the node that is the current, where it is one of its own; else that of the cell.
    """

    cell: ops.CellNode
    source: str
    current: FixedCurrent
    potential: FixedPotential
    membrane: str


def in_integers(graph: Graph) -> Standardized:
    """Every cell of the spiking body that computes in whole numbers, and whose synapses are whole ones too, becomes a layer of
    a chip's neurons (`FixedPointNeuronNode`) under its own name; its synapses are multiplied by 64. Spikes stay what they are.

    What a chip wraps or clips, SLAYER does not: beyond 2²³, 2048 in SLAYER's unit, spikes could differ.
    """
    return _rewritten(graph, _of_chip, in_body=True)


def in_floats(graph: Graph) -> Standardized:
    """Every cell that computes in whole numbers becomes a standard one, with a synaptic current, that does not round."""
    return _rewritten(graph, _of_floats, in_body=False)


def _rewritten(graph: Graph, nodes_of: "_Writer", *, in_body: bool) -> Standardized:
    layers = {layer.cell.name: layer for layer in _layers(graph)}
    body = partition(graph).body if layers and in_body else None
    if in_body:
        layers = {} if body is None else {name: layer for name, layer in layers.items() if name in body.members}
    made = {}
    for name, layer in layers.items():
        written = nodes_of(graph, layer, graph.shape(name))
        if written is not None:
            made[name] = written
    if not made:
        return Standardized(graph)
    dropped = {layers[name].membrane for name in made} - made.keys()
    members: list[Node] = []
    for node in graph.nodes:
        members += made.get(node.name, [] if node.name in dropped else [node])
    return Standardized(fold_scales(Graph(members)), tuple(made))


_Writer: TypeAlias = Callable[[Graph, _Layer, Shape], list[Node] | None]


def _layers(graph: Graph) -> Iterator[_Layer]:
    for cell in graph.of(ops.CellNode):
        whole = fixed_neuron(cell.update, cell.arrays) if len(cell.inputs) == 1 and cell.recurrent_bias is None else None
        if whole is not None:
            yield _Layer(cell, cell.inputs[0], *whole, membrane=cell.name)
            continue
        potential = fixed_potential(cell.update, cell.arrays) if cell.recurrent is None else None
        before = graph[cell.inputs[0]]
        if potential is None or not isinstance(before, ops.MembraneNode) or len(graph.consumers(before.name)) > 1:
            continue
        current = fixed_current(before.update, before.arrays) if before.recurrent is None else None
        if current is not None:
            yield _Layer(cell, before.inputs[0], current, potential, membrane=before.name)


def _of_chip(graph: Graph, layer: _Layer, shape: Shape) -> list[Node] | None:
    unit = layer.current.scale / _UNIT
    i_decay, v_decay = (_whole(_ONE - one.kept, shape) for one in (layer.current, layer.potential))
    # the smallest whole number that reaches θ is above the one before it
    threshold = _whole((ceil(layer.potential.threshold) - 1) / _UNIT, shape)
    bias = _whole(-layer.current.mean * unit, shape)
    recurrent = None if layer.cell.recurrent is None else layer.cell.recurrent.astype(np.float64) * unit
    if i_decay is None or v_decay is None or threshold is None or bias is None or np.max(np.abs(bias)) >= _LARGEST_BIAS:
        return None
    if not (_are_whole(graph, layer.source, unit) and (recurrent is None or _even(recurrent))):
        return None
    scale = ops.BatchNormNode(
        name=f"{layer.cell.name}.unit",
        inputs=(layer.source,),
        scale=np.full(shape[0], unit, np.float32),
        shift=np.zeros(shape[0], np.float32),
    )
    neuron = ops.FixedPointNeuronNode(
        name=layer.cell.name,
        inputs=(scale.name,),
        v_decay=v_decay,
        threshold=threshold,
        i_decay=i_decay,
        bias=bias,
        recurrent=None if recurrent is None else recurrent.astype(np.int64),
    )
    return [scale, neuron]


def _are_whole(graph: Graph, source: str, unit: float) -> bool:
    """Whether the synapses behind a current have even weights in a chip's unit, and no bias, which would leak with it."""
    found, pending = 0, [source]
    while pending:
        node = graph[pending.pop()]
        if isinstance(node, ops.Weighted):
            found += 1
            if node.bias is not None and node.bias.any():
                return False
            if not _even(node.weight.astype(np.float64) * unit):
                return False
        elif isinstance(node, ops.AddNode | ops.Moving | ops.DelayNode):
            pending += node.inputs
        elif not isinstance(node, ops.Spiking | ops.InputNode):
            return False
    return found > 0


def _even(values: NDArray[np.float64]) -> bool:
    return bool((values % 2 == 0).all())


def _whole(values: NDArray[np.float64] | float, shape: Shape) -> int | Whole | None:
    """As one whole number, or as one per channel; None of others."""
    rows = np.broadcast_to(values, shape).reshape(shape[0], -1)
    if not ((rows == rows[:, :1]).all() and (rows == np.rint(rows)).all()):
        return None
    channels = rows[:, 0].astype(np.int64)
    return int(channels[0]) if (channels == channels[0]).all() else channels


def _of_floats(_: Graph, layer: _Layer, shape: Shape) -> list[Node] | None:
    """In the unit of the current; the level of the threshold lies between two whole numbers."""
    name, scale = layer.cell.name, layer.current.scale
    current, potential = (_one(one.kept / _ONE) for one in (layer.current, layer.potential))
    mean = np.broadcast_to(layer.current.mean, shape).reshape(shape[0], -1)
    if current is None or potential is None or not (mean == mean[:, :1]).all():
        return None
    threshold = (ceil(layer.potential.threshold) - 0.5) / scale
    if layer.cell.recurrent is not None:
        if mean.any():
            return None
        constants = Leaky(potential, np.float32(threshold), "hard", current)
        return [recurrent_cell(name, layer.source, layer.cell.recurrent, constants, shape)]
    nodes: list[Node] = [ops.LowPassNode(name=f"{name}.current", inputs=(layer.source,), decay=current)]
    if mean.any():
        shift = -mean[:, 0].astype(np.float32)
        charge = ops.BatchNormNode(name=f"{name}.charge", inputs=(nodes[-1].name,), scale=np.ones_like(shift), shift=shift)
        nodes.append(charge)
    neuron = ops.NeuronNode(name=name, inputs=(nodes[-1].name,), parameters=NeuronParameters(potential, threshold, "hard"))
    return [*nodes, neuron]


def _one(values: NDArray[np.float64]) -> float | None:
    return float(values.flat[0]) if (values == values.flat[0]).all() else None
