"""Spikes that come back: in NIR a cycle of edges, from a neuron through an Affine or Linear node to the neuron again.

NIR knows no time steps, and a cycle takes one: what a neuron fires in a step comes back to it in the next. So snnTorch writes
its recurrent layers (`lif`, `w_rec` in an inner graph), and so the networks of the NIR paper are written (Pedersen et al. 2024,
Braille letters). A bias of the node acts in every step, the first one too.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops import CellNode, Shape
from neurodeploy.graph.standard import Leaky, recurrent_cell
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import NEURONS, Content, Primitive
from neurodeploy_exporters.nir.stepping import Discrete

Edges: TypeAlias = Sequence[tuple[str, str]]
Floats: TypeAlias = NDArray[np.float64]
_SYNAPSES = ("Affine", "Linear")
SUFFIX = ".recurrent"


def returning(nodes: Mapping[str, Primitive], edges: Edges) -> dict[str, tuple[str, ...]]:
    """Neuron → the synapses through which its own spikes come back: each reads it alone, and is read by it alone."""
    before: dict[str, set[str]] = {}
    after: dict[str, set[str]] = {}
    for a, b in edges:
        before.setdefault(b, set()).add(a)
        after.setdefault(a, set()).add(b)
    found: dict[str, list[str]] = {}
    for name, node in nodes.items():
        around = before.get(name, set())
        if node.kind in _SYNAPSES and len(around) == 1 and after.get(name, set()) == around:
            (neuron,) = around
            if nodes[neuron].kind in NEURONS and "v_threshold" in nodes[neuron].fields:
                found.setdefault(neuron, []).append(name)
    return {neuron: tuple(synapses) for neuron, synapses in found.items()}


def read_back(neuron: str, synapses: Mapping[str, Primitive], shape: Shape) -> tuple[Floats, Floats]:
    """Weights `[N, N]` and bias `[N]`, in float64, of all synapses through which neurons of a shape read themselves.

    Raises:
        UserError: they do not fit the neurons; the message names the synapse.
    """
    size = shape[0]
    weight, bias = np.zeros((size, size)), np.zeros(size)
    for name, synapse in synapses.items():
        for field, total in (("weight", weight), ("bias", bias)):
            if field not in synapse.fields:
                continue
            values = np.asarray(synapse.fields[field])
            if len(shape) != 1 or values.shape != total.shape or values.dtype.kind not in "fiu":
                raise UserError(
                    f"node {name}: {field} of shape {values.shape} found on the way back to {neuron}, whose shape is {shape}; "
                    f"{total.shape} expected, and neurons of one axis"
                )
            if not np.isfinite(values.astype(np.float32)).all():
                raise UserError(f"node {name}: {field}: numbers beyond float32 found")
            total += values
    return weight, bias


def recurrent_neurons(name: str, source: str, weight: Floats, update: Discrete, shape: Shape) -> CellNode:
    """The cell of neurons that read themselves, in the unit of their potential.

    Args:
        name, source: of the node, and of what it reads, scaled already.
        weight: `[N, N]`, in the file's unit.
        update: how they are stepped.
        shape: of the layer.

    Raises:
        UserError: their potential rests elsewhere than at their reset, beside a synaptic current.
    """
    assert update.threshold is not None
    if update.current_decay is not None and np.any(update.shift):
        raise UserError(f"node {name}: v_leak beside v_reset found on neurons whose spikes come back, equal ones expected")
    constants = Leaky(
        update.decay, np.asarray(update.threshold, np.float32), update.reset, update.current_decay, late=update.late
    )
    rows = np.broadcast_to(update.scale, shape)
    return recurrent_cell(name, source, (weight * rows[:, None]).astype(np.float32), constants, shape)


def written_back(node: CellNode) -> Primitive:
    """The synapse through which a cell's spikes come back; with zeros for a bias, as all Affine nodes have one."""
    assert node.recurrent is not None
    return Primitive("Affine", {"weight": node.recurrent, "bias": np.zeros(len(node.recurrent), np.float32)})


def stored_back(content: Content, neuron: str) -> NDArray[np.float32] | None:
    """The weights that `written_back` wrote for a neuron of a file; None if there are none.

    Raises:
        UserError: they are not float32.
    """
    plain = {name: node for name, node in content.nodes.items() if isinstance(node, Primitive)}
    edges = [edge for edge in content.edges if edge[0] in plain and edge[1] in plain]
    synapses = returning(plain, edges).get(neuron, ())
    if len(synapses) != 1:
        return None
    weight = plain[synapses[0]].fields.get("weight")
    if not isinstance(weight, np.ndarray) or weight.dtype != np.float32:
        raise UserError(f"node {synapses[0]}: its weight is missing, or not float32")
    return weight
