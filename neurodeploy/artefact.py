"""An exported artefact as a torch module, whose spiking layers fire what the artefact fires, so that they can be counted."""

from collections.abc import Callable

import torch
from torch import Tensor

from neurodeploy import layers
from neurodeploy.errors import UserError
from neurodeploy.graph import nodes
from neurodeploy.graph.module import GraphModule
from neurodeploy.neurons import NeuronParameters
from neurodeploy_exporters.artefact import Artefact

_VALUES = 1 << 25  # spikes of a batch, all layers and steps together: 128 MiB as the runtimes give them


class ArtefactModule(GraphModule):
    """The network that a bundle's files hold; its synapses are computed in torch, its spikes are the artefact's.

    A batch runs through ONNX Runtime, the fixed-point simulator or the reference interpreter, and every spiking layer answers
    with what it fired there, whatever the currents of its own would have made of it.

    Args:
        artefact: read back from a bundle.
    """

    def __init__(self, artefact: Artefact) -> None:
        super().__init__(artefact.graph, batch_first=artefact.graph.input.timed)
        self.artefact = artefact
        self._samples: Tensor | None = None
        self._spikes: dict[str, Tensor] = {}
        for name in artefact.graph.spiking:
            self._place(name, _Recorded(name, artefact.graph[name], self._spikes_of))

    @property
    def batch(self) -> int:
        """Samples to run at a time, so that the spikes of all layers stay in bounded memory."""
        graph, steps = self.artefact.graph, self.artefact.bundle.manifest.steps
        each = steps * sum(torch.Size(graph.shape(name)).numel() for name in graph.spiking)
        return max(1, _VALUES // each)

    def forward(self, samples: Tensor) -> Tensor:
        """`[B, *shape]`, or `[B, T, *shape]` of a network that takes sequences → logits `[B, K]`.

        Raises:
            UserError: the samples have another shape, or an artefact cannot be run.
        """
        shape, timed = self.graph.input.shape, self.graph.input.timed
        if samples.ndim != 1 + timed + len(shape) or tuple(samples.shape[1 + timed :]) != shape:
            folder, found = self.artefact.bundle.folder, tuple(samples.shape)
            axes = ", ".join(map(str, (*(("T",) if timed else ()), *shape)))
            raise UserError(f"{folder}: samples of shape {found} found, [N, {axes}] expected by the bundle")
        self._samples, self._spikes = samples, {}
        try:
            return super().forward(samples)
        finally:
            self._samples, self._spikes = None, {}

    def _spikes_of(self, layer: str) -> Tensor:
        """`[T, B, …]`. The artefact runs when its first layer is asked for: inside a layer, where nothing else is counted."""
        if self._samples is not None:
            inputs = self._samples.transpose(0, 1) if self.graph.input.timed else self._samples
            fired = self.artefact.fire(inputs.detach().cpu().float().contiguous().numpy())
            self._spikes, self._samples = {name: torch.from_numpy(spikes) for name, spikes in fired.items()}, None
        return self._spikes.pop(layer)


class _Recorded(layers.Neuron):
    """A spiking layer that fires what was recorded."""

    def __init__(self, name: str, node: nodes.Node, spikes_of: Callable[[str], Tensor]) -> None:
        super().__init__(_constants(node))
        self._name, self._spikes_of = name, spikes_of

    def forward(self, current: Tensor) -> Tensor:
        """Input current `[T, B, …]` → the artefact's spikes `[T, B, …]`."""
        spikes = self._spikes_of(self._name)
        if spikes.shape != current.shape:
            raise UserError(f"layer {self._name}: spikes {tuple(spikes.shape)} found, {tuple(current.shape)} expected")
        return spikes.to(current)


def _constants(node: nodes.Node) -> NeuronParameters:
    if isinstance(node, nodes.Neuron):
        return node.parameters
    assert isinstance(node, nodes.FixedPointNeuron)
    return NeuronParameters(1 - node.v_decay / 4096, node.threshold, "hard")
