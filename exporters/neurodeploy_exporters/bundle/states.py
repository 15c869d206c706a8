"""What neurons hold besides their spikes: currents and final potentials, summed so that runtimes can be compared bit for bit.

A weight that moves a current by less than the potential's distance from the threshold changes no spike, but it changes this.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import CubaParameters, cuba_step, neuron_step
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.ops import Node
from neurodeploy.graph.ops.fixed_point import over_places
from neurodeploy.graph.ops.operation import fires

CURRENTS, POTENTIALS = "currents/", "potentials/"
Sums: TypeAlias = dict[str, NDArray[Any]]
_UNIT = 1 << 32
_LARGEST = float(1 << 30)


def asked(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of the tensors asked of a replay, the spiking layers, and those whose states are asked for too."""
    layers = [name for name in names if not name.startswith((CURRENTS, POTENTIALS))]
    return layers, [layer for layer in layers if f"{POTENTIALS}{layer}" in names]


def summed(values: NDArray[Any], *, timed: bool) -> NDArray[np.int64]:
    """The sums of a tensor over time and places, for each sample and channel.

    Whole numbers are summed as they are, others in units of 2^-32, each rounded by itself; so the order does not matter.

    Args:
        values: `[T, B, C, …]` if `timed`, else `[B, C, …]`.
        timed: see above.

    Returns:
        `[B, C]`, modulo 2^64.
    """
    if values.dtype.kind == "f":
        held = np.clip(values.astype(np.float64), -_LARGEST, _LARGEST) * _UNIT
        values = np.rint(np.nan_to_num(held, nan=_LARGEST)).astype(np.int64)
    whole = values.astype(np.int64, copy=False).sum(0) if timed else values.astype(np.int64, copy=False)
    return np.asarray(whole.reshape(*whole.shape[:2], -1).sum(-1), np.int64)


def sums_of_layer(layer: str, currents: NDArray[Any], potentials: NDArray[Any]) -> Sums:
    """The entries of one layer.

    Args:
        layer: its name.
        currents: `[T, B, C, …]`.
        potentials: `[B, C, …]`, after the last step.
    """
    return {f"{CURRENTS}{layer}": summed(currents, timed=True), f"{POTENTIALS}{layer}": summed(potentials, timed=False)}


def state_sums(graph: Graph, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str] | None = None) -> Sums:
    """The entries of a graph's layers of IF, LIF and CUBA neurons; other neurons keep states of their own, and have none.

    Args:
        graph: the network.
        tensors: of `interpreter.run`.
        layers: of which; all if None.
    """
    found: Sums = {}
    for name in graph.spiking if layers is None else layers:
        states = _states(graph[name], tensors)
        found |= {} if states is None else sums_of_layer(name, *states)
    return found


def has_states(node: Node) -> bool:
    """Whether a layer has entries."""
    return isinstance(node, ops.NeuronNode) or (isinstance(node, ops.FixedPointNeuronNode) and node.recurrent is None)


def _states(node: Node, tensors: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Currents `[T, B, …]` and potentials `[B, …]` after the last step."""
    if not has_states(node):
        return None
    entering = tensors[node.inputs[0]]
    if isinstance(node, ops.NeuronNode):
        v = np.zeros(entering.shape[1:], np.float32)
        for current in entering:
            _, v = neuron_step(v, current, node.parameters, fires)
        return entering, v
    assert isinstance(node, ops.FixedPointNeuronNode)
    spread = [over_places(value, entering.ndim - 2) for value in (node.i_decay, node.v_decay, node.threshold, node.bias)]
    u = w = np.zeros(entering.shape[1:], np.int64)
    held = []
    for current in entering:
        _, u, w = cuba_step(u, w, current.astype(np.int64), CubaParameters(*spread))
        held.append(u + 64 * np.asarray(spread[3]))  # on a chip every bias comes past the current
    return np.stack(held), w
