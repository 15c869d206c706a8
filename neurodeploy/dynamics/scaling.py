"""Layers that bring currents to the unit of a threshold and spikes back to that of a network's activations.

A neuron with threshold 1 that reads `I / θ` fires when one with threshold θ would that reads I; its spikes stand for θ each. So
every layer has the same neuron, whatever its activations are, and θ may be learned, one for a layer or for each channel.
"""

import torch
from torch import Tensor, nn


def spread(values: Tensor, x: Tensor) -> Tensor:
    """Numbers that are one for all channels, `[1]`, or one for each, `[C]`, shaped to meet `x` `[T, B, C, …]`."""
    return values.reshape(-1, *(1,) * (x.ndim - 3))


class Affine(nn.Module):
    """`y = weight · x + bias` per channel: what a batch norm does at inference, without statistics.

    Args:
        weight, bias: `[C]`.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, …]` → the same shape."""
        return x * spread(self.weight, x) + spread(self.bias, x)


class InThresholds(nn.Module):
    """`y = x / θ + offset`: a current in units of the threshold.

    Args:
        log_threshold: ln θ, `[1]` or `[C]`; may be shared with an `OfThreshold`.
        offset: `[C]`, in units of the threshold and per step; corrects what a rate loses to rounding and to finite time.
    """

    def __init__(self, log_threshold: nn.Parameter, offset: Tensor) -> None:
        super().__init__()
        self.log_threshold, self.offset = log_threshold, nn.Parameter(offset)

    @property
    def factor(self) -> Tensor:
        return (-self.log_threshold).exp()

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, …]` → the same shape."""
        return x * spread(self.factor, x) + spread(self.offset, x)


class OfThreshold(nn.Module):
    """`y = θ x`: what spikes stand for.

    Args:
        log_threshold: ln θ, `[1]` or `[C]`.
    """

    def __init__(self, log_threshold: nn.Parameter) -> None:
        super().__init__()
        self.log_threshold = log_threshold

    @property
    def factor(self) -> Tensor:
        return self.log_threshold.exp()

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, …]` → the same shape."""
        return x * spread(self.factor, x)


@torch.no_grad()
def constants_of(layer: Affine | InThresholds | OfThreshold, channels: int) -> tuple[Tensor, Tensor]:
    """Scale and shift `[C]` of a layer, as they are now."""
    if isinstance(layer, Affine):
        return layer.weight, layer.bias
    shift = layer.offset if isinstance(layer, InThresholds) else torch.zeros(1)
    return layer.factor.expand(channels), shift.expand(channels)
