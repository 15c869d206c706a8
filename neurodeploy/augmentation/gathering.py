"""Pixels taken from anywhere in an image, with other places for every sample: one gather for the whole batch."""

from torch import Tensor


def gathered(x: Tensor, places: Tensor) -> Tensor:
    """Out of every sample, the pixels at its places.

    Args:
        x: `[B, …, H, W]`.
        places: `row · W + column` of the source of every pixel, int64 `[B, h, w]`; the same for all channels and steps.

    Returns:
        `[B, …, h, w]`.
    """
    pixels = x.reshape(len(x), x.shape[1:-2].numel(), -1)
    index = places.reshape(len(x), 1, -1).expand(-1, pixels.shape[1], -1)
    return pixels.gather(2, index).reshape(*x.shape[:-2], *places.shape[1:])


def rows_and_columns(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """Places `[B, h, w]` of the pixels at `rows` `[B, h]` crossed with `columns` `[B, w]` in images of that width."""
    return rows.unsqueeze(-1) * width + columns.unsqueeze(-2)
