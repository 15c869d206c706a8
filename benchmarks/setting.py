"""What every subject computes: one convolutional SNN, its weights and its input, on a grid where float32 sums are exact.

Convolutions of two frameworks add the same products in different orders, and a neuron written `v + (1 − λ)(I − v)` rounds other
than one written `λ v + I`. On a dyadic grid that fits in float32's 24 bits no sum rounds at all, so spikes must be equal, and a
difference is one of the equation. The grid is the test's, not a limit of anything measured: timing does not depend on it.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neurodeploy.dynamics.neurons import NeuronParameters

FirstLayer = Literal["once", "every step"]
WEIGHT_GRID, INPUT_GRID = 1 / 16, 1 / 4
LIF = NeuronParameters(decay=0.5, threshold=1.0, reset="hard")


@dataclass(frozen=True)
class Setting:
    """The network that is compared.

    Attributes:
        steps: T.
        batch: B, samples.
        channels: of the input and of each 3×3 convolution.
        strides: of each convolution.
        size: height and width of the input, pixels.
        classes: K.
        neurons: decay, threshold and reset of every spiking layer; decay 1/2 is exact in every framework's form of it.
        first_layer: the input is constant over time, so the first convolution may run once per sample, or at every step.
    """

    steps: int
    batch: int = 64
    channels: tuple[int, ...] = (3, 32, 64, 64)
    strides: tuple[int, ...] = (1, 2, 2)
    size: int = 32
    classes: int = 10
    neurons: NeuronParameters = LIF
    first_layer: FirstLayer = "once"

    @property
    def convolutions(self) -> list[tuple[int, int, int]]:
        """Input channels, output channels and stride of each."""
        return list(zip(self.channels[:-1], self.channels[1:], self.strides, strict=True))

    @property
    def neuron_steps(self) -> int:
        """Neuron updates in one forward pass of a batch, over all layers and steps."""
        side, total = self.size, 0
        for _, channels, stride in self.convolutions:
            side = -(-side // stride)
            total += channels * side * side
        return total * self.batch * self.steps


def weights(setting: Setting, seed: int = 0) -> dict[str, Tensor]:
    """Weights and biases, `conv1.weight` … `classifier.bias`, multiples of 1/16; a tenth to a third of the neurons fire."""
    generator = torch.Generator().manual_seed(seed)

    def on_grid(*shape: int, scale: float) -> Tensor:
        return (torch.randn(*shape, generator=generator) * scale / WEIGHT_GRID).round() * WEIGHT_GRID

    values = {}
    for i, (before, after, _) in enumerate(setting.convolutions, start=1):
        values[f"conv{i}.weight"] = on_grid(after, before, 3, 3, scale=(3.0 if i == 1 else 6.0) / (9 * before) ** 0.5 / 2)
        values[f"conv{i}.bias"] = on_grid(after, scale=0.1)
    values["classifier.weight"] = on_grid(setting.classes, setting.channels[-1], scale=0.3)
    values["classifier.bias"] = on_grid(setting.classes, scale=0.1)
    return values


def sample(setting: Setting, seed: int = 1) -> tuple[Tensor, Tensor]:
    """A random batch: images `[B, C, H, W]`, multiples of 1/4 from 0 to 1, and labels `[B]`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (setting.batch, setting.channels[0], setting.size, setting.size)
    images = torch.randint(0, round(1 / INPUT_GRID) + 1, shape, generator=generator) * INPUT_GRID
    return images, torch.randint(0, setting.classes, (setting.batch,), generator=generator)


def currents(steps: int = 16, neurons: int = 100_000, seed: int = 2) -> Tensor:
    """Random input currents of single neurons, float32 and on no grid: `[T, 1, neurons]`, normal, mean 0.4, deviation 0.8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, 1, neurons, generator=generator) * 0.8 + 0.4
