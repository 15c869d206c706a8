"""From a trained body to Loihi's integers.

A neuron's equation keeps its form when weights, bias and threshold are multiplied by one scale s > 0, because after a hard
reset the membrane potential is 0 in any unit: `s h > s θ` is `h > θ`. So each population gets its own scale, then everything is
rounded: weights to even numbers of 8 bits and a sign, biases to 13 bits, thresholds to 17 bits (`rounding`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, Part, ops
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.calibration import Calibration
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.connection import MAX_DELAY
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer, Layer
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.rounding import (
    Placed,
    at_scale,
    by_channel,
    candidates,
    decays,
    given,
    in_integers,
    readout_target,
    response,
    spiking_target,
    split,
)
from neurodeploy_exporters.lava.wiring import Afferent, Readout, Stage, stages

NO_SPIKES_LEFT = "body: only the first layer spikes, so nothing would run on the chip; export to ONNX instead"


@dataclass(frozen=True)
class QuantizedSynapse:
    """One afferent of a population in integers.

    Attributes:
        name: of the afferent (`wiring.Afferent`); in a chain that of the Conv or Linear node.
        source: the spiking layer that it reads, or the tensor that enters the body.
        parallel: number of synapses that share its weight.
        delay: steps that its spikes wait: for those of the longest way, and as the network delays them; of neurons that wait
            differently, the longest.
        weight_error: ‖w_int / scale − w‖ / ‖w‖; of a readout's pooled weights, of their sums over each window.
    """

    name: str
    source: str
    parallel: int
    delay: int
    weight_error: float


@dataclass(frozen=True)
class QuantizedLayer:
    """A population in integers.

    Attributes:
        name: of the neurons in the graph, whose spikes the population fires; of a readout, the tensor that leaves the chip.
        key: of the population in recordings, such as `L0_Conv`.
        shape: of the spikes in the graph, per sample and step.
        scale: integer units per unit of the trained network; one number, or one per channel.
        synapses: what flows into it.
        bias_error: largest |b_int / scale − b|, as a share of the trained threshold; where the current has a memory, b is what
            the bias makes of it, and grows from step to step.
        threshold_error: largest |θ_int / scale − θ|, as a share of the trained threshold.
        decay_errors: |1 − iDecay / 4096 − α| and |1 − vDecay / 4096 − λ|.
        i_decay, v_decay, threshold: of the neurons, as in the file; one number, or one per channel.
        latency: steps from an input to its answer on the chip.
        recurrent_error: as the weight error of a synapse, of that through which its own spikes come back; None without one.
    """

    name: str
    key: str
    shape: Shape
    scale: float | list[float]
    synapses: tuple[QuantizedSynapse, ...]
    bias_error: float
    threshold_error: float
    decay_errors: tuple[float, float]
    i_decay: int | list[int]
    v_decay: int | list[int]
    threshold: int | list[int]
    latency: int
    recurrent_error: float | None = None


@dataclass(frozen=True, eq=False)
class QuantizedBody:
    """A body in integers, twice.

    Attributes:
        network: what the chip runs: a chain, as a `.net` file holds it, or a circuit where the body branches.
        layers: its spiking layers, in order.
        delayed: whether the network itself lets spikes wait.
        recurrent: whether spikes of a layer come back to it.
        readouts: the neurons behind them that never fire, whose graded values leave the chip; none where it ends with spikes.
        graph: the whole graph with the same integers in the body's synapses (float32, exact) and FixedPointNeuron nodes; every
            afferent is a node of its own. Encoder and head are unchanged, but for the head's synapses that are readouts: their
            integers make the tensor `….graded`, and the node after it brings them back to the trained unit.
    """

    network: Network | Circuit
    layers: tuple[QuantizedLayer, ...]
    delayed: bool
    recurrent: bool
    readouts: tuple[QuantizedLayer, ...]
    graph: Graph


def quantize_body(
    graph: Graph,
    body: Part | None,
    *,
    calibration: NDArray[Any] | None = None,
    readouts: Sequence[Readout] = (),
    steps: int = 1,
    scales: Mapping[str, float] | None = None,
    per_channel: bool = False,
) -> QuantizedBody:
    """Round the body of a graph to what Loihi holds.

    Args:
        graph: batch norm folded.
        body: the part of `neurodeploy.graph.partition` that goes onto the chip.
        calibration: spikes that enter the body, `[T, B, …]`: then every population gets the scale with which it fires most
            nearly what it fires in the trained network (`calibration.Calibration`), rather than that of least rounding error.
        readouts: synapses behind the last spiking layers that the chip computes too (`wiring.readouts`).
        steps: T of a sample, over which a readout or a current with a memory may have to add up.
        scales: of every spiking layer in the body, as fine-tuning found its integers; then none is searched for.
        per_channel: every channel of a spiking layer gets a scale and a threshold of its own, for less rounding error.

    Raises:
        UserError: there is no body, or a node has no form on the chip, or is beyond its range at the scale given; the message
            names it and says what to do.
    """
    if body is None:
        raise UserError(NO_SPIKES_LEFT)
    entry, fired = body.inputs[0], stages(graph, body)
    chosen = None if calibration is None else Calibration(entry, calibration)
    depths, placed = {entry: 0}, list[Placed]()
    populations: tuple[Stage | Readout, ...] = (*fired, *readouts)
    for index, stage in enumerate(populations):
        depth, delays = _timing(stage, depths)
        if isinstance(stage, Stage) and stage.integers is not None:
            i_decay, v_decay = decays(stage)
            rounded = in_integers(stage)
            if chosen is not None:
                chosen.follow(stage, rounded)
            placed.append(Placed(stage, rounded, CubaConstants(i_decay, v_decay, rounded.threshold), depth, delays, index))
            depths[stage.name] = depth
            continue
        if isinstance(stage, Stage):
            target = spiking_target(stage, steps)
            if scales is not None:
                scale = given(target, scales[stage.name])
            else:
                possible = candidates(target)
                scale = possible[0] if chosen is None else chosen.choose(stage, target, possible)
            i_decay, v_decay = decays(stage)
        else:
            target = readout_target(stage, steps)
            scale = candidates(target)[0]
            i_decay, v_decay = 0 if stage.integrates else 4096, 4096
        own = per_channel and scales is None and isinstance(stage, Stage)
        rounded = by_channel(target, scale) if own else at_scale(target, scale)
        neuron = CubaConstants(i_decay, v_decay, rounded.threshold)
        placed.append(Placed(stage, rounded, neuron, depth, delays, index))
        depths[stage.name] = depth
    spiking, graded = placed[: len(fired)], placed[len(fired) :]
    return QuantizedBody(
        network=arranged(entry, placed),
        layers=tuple(_describe(each, steps) for each in spiking),
        delayed=any(afferent.longest for each in spiking for afferent in each.stage.afferents),
        recurrent=any(each.recurrent is not None for each in spiking),
        readouts=tuple(_describe(each, steps) for each in graded),
        graph=integer_graph(graph, placed),
    )


def _timing(stage: Stage | Readout, depths: dict[str, int]) -> tuple[int, tuple[int, ...]]:
    """The depth of a population, and the delays of its afferents: their own, and what lines them up with the longest way."""
    before = [depths[afferent.source] for afferent in stage.afferents]
    delays = tuple(max(before) - each + afferent.delay for each, afferent in zip(before, stage.afferents, strict=True))
    for afferent, delay in zip(stage.afferents, delays, strict=True):
        longest = delay - afferent.delay + afferent.longest
        if longest > MAX_DELAY:
            raise UserError(
                f"node {stage.name}: the spikes of {afferent.source} have to wait {longest} steps, {afferent.longest} of their "
                f"own and {delay - afferent.delay} for those of the longest way, {MAX_DELAY} at most expected on Loihi; "
                "shorten them, or export to ONNX"
            )
    return 1 + max(before), delays


def _describe(placed: Placed, steps: int) -> QuantizedLayer:
    stage, rounded = placed.stage, placed.rounded
    threshold, bias_error, decay_errors = None, 0.0, (0.0, 0.0)
    if isinstance(stage, Stage) and stage.integers is None:
        threshold = stage.neuron.parameters.threshold
        i_decay, v_decay = decays(stage)
        decay_errors = (
            abs(1 - i_decay / 4096 - stage.current_decay),
            abs(1 - v_decay / 4096 - stage.neuron.parameters.decay),
        )
        if rounded.bias is not None and stage.bias is not None:
            grown = np.multiply.outer(response(stage.current_decay, steps), stage.bias)
            bias_error = float(np.abs(rounded.bias / rounded.scale - grown).max())
    return QuantizedLayer(
        name=stage.name,
        key=placed.key,
        shape=stage.shape,
        scale=rounded.scale if np.ndim(rounded.scale) == 0 else rounded.scale.tolist(),
        synapses=tuple(
            QuantizedSynapse(
                afferent.node.name,
                afferent.source,
                parallel,
                delay - afferent.delay + afferent.longest,
                rounded.weight_errors[n],
            )
            for n, (afferent, _, parallel, delay) in enumerate(placed.afferents)
        ),
        bias_error=bias_error / (threshold or 1.0),
        threshold_error=0.0
        if threshold is None
        else float(np.abs(rounded.threshold / rounded.scale - threshold).max()) / threshold,
        decay_errors=decay_errors,
        i_decay=np.asarray(placed.neuron.i_decay).tolist(),
        v_decay=np.asarray(placed.neuron.v_decay).tolist(),
        threshold=np.asarray(placed.neuron.threshold).tolist(),
        latency=placed.depth,
        recurrent_error=None if placed.recurrent is None else rounded.weight_errors[-1],
    )


def arranged(entry: str, placed: Sequence[Placed]) -> Network | Circuit:
    """The network of all populations.

    Args:
        entry: the tensor that enters the body.
        placed: in order of computation.
    """
    chain = all(_follows(each, entry if not i else placed[i - 1].stage.name) for i, each in enumerate(placed))
    return _chain(placed) if chain else _circuit(entry, placed)


def _follows(placed: Placed, before: str) -> bool:
    """Whether a population reads the one before it alone, as in a `.net` file, where neither a convolution nor a synapse on
    neurons whose own spikes come back has a delay."""
    afferents = placed.stage.afferents
    alone = [afferent.source for afferent in afferents] == [before] and set(placed.rounded.parallel) == {1}
    delays = isinstance(afferents[0].node, ops.LinearNode) and placed.recurrent is None
    biased = placed.rounded.bias is not None and placed.rounded.bias.ndim > 1 and len(placed.stage.shape) < 3
    return alone and not biased and (delays or not afferents[0].longest)


def _in_plane(shape: Shape) -> Shape:
    """`(C, L)` as `(C, L, 1)`: a convolution over one axis is one over two whose other axis has one value."""
    return (*shape, 1) if len(shape) == 2 else shape


def _connection(afferent: Afferent, weight: Any) -> Convolution | Matrix:
    node = afferent.node
    if isinstance(node, ops.LinearNode):
        return Matrix(weight=weight, delay=0 if afferent.each is None else _by_synapse(afferent.each, weight))
    stride, padding, dilation = node.stride, node.padding, node.dilation
    if weight.ndim == 3:
        weight, stride, padding, dilation = weight[..., None], (*stride, 1), (*padding, 0), (*dilation, 1)
    return Convolution(weight=weight, stride=stride, padding=padding, dilation=dilation, groups=node.groups)


def _by_synapse(each: Any, weight: Any) -> Any:
    """Delays of the neurons before a synapse as those of each weight."""
    return np.broadcast_to(each.ravel(), weight.shape).astype(np.int64)


def _chain(placed: Sequence[Placed]) -> Network:
    first = placed[0].stage.afferents[0]
    # netx cannot flatten before the first block, so the host does
    entry = (int(np.prod(first.input_shape)),) if first.flatten else _in_plane(first.input_shape)
    layers: list[Layer] = [InputLayer(shape=entry)]
    for each in placed:
        ((afferent, weight, _, delay),) = each.afferents
        if afferent.flatten and each.index:
            layers.append(FlattenLayer())
        connection, constants = _connection(afferent, weight), {"bias": each.rounded.bias, "neuron": each.neuron}
        if isinstance(connection, Matrix):
            late: Any = delay if afferent.each is None else delay + connection.delay
            layers.append(DenseLayer(shape=each.stage.shape, weight=weight, delay=late, weight_rec=each.recurrent, **constants))
        else:
            shape, geometry = _in_plane(each.stage.shape), connection.geometry
            layers.append(ConvLayer(shape=shape, weight=connection.weight, **geometry, **constants))
    return Network(tuple(layers))


def _circuit(entry: str, placed: Sequence[Placed]) -> Circuit:
    index = {entry: INPUT} | {each.stage.name: each.index for each in placed}
    read = next(a.input_shape for each in placed for a in each.stage.afferents if a.source == entry)
    return Circuit(
        input_shape=_in_plane(read),
        populations=tuple(
            Population(
                key=each.key,
                shape=_in_plane(each.stage.shape),
                neuron=each.neuron,
                bias=each.rounded.bias,
                recurrent=each.recurrent,
            )
            for each in placed
        ),
        synapses=tuple(
            Synapse(source=index[afferent.source], target=each.index, connection=_connection(afferent, part), delay=delay)
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
            pending.extend([a.source for a in made[name].stage.afferents] if name in made else graph[name].inputs)
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
    # the current of the chip does not hold the bias
    beside = rounded.bias is not None and (np.any(np.not_equal(placed.neuron.i_decay, 4096)) or rounded.bias.ndim > 1)
    for number, (afferent, weight, _, _) in enumerate(placed.afferents):
        name = whole if whole and not last else afferent.node.name
        source = afferent.source
        if afferent.longest:
            each = None if afferent.each is None else afferent.delay + afferent.each
            yield ops.DelayNode(name=f"{name}.late", inputs=(source,), steps=afferent.longest, each=each)
            source = f"{name}.late"
        if afferent.flatten:
            yield ops.FlattenNode(name=f"{name}.flat", inputs=(source,))
            source = f"{name}.flat"
        bias = None if number or beside or rounded.bias is None else rounded.bias.astype(np.float32)
        yield replace(afferent.node, name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)
        before, total = total, name
        if number:
            total = whole if whole and number == last else f"{stage.name}.sum{number}"
            yield ops.AddNode(name=total, inputs=(before, name))
    if isinstance(stage, Stage):
        yield ops.FixedPointNeuronNode(
            name=stage.name,
            inputs=(total,),
            i_decay=placed.neuron.i_decay,
            v_decay=placed.neuron.v_decay,
            threshold=placed.neuron.threshold,
            bias=rounded.bias if beside else 0,
            recurrent=placed.recurrent,
        )
        return
    if stage.integrates:
        yield ops.TimeMeanNode(name=stage.graded, inputs=(total,))
    scale = np.full(stage.shape[0], 1 / rounded.scale, np.float32)
    shift = np.zeros_like(scale) if stage.bias is None else stage.bias.astype(np.float32)
    yield ops.BatchNormNode(name=stage.name, inputs=(stage.graded,), scale=scale, shift=shift)
