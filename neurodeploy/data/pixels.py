"""Bytes as numbers that binary fractions hold exactly."""

from torch import Tensor


def from_bytes(values: Tensor) -> Tensor:
    """uint8 → float32 `byte / 256`: 0, 1/256 … 255/256.

    No mean is taken away and nothing is divided by a deviation: batch norm does that, and exact export needs this grid.
    """
    return values.float().div_(256)
