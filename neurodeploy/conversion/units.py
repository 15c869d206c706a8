"""What a number of the spiking network stands for: keeps weights as they are, and moves offsets to their scale.

A spike is 1, whatever the threshold: the firing rate r of an IF neuron with soft reset tends to `clamp(I / θ, 0, 1)`, with I
its mean current. So a layer's rate is its activation divided by θ, and by all that the layers before it were divided by. Every
tensor of the spiking network has a *unit* u > 0: `value in the ReLU network ≈ u · mean over t of the value here`.

- A sample has unit 1. Convolutions, linear layers, average pools and flattening keep the unit; a spiking layer multiplies it
  by θ.
- The weights of synapses are kept bit for bit; their **bias** is divided by the unit: `W (x / u) + b / u = (W x + b) / u`
  (quoted: Diehl et al. 2015, Rueckauer et al. 2017, whose weight normalisation is the same network up to the unit of the
  membrane potential).
- **Batch norm** is kept as a layer and absorbs the unit: its running mean is divided by u, its running variance by u², γ and β
  stay (γ moves in the order of ε / variance, so that the result is exact). Its output has unit 1 again. This is our working
  form: the network keeps the layers of its definition, so a checkpoint can rebuild it; fine-tuning meets in its batches the
  statistics that it was given; and an export folds the layer as it does for any network.
- At a **sum**, both branches need one unit: the branch that ends in a synapse or batch norm is multiplied by the quotient (our
  working form).
- The **classifier** is multiplied by the unit of what it reads, so that logits compare with the teacher's.
"""

from math import isclose
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node
from neurodeploy.io.errors import UserError

_SYNAPSES = (ops.ConvNode, ops.LinearNode)
_KEEP_UNITS = (ops.AvgPoolNode, ops.FlattenNode, ops.TimeMeanNode)


class Units:
    """Walks through a network in the order of computation and adapts it layer by layer.

    Args:
        graph: of the ReLU network.
        student: the spiking network with the same module names and the ReLU network's weights; changed in place.
    """

    def __init__(self, graph: Graph, student: nn.Module) -> None:
        self._graph, self._student = graph, student
        self._units: dict[str, float] = {}
        self._classifier = self._source(graph.output.inputs[0])

    def __getitem__(self, tensor: str) -> float:
        """u of a tensor that the walk has passed."""
        return self._units[tensor]

    @torch.no_grad()
    def enter(self, node: Node) -> None:
        """Adapt the next layer to the unit of what it reads.

        Raises:
            UserError: a layer that firing rates cannot pass, or a sum whose branches cannot be brought to one unit.
        """
        match node:
            case ops.InputNode():
                self._units[node.name] = 1.0
            case ops.ConvNode() | ops.LinearNode():
                self._synapse(node)
            case ops.BatchNormNode():
                _absorb(self._module(node), self._units[node.inputs[0]], node.name)
                self._units[node.name] = 1.0
            case ops.AddNode():
                self._level(node)
            case ops.OutputNode():
                self._units[node.name] = self._units[node.inputs[0]]
                if self._classifier is None and self._units[node.name] != 1:
                    raise UserError("network: its answer is made of spikes; end it with a linear layer as a classifier")
            case ops.ReluNode() | ops.AvgPoolNode() | ops.FlattenNode() | ops.TimeMeanNode():
                self._units[node.name] = self._units[node.inputs[0]]
            case ops.MaxPoolNode():
                raise UserError(
                    f"layer {node.name} (MaxPool): the maximum of spikes is not the maximum of firing rates; "
                    "train the teacher with average pooling or strides"
                )
            case _:
                raise UserError(f"layer {node.name} ({node.kind}): has no place in a ReLU network to convert")

    def fire(self, layer: str, threshold: float) -> None:
        """A spiking layer has its threshold now: its spikes stand for θ times what its current stands for."""
        self._units[layer] *= threshold

    def offset_before(self, tensor: str) -> Tensor | None:
        """The bias `[C]` that can be shifted to shift this tensor alone, channel by channel; None if there is none."""
        node = self._graph[tensor]
        if len(self._graph.consumers(tensor)) > 1:
            return None
        if isinstance(node, (*_SYNAPSES, ops.BatchNormNode)):
            bias: Tensor | None = self._module(node).bias
            return bias
        if isinstance(node, ops.AddNode | ops.AvgPoolNode):
            biases = (self.offset_before(source) for source in dict.fromkeys(node.inputs))
            return next((bias for bias in biases if bias is not None), None)
        return None

    def _module(self, node: Node) -> Any:
        return self._student.get_submodule(node.name)

    def _synapse(self, node: ops.ConvNode | ops.LinearNode) -> None:
        module, unit = self._module(node), self._units[node.inputs[0]]
        if node is self._classifier:
            module.weight.mul_(unit)
            unit = 1.0
        elif module.bias is not None:
            module.bias.div_(unit)
        self._units[node.name] = unit

    def _level(self, node: ops.AddNode) -> None:
        first, second = node.inputs
        if not isclose(self._units[first], self._units[second], rel_tol=1e-6):
            fixed, moved = (second, first) if self._source(second) is None else (first, second)
            source = self._source(moved)
            if source is None:
                raise UserError(
                    f"layer {node.name}: adds the spikes of {first} and {second}, which stand for different values; "
                    "a synapse or batch norm is expected in one of the branches"
                )
            self._rescale(source, self._units[moved] / self._units[fixed])
            first = fixed
        self._units[node.name] = self._units[first]

    def _rescale(self, node: Node, factor: float) -> None:
        module = self._module(node)
        module.weight.mul_(factor)
        if module.bias is not None:
            module.bias.mul_(factor)

    def _source(self, tensor: str) -> Node | None:
        """The synapse or batch norm that alone decides the scale of a tensor, and whose output nothing else reads."""
        node = self._graph[tensor]
        while len(self._graph.consumers(node.name)) == 1:
            if isinstance(node, (*_SYNAPSES, ops.BatchNormNode)):
                return node
            if not isinstance(node, _KEEP_UNITS):
                return None
            node = self._graph[node.inputs[0]]
        return None


def _absorb(norm: Any, unit: float, name: str) -> None:
    """Make of `norm(x)` what it was, where x / u comes in."""
    if unit == 1:
        return
    if norm.weight is None:
        raise UserError(f"layer {name}: batch norm without weights found, affine=True expected")
    before = norm.running_var.double() + norm.eps
    norm.running_mean.div_(unit)
    norm.running_var.div_(unit**2)
    after = norm.running_var.double() + norm.eps
    norm.weight.mul_((unit * (after / before).sqrt()).to(norm.weight))
