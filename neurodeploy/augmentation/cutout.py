"""A square hole in every image."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.augmentation.augmentation import Augmentation
from neurodeploy.augmentation.draws import integers


class Cutout(Augmentation):
    """One square of zeros per sample. Its centre is any pixel; what lies outside the image is cut off.

    An even square reaches one pixel further to the left and to the top of its centre than to the right and the bottom.

    Source: DeVries & Taylor (2017, arXiv 1708.04552): zeros, centre anywhere, 16×16 for CIFAR-10, 8×8 for CIFAR-100; the
    authors' code was read, the sizes are from memory of the paper. They normalise first, so that their zero is the mean colour;
    here it is black.

    Attributes:
        size: side of the square in pixels.
    """

    kind: Literal["cutout"] = "cutout"
    size: int = Field(default=16, ge=1, le=1024)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        height, width = x.shape[-2:]
        rows = self._covered(integers(0, height - 1, (len(x), 1), x, generator), height)
        columns = self._covered(integers(0, width - 1, (len(x), 1), x, generator), width)
        hole = rows.unsqueeze(-1) & columns.unsqueeze(-2)
        return x.masked_fill(hole.reshape(len(x), *[1] * (x.ndim - 3), height, width), 0)

    def _covered(self, centre: Tensor, length: int) -> Tensor:
        """Whether the square covers each of `length` pixels along an axis: boolean `[B, length]` for centres `[B, 1]`."""
        offset = torch.arange(length, device=centre.device) - (centre - self.size // 2)
        return (offset >= 0) & (offset < self.size)
