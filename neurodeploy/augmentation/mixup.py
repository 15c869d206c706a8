"""Mixup: the network learns between the samples."""

from typing import Literal

import torch
from pydantic import Field
from scipy.special import betaincinv
from torch import Tensor

from neurodeploy.augmentation.augmentation import LabelAugmentation
from neurodeploy.augmentation.draws import permutation, uniform
from neurodeploy.augmentation.grid import on_grid


class Mixup(LabelAugmentation):
    """`x̃ = λ x_i + (1 − λ) x_j` and `ỹ = λ y_i + (1 − λ) y_j`, with λ ~ Beta(α, α) and j from a permutation of the batch.

    One λ per batch. The mixed pixels are rounded to multiples of 1/256, λ is not.

    Source: Zhang et al. (ICLR 2018, arXiv 1710.09412): formula and α = 1 for CIFAR-10 (0.1 to 0.4 for ImageNet), one λ
    and one permutation per batch as in its listing; from memory of the paper.

    Attributes:
        alpha: α; the larger, the nearer λ is to 1/2.
    """

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(default=1.0, ge=0.01, le=100)

    def __call__(self, x: Tensor, targets: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        share = float(betaincinv(self.alpha, self.alpha, uniform((), x, generator).item()))
        partner = permutation(x, generator)
        return on_grid(share * x + (1 - share) * x[partner]), share * targets + (1 - share) * targets[partner]
