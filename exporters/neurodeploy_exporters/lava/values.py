"""The integers and shapes of Loihi's formats, and whether a value is in its range."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import UserError

Integers: TypeAlias = NDArray[np.int64]
Shape: TypeAlias = tuple[int, ...]

MAX_DELAY = 62


def check_range(field: str, value: int | Integers, low: int, high: int) -> None:
    """Raises UserError, naming the field and the first wrong value, unless all are integers from `low` to `high`."""
    values = np.asarray(value)
    if values.dtype.kind not in "iu":
        raise UserError(f"{field}: {values.dtype} found, integers expected")
    wrong = values[(values < low) | (values > high)]
    if wrong.size:
        raise UserError(f"{field}: {wrong.flat[0]} found, {low} to {high} expected")


def check_shape(shape: Shape, axes: tuple[int, ...]) -> None:
    """Raises UserError unless `shape` has one of these numbers of axes, none of them empty."""
    if len(shape) not in axes or min(shape) < 1:
        expected = " or ".join({1: "(N,)", 3: "(C, H, W)"}[n] for n in axes)
        raise UserError(f"shape: {shape} found, {expected} expected")
