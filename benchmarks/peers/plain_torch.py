"""Plain torch: an SNN as people write one without a framework, a class of neurons of their own in a loop over time."""

import torch
from torch import Tensor, nn

from benchmarks.setting import Setting
from benchmarks.subject import Network, Subject
from neurodeploy.dynamics.neurons import NeuronParameters


class Lif(nn.Module):
    """LIF neurons with a hard reset that keep their potential between calls; `[B, …]` each time step."""

    def __init__(self, parameters: NeuronParameters) -> None:
        super().__init__()
        self.parameters_, self.v = parameters, torch.zeros(())

    def forward(self, current: Tensor) -> Tensor:
        h = self.parameters_.decay * self.v + current
        spikes = (h > self.parameters_.threshold).to(current.dtype)
        self.v = h * (1 - spikes)
        return spikes


class _Network(Network):
    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        for i, (before, after, stride) in enumerate(setting.convolutions, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(before, after, 3, stride, padding=1))
            self.add_module(f"fire{i}", Lif(setting.neurons))
        self.classifier = nn.Linear(setting.channels[-1], setting.classes)

    def forward(self, images: Tensor) -> Tensor:
        layers = range(1, len(self.setting.strides) + 1)
        for i in layers:
            self.get_submodule(f"fire{i}").v = torch.zeros((), device=images.device)
        once = self.conv1(images) if self.setting.first_layer == "once" else None
        logits = []
        for _ in range(self.setting.steps):
            x = self.fire1(self.conv1(images) if once is None else once)
            for i in layers[1:]:
                x = self.get_submodule(f"fire{i}")(self.get_submodule(f"conv{i}")(x))
            logits.append(self.classifier(x.mean((-2, -1))))
        return torch.stack(logits).mean(0)


class PlainTorch(Subject):
    """Its own neurons, step by step."""

    name = "plain torch, step by step"
    distribution = "torch"
    surrogate = "none"
    same_gradient = False
    notes = ()

    def network(self, setting: Setting) -> Network:
        return _Network(setting)

    def spikes(self, outputs: list[object], setting: Setting) -> Tensor:  # noqa: ARG002
        return torch.stack([step for step in outputs if isinstance(step, Tensor)])

    def fire(self, current: Tensor, parameters: NeuronParameters) -> Tensor:
        neuron = Lif(parameters)
        return torch.stack([neuron(step) for step in current])
