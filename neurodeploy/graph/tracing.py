"""From a torch module to a graph: torch.fx with the toolkit's layers as leaves, one small rule per layer or function."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from neurodeploy.dynamics import layers
from neurodeploy.dynamics.encodings import DirectEncoding, EventInput, LatencyEncoding, PoissonEncoding, StaticInput
from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node, Shape, Weights
from neurodeploy.graph.shapes import output_shape
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput

_LAYERS: dict[type[nn.Module], Callable[..., str]] = {}
_FUNCTIONS: dict[Any, Callable[..., str]] = {}
_Pool = nn.AvgPool1d | nn.MaxPool1d | nn.AvgPool2d | nn.MaxPool2d


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _rule_for(m) is not None or super().is_leaf_module(m, module_qualified_name)


class _Builder:
    """Nodes so far, and the shapes that they need of each other."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self.timed: dict[str, bool] = {}

    def add(self, node: Node, *, timed: bool | None = None) -> str:
        self.shapes[node.name] = output_shape(node, [self.shapes[source] for source in node.inputs])
        self.timed[node.name] = any(self.timed[source] for source in node.inputs) if timed is None else timed
        self.nodes[node.name] = node
        return node.name


def trace(network: nn.Module, sample_shape: Shape, *, timed: bool = False) -> Graph:
    """Turn a torch module into a graph, with the weights that it has now, as it computes in evaluation mode.

    The module may return a `NetworkOutput` (its logits are the graph's output) or one tensor `[B, K]`.

    Args:
        network: built of the toolkit's layers and those torch layers that have a rule here.
        sample_shape: `(C, H, W)`, `(C, L)` or `(N,)` of one sample.
        timed: True if the module is called with sequences, `[T, B, *sample_shape]`, or `[B, T, *sample_shape]` where it
            begins with an `EventInput`; the graph's input is `[T, B, *sample_shape]` then.

    Raises:
        UserError: the module has control flow that depends on data, or an operation without a rule; the message names it.
    """
    was_training = network.training
    network.eval()
    try:
        traced = _Tracer().trace(network)
    except UserError:
        raise
    except Exception as error:  # torch.fx raises whatever the user's forward raises on symbolic values
        raise UserError(
            f"{type(network).__name__}: cannot be traced ({error}); its forward must be a fixed sequence of layers, without "
            "loops or branches that depend on values or shapes"
        ) from None
    finally:
        network.train(was_training)
    builder, names = _Builder(), dict[fx.Node, str]()
    for node in traced.nodes:
        if node.op == "output":
            return _finished(builder, _answer(node, names))
        if node.target is not NetworkOutput:
            names[node] = _translate(builder, network, node, names, sample_shape, timed)
    raise UserError(f"{type(network).__name__}: its forward returns nothing")


def _translate(
    builder: _Builder, network: nn.Module, node: fx.Node, names: dict[fx.Node, str], sample_shape: Shape, timed: bool
) -> str:
    if node.op == "placeholder":
        if builder.nodes:
            raise UserError(f"{type(network).__name__}: takes a second input, {node.name}; one is expected")
        return builder.add(ops.InputNode(name="input", shape=sample_shape, timed=timed), timed=timed)
    sources = [names[argument] for argument in node.all_input_nodes]
    if node.op == "call_module":
        module, name = network.get_submodule(str(node.target)), str(node.target)
        if name in builder.nodes:
            raise UserError(f"layer {name}: is called twice; give each call a layer of its own")
        rule = _rule_for(module)
        if rule is None:
            raise UserError(
                f"layer {name} ({type(module).__module__}.{type(module).__qualname__}): has no form in a graph; "
                f"supported are {', '.join(_supported())}"
            )
        return rule(builder, module, name, sources)
    rule = _FUNCTIONS.get(node.target)
    if rule is None:
        raise UserError(
            f"operation {node.name} ({node.target}): has no form in a graph; use a layer of neurodeploy.dynamics.layers"
        )
    return rule(builder, node, sources)


def _supported() -> list[str]:
    """The layers that have a form: torch's by their short names, ours with their room."""
    kinds = [kind for kind, rule in _LAYERS.items() if rule is not _spikes_of_the_host]
    own = {kind: kind.__module__.rpartition(".")[2] for kind in kinds if kind.__module__.startswith("neurodeploy.")}
    return sorted(f"{own[kind]}.{kind.__name__}" if kind in own else f"nn.{kind.__name__}" for kind in kinds)


def _rule_for(module: nn.Module) -> Callable[..., str] | None:
    return next((_LAYERS[kind] for kind in type(module).__mro__ if kind in _LAYERS), None)


