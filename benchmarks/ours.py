"""neurodeploy's own networks: layers over `[T, B, …]`, the first one once per sample."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from benchmarks.setting import Setting
from benchmarks.subject import Network, Subject
from neurodeploy.dynamics import kernels
from neurodeploy.dynamics.encodings import DirectEncoding
from neurodeploy.dynamics.layers import Conv2d, GlobalAvgPool2d, Neuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.training.evaluation import predict


class _Network(Network):
    def __init__(self, setting: Setting, *, detach_reset: bool) -> None:
        super().__init__()
        self.setting, self.encoding = setting, DirectEncoding(setting.steps)
        for i, (before, after, stride) in enumerate(setting.convolutions, start=1):
            self.add_module(f"conv{i}", Conv2d(before, after, 3, stride, padding=1))
            self.add_module(f"fire{i}", Neuron(setting.neurons, detach_reset=detach_reset))
        self.pool, self.classifier, self.readout = (
            GlobalAvgPool2d(),
            nn.Linear(setting.channels[-1], setting.classes),
            TimeMean(),
        )

    def forward(self, images: Tensor) -> Tensor:
        x = images.unsqueeze(0)
        x = self.encoding(self.conv1(x)) if self.setting.first_layer == "once" else self.conv1(self.encoding(x))
        x = self.fire1(x)
        for i in range(2, len(self.setting.strides) + 1):
            x = self.get_submodule(f"fire{i}")(self.get_submodule(f"conv{i}")(x))
        return self.readout(self.classifier(self.pool(x)))


class Ours(Subject):
    """neurodeploy with one of its kernels.

    Args:
        kernel: by name, or None for the device's default.
        detach_reset: no gradient through the spike in the reset.
    """

    distribution = "neurodeploy"
    same_gradient = True
    notes = ()

    def __init__(self, kernel: str | None = None, *, detach_reset: bool = False) -> None:
        self.kernel, self.detach_reset = kernel, detach_reset
        self.name = f"neurodeploy, {kernel or 'default'} kernel"
        self.surrogate = f"arc tangent, α = 2, reset {'detached' if detach_reset else 'attached'}"

    def network(self, setting: Setting) -> Network:
        return _Network(setting, detach_reset=self.detach_reset)

    def spikes(self, outputs: list[object], setting: Setting) -> Tensor:  # noqa: ARG002
        (spikes,) = outputs
        assert isinstance(spikes, Tensor)
        return spikes

    def fire(self, current: Tensor, parameters: NeuronParameters) -> Tensor:
        with self.running(), torch.no_grad():
            return Neuron(parameters)(current)

    def infer(self, network: Network, images: Tensor) -> Tensor:
        return predict(network, images, batch_size=len(images))

    def running(self) -> AbstractContextManager[None]:
        return nullcontext() if self.kernel is None else kernels.using(self.kernel)
