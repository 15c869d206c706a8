"""Augmentations of images: crop, flip, cutout and mixup."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from neurodeploy.augmentation.augmentation import (
    Augmentation,
    LabelAugmentation,
    gathered,
    integers,
    on_grid,
    permutation,
    rows_and_columns,
    uniform,
)


class Crop(Augmentation):
    """Zeros around the image, then a window of its old size at a random place, each of the `(2 padding + 1)²` equally likely.

    Source: He et al. (CVPR 2016, arXiv 1512.03385), section 4.2, CIFAR-10, padding 4: known from common use, not
    read again in the paper.

    Attributes:
        padding: pixels of zeros on every side, so the largest shift.
    """

    kind: Literal["crop"] = "crop"
    padding: int = Field(default=4, ge=1, le=256)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        height, width = x.shape[-2:]
        corner = integers(0, 2 * self.padding, (2, len(x), 1), x, generator)
        rows = corner[0] + torch.arange(height, device=x.device)
        columns = corner[1] + torch.arange(width, device=x.device)
        return gathered(pad(x, [self.padding] * 4), rows_and_columns(rows, columns, width + 2 * self.padding))


class Flip(Augmentation):
    """Every sample is mirrored, left and right exchanged, with the given probability.

    Source: Krizhevsky et al. (NeurIPS 2012), section 4.1: horizontal reflections, with probability 1/2 by common use. Not for
    digits, letters and other things that a mirror changes.

    Attributes:
        probability: of mirroring a sample.
    """

    kind: Literal["flip"] = "flip"
    probability: float = Field(default=0.5, ge=0, le=1)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return flipped(x, -1, uniform((len(x),), x, generator) < self.probability)


def flipped(x: Tensor, axis: int, chosen: Tensor) -> Tensor:
    """`x` `[B, …]` with one axis reversed in the samples for which `chosen`, boolean `[B]`, is true."""
    return torch.where(chosen.reshape(-1, *[1] * (x.ndim - 1)), x.flip(axis), x)


class Cutout(Augmentation):
    """One square of zeros per sample. Its centre is any pixel; what is outside the image is cut off.

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


class Mixup(LabelAugmentation):
    """`x̃ = λ x_i + (1 − λ) x_j` and `ỹ = λ y_i + (1 − λ) y_j`, with λ ~ Beta(α, α) and j from a permutation of the batch.

    One λ per batch. Where all pixels are multiples of 1/256, mixed ones are rounded to such multiples; λ is not.

    Source: Zhang et al. (ICLR 2018, arXiv 1710.09412): formula and α = 1 for CIFAR-10 (0.1 to 0.4 for ImageNet), one λ
    and one permutation per batch as in its listing; from memory of the paper.

    Attributes:
        alpha: α; the larger, the nearer λ is to 1/2.
    """

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(default=1.0, ge=0.01, le=100)

    def __call__(self, x: Tensor, targets: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        from scipy.special import betaincinv

        share = float(betaincinv(self.alpha, self.alpha, uniform((), x, generator).item()))
        partner = permutation(x, generator)
        mixed = share * x + (1 - share) * x[partner]
        # values of another kind, such as features with a unit, may be far smaller than the grid's step
        return on_grid(mixed) if torch.equal(on_grid(x), x) else mixed, share * targets + (1 - share) * targets[partner]