def _answer(node: fx.Node, names: dict[fx.Node, str]) -> str:
    answer: Any = node.args[0]
    if isinstance(answer, fx.Node) and answer.target is NetworkOutput:
        answer = answer.args[NetworkOutput._fields.index("logits")]
    if not isinstance(answer, fx.Node):
        raise UserError(f"output: {type(answer).__name__} found, one tensor or a NetworkOutput expected")
    return names[answer]


def _finished(builder: _Builder, answer: str) -> Graph:
    builder.add(ops.OutputNode(name="logits", inputs=(answer,)))
    needed, pending = set(), ["logits", "input"]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending.extend(builder.nodes[name].inputs)
    return Graph(node for name, node in builder.nodes.items() if name in needed)


def _layer(*kinds: type[nn.Module]) -> Callable[[Callable[..., str]], Callable[..., str]]:
    def register(rule: Callable[..., str]) -> Callable[..., str]:
        _LAYERS.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def _function(*targets: Any) -> Callable[[Callable[..., str]], Callable[..., str]]:
    def register(rule: Callable[..., str]) -> Callable[..., str]:
        _FUNCTIONS.update(dict.fromkeys(targets, rule))
        return rule

    return register


def _array(tensor: Tensor | None) -> Weights | None:
    return None if tensor is None else tensor.detach().cpu().numpy().astype(np.float32)


def _required(tensor: Tensor) -> Weights:
    return tensor.detach().cpu().numpy().astype(np.float32)


@_layer(nn.Conv1d, nn.Conv2d)
def _conv(builder: _Builder, module: nn.Conv2d, name: str, sources: list[str]) -> str:
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise UserError(f"layer {name}: padding {module.padding!r} ({module.padding_mode}) found, a number of zeros expected")
    return builder.add(
        ops.ConvNode(
            name=name,
            inputs=tuple(sources),
            weight=_required(module.weight),
            bias=_array(module.bias),
            stride=tuple(module.stride),
            padding=tuple(module.padding),
            dilation=tuple(module.dilation),
            groups=module.groups,
        )
    )


@_layer(nn.Linear)
def _linear(builder: _Builder, module: nn.Linear, name: str, sources: list[str]) -> str:
    return builder.add(
        ops.LinearNode(name=name, inputs=tuple(sources), weight=_required(module.weight), bias=_array(module.bias))
    )


@_layer(nn.BatchNorm1d, nn.BatchNorm2d)
def _batch_norm(builder: _Builder, module: nn.BatchNorm2d, name: str, sources: list[str]) -> str:
    if module.running_mean is None or module.running_var is None:
        raise UserError(f"layer {name}: batch norm without running statistics has no fixed form; set track_running_stats")
    scale = (module.running_var.double() + module.eps).rsqrt()
    shift = -module.running_mean.double() * scale
    if module.affine:
        scale, shift = scale * module.weight.double(), shift * module.weight.double() + module.bias.double()
    return builder.add(ops.BatchNormNode(name=name, inputs=tuple(sources), scale=_required(scale), shift=_required(shift)))


@_layer(layers.Neuron)
def _neuron(builder: _Builder, module: layers.Neuron, name: str, sources: list[str]) -> str:
    return builder.add(ops.NeuronNode(name=name, inputs=tuple(sources), parameters=module.constants))


@_layer(layers.FixedPointNeuron)
def _fixed_point_neuron(builder: _Builder, module: layers.FixedPointNeuron, name: str, sources: list[str]) -> str:
    c = module.cuba
    constants = {"v_decay": c.v_decay, "threshold": c.threshold, "i_decay": c.i_decay}
    return builder.add(ops.FixedPointNeuronNode(name=name, inputs=tuple(sources), **constants))


@_layer(layers.CubaNeuron)
def _cuba_neuron(builder: _Builder, module: layers.CubaNeuron, name: str, sources: list[str]) -> str:
    low_pass = ops.LowPassNode(name=f"{name}.current", inputs=tuple(sources), decay=module.current_decay)
    return _neuron(builder, module, name, [builder.add(low_pass)])


@_layer(layers.LowPass)
def _low_pass(builder: _Builder, module: layers.LowPass, name: str, sources: list[str]) -> str:
    return builder.add(ops.LowPassNode(name=name, inputs=tuple(sources), decay=module.decay))


@_layer(layers.Delay)
def _delay(builder: _Builder, module: layers.Delay, name: str, sources: list[str]) -> str:
    return builder.add(ops.DelayNode(name=name, inputs=tuple(sources), steps=module.steps))


@_layer(nn.ReLU)
def _relu(builder: _Builder, _: nn.ReLU, name: str, sources: list[str]) -> str:
    return builder.add(ops.ReluNode(name=name, inputs=tuple(sources)))


