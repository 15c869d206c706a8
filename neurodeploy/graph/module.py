"""A graph as a torch module again: the deployed network, batch norm folded and weights quantised, for measuring in torch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.dynamics import layers
from neurodeploy.dynamics.encodings import DirectEncoding
from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.io.errors import UserError

_MAKERS: dict[type, Callable[[Any], nn.Module]] = {}


class GraphModule(nn.Module):
    """Runs a graph with the toolkit's own layers, each under the name of its node.

    Args:
        graph: to run.
        batch_first: a timed input is given as `[B, T, …]`, as data sets hold it, rather than `[T, B, …]`.
        encoding: makes the sequence `[T, B, …]` of static samples, which are given then.

    Raises:
        UserError: a node has no torch layer, or a name that no torch layer can have.
    """

    def __init__(self, graph: Graph, *, batch_first: bool = False, encoding: nn.Module | None = None) -> None:
        super().__init__()
        self.graph, self.batch_first, self.host_encoding = graph, batch_first, encoding
        for node in graph.nodes:
            if not isinstance(node, ops.InputNode | ops.OutputNode):
                layer = _make(node)
                try:
                    self._place(node.name, layer)
                except KeyError:  # an attribute of torch's own modules, or nothing between two dots
                    raise UserError(f"node {node.name}: its name cannot be that of a torch layer; rename it") from None
        self.eval()

    def forward(self, samples: Tensor) -> Tensor:
        """`[B, *shape]` (for a timed input `[T, B, *shape]`, or `[B, T, *shape]` if `batch_first`) → logits `[B, K]`."""
        tensors: dict[str, Tensor] = {}
        if self.host_encoding is not None:
            samples = self.host_encoding(samples)
        for node in self.graph.nodes:
            if isinstance(node, ops.InputNode):
                sequence = samples.transpose(0, 1) if self.batch_first else samples
                tensors[node.name] = sequence if node.timed else samples.unsqueeze(0)
            elif isinstance(node, ops.OutputNode):
                answer = tensors[node.inputs[0]]
                return answer.squeeze(0) if answer.ndim > 1 + len(self.graph.shape(node.name)) else answer
            else:
                layer = self.get_submodule(node.name)
                made = layer(*(tensors[source] for source in node.inputs))
                # static values have a time axis of one step, as the input has, for the layers after them
                tensors[node.name] = made.unsqueeze(0) if isinstance(node, ops.TimeMeanNode) else made
        raise AssertionError("a graph has exactly one output")

    def _place(self, name: str, layer: nn.Module) -> None:
        *path, last = name.split(".")
        parent: nn.Module = self
        for part in path:
            if part not in dict(parent.named_children()):
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        place = dict(parent.named_children()).get(last)
        for inner, child in place.named_children() if place is not None else ():
            layer.add_module(inner, child)  # a node may be called like the beginning of another one's name
        parent.add_module(last, layer)


def _make(node: ops.Node) -> nn.Module:
    maker = _MAKERS.get(type(node))
    if maker is None:
        raise UserError(f"node {node.name} ({node.kind}): has no torch layer")
    return maker(node)


def _maker(kind: type) -> Callable[[Callable[[Any], nn.Module]], Callable[[Any], nn.Module]]:
    def register(make: Callable[[Any], nn.Module]) -> Callable[[Any], nn.Module]:
        _MAKERS[kind] = make
        return make

    return register


@_maker(ops.ConvNode)
def _conv(node: ops.ConvNode) -> nn.Module:
    outputs, inputs, *kernel = node.weight.shape
    layer_type: Any = {1: layers.Conv1d, 2: layers.Conv2d}[len(kernel)]
    layer = layer_type(
        inputs * node.groups,
        outputs,
        tuple(kernel),
        node.stride,
        node.padding,
        node.dilation,
        node.groups,
        bias=node.bias is not None,
    )
    return _with_weights(layer, node)


@_maker(ops.LinearNode)
def _linear(node: ops.LinearNode) -> nn.Module:
    outputs, inputs = node.weight.shape
    return _with_weights(nn.Linear(inputs, outputs, bias=node.bias is not None), node)


def _with_weights(layer: Any, node: ops.ConvNode | ops.LinearNode) -> nn.Module:
    layer.weight = nn.Parameter(torch.from_numpy(node.weight.copy()), requires_grad=False)
    if node.bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(node.bias.copy()), requires_grad=False)
    return layer


class _BatchNorm(layers.BatchNorm2d):
    """Over `[T, B, C, …]` with any number of spatial axes: a node does not say how many its input has."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


@_maker(ops.BatchNormNode)
def _batch_norm(node: ops.BatchNormNode) -> nn.Module:
    layer = _BatchNorm(len(node.scale), eps=0.0)
    layer.weight = nn.Parameter(torch.from_numpy(node.scale.copy()), requires_grad=False)
    layer.bias = nn.Parameter(torch.from_numpy(node.shift.copy()), requires_grad=False)
    return layer


@_maker(ops.NeuronNode)
def _neuron(node: ops.NeuronNode) -> nn.Module:
    return layers.Neuron(node.parameters)


@_maker(ops.LowPassNode)
def _low_pass(node: ops.LowPassNode) -> nn.Module:
    return layers.Integrator() if node.decay == 1 else layers.LowPass(node.decay)


@_maker(ops.DelayNode)
def _delay(node: ops.DelayNode) -> nn.Module:
    return layers.Delay(node.steps)


@_maker(ops.FixedPointNeuronNode)
def _fixed_point_neuron(node: ops.FixedPointNeuronNode) -> nn.Module:
    return layers.FixedPointNeuron(node.v_decay, node.threshold, node.i_decay)


@_maker(ops.EncodeNode)
def _encode(node: ops.EncodeNode) -> nn.Module:
    return DirectEncoding(node.steps)


def _pool(node: ops.AvgPoolNode | ops.MaxPoolNode, kinds: dict[int, Any]) -> nn.Module:
    if len(node.kernel) not in kinds:
        raise UserError(f"node {node.name}: pooling over {len(node.kernel)} axes found, 1 or 2 expected")
    layer: nn.Module = kinds[len(node.kernel)](node.kernel, node.stride)
    return layer


@_maker(ops.AvgPoolNode)
def _avg_pool(node: ops.AvgPoolNode) -> nn.Module:
    return _pool(node, {1: layers.AvgPool1d, 2: layers.AvgPool2d})


@_maker(ops.MaxPoolNode)
def _max_pool(node: ops.MaxPoolNode) -> nn.Module:
    return _pool(node, {1: layers.MaxPool1d, 2: layers.MaxPool2d})


_MAKERS[ops.ReluNode] = lambda _: nn.ReLU()
_MAKERS[ops.FlattenNode] = lambda _: layers.Flatten()
_MAKERS[ops.AddNode] = lambda _: layers.Add()
_MAKERS[ops.TimeMeanNode] = lambda _: layers.TimeMean()
