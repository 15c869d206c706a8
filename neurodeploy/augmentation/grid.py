"""The grid of pixel values: multiples of 1/256, on which every sum of the deployed network is exact."""

import torch
from torch import Tensor

_STEPS = 256


def on_grid(values: Tensor) -> Tensor:
    """The nearest multiples of 1/256, of the same dtype and shape (see `neurodeploy.graph.grid`).

    Whatever computes new pixel values returns them through here; what only moves pixels needs it not.
    """
    return values.mul(_STEPS).round_().div_(_STEPS)


def to_bytes(values: Tensor) -> Tensor:
    """Pixels 0 … 1 as levels 0 … 255, whole numbers in float32 of the same shape; what lies above 255/256 becomes 255."""
    return values.to(torch.float32).mul(_STEPS).round_().clamp_(0, _STEPS - 1)


def from_bytes(levels: Tensor, dtype: torch.dtype) -> Tensor:
    """Levels 0 … 255 as pixels `level / 256` of a floating dtype, on the grid whatever the levels are."""
    return on_grid(levels.div(_STEPS)).to(dtype)
