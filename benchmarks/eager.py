"""A graph in plain torch, as one writes an SNN by hand: `torch.nn.functional` and a loop over time, in two layouts.

- "folded": each layer runs for all steps before the next one; time is folded into the batch for convolutions and linear layers,
  and the neurons loop over their currents.
- "step by step": the whole network runs once per step, as SpikingJelly, snnTorch and Norse show it in their documentation.

Both compute what does not change over time once. They are also what an unrolled ONNX export is made from.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from neurodeploy.dynamics.neurons import neuron_step
from neurodeploy.graph import Graph, ops

Layout = Literal["folded", "step by step"]


class Eager(nn.Module):
    """`[B, …]` → spikes of the layers that are asked for, `[T, B, …]`, and the logits `[B, K]` last.

    Args:
        graph: fed with static samples; batch norm folded.
        steps: T.
        layout: see above.
        layers: spiking layers whose spikes are returned too.
    """

    def __init__(self, graph: Graph, steps: int, layout: Layout, layers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.graph, self.steps, self.layout, self.layers = graph, steps, layout, layers
        self.names = {node.name: node.name.replace(".", "_") for node in graph.nodes}
        for node in graph.nodes:
            if isinstance(node, ops.ConvNode | ops.LinearNode):
                self.register_buffer(f"{self.names[node.name]}_weight", torch.from_numpy(node.weight.copy()))
                bias = None if node.bias is None else torch.from_numpy(node.bias.copy())
                self.register_buffer(f"{self.names[node.name]}_bias", bias)

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        return self._folded(samples) if self.layout == "folded" else self._step_by_step(samples)

    def _folded(self, samples: Tensor) -> tuple[Tensor, ...]:
        tensors = {self.graph.input.name: samples}
        for node in self.graph.nodes[1:]:
            inputs = [tensors[source] for source in node.inputs]
            timed = self.graph.timed(node.inputs[0])
            match node:
                case ops.EncodeNode():
                    y = inputs[0].expand(self.steps, *inputs[0].shape)
                case ops.NeuronNode():
                    v, emitted = torch.zeros_like(inputs[0][0]), []
                    for current in inputs[0].unbind(0):
                        s, v = neuron_step(v, current, node.parameters, _spike)
                        emitted.append(s)
                    y = torch.stack(emitted)
                case ops.TimeMeanNode():
                    y = inputs[0].mean(0)
                case _ if timed:
                    y = self._apply(node, [x.flatten(0, 1) for x in inputs]).unflatten(0, (self.steps, -1))
                case _:
                    y = self._apply(node, inputs)
            tensors[node.name] = y
        return (*(tensors[name] for name in self.layers), tensors[self.graph.output.name])

    def _step_by_step(self, samples: Tensor) -> tuple[Tensor, ...]:
        still = {self.graph.input.name: samples}
        states: dict[str, Tensor] = {}
        emitted: dict[str, list[Tensor]] = {name: [] for name in self.layers}
        for t in range(self.steps):
            tensors = dict(still)
            for node in self.graph.nodes[1:]:
                if node.name in tensors:
                    continue
                inputs = [tensors[source] for source in node.inputs]
                match node:
                    case ops.EncodeNode() | ops.OutputNode():
                        y = inputs[0]
                    case ops.NeuronNode():
                        v = states.get(node.name)
                        v = torch.zeros_like(inputs[0]) if v is None else v
                        y, states[node.name] = neuron_step(v, inputs[0], node.parameters, _spike)
                    case ops.TimeMeanNode():
                        y = states[node.name] = states[node.name] + inputs[0] if t else inputs[0]
                    case _:
                        y = self._apply(node, inputs)
                tensors[node.name] = y
                if not self.graph.timed(node.name) and not isinstance(node, ops.TimeMeanNode | ops.OutputNode):
                    still[node.name] = y
            for name in self.layers:
                emitted[name].append(tensors[name])
        return (*map(torch.stack, emitted.values()), tensors[self.graph.output.name] / self.steps)

    def _apply(self, node: ops.Node, inputs: list[Tensor]) -> Tensor:
        if isinstance(node, ops.ConvNode | ops.LinearNode):
            own = self.names[node.name]
            return _SYNAPSES[type(node)](node, inputs[0], getattr(self, f"{own}_weight"), getattr(self, f"{own}_bias"))
        return _RULES[type(node)](node, *inputs)


def _spike(h: Tensor, threshold: float) -> Tensor:
    return (h > threshold).to(h.dtype)


def _conv(node: ops.ConvNode, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    convolve: Any = f.conv1d if weight.ndim == 3 else f.conv2d
    return convolve(x, weight, bias, node.stride, node.padding, node.dilation, node.groups)


def _linear(_: ops.LinearNode, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return f.linear(x, weight, bias)


def _pool(kinds: dict[int, Any]) -> Callable[[Any, Tensor], Tensor]:
    return lambda node, x: kinds[len(node.kernel)](x, node.kernel, node.stride)


_SYNAPSES: dict[type, Callable[..., Tensor]] = {ops.ConvNode: _conv, ops.LinearNode: _linear}
_RULES: dict[type, Callable[..., Tensor]] = {
    ops.AvgPoolNode: _pool({1: f.avg_pool1d, 2: f.avg_pool2d}),
    ops.MaxPoolNode: _pool({1: f.max_pool1d, 2: f.max_pool2d}),
    ops.ReluNode: lambda _, x: f.relu(x),
    ops.FlattenNode: lambda _, x: x.flatten(1),
    ops.AddNode: lambda _, a, b: a + b,
    ops.OutputNode: lambda _, x: x,
}