@_layer(nn.AvgPool1d, nn.MaxPool1d, nn.AvgPool2d, nn.MaxPool2d)
def _pool(builder: _Builder, module: _Pool, name: str, sources: list[str]) -> str:
    axes = 1 if isinstance(module, nn.AvgPool1d | nn.MaxPool1d) else 2
    plain = not any(_each(module.padding, axes)) and not module.ceil_mode
    if not plain or set(_each(getattr(module, "dilation", 1), axes)) != {1} or getattr(module, "divisor_override", None):
        raise UserError(f"layer {name}: pooling with padding, dilation, ceil_mode or divisor_override has no form in a graph")
    kind = ops.AvgPoolNode if isinstance(module, nn.AvgPool1d | nn.AvgPool2d) else ops.MaxPoolNode
    kernel, stride = _each(module.kernel_size, axes), _each(module.stride, axes)
    return builder.add(kind(name=name, inputs=tuple(sources), kernel=kernel, stride=stride))


@_layer(layers.GlobalAvgPool1d, layers.GlobalMaxPool1d, layers.GlobalAvgPool2d)
def _global_pool(builder: _Builder, module: nn.Module, name: str, sources: list[str]) -> str:
    kind = ops.MaxPoolNode if isinstance(module, layers.GlobalMaxPool1d) else ops.AvgPoolNode
    kernel = builder.shapes[sources[0]][1:]
    pooled = builder.add(kind(name=name, inputs=tuple(sources), kernel=kernel, stride=kernel))
    return builder.add(ops.FlattenNode(name=f"{name}.flatten", inputs=(pooled,)))


@_layer(layers.Flatten)
def _flatten(builder: _Builder, _: layers.Flatten, name: str, sources: list[str]) -> str:
    return builder.add(ops.FlattenNode(name=name, inputs=tuple(sources)))


@_layer(layers.Add)
def _add(builder: _Builder, _: layers.Add, name: str, sources: list[str]) -> str:
    return builder.add(ops.AddNode(name=name, inputs=tuple(sources) * (2 // len(sources))))


@_layer(StaticInput, EventInput)
def _entry(builder: _Builder, module: nn.Module, name: str, sources: list[str]) -> str:
    if builder.timed[sources[0]] is not isinstance(module, EventInput):
        found = "event frames" if builder.timed[sources[0]] else "a static sample"
        raise UserError(f"layer {name} ({type(module).__name__}): {found} found at its input; check `timed`")
    return sources[0]


@_layer(PoissonEncoding, LatencyEncoding)
def _spikes_of_the_host(_builder: _Builder, module: nn.Module, name: str, _sources: list[str]) -> str:
    raise UserError(
        f"layer {name} ({type(module).__name__}): has no form in a graph; a host encodes the samples: put an EventInput in its "
        "place and trace with timed=True"
    )


@_layer(DirectEncoding)
def _encode(builder: _Builder, module: DirectEncoding, name: str, sources: list[str]) -> str:
    return builder.add(ops.EncodeNode(name=name, inputs=tuple(sources), steps=module.steps), timed=True)


@_layer(layers.TimeMean)
def _time_mean(builder: _Builder, _: layers.TimeMean, name: str, sources: list[str]) -> str:
    if not builder.timed[sources[0]]:
        return sources[0]  # the mean over one step, as in a teacher
    return builder.add(ops.TimeMeanNode(name=name, inputs=tuple(sources)), timed=False)


@_layer(nn.Identity, nn.Dropout, nn.Dropout2d)
def _nothing(_builder: _Builder, _module: nn.Module, _name: str, sources: list[str]) -> str:
    return sources[0]


@_function(operator.add, torch.add, "add")
def _add_function(builder: _Builder, node: fx.Node, sources: list[str]) -> str:
    if node.kwargs or len(node.args) != 2 or not all(isinstance(argument, fx.Node) for argument in node.args):
        raise UserError(f"operation {node.name}: a sum of two tensors is expected")
    return builder.add(ops.AddNode(name=node.name, inputs=tuple(sources) * (2 // len(sources))))


@_function("unsqueeze")
def _add_time_axis(builder: _Builder, node: fx.Node, sources: list[str]) -> str:
    if sources != ["input"] or builder.timed["input"] or node.args[1:] != (0,):
        raise UserError(f"operation {node.name}: only the static input may be given a time axis, by unsqueeze(0)")
    return sources[0]


def _each(value: int | tuple[int, ...], axes: int) -> Shape:
    return (value,) * axes if isinstance(value, int) else tuple(value)
