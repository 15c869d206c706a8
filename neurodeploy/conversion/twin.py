"""The spiking twin of a ReLU network: its layers and weights, and a layer of neurons in place of each ReLU."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from neurodeploy.conversion import bfloat16
from neurodeploy.conversion.bfloat16 import ScaledValue
from neurodeploy.conversion.traced import TracedNetwork
from neurodeploy.dynamics.encodings import DirectEncoding, PoissonEncoding
from neurodeploy.dynamics.kernels import bfloat16 as kernel
from neurodeploy.dynamics.layers import Neuron, PrechargedNeuron
from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.dynamics.scaling import InThresholds, OfThreshold
from neurodeploy.dynamics.surrogates import Surrogate
from neurodeploy.graph import Graph, ops
from neurodeploy.io.errors import UserError

RateCode = Literal["direct", "poisson"]
HALF = 0.5
"""Of a threshold: the potential at which a neuron whose current may be anything is nearest to the spikes of its mean."""

_RATES = (
    *(ops.InputNode, ops.OutputNode, ops.ConvNode, ops.LinearNode, ops.ConvTransposeNode, ops.BatchNormNode, ops.AddNode),
    *(ops.ConcatNode, ops.ReluNode, ops.AvgPoolNode, ops.MaxPoolNode, ops.FlattenNode, ops.ReshapeNode, ops.PermuteNode),
    *(ops.PadNode, ops.SliceNode),
)
"""Operations that firing rates can pass."""


class SpikingTwin(TracedNetwork):
    """IF neurons stand for ReLUs; everything else, and every weight, is as in the ReLU network.

    A neuron reads its current in units of its threshold θ, and its spikes stand for θ each, so that currents, features and
    logits are in the unit of the ReLU network: with soft reset `mean over t of θ s[t] → min(relu(I), θ)` for a constant current
    I as T grows.
    Taps are spikes, 0 or 1.

    In the first steps neurons fire whose currents settle below 0 afterwards: no soft reset takes those spikes back, and the
    mean of all steps keeps their error. A mean over the later steps alone has none of it ("delayed evaluation": Hwang et al.
    2021, Frontiers in Neuroscience 15, 629000).

    Args:
        graph: of the ReLU network, batch norm folded.
        steps: T.
        repact: the last ReLU stays, and is applied at every step (RepAct, EnOF-SNN).
        code: "direct" repeats the sample's current: the layers before the first neurons are computed once. "poisson" draws
            spikes, of values from 0 to 1.
        reset: "soft", or "hard" for chips whose neurons reset to 0; a rate is less than the activation then, and is to be
            trained.
        surrogate: derivative of the spike in training.
        learn_threshold: whether training learns the thresholds too.
        classifier: see `TracedNetwork`.
        evaluate_after: number of first steps that the mean of the logits leaves out, less than T.
        precharge: neurons begin at half of their threshold, and training learns where.

    Raises:
        UserError: there is no ReLU, or a layer that firing rates cannot pass; no step is left to evaluate.

    Attributes:
        spiking: names of the layers of neurons, in order.
        notes: sentences on what it does otherwise than the ReLU network.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        steps: int,
        repact: bool = False,
        code: RateCode = "direct",
        reset: Reset = "soft",
        surrogate: Surrogate | None = None,
        learn_threshold: bool = False,
        classifier: str | None = None,
        evaluate_after: int = 0,
        precharge: bool = False,
    ) -> None:
        check_rates(graph, code)
        if not 0 <= evaluate_after < steps:
            raise UserError(f"evaluate_after: {evaluate_after} found, from 0 to {steps - 1} of {steps} time steps expected")
        graph, _ = pooled_first(graph)
        super().__init__(graph, classifier=classifier)
        self.spiking = self.activations[:-1] if repact else self.activations
        self.steps, self.repact, self.code, self.reset = steps, repact, code, reset
        self.learn_threshold, self.evaluate_after, self.precharge = learn_threshold, evaluate_after, precharge
        self.encoding: nn.Module = DirectEncoding(steps) if code == "direct" else PoissonEncoding(steps)
        self._encoded = _entry(graph) if code == "direct" else "input"
        for name in self.spiking:
            channels = graph.shape(name)[0]
            log_threshold = nn.Parameter(torch.zeros(1), requires_grad=learn_threshold)
            parameters = NeuronParameters(1.0, 1.0, reset)
            neurons = Neuron(parameters, surrogate)
            if precharge:
                neurons = PrechargedNeuron(parameters, torch.full((channels,), HALF), surrogate)
            place_neurons(self, name, log_threshold, channels, neurons)
        self.notes = (*_of_reset(reset, steps), *_of_pools(self.graph))

    def entry(self, samples: Tensor) -> Tensor:
        """Samples as the first layer reads them: `[1, B, …]`, or spikes `[T, B, …]`."""
        if self.code == "direct":
            return super().entry(samples)
        spikes: Tensor = self.encoding(samples)
        return spikes

    def entering(self, name: str, value: Tensor) -> Tensor:
        repeated: Tensor = self.encoding(value) if name == self._encoded and self.code == "direct" else value
        return repeated

    def called(self, name: str, reads: list[Tensor], taps: dict[str, Tensor]) -> Tensor:
        if name not in self.spiking:
            return super().called(name, reads, taps)
        taps[name] = self.get_submodule(name)(self.get_submodule(f"{name}.current")(*reads))
        value: Tensor = self.get_submodule(f"{name}.value")(taps[name])
        return value

    @property
    def taught(self) -> tuple[str, ...]:
        return self.spiking

    @property
    def suits_bfloat16(self) -> bool:
        neurons = (self._neurons(name) for name in self.spiking)
        known = all(kernel.suits(one.constants, one.surrogate, self.steps) for one in neurons)
        return known and bfloat16.convolves(self.graph)

    def scaled_activation(self, name: str, current: ScaledValue) -> tuple[ScaledValue, ScaledValue]:
        neurons, entry = self._neurons(name), self.in_thresholds(name)
        factor, offset = current.charging(entry.factor, entry.offset)
        initial = neurons.initial if isinstance(neurons, PrechargedNeuron) else torch.zeros_like(factor)
        scaled = kernel.ScaledCurrent(current.x, factor, offset, initial, self.steps, current.steps != self.steps)
        spikes = neurons.answer_scaled(scaled).flatten(0, 1)
        return ScaledValue(spikes, self.steps, entry.log_threshold.exp()), ScaledValue(spikes, self.steps)

    def _neurons(self, name: str) -> Neuron:
        found = self.get_submodule(name)
        assert isinstance(found, Neuron)
        return found

    @property
    def thresholds(self) -> dict[str, float]:
        """Layer → θ, what one of its spikes stands for in the ReLU network."""
        return {name: self.in_thresholds(name).log_threshold.exp().item() for name in self.spiking}

    def in_thresholds(self, name: str) -> InThresholds:
        """The layer that brings the current of a layer of neurons to the unit of its threshold."""
        found = self.get_submodule(f"{name}.current")
        assert isinstance(found, InThresholds)
        return found

    def extra_repr(self) -> str:
        late = f", evaluate_after={self.evaluate_after}" if self.evaluate_after else ""
        return f"steps={self.steps}, code={self.code}, reset={self.reset}, repact={self.repact}{late}"


