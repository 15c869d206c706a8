"""Random crop after zero padding: a shift by whole pixels."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from neurodeploy.augmentation.augmentation import Augmentation
from neurodeploy.augmentation.draws import integers
from neurodeploy.augmentation.gathering import gathered, rows_and_columns


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
