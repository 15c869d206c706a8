"""Random mirroring, left and right exchanged."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.augmentation.augmentation import Augmentation
from neurodeploy.augmentation.draws import uniform


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
