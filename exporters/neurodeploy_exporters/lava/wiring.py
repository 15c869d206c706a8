"""The spiking body of a graph as stages: populations of neurons, and the synapses whose currents meet in each of them.

Between two spiking layers stand linear nodes alone, so what flows into a neuron is a sum over the ways that lead to it, each of
which begins with the spikes of one layer: `current = Σ_ways synapse(pools(spikes)) + bias`. A sum of spikes that one synapse
reads is a sum of currents of that synapse; a way without a synapse, such as an identity shortcut, gets one whose weights are 1.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, Part, ops
from neurodeploy.graph.ops import Shape
from neurodeploy.graph.standard import leaky, why_not
from neurodeploy.graph.table import Table
from neurodeploy.graph.transforms import ungrouped
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.folding import Step, fold_into_conv, fold_into_linear


@dataclass(frozen=True, eq=False)
class Afferent:
    """One synapse on a population, before quantisation.

    Attributes:
        source: name of the spiking layer that it reads, or of the tensor that enters the body.
        node: Conv or Linear with a float64 weight, the steps before it folded in, no bias; it reads `source`. A shortcut that
            passes spikes on as they are is a 1×1 convolution of one group per channel, with weights of 1 (a unit matrix where
            the spikes have one axis). Its name is that of the node in the graph where no other afferent comes from it, else
            `source>node`; for a way without a synapse `source>neurons`.
        delay: steps that its spikes wait in the network; what lines up the ways on the chip comes on top.
        each: further steps of each neuron of the source, in its shape, where they differ; of Linear nodes alone.
        flatten: the source is flattened first.
        input_shape: of the source, per sample and step.
        windows: of every input of a Linear node into which pooling over windows that do not overlap is folded, the number of
            its window, −1 outside of all; None elsewhere. All inputs of a window have the same weight.
    """

    source: str
    node: ops.ConvNode | ops.LinearNode
    flatten: bool
    input_shape: Shape
    windows: NDArray[np.int64] | None = None
    delay: int = 0
    each: NDArray[np.int64] | None = None

    @property
    def longest(self) -> int:
        """The most steps that a spike waits."""
        return self.delay + (0 if self.each is None else int(self.each.max()))


@dataclass(frozen=True, eq=False)
class Stage:
    """A population and what flows into it.

    Attributes:
        neuron: its node in the graph; of neurons that are another kind of node there, what that is for reports.
        afferents: one in a chain, more where branches meet.
        bias: float64 `[C_out]`, the sum over its synapses, or None.
        shape: of its spikes, per sample and step.
        current_decay: α, the share of the synaptic current, bias included, that is kept from one step to the next; 0 of
            neurons whose current is that of the step.
        returning: the synapse through which its own spikes come back in the next step, a Linear node; or None.
        integers: its node in the graph, if that is in a chip's integers already, and so are its synapses.
    """

    neuron: ops.NeuronNode
    afferents: tuple[Afferent, ...]
    bias: NDArray[np.float64] | None
    shape: Shape
    current_decay: float = 0.0
    returning: Afferent | None = None
    integers: ops.FixedPointNeuronNode | None = None

    @property
    def name(self) -> str:
        return self.neuron.name


@dataclass(frozen=True, eq=False)
class Readout:
    """The last synapses of a network, whose currents leave the chip as numbers, through neurons that never fire.

    Attributes:
        name: of the node in the graph whose value they are, up to the bias: a sum of currents, or its mean over time.
        afferents: as of a stage.
        bias: float64 `[C_out]` or None; the host adds it.
        shape: of the values, per sample (and step).
        integrates: the mean over time is read, once a sample; else the currents of every step, also where a host takes the mean
            of the later ones: neurons that add up cannot forget the first.
    """

    name: str
    afferents: tuple[Afferent, ...]
    bias: NDArray[np.float64] | None
    shape: Shape
    integrates: bool

    @property
    def graded(self) -> str:
        """Name of the integers that leave the chip, as a tensor of the quantised graph."""
        return f"{self.name}.graded"


@dataclass(frozen=True, eq=False)
class _Way:
    """From the spikes of `source`, `delay` steps late, to some node; `synapse` has the steps before it folded in.

    `each`, in the shape of the source, is how much later each of its neurons is.
    """

    source: str
    steps: tuple[Step, ...] = ()
    synapse: ops.ConvNode | ops.LinearNode | None = None
    delay: int = 0
    each: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class _Current:
    """The value of a node: a sum over ways, and a bias `[C]` or None; both through a low-pass filter if it has a name."""

    ways: tuple[_Way, ...]
    bias: Any = None
    low_pass: str = ""


def stages(graph: Graph, body: Part) -> tuple[Stage, ...]:
    """Cut the body into stages, in order of computation.

    Raises:
        UserError: naming the node that has no form in Loihi's neurons and synapses, and what to do.
    """
    if len(body.inputs) != 1:
        raise UserError(
            f"body: reads {len(body.inputs)} tensors ({', '.join(body.inputs)}), one expected; let one spiking layer be the "
            "first, or export to ONNX"
        )
    OPERATIONS.check(graph[name] for name in body.members)
    found: list[Stage] = []
    values = {body.inputs[0]: _Current((_Way(body.inputs[0]),))}
    for name in body.members:
        node = graph[name]
        inputs = [values[source] for source in node.inputs]
        if isinstance(node, ops.Spiking):
            found.append(_stage(graph, node, inputs[0]))
        elif any(value.low_pass for value in inputs):
            filtered = next(value.low_pass for value in inputs if value.low_pass)
            raise UserError(f"node {filtered}: its synaptic current is read by {name} ({node.kind}), neurons alone expected")
        values[name] = OPERATIONS[node](graph, node, *inputs)
    return tuple(replace(stage, afferents=named) for stage, named in zip(found, _named(graph, found), strict=True))


def readouts(graph: Graph, head: Part) -> tuple[Readout, ...]:
    """The synapses of the head that a chip can compute, because nothing but linear nodes stands before them.

    Raises:
        UserError: there is none; the message names the node that stands before the synapse.
    """
    values = {tensor: _Current((_Way(tensor),)) for tensor in head.inputs}
    obstacles: list[str] = []
    ends: list[str] = []
    for name in head.members:
        node = graph[name]
        inputs = [values[source] for source in node.inputs if source in values]
        if len(inputs) == len(node.inputs) and _goes_on(node, inputs):
            values[name] = OPERATIONS[node](graph, node, *inputs)
            continue
        for source in node.inputs:
            if source in values and any(way.synapse is not None for way in values[source].ways):
                ends.append(source)
            elif source in values:
                obstacles.append(f"{name} ({node.kind})")
    if not ends:
        raise UserError(
            f"head: {', '.join(obstacles)} stands between the last spikes and the last synapse, and has no form on Loihi; "
            "leave the synapse to the host (--head-cut last-spike), or retrain with average pooling"
        )
    found = []
    for end in dict.fromkeys(ends):
        consumers = graph.consumers(end)
        integrates = len(consumers) == 1 and isinstance(mean := consumers[0], ops.TimeMeanNode) and not mean.skip
        name = consumers[0].name if integrates else end
        shape, value = graph.shape(end), values[end]
        found.append(Readout(name, _afferents(graph, value, end, shape), value.bias, shape, integrates))
    return tuple(replace(readout, afferents=named) for readout, named in zip(found, _named(graph, found), strict=True))


def _goes_on(node: ops.Node, inputs: Sequence[_Current]) -> bool:
    """Whether a node of the head can still be computed by the synapses that a sum over ways stands for."""
    sent = any(way.synapse is not None for value in inputs for way in value.ways)
    kept = isinstance(node, ops.LowPassNode | ops.DelayNode)
    return type(node) in OPERATIONS and not kept and (isinstance(node, ops.AddNode) or not sent)


OPERATIONS: Table[Callable[..., _Current]] = Table("on Loihi", "take it out, or export to ONNX")
"""`(graph, node, *currents) → current`: what a node makes of the currents that it reads."""

_REFUSALS: dict[type[ops.Node], str] = {
    ops.MaxPoolNode: "max pooling cannot be done by spiking neurons; retrain with average pooling or a stride",
    ops.ConvTransposeNode: "a transposed convolution has no form on Loihi; replace it by a convolution, or export to ONNX",
    ops.MultiplyNode: "a product of two signals cannot be done on Loihi; add them instead, or export to ONNX",
    ops.MatMulNode: "a product of two signals, as in attention, cannot be done on Loihi; export to ONNX",
    ops.ReluNode: "a ReLU among spiking layers cannot be done on Loihi; replace it by spiking neurons",
    ops.BatchNormNode: "batch norm has to be folded into the synapse before it first; put it right after a Conv or Linear",
    ops.InputNode: "samples enter the chip's body; encode before the first spiking layer",
    ops.EncodeNode: "direct coding inside the body; encode before the first spiking layer",
    ops.TimeMeanNode: "a mean over time inside the body; leave it to the head",
    ops.NormalizeNode: "samples are normalised on a host: feed events of 0 and 1, or export to ONNX",
    ops.QuantizeNode: "inputs are rounded on a host: feed events of 0 and 1, or export to ONNX",
    ops.OutputNode: "the answer leaves from inside the body; end the network with a mean over time",
}
for _operation, _reason in _REFUSALS.items():
    OPERATIONS.refuse(_operation, _reason)
_OTHER = "its neurons are LIF neurons of one decay and threshold in a layer: train those, or export to ONNX"
OPERATIONS.lack(ops.Updated, _OTHER)
OPERATIONS.lack(ops.Spiking, "its neurons are LIF neurons: train those, or export to ONNX")


@OPERATIONS.rule(ops.NeuronNode, ops.CellNode, ops.FixedPointNeuronNode)
def _fired(_: Graph, node: ops.Spiking, __: _Current) -> _Current:
    return _Current((_Way(node.name),))


@OPERATIONS.rule(ops.LowPassNode)
def _filtered(_: Graph, node: ops.LowPassNode, value: _Current) -> _Current:
    return replace(value, low_pass=node.name)


@OPERATIONS.rule(ops.DelayNode)
def _delayed(graph: Graph, node: ops.DelayNode, value: _Current) -> _Current:
    if node.each is not None:
        (way, *others) = value.ways
        if others or way.synapse is not None or any(not isinstance(step, ops.FlattenNode) for step, _ in way.steps):
            raise UserError(
                f"node {node.name}: delays of {node.each.min()} to {node.steps} steps in one layer, behind something else than "
                "its neurons, found; put them right behind the neurons, train one delay for each layer, or export to ONNX"
            )
        shape = graph.shape(way.source)
        own = np.broadcast_to(node.each, graph.shape(node.inputs[0])).reshape(shape)
        return replace(value, ways=(replace(way, each=own if way.each is None else own + way.each),))
    if value.bias is not None and np.any(value.bias):
        raise UserError(
            f"node {node.name}: a delay after a bias, which on Loihi acts from the first step on; move it before the synapse"
        )
    return replace(value, ways=tuple(replace(way, delay=way.delay + node.steps) for way in value.ways))


@OPERATIONS.rule(ops.AvgPoolNode)
def _pooled(graph: Graph, node: ops.AvgPoolNode, value: _Current) -> _Current:
    for way in value.ways:
        if way.synapse is not None:
            raise UserError(
                f"node {node.name}: average pooling after the synapse {way.synapse.name} and before its neurons; "
                "move it behind the neurons, where it can be folded into the next synapse"
            )
    if not node.count_padding:
        raise UserError(
            f"node {node.name}: an average that leaves out its padding is no one kernel; retrain with count_include_pad=True"
        )
    shape = graph.shape(node.inputs[0])
    pad = ops.PadNode(name=node.name, inputs=node.inputs, pads=((0, 0), *node.pads))
    plain = replace(node, padding=())
    steps = ((pad, shape), (plain, pad.output_shape([shape]))) if node.padding else ((plain, shape),)
    return _Current(tuple(replace(way, steps=(*way.steps, *steps)) for way in value.ways))


@OPERATIONS.rule(ops.PadNode, ops.SliceNode, ops.FlattenNode, ops.ReshapeNode, ops.PermuteNode)
def _moved(graph: Graph, node: ops.Moving, value: _Current) -> _Current:
    shape = graph.shape(node.inputs[0])
    return _Current(tuple(_step(way, node, shape) for way in value.ways), _moved_bias(node, shape, value.bias))


@OPERATIONS.rule(ops.ConcatNode)
def _joined(graph: Graph, node: ops.ConcatNode, *values: _Current) -> _Current:
    """The sum of its parts, each with zeros in the place of the others."""
    total, found = graph.shape(node.name)[node.axis], _Current(())
    start = 0
    for source, value in zip(node.inputs, values, strict=True):
        shape = graph.shape(source)
        around = (start, total - start - shape[node.axis])
        start += shape[node.axis]
        pads = tuple(around if axis == node.axis else (0, 0) for axis in range(len(shape)))
        pad = ops.PadNode(name=node.name, inputs=(source,), pads=pads)
        part = _Current(tuple(_step(way, pad, shape) for way in value.ways), _moved_bias(pad, shape, value.bias))
        found = _summed(graph, node, found, part)
    return found


def _step(way: _Way, node: ops.Moving, shape: Shape) -> _Way:
    """The way continued by what moves values: before its synapse, or the synapse's own outputs, channel by channel."""
    if way.synapse is None:
        return replace(way, steps=(*way.steps, (node, shape)))
    origin = _origins(node, shape)
    weight: Any = way.synapse.weight
    if isinstance(way.synapse, ops.ConvNode):
        weight = ungrouped(weight, way.synapse.groups)
    moved = np.zeros((len(origin), *weight.shape[1:]))
    moved[origin > 0] = weight[origin[origin > 0] - 1]
    if isinstance(way.synapse, ops.ConvNode):
        return replace(way, synapse=replace(way.synapse, weight=moved, groups=1))
    return replace(way, synapse=replace(way.synapse, weight=moved))


