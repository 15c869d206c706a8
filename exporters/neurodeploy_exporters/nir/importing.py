"""From the NIR nodes of a file to a graph: one rule per kind of node, shapes worked out on the way."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, fold_batch_norm, ops
from neurodeploy.graph.ops import Shape, Weights
from neurodeploy.graph.standard import leaky_update
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import NEURONS, Primitive
from neurodeploy_exporters.nir.conventions import FIRING, Convention
from neurodeploy_exporters.nir.flattening import Flat, input_shape
from neurodeploy_exporters.nir.recurrence import read_back, recurrent_neurons
from neurodeploy_exporters.nir.stepping import Discrete, Numbers, discrete, per_channel
from neurodeploy_exporters.nir.updates import own_update

_MOST_VALUES = 1 << 26  # of one tensor, per sample and step
_LONGEST_NAME = 120
_TAKEN = {*dir(nn.Module()), "graph", "batch_first"}  # by torch, of the modules that a graph may become

_Rule: TypeAlias = Callable[["_Importer", str, Primitive, str], str]
_RULES: dict[str, _Rule] = {}
"""Kind of NIR node → `(importer, name, node, tensor that it reads) → tensor that it makes`."""


def imported(content: Flat, convention: Convention, path: Path, *, shape: Shape | None = None) -> tuple[Graph, tuple[str, ...]]:
    """A graph with a timed input, whose answer is the mean of the file's output over time, and what was assumed of shapes.

    Raises:
        UserError: a node has no form in a graph, or shapes do not fit; the message names file and node.
    """
    builder = _Importer(content, convention, path)
    for name, node in content.nodes.items():
        try:
            builder.place(name, node, shape)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return fold_batch_norm(Graph(builder.made)), tuple(builder.notes)


class _Importer:
    def __init__(self, content: Flat, convention: Convention, path: Path) -> None:
        self.content, self.convention, self.path = content, convention, path
        self.made: list[ops.Node] = []
        self.shapes: dict[str, Shape] = {}
        self.tensors: dict[str, str] = {}  # NIR node → the tensor of our graph that it makes
        self.notes: list[str] = []

    def place(self, name: str, node: Primitive, shape: Shape | None) -> None:
        """Add what computes one NIR node."""
        plain = self.unused(name)
        sources = [self.tensors[source] for source in self.content.sources[name]]
        if not sources:  # the input, or the one node that reads nothing, which has one before it
            entered, notes = input_shape(self.content, name, node, shape)
            self.notes += notes
            entry = plain if node.kind == "Input" else self.unused("input")
            sources = [self.add(ops.InputNode(name=entry, shape=entered, timed=True))]
            plain = plain if node.kind != "Input" else name
        tensor = self.summed(plain, sources)
        if name in self.content.returning:
            tensor = _recurrent(self, plain, node, tensor, self.content.returning[name])
        elif node.kind not in ("Input", "Output"):
            tensor = _RULES[node.kind](self, plain, node, tensor)
        self.tensors[name] = tensor
        if name == next(reversed(self.content.nodes)):
            self.answer(name, tensor)

    def answer(self, name: str, tensor: str) -> None:
        """The mean over time of the last node, which is the output."""
        mean = self.add(ops.TimeMeanNode(name=self.unused("mean"), inputs=(tensor,)))
        output = self.unused(name if self.content.nodes[name].kind == "Output" else "output")
        self.add(ops.OutputNode(name=output, inputs=(mean,)))

    def summed(self, name: str, tensors: Sequence[str]) -> str:
        """Several edges into one node add up, in the file's order."""
        total = tensors[0]
        for tensor in tensors[1:]:
            total = self.add(ops.AddNode(name=self.unused(f"{name}.sum"), inputs=(total, tensor)))
        return total

    def add(self, node: ops.Node) -> str:
        shape = node.checked_shape([self.shapes[source] for source in node.inputs])
        if not shape or min(shape) < 1 or prod(shape) > _MOST_VALUES:
            raise UserError(f"node {node.name}: shape {shape} found, from 1 to {_MOST_VALUES} values expected")
        self.made.append(node)
        self.shapes[node.name] = shape
        return node.name

    def unused(self, name: str) -> str:
        """A name like this one that torch and a terminal can bear, and no other node has."""
        plain = re.sub(r"[^\w.-]", "_", name)[:_LONGEST_NAME]
        plain = ".".join(f"{part}_" if not part or part in _TAKEN else part for part in plain.split("."))
        found, number = plain, 2
        while found in self.shapes:
            found, number = f"{plain}_{number}", number + 1
        return found

    def scaled(self, name: str, tensor: str, scale: NDArray[Any], shift: NDArray[Any]) -> str:
        """`scale · x + shift` per channel; nothing where that is x."""
        if (scale == 1).all() and not shift.any():
            return tensor
        channels = self.shapes[tensor][0]
        factor, offset = (np.broadcast_to(each, (channels,)).astype(np.float32) for each in (scale, shift))
        return self.add(ops.BatchNormNode(name=self.unused(f"{name}.scale"), inputs=(tensor,), scale=factor, shift=offset))


