"""Networks that are written as NIR files and given to the frameworks: single nodes, and small nets; spikes in, spikes out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.nir.exchange import spikes
from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.graph import Graph, ops

STEPS, BATCH = 16, 8


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        what: in it, for the table.
        graph: input a sequence, output that of its last layer at every step.
        inputs: spikes `[T, B, …]`.
    """

    what: str
    graph: Graph
    inputs: NDArray[np.float32]


def cases() -> dict[str, Case]:
    """Name → network."""
    return {name: make() for name, make in _MAKERS.items()}


class _Net:
    """A network in the making; each layer reads the one before it, unless told otherwise."""

    def __init__(self, *shape: int) -> None:
        self.random = np.random.default_rng(1)
        self.shape = shape
        self.nodes: list[ops.Node] = [ops.InputNode(name="input", shape=shape, timed=True)]

    def add(self, kind: Callable[..., Any], name: str, *, after: tuple[str, ...] = (), **fields: Any) -> "_Net":
        self.nodes.append(kind(name=name, inputs=after or (self.nodes[-1].name,), **fields))
        return self

    def linear(self, name: str, outputs: int, inputs: int, *, after: tuple[str, ...] = (), bias: bool = True) -> "_Net":
        weight, offset = self._normal(outputs, inputs) * 0.5 + 0.1, self._normal(outputs) * 0.1
        return self.add(ops.LinearNode, name, after=after, weight=weight, bias=offset if bias else None)

    def conv(self, name: str, *shape: int, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> "_Net":
        axes = len(shape) - 2
        weight, bias = self._normal(*shape) * 0.4 + 0.05, self._normal(shape[0]) * 0.1
        geometry = {"stride": (stride,) * axes, "padding": (padding,) * axes, "dilation": (dilation,) * axes}
        return self.add(ops.ConvNode, name, weight=weight, bias=bias, groups=groups, **geometry)

    def neuron(self, name: str, decay: float = 0.5, threshold: float = 1.0, reset: Reset = "hard") -> "_Net":
        return self.add(ops.NeuronNode, name, parameters=NeuronParameters(decay, threshold, reset))

    def case(self, what: str) -> Case:
        end = ops.OutputNode(name="output", inputs=(self.nodes[-1].name,))
        return Case(what, Graph([*self.nodes, end]), spikes(3, STEPS, BATCH, *self.shape))

    def _normal(self, *shape: int) -> NDArray[np.float32]:
        return self.random.normal(size=shape).astype(np.float32)


def _ties() -> Case:
    """Weights are multiples of 1/4: the potential is often exactly the threshold."""
    net = _Net(20)
    weight = (net.random.integers(-2, 4, (16, 20)) / 4).astype(np.float32)
    return net.add(ops.LinearNode, "fc", weight=weight).neuron("lif").case("linear, LIF; potentials that equal the threshold")


def _residual() -> Case:
    net = _Net(20).linear("fc1", 16, 20).neuron("lif1").linear("fc2", 16, 16).add(ops.AddNode, "add", after=("lif1", "fc2"))
    return net.neuron("lif2").case("residual sum: two edges into one neuron")


def _residual_conv() -> Case:
    net = _Net(2, 8, 8).conv("block.conv1", 4, 2, 3, 3, padding=1).neuron("block.lif1")
    net.conv("block.conv2", 4, 4, 3, 3, padding=1)
    net.add(ops.AddNode, "block.add", after=("block.lif1", "block.conv2")).neuron("block.lif2")
    net.add(ops.AvgPoolNode, "pool", kernel=(8, 8), stride=(8, 8)).add(ops.FlattenNode, "flatten").linear("fc", 10, 4)
    return net.neuron("lif3", 0.75, 0.25).case("convolutions, residual sum, global pool, linear")


def _deep() -> Case:
    net = _Net(2, 8, 8).conv("conv1", 4, 2, 3, 3, padding=1).neuron("lif1").conv("conv2", 6, 4, 3, 3, stride=2, padding=1)
    net.neuron("lif2", 0.9).add(ops.FlattenNode, "flatten").linear("fc", 10, 96)
    return net.neuron("lif3").case("two convolutions, flatten, linear; three LIF")


def _chain(pool: Callable[..., Any]) -> _Net:
    net = _Net(2, 8, 8).conv("conv1", 4, 2, 3, 3, padding=1).neuron("lif1").add(pool, "pool", kernel=(2, 2), stride=(2, 2))
    return net.add(ops.FlattenNode, "flatten").linear("fc", 10, 64).neuron("lif2", 0.9)


_MAKERS: dict[str, Callable[[], Case]] = {
    "lif": lambda: _Net(20).linear("fc", 16, 20).neuron("lif").case("linear, LIF, decay 0.5"),
    "lif-slow": lambda: _Net(20).linear("fc", 16, 20).neuron("lif", 0.9).case("linear, LIF, decay 0.9"),
    "lif-soft": lambda: _Net(20).linear("fc", 16, 20).neuron("lif", 0.5, 1.0, "soft").case("linear, LIF, reset that subtracts"),
    "lif-ties": _ties,
    "if": lambda: _Net(20).linear("fc", 16, 20, bias=False).neuron("lif", 1.0).case("linear without bias, IF"),
    "cuba": lambda: (
        _Net(20).linear("fc", 16, 20).add(ops.LowPassNode, "current", decay=0.5).neuron("lif", 0.75).case("linear, CUBA-LIF")
    ),
    "li": lambda: _Net(20).linear("fc", 16, 20).add(ops.LowPassNode, "leak", decay=0.5).case("linear, leaky integrator"),
    "delay": lambda: (
        _Net(20).add(ops.DelayNode, "delay", steps=2).linear("fc", 16, 20).neuron("lif").case("delay, linear, LIF")
    ),
    "conv": lambda: _Net(2, 9, 9).conv("conv", 4, 2, 3, 3, padding=1).neuron("lif").case("2-d convolution, LIF"),
    "conv-strided": lambda: (
        _Net(2, 9, 9)
        .conv("conv", 4, 2, 3, 3, stride=2, padding=2, dilation=2)
        .neuron("lif")
        .case("2-d convolution with stride, dilation, padding")
    ),
    "conv-grouped": lambda: (
        _Net(4, 9, 9).conv("conv", 8, 1, 3, 3, groups=4).neuron("lif").case("2-d convolution in 4 groups, LIF")
    ),
    "conv1d": lambda: _Net(3, 16).conv("conv", 5, 3, 3, padding=1).neuron("lif").case("1-d convolution, LIF"),
    "deep": _deep,
    "avg-pool": lambda: _chain(ops.AvgPoolNode).case("convolution, average pool, flatten, linear"),
    "max-pool": lambda: _chain(ops.MaxPoolNode).case("convolution, max pool of spikes, flatten, linear"),
    "residual": _residual,
    "residual-conv": _residual_conv,
}
