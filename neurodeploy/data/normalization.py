"""Normalisation of the values of samples: declared once, kept with the recipe, applied when samples are read."""

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

_Mean = Annotated[float, Field(allow_inf_nan=False)]
_Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Normalization(BaseModel):
    """`(x − mean) / std` of every channel, as `torchvision.transforms.Normalize` does.

    Attributes:
        mean: one for each channel, or a single one for all; in the unit of the samples.
        std: as many, above 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    mean: tuple[_Mean, ...]
    std: tuple[_Deviation, ...]

    @model_validator(mode="after")
    def _one_of_each_for_a_channel(self) -> "Normalization":
        if len(self.mean) != len(self.std) or not self.mean:
            found = f"{len(self.mean)} values of mean and {len(self.std)} of std"
            raise ValueError(f"{found} found, as many of both expected, at least one")
        return self

    def fits(self, channels: int) -> bool:
        """Whether there is a mean for each of so many channels."""
        return len(self.mean) in (1, channels)

    def __call__(self, batch: Tensor, axis: int = 1) -> Tensor:
        """A batch with its channels on `axis` → the same normalised, a new tensor.

        Computed as `(x − mean) / std` in the dtype of the batch, so that it equals torchvision's bit for bit.
        """
        shape = [1] * batch.ndim
        shape[axis] = -1
        mean, std = (
            torch.tensor(values, dtype=batch.dtype, device=batch.device).reshape(shape) for values in (self.mean, self.std)
        )
        return (batch - mean).div_(std)
