"""What an augmentation is, how it draws and moves pixels, and several one after the other."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn.functional import one_hot


def uniform(shape: tuple[int, ...], batch: Tensor, generator: torch.Generator | None) -> Tensor:
    """Float64 of `shape` in [0, 1), on the device of `batch`."""
    return torch.rand(shape, generator=generator, device=_source(batch, generator), dtype=torch.float64).to(batch.device)


def integers(low: int, high: int, shape: tuple[int, ...], batch: Tensor, generator: torch.Generator | None) -> Tensor:
    """Int64 of `shape` from `low` to `high`, both included, on the device of `batch`."""
    drawn = torch.randint(low, high + 1, shape, generator=generator, device=_source(batch, generator))
    return drawn.to(batch.device)


def permutation(batch: Tensor, generator: torch.Generator | None) -> Tensor:
    """The indices of the samples of `batch` in random order, int64 `[B]`, on its device."""
    return torch.randperm(len(batch), generator=generator, device=_source(batch, generator)).to(batch.device)


def _source(batch: Tensor, generator: torch.Generator | None) -> torch.device:
    return batch.device if generator is None else generator.device


def gathered(x: Tensor, pixels: Tensor) -> Tensor:
    """Out of every sample, some of its pixels.

    Args:
        x: `[B, …, H, W]`.
        pixels: `row · W + column` of the source of every pixel, int64 `[B, h, w]`; the same for all channels and steps.

    Returns:
        `[B, …, h, w]`.
    """
    planes = x.reshape(len(x), x.shape[1:-2].numel(), -1)
    index = pixels.reshape(len(x), 1, -1).expand(-1, planes.shape[1], -1)
    return planes.gather(2, index).reshape(*x.shape[:-2], *pixels.shape[1:])


def rows_and_columns(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """Numbers `[B, h, w]` of the pixels at `rows` `[B, h]` crossed with `columns` `[B, w]` in images of that width."""
    return rows.unsqueeze(-1) * width + columns.unsqueeze(-2)


_STEPS = 256


def on_grid(values: Tensor) -> Tensor:
    """The nearest multiples of 1/256, of the same dtype and shape (see `neurodeploy.graph.grid`).

    Whatever computes new pixel values returns them through here; what only moves pixels need not.
    """
    return values.mul(_STEPS).round_().div_(_STEPS)


def levels_of_one(images: Tensor) -> int:
    """How many levels a pixel of 1 would be above 0: 256 if all pixels are multiples of 1/256, else 255.

    The bytes of a data set are on the scale 1/256 or 1/255, and a batch shows which: only 0 and 1 are on both.
    """
    steps = images.to(torch.float32).mul(_STEPS)
    return _STEPS if bool((steps == steps.round()).all()) else _STEPS - 1


def to_bytes(values: Tensor, scale: int = _STEPS) -> Tensor:
    """Pixels 0 … 1 as levels 0 … 255, whole numbers in float32 of the same shape; `scale` levels are a pixel of 1."""
    return values.to(torch.float32).mul(scale).round_().clamp_(0, _STEPS - 1)


def from_bytes(levels: Tensor, dtype: torch.dtype, scale: int = _STEPS) -> Tensor:
    """Levels 0 … 255 as pixels `level / scale` of a floating dtype, whole levels whatever they are."""
    return levels.round().div_(scale).to(dtype)


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


def augment(
    x: Tensor,
    y: Tensor,
    augmentations: Sequence[Augmentation | LabelAugmentation],
    *,
    classes: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply augmentations to a training batch, in the order given.

    The draws depend on nothing but the generator's state, so the same seed gives the same batch on the same kind of device.

    Args:
        x: samples `[B, C, H, W]` or event frames `[B, T, C, H, W]`, multiples of 1/256.
        y: labels, int64 `[B]`, or probabilities, float `[B, K]`.
        augmentations: as a recipe lists them.
        classes: K.
        generator: source of every random draw; torch's default one of the device of `x` if None.

    Returns:
        Samples, of the shape, dtype and device of `x`; and `y`, as probabilities float32 `[B, K]` if a label augmentation is
        among them.

    Raises:
        UserError: an augmentation does not suit these samples.
    """
    for augmentation in augmentations:
        if isinstance(augmentation, LabelAugmentation):
            targets = y if y.is_floating_point() else one_hot(y, classes).to(torch.float32)
            x, y = augmentation(x, targets, generator)
        else:
            x = augmentation(x, generator)
    return x, y
