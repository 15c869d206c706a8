"""Augmentations for event frames; all time steps of a sample change alike."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.augmentation.augmentation import Augmentation, gathered, integers, rows_and_columns, uniform
from neurodeploy.augmentation.images import flipped
from neurodeploy.io.errors import UserError


class EventShift(Augmentation):
    """A shift of every recording by up to `pixels` in both directions; what leaves on one side comes back on the other.

    So the number of events stays. (The augmentation crop, too, shifts event frames, and loses what leaves.)

    Source: "rolling" in Li et al. (ECCV 2022, arXiv 2203.06145); circular and up to 5 pixels at 48×48 as public loaders for
    CIFAR10-DVS do it (their code read, the paper not).

    Attributes:
        pixels: largest shift, each from `−pixels` to `pixels` equally likely.
    """

    kind: Literal["event-shift"] = "event-shift"
    pixels: int = Field(default=5, ge=1, le=256)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        _require_frames(self.kind, x)
        height, width = x.shape[-2:]
        shift = integers(-self.pixels, self.pixels, (2, len(x), 1), x, generator)
        rows = (torch.arange(height, device=x.device) - shift[0]) % height
        columns = (torch.arange(width, device=x.device) - shift[1]) % width
        return gathered(x, rows_and_columns(rows, columns, width))


class EventFlip(Augmentation):
    """Left and right, and independently ON and OFF events, exchanged with a probability each.

    Source: mirroring with probability 1/2 as public loaders for CIFAR10-DVS do it. Exchanged polarities are our working form:
    the same scene with light and dark exchanged.

    Attributes:
        horizontal: probability that a recording is mirrored.
        polarity: probability that its two channels change places.
    """

    kind: Literal["event-flip"] = "event-flip"
    horizontal: float = Field(default=0.5, ge=0, le=1)
    polarity: float = Field(default=0.0, ge=0, le=1)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        _require_frames(self.kind, x)
        if self.polarity and x.shape[2] != 2:
            raise UserError(f"{self.kind}: {x.shape[2]} channels found, 2 expected (OFF and ON events); set its polarity to 0")
        drawn = uniform((2, len(x)), x, generator)
        mirrored = flipped(x, -1, drawn[0] < self.horizontal)
        return flipped(mirrored, 2, drawn[1] < self.polarity) if self.polarity else mirrored


def _require_frames(kind: str, x: Tensor) -> None:
    if x.ndim != 5:
        raise UserError(f"{kind}: static samples found, event frames expected; use the augmentations crop and flip")
