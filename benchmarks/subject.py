"""What a framework must give to be compared: its network, its neuron, and where its equation differs from ours."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from benchmarks.setting import Setting
from neurodeploy.dynamics.neurons import NeuronParameters


class Network(nn.Module):
    """The convolutional SNN in one framework: `conv1 … convN`, `fire1 … fireN`, `classifier`.

    `forward` maps images `[B, C, H, W]` to logits `[B, K]`, from membrane potential 0, and is written the way that framework's
    own documentation writes such a network.
    """

    setting: Setting

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take weights and biases by name."""
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)

    def output_of(self, layer: int) -> nn.Module:
        """The neurons behind convolution `layer` (1 … N)."""
        return self.get_submodule(f"fire{layer}")


class Subject(Protocol):
    """One framework in one way of running it."""

    name: str
    distribution: str
    surrogate: str
    """Derivative of the spike, and whether the reset lets a gradient through."""
    same_gradient: bool
    """Whether that is ours too, so that gradients must agree."""
    notes: tuple[str, ...]
    """How parameters are mapped, and what cannot be."""

    def network(self, setting: Setting) -> Network:
        """The network, with weights not yet loaded."""
        ...

    def spikes(self, outputs: list[object], setting: Setting) -> Tensor:
        """What one spiking layer returned over a forward pass → spikes `[T, B, …]`."""
        ...

    def fire(self, current: Tensor, parameters: NeuronParameters) -> Tensor:
        """The neuron alone: input currents `[T, B, N]` → spikes `[T, B, N]`."""
        ...

    def infer(self, network: Network, images: Tensor) -> Tensor:
        """Logits, without gradients: the way that the framework's documentation runs inference."""
        with torch.no_grad():
            return network(images)

    def running(self) -> AbstractContextManager[None]:
        """What must be switched on while it runs."""
        return nullcontext()
