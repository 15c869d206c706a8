"""The values of a tensor, told apart one by one: zeros, spikes, graded spikes and analog values, and where they are.

All counts are exact: sums of whole numbers in float64, checked to stay below 2⁵³.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Counts = NDArray[np.int64]

_EXACT_FLOAT32, _EXACT_FLOAT64 = 2**24, 2**53
_PIECE = 2**18
"""Bytes of a tensor that are looked at together: with the masks made of them they fit a core's second-level cache."""
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_AS_THEY_ARE = frozenset([torch.float32, torch.float64, torch.bool, *_INTEGERS])
"""Types that NumPy has, and compares as fast."""


@dataclass(eq=False)
class Signal:
    """How many values of each kind a tensor of R rows (time, batch), C channels and S spatial positions has.

    Whole numbers are counted by magnitude: a value of k is k spikes. All counts are exact.

    Attributes:
        rows, channels, places: R, C, S.
        spikes, graded, analog: values that are ±1, other whole numbers, and no whole numbers (or not finite).
        magnitude: `[R, S]`, float64: Σ over channels of |value| of whole numbers.
        present: `[R, S]`, float64: values that are not 0.
        fractions: `[R, S]`, float64: analog values; None if there are none.
        strides: of the tensor as `[R, C, *S]`: whoever reads the same memory in the same order reads these values.
        is_contiguous: whether that order is the one of the axes.
    """

    rows: int
    channels: int
    places: int
    spikes: int
    graded: int
    analog: int
    magnitude: Tensor
    present: Tensor
    fractions: Tensor | None
    strides: tuple[int, ...] = ()
    is_contiguous: bool = False

    @property
    def values(self) -> int:
        """All values, zeros too."""
        return self.rows * self.channels * self.places

    @property
    def nonzero(self) -> int:
        return self.spikes + self.graded + self.analog

    @property
    def is_whole(self) -> bool:
        return self.analog == 0

    def flat(self) -> "Signal":
        """The same rows, each as one vector of C·S features."""
        if self.places == 1:
            return self
        sums = [None if one is None else one.sum(1, keepdim=True) for one in (self.magnitude, self.present, self.fractions)]
        magnitude, present, fractions = sums
        assert magnitude is not None
        assert present is not None
        features = self.channels * self.places
        return Signal(self.rows, features, 1, self.spikes, self.graded, self.analog, magnitude, present, fractions)

    def in_channels(self, x: Tensor, channels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """`magnitude`, `present` and `fractions` of some channels, as sums over the rows instead: `[Z, S]`, float64.

        Args:
            x: the tensor itself.
            channels: `[Z]`, in order.
        """
        x = as_float(x.detach()).reshape(self.rows, self.channels, self.places)
        x = x if len(channels) == self.channels else x.index_select(1, channels)
        present = _over_rows(_numbers(is_nonzero(x)))
        if self.is_whole and not self.graded:
            return present, present, None
        fractional = None if self.is_whole else _both(is_nonzero(x), ~_whole(x))
        analog = None if fractional is None else _over_rows(_numbers(fractional))
        magnitude = present if analog is None else present - analog
        if self.graded:
            magnitude = _over_rows(_magnitudes(x, fractional, self.rows))
        return magnitude, present, analog


def signal_of(x: Tensor, shape: tuple[int, ...]) -> Signal:
    """Count the values of a tensor.

    Args:
        x: any leading axes, then `shape`.
        shape: of one row, channels first.
    """
    x = rows_of(x, shape)
    places = prod(shape[1:])
    whole = _whole_rows(x, places)
    if whole is None:
        parts = [_signal_of_rows(part, places) for part in _split(x, _rows_at_once(x))]
        whole = parts[0] if len(parts) == 1 else _joined(parts)
    whole.strides, whole.is_contiguous = x.stride(), x.is_contiguous()
    return whole


def presence_of(x: Tensor, shape: tuple[int, ...]) -> Signal:
    """The same, with every value that is not 0 as a 1: where it does not matter how large it is."""
    x = rows_of(x, shape)
    rows, places = len(x), prod(shape[1:])
    nonzero, present = 0, []
    for part in _split(x, _rows_at_once(x)):
        here = is_nonzero(part)
        nonzero += count_true(here)
        present.append(sum_masks(here, 1).reshape(len(part), places).double())
    every = torch.cat(present)
    return Signal(rows, x.shape[1], places, nonzero, 0, 0, every, every, None)


def _rows_at_once(x: Tensor) -> int:
    """Rows of a tensor that are looked at together."""
    return max(1, len(x) * _PIECE // max(1, x.numel() * x.element_size())) if x.device.type == "cpu" else len(x)


def _whole_rows(x: Tensor, places: int) -> Signal | None:
    """The same of `[R, C, *S]` on a CPU if all values are whole numbers of which any sum over channels is exact; None else.

    Most of what is counted are spikes, and NumPy on pieces that stay in the cache costs half of what torch does.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or not x.numel():
        return None
    values = x.numpy()
    rows, channels = values.shape[:2]
    row_bytes = values.nbytes // rows
    rows_at_once, channels_at_once = max(1, _PIECE // row_bytes), max(1, min(channels, channels * _PIECE // row_bytes))
    largest = _EXACT_FLOAT32 // channels
    ones = graded = 0
    present = magnitude = np.zeros((rows, places), np.float32 if channels < _EXACT_FLOAT32 else np.float64)
    for row in range(0, rows, rows_at_once):
        at = slice(row, row + rows_at_once)
        for channel in range(0, channels, channels_at_once):
            part = values[at, channel : channel + channels_at_once]
            here = np.not_equal(part, 0)
            nonzero = int(np.count_nonzero(here))
            if not nonzero:
                continue
            mask = np.equal(part, 1)
            unit = int(np.count_nonzero(mask))
            if unit == nonzero:
                counted = np.add.reduce(part, axis=1).reshape(-1, places)
                magnitude[at] += counted
                if present is not magnitude:
                    present[at] += counted
                ones += unit
                continue
            least, most = float(part.min()), float(part.max())
            if not (-largest < least and most < largest):  # NaN too
                return None
            if np.count_nonzero(np.equal(part, np.rint(part), out=mask)) < part.size:
                return None
            counted = _sum_bytes(here, 1).reshape(-1, places)
            if least < 0:
                unit += int(np.count_nonzero(np.equal(part, -1, out=mask)))
                part = np.abs(part)
            if unit < nonzero and present is magnitude:
                present = magnitude.copy()
            ones, graded = ones + unit, graded + nonzero - unit
            magnitude[at] += np.add.reduce(part, axis=1).reshape(-1, places)
            if present is not magnitude:
                present[at] += counted
    values_of = torch.from_numpy(magnitude).double()
    present_of = values_of if present is magnitude else torch.from_numpy(present).double()
    return Signal(rows, channels, places, ones, graded, 0, values_of, present_of, None)


def _signal_of_rows(x: Tensor, places: int) -> Signal:
    """The same of `[R, C, *S]`."""
    rows, channels = x.shape[:2]
    x = as_float(x)
    here = is_nonzero(x)
    nonzero = count_true(here)
    ones = count_true(_compare(np.equal, x, 1)) if nonzero else 0
    if nonzero == ones:
        counted = _over_channels(x, places)
        return Signal(rows, channels, places, ones, 0, 0, counted, counted, None)
    ones += count_true(_compare(np.equal, x, -1))
    present = _over_channels(_numbers(here), places)
    if nonzero == ones:
        return Signal(rows, channels, places, ones, 0, 0, present, present, None)
    fractional = _both(here, ~_whole(x))
    fractions = count_true(fractional)
    analog = _over_channels(_numbers(fractional), places) if fractions else None
    if nonzero - fractions == ones:
        magnitude = present if analog is None else present - analog
    else:
        magnitude = _over_channels(_magnitudes(x, fractional if fractions else None, channels), places)
        if float(magnitude.max()) >= _EXACT_FLOAT64:
            raise OverflowError("whole numbers beyond 2^53 at the input of a layer: no spikes that can be counted exactly")
    graded = nonzero - fractions - ones
    return Signal(rows, channels, places, ones, graded, fractions, magnitude, present, analog)


def _joined(parts: list[Signal]) -> Signal:
    """Rows that were counted piece by piece, as one signal."""
    present = torch.cat([part.present for part in parts])
    same = all(part.magnitude is part.present for part in parts)
    magnitude = present if same else torch.cat([part.magnitude for part in parts])
    fractions = None
    if any(part.fractions is not None for part in parts):
        fractions = torch.cat([torch.zeros_like(p.present) if p.fractions is None else p.fractions for p in parts])
    spikes, graded, analog = (sum(getattr(part, kind) for part in parts) for kind in ("spikes", "graded", "analog"))
    rows, channels, places = len(present), parts[0].channels, parts[0].places
    return Signal(rows, channels, places, spikes, graded, analog, magnitude, present, fractions)


def _is_array(x: Tensor) -> bool:
    """Whether NumPy can look at a tensor as it is."""
    return x.device.type == "cpu" and x.dtype in _AS_THEY_ARE


def _in_memory(*alike: Tensor) -> list[NDArray[Any]]:
    """Tensors of one shape on a CPU as arrays: as vectors in the order of their memory, if they are dense and share it."""
    if not all(one.is_contiguous() for one in alike):
        order = sorted(range(alike[0].dim()), key=alike[0].stride, reverse=True)
        alike = tuple(one.permute(order) for one in alike)
    dense = all(one.is_contiguous() for one in alike)
    return [one.view(-1).numpy() if dense else one.numpy() for one in alike]


def _pieces(*alike: Tensor) -> Iterator[list[NDArray[Any]]]:
    """Tensors of one shape on a CPU, cut alike along their first axes, as far as `_PIECE` says."""
    yield from _cut(_in_memory(*alike))


def _cut(arrays: list[NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
    x = arrays[0]
    if x.nbytes <= _PIECE or not x.ndim:
        yield arrays
        return
    at_once = max(1, len(x) * _PIECE // x.nbytes)
    for first in range(0, len(x), at_once):
        if at_once == 1 and x.ndim > 1:
            yield from _cut([one[first] for one in arrays])
        else:
            yield [one[first : first + at_once] for one in arrays]


def _split(x: Tensor, at_once: int) -> list[Tensor]:
    """So many rows at a time; `Tensor.split` takes its time, and there are many small tensors."""
    if at_once >= len(x):
        return [x]
    return [x[first : first + at_once] for first in range(0, len(x), at_once)]


def rows_of(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`[…, *shape]` → `[R, *shape]`, detached; a view wherever the memory allows."""
    return x.detach().reshape(-1, *shape)


def as_float(x: Tensor) -> Tensor:
    """The values as float32 or float64; integers, half precisions and masks convert without loss of what is counted."""
    if x.dtype in (torch.float32, torch.float64):
        return x
    return x.double() if x.dtype in (torch.int32, torch.int64) else x.float()


def _whole(x: Tensor) -> Tensor:
    """A mask of whole numbers; infinities and NaN are none."""
    rounded = x.round()
    whole = torch.from_numpy(np.equal(x.numpy(), rounded.numpy())) if x.device.type == "cpu" else x == rounded
    return whole if bool(x.sum().isfinite()) else whole & x.isfinite()


def _magnitudes(x: Tensor, without: Tensor | None, summed: int) -> Tensor:
    """|x|, 0 where `without`, in a type in which the sum of as many is exact."""
    x = x.abs() if without is None else x.abs().masked_fill_(without, 0)
    return x if float(x.max()) * summed < _EXACT_FLOAT32 else x.double()


def _both(one: Tensor, other: Tensor) -> Tensor:
    if one.device.type == "cpu":
        return torch.from_numpy(np.logical_and(one.numpy(), other.numpy()))
    return one & other


def _numbers(mask: Tensor) -> Tensor:
    """A mask as float32, 0 and 1."""
    return torch.from_numpy(mask.numpy().astype(np.float32)) if mask.device.type == "cpu" else mask.float()


def _compare(compare: np.ufunc, x: Tensor, value: int) -> Tensor:
    """A mask; through NumPy on a CPU, which is several times faster there than torch."""
    if x.device.type == "cpu":
        return torch.from_numpy(compare(x.numpy(), value))
    return torch.ne(x, value) if compare is np.not_equal else torch.eq(x, value)


def is_zero(x: Tensor) -> Tensor:
    """A mask of zeros."""
    return _compare(np.equal, as_float(x), 0)


def is_nonzero(x: Tensor) -> Tensor:
    """A mask of what is not 0."""
    return _compare(np.not_equal, as_float(x), 0)


def sum_masks(mask: Tensor, axis: int) -> Tensor:
    """Entries of a mask that are set, along an axis; whole numbers."""
    if mask.device.type == "cpu":
        return torch.from_numpy(_sum_bytes(mask.numpy(), axis).astype(np.int32, copy=False))
    return mask.sum(axis)


def _sum_bytes(mask: NDArray[np.bool_], axis: int) -> NDArray[Any]:
    """The same of an array, in the narrowest type that holds it: the narrower, the faster."""
    exact = np.uint16 if mask.shape[axis] < 2**16 else np.int32
    return np.add.reduce(mask.view(np.uint8), axis=axis, dtype=exact)


def count_true(mask: Tensor) -> int:
    """Entries of a mask that are set."""
    if mask.device.type == "cpu":
        return int(np.count_nonzero(mask.numpy()))
    return int(torch.count_nonzero(mask))


def count_nonzero(x: Tensor) -> int:
    """Values that are not 0."""
    x = x.detach()
    if not _is_array(x):
        return count_true(is_nonzero(x))
    return sum(int(np.count_nonzero(np.not_equal(part, 0))) for (part,) in _pieces(x))


def count_either(one: Tensor, other: Tensor) -> int:
    """Places where at least one of two tensors of the same shape is not 0."""
    one, other = one.detach(), other.detach()
    if not (_is_array(one) and _is_array(other)):
        return count_true(is_nonzero(one) | is_nonzero(other))
    count = 0
    for first, second in _pieces(one, other):
        here = np.not_equal(first, 0)
        ours = int(np.count_nonzero(here))
        if ours < first.size:  # seldom: a current is hardly ever exactly 0
            ours = int(np.count_nonzero(np.logical_or(here, np.not_equal(second, 0), out=here)))
        count += ours
    return count


def _over_channels(x: Tensor, places: int) -> Tensor:
    """`[R, C, *S]` → `[R, S]`, float64: sums over the channels, without a copy of the values where they are contiguous."""
    exact = torch.float64 if x.dtype == torch.float64 or x.shape[1] >= _EXACT_FLOAT32 else torch.float32
    return x.sum(1, dtype=exact).reshape(len(x), places).double()


def _over_rows(x: Tensor) -> Tensor:
    exact = torch.float64 if x.dtype == torch.float64 or len(x) >= _EXACT_FLOAT32 else torch.float32
    return x.sum(0, dtype=exact).double()


def per_row(counts: Tensor, fan: Tensor) -> Counts:
    """`[R, S]` counts · `[S]` fan-out → `[R]`, exact."""
    return whole_numbers(counts[:, 0] * fan[0] if len(fan) == 1 else counts @ fan)


def whole_numbers(rows: Tensor) -> Counts:
    """Whole numbers in float64 as int64, checked to have stayed below 2⁵³, where float64 is exact."""
    values = rows.cpu().numpy()
    if values.size and values.max() >= _EXACT_FLOAT64:
        raise OverflowError("more than 2^53 synaptic operations in one sample's step; use smaller values")
    return values.astype(np.int64)


def dot(counts: Tensor, fan: Tensor) -> int:
    """Σ count · fan-out, exact: both are whole numbers in float64, and the sum is checked to stay below 2⁵³."""
    total = float((counts * fan).sum())
    if total >= _EXACT_FLOAT64:
        raise OverflowError("more than 2^53 synaptic operations in one batch; use smaller batches")
    return int(total)