def _moved_bias(node: ops.Moving, shape: Shape, bias: Any) -> Any:
    if bias is None:
        return None
    return np.concatenate([np.zeros(1), bias])[_origins(node, shape)]


def _origins(node: ops.Moving, shape: Shape) -> NDArray[np.int64]:
    """Of each channel that it makes, the number of the one that it reads, from 1 on; 0 of a channel of zeros.

    Raises:
        UserError: it does something else than to move whole channels.
    """
    size = prod(shape[1:])
    numbers: Any = np.arange(1, 1 + prod(shape)).reshape(1, *shape)
    made = node.compute(numbers)[0]
    rows: Any = made.reshape(len(made), -1)
    origin: Any = (rows[:, 0] + size - 1) // size
    whole = np.where(origin[:, None] > 0, (origin[:, None] - 1) * size + np.arange(1, 1 + size), 0)
    if made.shape[1:] != shape[1:] or not np.array_equal(rows, whole):
        raise UserError(
            f"node {node.name}: a {node.kind} after a synapse and before its neurons; move it behind the neurons, where it can "
            "be folded into the next synapse"
        )
    return np.asarray(origin, np.int64)


@OPERATIONS.rule(ops.ConvNode, ops.LinearNode)
def _sent(graph: Graph, node: ops.ConvNode | ops.LinearNode, value: _Current) -> _Current:
    for way in value.ways:
        if way.synapse is not None:
            raise UserError(
                f"node {node.name}: a second synapse after {way.synapse.name} without neurons between them; "
                "put a spiking layer between them"
            )
    _check_axes(node.name, graph.shape(node.name))
    bias = None if node.bias is None else np.asarray(node.bias, np.float64)
    return _Current(tuple(_through(way, node) for way in value.ways), bias)


