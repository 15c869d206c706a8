"""Synapses that add to the potentials of their neurons, which then need no sums of their own in memory.

Where a potential is kept in integers that are never rounded, its decay comes first and every product is added to what is left:
the same sum in another order, of integers that the proof of the potential's range bounds at every moment.
"""

import numpy as np

from neurodeploy.graph import ops
from neurodeploy_exporters.c.file import CFile
from neurodeploy_exporters.c.potentials import Accumulation, integer_state
from neurodeploy_exporters.c.tensors import CTensor


def accumulations(unit: CFile) -> tuple[Accumulation, ...]:
    """The layers of neurons of a file whose synapses can add to their potentials.

    Args:
        unit: in which every node has been emitted on its own, so that grids and phases are known.
    """
    found = (_accumulation(unit, name) for name in unit.members if isinstance(unit.graph[name], ops.NeuronNode))
    return tuple(one for one in found if one is not None)


def _accumulation(unit: CFile, name: str) -> Accumulation | None:
    node = unit.graph[name]
    assert isinstance(node, ops.NeuronNode)
    current = unit.tensors[node.inputs[0]]
    if not current.integer or current.name in unit.divisors:
        return None
    form = integer_state(current.grid, node.parameters.decay, unit.steps, node.parameters)
    if form is None or form.rounds or not form.factor:
        return None
    synapses, values, sums = list[str](), list[str](), set[str]()
    pending = [node.inputs[0]]
    while pending:
        term = pending.pop()
        maker = unit.graph[term]
        own = term in unit.members and len(unit.graph.consumers(term)) == 1 and term not in unit.leaving
        if own and isinstance(maker, ops.AddNode) and maker.inputs[0] != maker.inputs[1]:
            sums.add(term)
            pending += maker.inputs
        elif own and isinstance(maker, ops.Weighted) and _adds(unit, unit.tensors[term], current):
            synapses.append(term)
        else:
            values.append(term)
    if not synapses or any(not unit.tensors[one].integer or one in unit.divisors for one in values):
        return None
    in_order = tuple(one for one in unit.members if one in synapses)
    return Accumulation(name, form, current.order, in_order, tuple(values), frozenset(sums))


def _adds(unit: CFile, sums: CTensor, current: CTensor) -> bool:
    """Whether a synapse is computed in every step, in the order of the neurons."""
    return unit.phase(sums.name) == "step" and np.array_equal(sums.order, current.order)