def _of_reset(reset: Reset, steps: int) -> tuple[str, ...]:
    if reset == "soft":
        return ()
    return (
        f"hard reset, {steps} steps: what a neuron has above its threshold is lost with every spike, so that the twin is close "
        'to useless before it is trained; distil it, or take reset="soft", which keeps what is above',
    )


def _of_pools(graph: Graph) -> tuple[str, ...]:
    return tuple(
        f"layer {relu.name}: max pooling is over the currents of its neurons at every step, whose maximum may differ from that "
        "of their means"
        for relu in graph.of(ops.ReluNode)
        if isinstance(graph[relu.inputs[0]], ops.MaxPoolNode)
    )


def place_neurons(twin: nn.Module, name: str, log_threshold: nn.Parameter, channels: int, neuron: Neuron) -> None:
    """A layer of neurons with threshold 1 between a division and a multiplication by θ."""
    neuron.add_module("current", InThresholds(log_threshold, torch.zeros(channels)))
    neuron.add_module("value", OfThreshold(log_threshold))
    *path, last = name.split(".")
    twin.get_submodule(".".join(path)).add_module(last, neuron)


def pooled_first(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """A ReLU that max pools alone read comes after them, which is the same in a ReLU network; and the names of such ReLUs."""
    swapped: dict[str, None] = {}
    for name in [relu.name for relu in graph.of(ops.ReluNode)]:
        while len(readers := graph.consumers(name)) == 1 and isinstance(readers[0], ops.MaxPoolNode):
            swapped[name] = None
            graph = _swapped(graph, graph[name], readers[0])
    return graph, tuple(swapped)


def _swapped(graph: Graph, relu: ops.Node, pool: ops.Node) -> Graph:
    """The graph with a ReLU behind the max pool that alone reads it."""
    members: list[ops.Node] = []
    for node in graph.nodes:
        if node is pool:
            members += [replace(pool, inputs=relu.inputs), replace(relu, inputs=(pool.name,))]
        elif node is not relu:
            reads = tuple(relu.name if source == pool.name else source for source in node.inputs)
            members.append(replace(node, inputs=reads) if reads != node.inputs else node)
    return Graph(members)


def check_rates(graph: Graph, code: str = "direct") -> None:
    """Refuse a network whose values firing rates cannot stand for.

    Raises:
        UserError: it has no ReLU, or a layer that rates cannot pass; or there is no such code.
    """
    if code not in ("direct", "poisson"):
        raise UserError(f"code: {code!r} found, 'direct' or 'poisson' expected: only they carry a value as a rate")
    if not graph.of(ops.ReluNode):
        raise UserError("network: no ReLU found; only firing rates of ReLU activations can be converted")
    for node in graph.nodes:
        if not isinstance(node, _RATES):
            raise UserError(f"layer {node.name} ({node.kind}): has no place in a ReLU network to convert")


def _entry(graph: Graph) -> str:
    """The last tensor before all activations through which every path from the input leads."""
    after = {relu.name for relu in graph.of(ops.ReluNode)}
    for node in graph.nodes:
        if after.intersection(node.inputs):
            after.add(node.name)
    constant = [node.name for node in graph.nodes if node.name not in after and not isinstance(node, ops.OutputNode)]
    return next(name for name in reversed(constant) if not _leads_around(graph, name))


def _leads_around(graph: Graph, name: str) -> bool:
    """Whether the output can be reached from the input on a path that does not lead through a node."""
    reached = {"input"} - {name}
    for node in graph.nodes:
        if node.name != name and reached.intersection(node.inputs):
            reached.add(node.name)
    return graph.output.name in reached