def _check_axes(name: str, shape: Shape) -> None:
    if len(shape) > len(("C", "H", "W")):
        raise UserError(
            f"node {name}: neurons over {len(shape) - 1} spatial axes found, 1 or 2 expected on Loihi; replace its layers by "
            "ones over fewer axes, or export to ONNX"
        )


@OPERATIONS.rule(ops.AddNode)
def _summed(_: Graph, __: ops.Node, one: _Current, other: _Current) -> _Current:
    biases = [value.bias for value in (one, other) if value.bias is not None]
    return _Current((*one.ways, *other.ways), sum(biases) if biases else None)


def _through(way: _Way, node: ops.ConvNode | ops.LinearNode) -> _Way:
    """The way continued by a synapse, into which its steps are folded."""
    weight: Any = np.asarray(node.weight, np.float64)
    if isinstance(node, ops.ConvNode):
        folded = fold_into_conv(way.steps, replace(node, weight=weight))
        return replace(way, synapse=replace(folded, inputs=(way.source,), bias=None))
    weight = fold_into_linear(way.steps, weight)
    return replace(way, synapse=replace(node, inputs=(way.source,), weight=weight, bias=None))


def _windows(way: _Way, synapse: ops.ConvNode | ops.LinearNode) -> NDArray[np.int64] | None:
    pools = [(node, shape) for node, shape in way.steps if isinstance(node, ops.AvgPoolNode)]
    others = [node for node, _ in way.steps if not isinstance(node, ops.AvgPoolNode | ops.FlattenNode)]
    apart = all(k <= q for pool, _ in pools for k, q in zip(pool.kernel, pool.stride, strict=True))
    if not pools or others or not apart or not isinstance(synapse, ops.LinearNode):
        return None
    last, shape = pools[-1]
    numbers = np.arange(1, 1 + prod(last.output_shape([shape])))[None]
    spread: Any = fold_into_linear(pools, numbers)[0] * prod(k for pool, _ in pools for k in pool.kernel)
    return np.asarray(np.rint(spread), np.int64) - 1


