"""Layers over activations of shape `[T, B, …]`: the time axis is folded into the batch, so torch runs one call for all steps.

Each is a leaf of the graph tracer; together with `torch.nn`'s own layers they are the alphabet of the networks.
"""

import torch
from torch import Tensor, nn

from neurodeploy.kernels import multi_step
from neurodeploy.neurons import NeuronParameters
from neurodeploy.surrogate import ArcTangent, Surrogate


class Conv1d(nn.Conv1d):
    """`torch.nn.Conv1d` over `[T, B, C, L]`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` over `[T, B, C, H, W]`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over `[T, B, C, H, W]`; statistics are taken over T and B together (tdBN, Zheng 2021)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class AvgPool2d(nn.AvgPool2d):
    """`torch.nn.AvgPool2d` over `[T, B, C, H, W]`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class MaxPool2d(nn.MaxPool2d):
    """`torch.nn.MaxPool2d` over `[T, B, C, H, W]`."""

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = super().forward(x.flatten(0, 1))
        return pooled.unflatten(0, x.shape[:2])


class GlobalAvgPool2d(nn.Module):
    """Mean over the spatial axes: `[T, B, C, H, W]` → `[T, B, C]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1))


class Flatten(nn.Module):
    """`[T, B, C, H, W]` → `[T, B, C·H·W]`, in the C order of (C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2)


class Add(nn.Module):
    """Sum of two branches of the same shape: a residual connection."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class TimeMean(nn.Module):
    """Mean over time: `[T, B, …]` → `[B, …]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0)


class Neuron(nn.Module):
    """A layer of IF or LIF neurons; every call starts from membrane potential 0.

    Args:
        parameters: decay, threshold and reset (see `neurodeploy.neurons.neuron_step` for the equation).
        surrogate: derivative of the spike in training.
    """

    def __init__(self, parameters: NeuronParameters, surrogate: Surrogate | None = None) -> None:
        super().__init__()
        self.constants = parameters
        self.surrogate: Surrogate = surrogate if surrogate is not None else ArcTangent()

    def forward(self, current: Tensor) -> Tensor:
        """Input current `[T, B, …]` → spikes `[T, B, …]`, 0 or 1."""
        return multi_step(current, torch.zeros_like(current[0]), self.constants, self.surrogate)[0]

    def extra_repr(self) -> str:
        p = self.constants
        return f"decay={p.decay:g}, threshold={p.threshold:g}, reset={p.reset}, surrogate={self.surrogate}"
