"""Small spiking networks in plain torch, whose weights and inputs are binary fractions: every tool sees the same spikes.

Each takes one step in a call and is called T times. Neurons are handed in: those of a framework whose tool counts, or `Fire`
below, which computes the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

STEPS, SAMPLES = 4, 6


class Fire(nn.Module):
    """Integrate and fire at 1, one step per call, and back to 0: SpikingJelly's `IFNode` with its defaults."""

    def __init__(self) -> None:
        super().__init__()
        self.v = torch.zeros(())

    def reset(self) -> None:
        self.v = torch.zeros(())

    def forward(self, current: Tensor) -> Tensor:
        v = self.v + current
        spikes = (v >= 1.0).to(current)
        self.v = v * (1 - spikes)
        return spikes


MakesNeurons = Callable[[], nn.Module]


class Events(nn.Module):
    """Convolutions on events, with padding, stride, groups, a bias, and weights of zero; `[B, 2, 8, 8]` → `[B, 10]`."""

    def __init__(self, neuron: MakesNeurons) -> None:
        super().__init__()
        self.conv1, self.fire1 = nn.Conv2d(2, 4, 3, padding=1), neuron()
        self.conv2, self.fire2 = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), neuron()
        self.flatten, self.classifier = nn.Flatten(), nn.Linear(96, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.fire2(self.conv2(self.fire1(self.conv1(x))))))


class Images(nn.Module):
    """Direct coding, batch norm, and pools of spikes, one of which is folded; `[B, 3, 8, 8]` → `[B, 10]`."""

    def __init__(self, neuron: MakesNeurons) -> None:
        super().__init__()
        self.conv1, self.norm1, self.fire1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), _identity(4), neuron()
        self.average, self.conv2 = nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.norm2, self.fire2, self.maximum = _identity(6), neuron(), nn.MaxPool2d(2)
        self.flatten, self.classifier = nn.Flatten(), nn.Linear(24, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.average(self.fire1(self.norm1(self.conv1(x))))
        spikes = self.maximum(self.fire2(self.norm2(self.conv2(spikes))))
        return self.classifier(self.flatten(spikes))


class Sums(nn.Module):
    """A residual block that adds spikes to spikes, as SEW-ResNet does: its convolutions read 0, 1 and 2."""

    def __init__(self, neuron: MakesNeurons) -> None:
        super().__init__()
        self.conv1, self.fire1 = nn.Conv2d(2, 4, 3, padding=1, bias=False), neuron()
        self.conv2, self.fire2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), neuron()
        self.conv3, self.fire3 = nn.Conv2d(4, 4, 3, padding=1, bias=False), neuron()
        self.flatten, self.classifier = nn.Flatten(), nn.Linear(256, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first = self.fire1(self.conv1(x))
        spikes = self.fire3(self.conv3(first + self.fire2(self.conv2(first))))
        return self.classifier(self.flatten(spikes))


@dataclass(frozen=True)
class Case:
    """A network and what it is run on.

    Attributes:
        make: the network, from what makes its neurons.
        inputs: `[T, B, …]`; equal steps where the input is constant.
    """

    make: Callable[[MakesNeurons], nn.Module]
    inputs: Tensor

    def network(self, neuron: MakesNeurons = Fire) -> nn.Module:
        """The network with its weights, in evaluation mode."""
        return _weighted(self.make(neuron)).eval()


def cases() -> dict[str, Case]:
    """All networks, by name."""
    generator = torch.Generator().manual_seed(0)
    events = (torch.rand(STEPS, SAMPLES, 2, 8, 8, generator=generator) < 0.3).float()
    image = torch.randint(-7, 8, (SAMPLES, 3, 8, 8), generator=generator) / 16
    image[:, 0, 0, 0] = 0.0
    return {
        "events": Case(Events, events),
        "images": Case(Images, image.expand(STEPS, -1, -1, -1, -1).contiguous()),
        "sums": Case(Sums, events),
    }


def _identity(channels: int) -> nn.Module:
    """Batch norm that changes no value, and so keeps binary fractions."""
    return nn.BatchNorm2d(channels, eps=0.0)


def _weighted(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            with torch.no_grad():
                pattern = (torch.arange(module.weight.numel()) * 7 % 11 - 3).reshape(module.weight.shape)
                module.weight.copy_(pattern / 8)
                if module.bias is not None:
                    module.bias.fill_(0.125)
    return network