def _stage(graph: Graph, node: ops.Spiking, current: _Current) -> Stage:
    shape, kept = graph.shape(node.name), 0.0
    _check_axes(node.name, shape)
    if current.low_pass:
        filtered = graph[current.low_pass]
        assert isinstance(filtered, ops.LowPassNode)
        kept = filtered.decay
        if not isinstance(node, ops.NeuronNode):
            raise UserError(
                f"node {current.low_pass}: a synaptic current with a memory found before the neurons {node.name}, which have "
                "one of their own, that what comes back goes through too; export to ONNX"
            )
    afferents = _afferents(graph, current, node.name, shape)
    if isinstance(node, ops.FixedPointNeuronNode):
        return _whole_stage(node, afferents, current.bias, shape)
    if isinstance(node, ops.CellNode):
        return _recurrent_stage(node, afferents, current.bias, shape)
    assert isinstance(node, ops.NeuronNode)
    _check_reset(node)
    return Stage(node, afferents, current.bias, shape, kept)


def _check_reset(node: ops.Spiking) -> None:
    if node.constants.reset != "hard":
        raise UserError(
            f'node {node.name}: reset "{node.constants.reset}" found; Loihi\'s neurons reset to 0, so retrain the network '
            'with reset = "hard", or let it learn that: --finetune EPOCHS --finetune-reset'
        )


