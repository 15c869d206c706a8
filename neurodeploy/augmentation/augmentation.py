"""What an augmentation is: a small validated class that turns a batch of training samples into another."""

from abc import abstractmethod

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor


class Augmentation(BaseModel):
    """Changes samples and leaves labels as they are.

    Every sample has its own draw; the channels, and the time steps of event frames, share it. The batch given is not modified.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment a batch on its device.

        Args:
            x: static samples `[B, C, H, W]` or event frames `[B, T, C, H, W]`: multiples of 1/256, images from 0 to 1.
            generator: source of every random draw; torch's default one of the device of `x` if None.

        Returns:
            Of the shape, dtype and device of `x`; multiples of 1/256 in the range of `x`.
        """


class LabelAugmentation(BaseModel):
    """Changes samples together with their labels, which it therefore reads and returns as probabilities."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def __call__(self, x: Tensor, targets: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Augment a batch and its labels on their device.

        Args:
            x: as `Augmentation` takes it.
            targets: probabilities `[B, K]` of a floating dtype.
            generator: as `Augmentation` takes it.

        Returns:
            Samples as `Augmentation` returns them, and probabilities `[B, K]`.
        """