def _rule(*kinds: str) -> Callable[[_Rule], _Rule]:
    def register(function: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


@_rule("Affine", "Linear")
def _linear(builder: _Importer, name: str, node: Primitive, source: str) -> str:
    weight = _weights(name, node, "weight")
    if weight.ndim != 2 or not weight.size:
        raise UserError(f"node {name}: weight of shape {weight.shape} found, (outputs, inputs) expected")
    return builder.add(ops.LinearNode(name=name, inputs=(source,), weight=weight, bias=_bias(name, node, len(weight))))


@_rule("Conv1d", "Conv2d")
def _conv(builder: _Importer, name: str, node: Primitive, source: str) -> str:
    axes, weight = int(node.kind[4]), _weights(name, node, "weight")
    if weight.ndim != axes + 2 or not weight.size:
        raise UserError(f"node {name}: weight of shape {weight.shape} found, {axes + 2} axes expected")
    stride, dilation = (_sizes(name, node, field, axes, 1) for field in ("stride", "dilation"))
    groups = _sizes(name, node, "groups", 1, 1)[0]
    if len(weight) % groups:
        raise UserError(f"node {name}: {groups} groups found for {len(weight)} channels, a divisor expected")
    padding = _padding(name, node, weight.shape[2:], stride, dilation)
    geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    bias = _bias(name, node, len(weight))
    return builder.add(ops.ConvNode(name=name, inputs=(source,), weight=weight, bias=bias, **geometry))


@_rule("AvgPool2d", "SumPool2d")
def _pool(builder: _Importer, name: str, node: Primitive, source: str) -> str:
    kernel, stride = (_sizes(name, node, field, 2, 1) for field in ("kernel_size", "stride"))
    padding, shape = _sizes(name, node, "padding", 2, 0), builder.shapes[source]
    if len(shape) != 3 or any(k > n + 2 * p for k, n, p in zip(kernel, shape[1:], padding, strict=True)):
        raise UserError(f"node {name}: input of shape {shape} does not fit a pooling window of {kernel}")
    if node.kind == "AvgPool2d" and all(p < k for p, k in zip(padding, kernel, strict=True)):
        pads = tuple((p, p) for p in padding)
        return builder.add(ops.AvgPoolNode(name=name, inputs=(source,), kernel=kernel, stride=stride, padding=pads))
    if shape[0] * prod(kernel) > _MOST_VALUES:
        raise UserError(f"node {name}: a window of {kernel} over {shape[0]} channels found, a smaller one expected")
    weight = np.full((shape[0], 1, *kernel), 1 if node.kind == "SumPool2d" else 1 / prod(kernel), np.float32)
    geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": (1, 1), "groups": shape[0]}
    return builder.add(ops.ConvNode(name=name, inputs=(source,), weight=weight, **geometry))


@_rule("Flatten")
def _flatten(builder: _Importer, name: str, node: Primitive, source: str) -> str:
    """NIR's axes are those of a sample; a file may count torch's batch too."""
    start, end = (int(_whole(name, node, field).flat[0]) for field in ("start_dim", "end_dim"))
    axes = len(builder.shapes[source])
    if end not in (-1, axes - 1, axes) or start not in (0, 1):
        raise UserError(f"node {name}: axes {start} to {end} of {axes} found, all of a sample's expected")
    if start == 1 and axes > 1:
        builder.notes.append(f"{name} flattens from axis 1: taken to count a batch axis that NIR does not have")
    return builder.add(ops.FlattenNode(name=name, inputs=(source,)))


@_rule("Scale")
def _scale(builder: _Importer, name: str, node: Primitive, source: str) -> str:
    scale = per_channel(f"node {name}: scale", _array(name, node, "scale"), builder.shapes[source])
    return builder.scaled(name, source, scale, np.zeros(1))


@_rule("Delay")
def _delay(builder: _Importer, name: str, node: Primitive, source: str) -> str:
    shape = builder.shapes[source]
    delay = np.asarray(_array(name, node, "delay"), np.float64)
    if delay.size != 1 and delay.shape != shape:
        delay = per_channel(f"node {name}: delay", delay, shape).reshape(-1, *(1,) * (len(shape) - 1))
    steps = delay / builder.convention.dt
    whole = np.rint(steps)
    if not delay.size or not ((whole >= 0) & (whole <= 1 << 31) & (abs(steps - whole) <= 1e-3 * np.maximum(1.0, whole))).all():
        shown = ", ".join(f"{value:g}" for value in np.unique(steps)[:4])
        raise UserError(f"node {name}: a delay of {shown} time steps found, whole numbers expected; give another dt")
    longest, differ = int(whole.max()), bool(whole.min() != whole.max())
    each = whole.astype(np.int64) if differ else None
    return builder.add(ops.DelayNode(name=name, inputs=(source,), steps=longest, each=each)) if longest else source


@_rule("Threshold")
def _threshold(builder: _Importer, name: str, node: Primitive, source: str) -> str:
    """A neuron that keeps nothing from one step to the next."""
    threshold = per_channel(f"node {name}: threshold", _array(name, node, "threshold"), builder.shapes[source])
    if not (threshold > 0).all():
        raise UserError(f"node {name}: threshold of {threshold.min():g} found, a positive one expected")
    uniform = threshold.size == 1
    before = source if uniform else builder.scaled(name, source, 1 / threshold, np.zeros(1))
    parameters = NeuronParameters(0.0, float(threshold[0]) if uniform else 1.0, "hard")
    return builder.add(ops.NeuronNode(name=name, inputs=(before,), parameters=parameters))


@_rule(*NEURONS)
def _neuron(builder: _Importer, name: str, node: Primitive, source: str) -> str:
    convention, shape = builder.convention, builder.shapes[source]
    with np.errstate(all="ignore"):  # absurd constants are refused by what they make
        if convention.update and node.kind in FIRING:
            own, arrays = own_update(name, node, shape, convention)
            largest = None if convention.many else 1
            return builder.add(ops.CellNode(name=name, inputs=(source,), update=own, arrays=tuple(arrays), largest=largest))
        update = discrete(name, node, shape, convention)
    return _standard(builder, name, update, source)


def _standard(builder: _Importer, name: str, update: Discrete, source: str) -> str:
    nothing, tensor = np.zeros(1), source
    if update.current_decay is not None:  # the scale is applied before the current leaks, the shift after it
        tensor = builder.scaled(name, tensor, update.scale, nothing)
        tensor = _filter(builder, builder.unused(f"{name}.current"), tensor, update.current_decay)
        if update.late:
            tensor = builder.add(ops.DelayNode(name=builder.unused(f"{name}.late"), inputs=(tensor,), steps=1))
        tensor = builder.scaled(name, tensor, np.ones(1), update.shift)
    else:
        tensor = builder.scaled(name, tensor, update.scale, update.shift)
    if update.threshold is None:
        return _filter(builder, name, tensor, update.decay)
    if update.uniform is not None:
        return builder.add(ops.NeuronNode(name=name, inputs=(tensor,), parameters=update.uniform))
    shape = builder.shapes[tensor]
    arrays = _each(update.decay, shape), _each(update.threshold, shape)
    return builder.add(ops.CellNode(name=name, inputs=(tensor,), update=leaky_update(update.reset), arrays=arrays))


def _filter(builder: _Importer, name: str, tensor: str, decay: Numbers) -> str:
    if decay.size == 1:
        return builder.add(ops.LowPassNode(name=name, inputs=(tensor,), decay=float(decay.flat[0])))
    each = _each(decay, builder.shapes[tensor])
    return builder.add(ops.MembraneNode(name=name, inputs=(tensor,), update=leaky_update(None), arrays=(each,)))


def _each(values: Numbers, shape: Shape) -> Weights:
    """One number for each neuron."""
    return np.ascontiguousarray(np.broadcast_to(values, shape), np.float32)


def _recurrent(builder: _Importer, name: str, node: Primitive, source: str, synapses: Mapping[str, Primitive]) -> str:
    """Neurons whose own spikes come back to them through synapses."""
    shape, convention = builder.shapes[source], builder.convention
    weight, bias = read_back(name, synapses, shape)
    with np.errstate(all="ignore"):
        if convention.update:
            own, arrays = own_update(name, node, shape, convention, back=True)
            cell = ops.CellNode(
                name=name,
                inputs=(source,),
                update=own,
                arrays=tuple(arrays),
                recurrent=weight.astype(np.float32),
                recurrent_bias=bias.astype(np.float32) if bias.any() else None,
            )
            return builder.add(cell)
        update = discrete(name, node, shape, convention)
    shift = bias * update.scale + (0 if update.current_decay is not None else update.shift)
    tensor = builder.scaled(name, source, update.scale, shift)
    return builder.add(recurrent_neurons(name, tensor, weight, update, shape))


def _array(name: str, node: Primitive, field: str) -> NDArray[Any]:
    value = node.fields.get(field)
    if not isinstance(value, np.ndarray):
        raise UserError(f"node {name}: {field}: numbers expected")
    return value


def _weights(name: str, node: Primitive, field: str) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        values = _array(name, node, field).astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"node {name}: {field}: numbers beyond float32 found")
    return values