def _recurrent_stage(node: ops.CellNode, afferents: tuple[Afferent, ...], bias: Any, shape: Shape) -> Stage:
    """Of standard neurons whose spikes come back."""
    constants = leaky(node)
    if constants is None or node.recurrent is None or constants.threshold is None:
        raise UserError(f"node {node.name} ({node.kind}): has no form on Loihi; {why_not(node, shape) or _OTHER}")
    if constants.late:
        raise UserError(
            f"node {node.name}: its membrane reads the current of the step before, so that its spikes come back after two "
            "steps; a recurrent layer of Loihi's brings them back after one: train neurons whose current acts in its own step, "
            "or export to ONNX"
        )
    _check_reset(node)
    current_decay = 0.0 if constants.current_decay is None else constants.current_decay
    numbers = []
    for what, values in (("decay", constants.decay), ("threshold", constants.threshold), ("current's decay", current_decay)):
        if np.min(values) != np.max(values):
            raise UserError(f"node {node.name}: its {what} differs between neurons, one for the layer expected; {_OTHER}")
        numbers.append(float(np.max(values)))
    decay, threshold, kept = numbers
    neuron = ops.NeuronNode(name=node.name, inputs=node.inputs, parameters=NeuronParameters(decay, threshold, "hard"))
    return Stage(neuron, afferents, bias, shape, kept, _returning(node.name, node.recurrent, shape))


def _whole_stage(node: ops.FixedPointNeuronNode, afferents: tuple[Afferent, ...], bias: Any, shape: Shape) -> Stage:
    """Of neurons in a chip's integers."""
    if bias is not None and np.any(bias):
        if np.any(np.not_equal(node.i_decay, 4096)) or np.any(bias != np.rint(bias)):
            raise UserError(
                f"node {node.name}: a bias in the synaptic current of neurons in whole numbers found; a chip's goes past the "
                "current: train without it, or export to ONNX"
            )
        places = (-1, *(1,) * (max(1, np.ndim(node.bias)) - 1))  # without a memory the current is where a chip's bias goes
        node = replace(node, bias=node.bias + bias.astype(np.int64).reshape(places))
    for afferent in afferents:
        odd = afferent.node.weight[afferent.node.weight % 2 != 0]
        if odd.size:
            raise UserError(
                f"node {afferent.node.name}: the weight {odd.flat[0]:g} of neurons in whole numbers found, even numbers "
                "expected; let SLAYER round its weights (pre_hook_fx), or export to ONNX"
            )
    neuron = ops.NeuronNode(name=node.name, inputs=node.inputs, parameters=node.constants)
    returning = None if node.recurrent is None else _returning(node.name, node.recurrent, shape)
    return Stage(neuron, afferents, None, shape, 1 - float(np.mean(node.i_decay)) / 4096, returning, node)


