"""Placed populations as what the chip runs: a chain, as a `.net` file holds it, or a circuit where the body branches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.ops import Node, Shape
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import ConvLayer, DenseLayer, FlattenLayer, InputLayer, Layer
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.rounding import Placed, split
from neurodeploy_exporters.lava.wiring import Stage


def arranged(entry: str, placed: Sequence[Placed]) -> Network | Circuit:
    """The network of all populations.

    Args:
        entry: the tensor that enters the body.
        placed: in order of computation.
    """
    chain = all(_follows(each, entry if not i else placed[i - 1].stage.name) for i, each in enumerate(placed))
    return _chain(placed) if chain else _circuit(entry, placed)


def _follows(placed: Placed, before: str) -> bool:
    """Whether a population reads the one before it alone, as in a `.net` file."""
    return [afferent.source for afferent in placed.stage.afferents] == [before] and placed.rounded.parallel == (1,)


def _in_plane(shape: Shape) -> Shape:
    """`(C, L)` as `(C, L, 1)`: a convolution over one axis is one over two whose other axis has one value."""
    return (*shape, 1) if len(shape) == 2 else shape


def _connection(node: ops.ConvNode | ops.LinearNode, weight: Any) -> Convolution | Matrix:
    if isinstance(node, ops.LinearNode):
        return Matrix(weight=weight)
    one_axis = weight.ndim == 3
    return Convolution(
        weight=weight[..., None] if one_axis else weight,
        stride=(*node.stride, 1) if one_axis else node.stride,
        padding=(*node.padding, 0) if one_axis else node.padding,
        dilation=(*node.dilation, 1) if one_axis else node.dilation,
        groups=node.groups,
    )


def _chain(placed: Sequence[Placed]) -> Network:
    first = placed[0].stage.afferents[0]
    # netx cannot flatten before the first block, so the host does
    shape = (int(np.prod(first.input_shape)),) if first.flatten else _in_plane(first.input_shape)
    layers: list[Layer] = [InputLayer(shape=shape)]
    for each in placed:
        ((afferent, weight, _, _),) = each.afferents
        if afferent.flatten and each.index:
            layers.append(FlattenLayer())
        connection = _connection(afferent.node, weight)
        if isinstance(connection, Matrix):
            layers.append(DenseLayer(shape=each.stage.shape, weight=weight, bias=each.rounded.bias, neuron=each.neuron))
        else:
            layers.append(
                ConvLayer(
                    shape=_in_plane(each.stage.shape),
                    weight=connection.weight,
                    bias=each.rounded.bias,
                    stride=connection.stride,
                    padding=connection.padding,
                    dilation=connection.dilation,
                    groups=connection.groups,
                    neuron=each.neuron,
                )
            )
    return Network(tuple(layers))


def _circuit(entry: str, placed: Sequence[Placed]) -> Circuit:
    index = {entry: INPUT} | {each.stage.name: each.index for each in placed}
    read = next(a.input_shape for each in placed for a in each.stage.afferents if a.source == entry)
    return Circuit(
        input_shape=_in_plane(read),
        populations=tuple(
            Population(key=each.key, shape=_in_plane(each.stage.shape), neuron=each.neuron, bias=each.rounded.bias)
            for each in placed
        ),
        synapses=tuple(
            Synapse(source=index[afferent.source], target=each.index, connection=_connection(afferent.node, part), delay=delay)
            for each in placed
            for afferent, weight, parallel, delay in each.afferents
            for part in split(weight, parallel)
        ),
    )


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
            yield ops.FlattenNode(name=source, inputs=(afferent.source,))
        bias = None if number or rounded.bias is None else rounded.bias.astype(np.float32)
        yield replace(afferent.node, name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)
        before, total = total, name
        if number:
            total = whole if whole and number == last else f"{stage.name}.sum{number}"
            yield ops.AddNode(name=total, inputs=(before, name))
    if isinstance(stage, Stage):
        decay, threshold = int(placed.neuron.v_decay), placed.neuron.threshold
        yield ops.FixedPointNeuronNode(name=stage.name, inputs=(total,), v_decay=decay, threshold=threshold)
        return
    if stage.integrates:
        yield ops.TimeMeanNode(name=stage.graded, inputs=(total,))
    scale = np.full(stage.shape[0], 1 / rounded.scale, np.float32)
    shift = np.zeros_like(scale) if stage.bias is None else stage.bias.astype(np.float32)
    yield ops.BatchNormNode(name=stage.name, inputs=(stage.graded,), scale=scale, shift=shift)
