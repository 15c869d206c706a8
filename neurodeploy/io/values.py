"""Samples of a user's own as numbers that float32 holds: whatever is none is refused by its sample and its place in it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError

_CHUNK = 1 << 22  # values that are looked at together
EXACT = 1 << 24
"""Above it, not every whole number is a float32."""


def as_numbers(values: Any, origin: str | Path) -> NDArray[Any]:
    """An array of numbers or truth values, of any layout in memory.

    Raises:
        UserError: it holds something else, or rows of different lengths.
    """
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it; graphs are read without
    if torch is not None and isinstance(values, torch.Tensor):
        if values.layout != torch.strided or values.is_quantized or values.is_complex():
            kind = "complex" if values.is_complex() else "quantised" if values.is_quantized else "sparse"
            raise UserError(f"{origin}: a {kind} tensor found, a dense tensor of numbers expected")
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    try:
        array = np.asanyarray(values)
    except ValueError:
        raise UserError(f"{origin}: rows of different lengths found, an array of numbers expected") from None
    if array.dtype.kind not in "fiub":
        raise UserError(f"{origin}: values of type {array.dtype} found, numbers expected")
    return array


def check_values(values: NDArray[Any], origin: str | Path, *, axis: int = 0) -> None:
    """Refuse values that are no finite float32; a chunk of samples is looked at after the other, so memory stays bounded.

    Args:
        values: numbers.
        origin: what the error names.
        axis: of the samples.

    Raises:
        UserError: a value is no finite float32, or a whole number that float32 would round; the message names its sample and
            its place there.
    """
    if values.dtype.kind == "b" or values.dtype.itemsize == 1 or values.size == 0:
        return
    if values.ndim == 0:
        values, axis = values[None], 0
    samples = np.moveaxis(values, axis, 0)
    each = max(1, _CHUNK * len(samples) // samples.size)
    for start in range(0, len(samples), each):
        part = samples[start : start + each]
        bad = _bad(part)
        if bad.any():
            raise UserError(f"{origin}: {_fault(samples, part, bad, start)}")


def _bad(part: NDArray[Any]) -> NDArray[np.bool_]:
    if part.dtype.kind == "f":
        return ~(np.abs(part) <= np.finfo(np.float32).max)
    return (part > EXACT) | (part < -EXACT)


def _fault(samples: NDArray[Any], part: NDArray[Any], bad: NDArray[np.bool_], start: int) -> str:
    first, *place = (int(number) for number in np.argwhere(bad)[0])
    value = part[first, *place]
    at = f"{value} at {place}" if place else f"{value}"
    kind = "values that are no finite float32" if part.dtype.kind == "f" else f"whole numbers beyond ±{EXACT:,}"
    rounded = "" if part.dtype.kind == "f" else ", which float32 rounds"
    return f"sample {start + first} holds {kind}{rounded} ({at}, of {len(samples):,} samples); remove or repair it"


def as_samples(values: Any, origin: str | Path, *, axis: int = 0, axes: int = 1, keep: bool = False) -> NDArray[Any]:
    """An array of samples, each value of which float32 holds: exactly if it is whole, rounded if it is a fraction.

    Args:
        values: an array, a tensor, or lists of numbers.
        origin: what errors name.
        axis: of the samples.
        axes: that there are at least, that of the samples among them.
        keep: leave the type as it is.

    Raises:
        UserError: it is no array of numbers, has too few axes or no value, or holds one that is no finite float32.
    """
    array = as_numbers(values, origin)
    if array.ndim < max(axes, axis + 1) or array.size == 0:
        what = "an empty array" if array.size == 0 else "a single number" if array.ndim == 0 else "an array"
        wanted = "at least one sample" if axes < 2 else "[N, …] with at least one sample"
        raise UserError(f"{origin}: {what} of shape {array.shape} found, {wanted} expected")
    check_values(array, origin, axis=axis)
    return array if keep else array.astype(np.float32, copy=False)