def _returning(name: str, weight: NDArray[Any], shape: Shape) -> Afferent:
    """The synapse of a layer's own spikes, which takes a step."""
    if len(shape) > 1:
        raise UserError(
            f"node {name}: spikes of neurons {shape} come back through weights; Loihi's recurrent layers have one axis: "
            "flatten what the layer reads, or export to ONNX"
        )
    exact: Any = np.asarray(weight, np.float64)
    return Afferent(name, ops.LinearNode(name=f"{name}.recurrent", inputs=(name,), weight=exact), False, shape)


def _afferents(graph: Graph, current: _Current, name: str, shape: Shape) -> tuple[Afferent, ...]:
    """One synapse for each way to the node `name`; those that differ in their weights alone are one."""
    found: list[Afferent] = []
    for way in current.ways:
        whole = way if way.synapse is not None else _through(way, _unit(name, shape))
        assert whole.synapse is not None
        source = graph.shape(way.source)
        _check_axes(way.source, source)
        flatten = isinstance(whole.synapse, ops.LinearNode) and len(source) > 1
        early, latest = (0, 0) if way.each is None else (int(way.each.min()), int(way.each.max()))
        each = None if way.each is None or early == latest else way.each - early
        if each is not None and isinstance(whole.synapse, ops.ConvNode):
            raise UserError(
                f"node {whole.synapse.name}: reads spikes of {way.source} that are {early} to {latest} steps late, each "
                "neuron's own; a convolution has one delay on Loihi: train one delay for that layer, or export to ONNX"
            )
        delay = way.delay + early
        one = Afferent(way.source, whole.synapse, flatten, source, _windows(way, whole.synapse), delay, each)
        same = next((i for i, other in enumerate(found) if _alike(one, other)), None)
        if same is None:
            found.append(one)
        else:
            other = found[same]
            both: Any = other.node.weight + one.node.weight
            alike = one.windows is not None and other.windows is not None and np.array_equal(one.windows, other.windows)
            shared = one.windows if alike else None
            found[same] = replace(one, node=replace(other.node, weight=both), windows=shared)
    return tuple(found)


def _unit(name: str, shape: Shape) -> ops.ConvNode | ops.LinearNode:
    """The synapse that passes on what `name` would have read without one; it has no name of its own yet."""
    if len(shape) == 1:
        matrix: Any = np.eye(shape[0])
        return ops.LinearNode(name=name, inputs=(name,), weight=matrix)
    one, none = (1,) * (len(shape) - 1), (0,) * (len(shape) - 1)
    weight: Any = np.ones((shape[0], 1, *one))
    return ops.ConvNode(name=name, inputs=(name,), weight=weight, stride=one, padding=none, dilation=one, groups=shape[0])


def _alike(one: Afferent, other: Afferent) -> bool:
    """Whether two synapses on the same neurons differ in their weights alone."""

    def geometry(afferent: Afferent) -> tuple[Any, ...]:
        node = afferent.node
        plan = (node.stride, node.padding, node.dilation, node.groups) if isinstance(node, ops.ConvNode) else ()
        late = None if afferent.each is None else afferent.each.tobytes()
        return (afferent.source, afferent.delay, late, type(node), afferent.flatten, node.weight.shape, plan)

    return geometry(one) == geometry(other)


def _named(graph: Graph, found: Sequence[Stage] | Sequence[Readout]) -> list[tuple[Afferent, ...]]:
    """The afferents of each, with names of their own."""
    counts = Counter(afferent.node.name for each in found for afferent in each.afferents)
    taken = {node.name for node in graph.nodes}

    def named(afferent: Afferent) -> Afferent:
        name = afferent.node.name
        if counts[name] > 1 or not isinstance(graph[name], ops.ConvNode | ops.LinearNode):
            base = name = f"{afferent.source}>{name}"
            number = 1
            while name in taken:
                number += 1
                name = f"{base}#{number}"
            taken.add(name)
        return replace(afferent, node=replace(afferent.node, name=name))

    return [tuple(map(named, each.afferents)) for each in found]
