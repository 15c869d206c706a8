"""The whole graph with the integers of the chip's populations in it: the interpreter then computes what the chip fires."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from neurodeploy.graph import Graph, nodes
from neurodeploy.graph.nodes import Node
from neurodeploy_exporters.lava.placed import Placed
from neurodeploy_exporters.lava.wiring import Stage


def integer_graph(graph: Graph, placed: Sequence[Placed]) -> Graph:
    """The graph with the integers of every population in it, without the nodes that nothing reads any more."""
    made = {each.stage.name: each for each in placed}
    needed, pending = {graph.input.name}, [graph.output.name]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            inputs = [a.source for a in made[name].stage.afferents] if name in made else graph[name].inputs
            pending.extend(inputs)
    kept: list[Node] = []
    for node in graph.nodes:
        if node.name in made:
            kept.extend(_population_nodes(made[node.name]))
        elif node.name in needed:
            kept.append(node)
    return Graph(kept)


def _population_nodes(placed: Placed) -> Iterator[Node]:
    """Synapses, the sum of their currents, and the neurons, or the way back to the trained unit."""
    stage, rounded, last = placed.stage, placed.rounded, len(placed.stage.afferents) - 1
    total, whole = "", "" if isinstance(stage, Stage) or stage.integrates else stage.graded
    for number, (afferent, weight, _, _) in enumerate(placed.afferents):
        name = whole if whole and not last else afferent.node.name
        source = f"{name}.flat" if afferent.flatten else afferent.source
        if afferent.flatten:
            yield nodes.Flatten(name=source, inputs=(afferent.source,))
        bias = None if number or rounded.bias is None else rounded.bias.astype(np.float32)
        yield replace(afferent.node, name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)
        before, total = total, name
        if number:
            total = whole if whole and number == last else f"{stage.name}.sum{number}"
            yield nodes.Add(name=total, inputs=(before, name))
    if isinstance(stage, Stage):
        decay, threshold = int(placed.neuron.v_decay), placed.neuron.threshold
        yield nodes.FixedPointNeuron(name=stage.name, inputs=(total,), v_decay=decay, threshold=threshold)
        return
    if stage.integrates:
        yield nodes.TimeMean(name=stage.graded, inputs=(total,))
    scale = np.full(stage.shape[0], 1 / rounded.scale, np.float32)
    shift = np.zeros_like(scale) if stage.bias is None else stage.bias.astype(np.float32)
    yield nodes.BatchNorm(name=stage.name, inputs=(stage.graded,), scale=scale, shift=shift)