def _bias(name: str, node: Primitive, outputs: int) -> NDArray[np.float32] | None:
    """Frameworks write zeros where there is no bias."""
    if "bias" not in node.fields:
        return None
    bias = _weights(name, node, "bias")
    if bias.shape != (outputs,):
        raise UserError(f"node {name}: bias of shape {bias.shape} found, ({outputs},) expected")
    return bias if bias.any() else None


def _whole(name: str, node: Primitive, field: str) -> NDArray[Any]:
    values = _array(name, node, field)
    if not values.size or (values.dtype.kind == "f" and (not np.isfinite(values).all() or (values != np.rint(values)).any())):
        raise UserError(f"node {name}: {field}: whole numbers expected")
    return values


def _sizes(name: str, node: Primitive, field: str, axes: int, least: int) -> tuple[int, ...]:
    """One number per axis, also where one number stands for all."""
    values = _whole(name, node, field)
    if values.size not in (1, axes) or values.min() < least or values.max() > _MOST_VALUES:
        raise UserError(
            f"node {name}: {field}: {values.ravel()[:4].tolist()} found, {axes} numbers of at least {least} expected"
        )
    return tuple(int(value) for value in np.broadcast_to(values.ravel(), (axes,)))


def _padding(name: str, node: Primitive, kernel: Shape, stride: Shape, dilation: Shape) -> Shape:
    value = node.fields["padding"]
    if not isinstance(value, str):
        return _sizes(name, node, "padding", len(kernel), 0)
    extent = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if value == "valid":
        return (0,) * len(kernel)
    if value != "same" or any(size % 2 for size in extent) or any(size > 1 for size in stride):
        raise UserError(
            f'node {name}: padding {value!r} found, "valid", numbers, or "same" with odd kernels and stride 1 expected'
        )
    return tuple(size // 2 for size in extent)
