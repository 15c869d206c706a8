"""Which neurons of a source reach a block of target neurons, and through how many synapses. Weights of 0 are no synapses.

A convolution is separable: whether a tap (ky, kx) of the kernel connects a source to the block is a question of rows and one of
columns, so counts come from two small products per block, never from a walk over synapses.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.lava.connection import Convolution, Matrix
from neurodeploy_exporters.lava.values import Integers, Shape

Block: TypeAlias = tuple[tuple[int, int], ...]
"""First and one past the last index of a block of neurons, on every axis of their population."""


@dataclass(frozen=True, eq=False)
class Reach:
    """How a source reaches a block.

    Attributes:
        counts: synapses of every source neuron in the smallest box that holds all that have one; its axes are the source's.
        place: where this box lies in the source.
        lists: of a convolution stored once for all places: the synapses of every source channel and tap that is used, and how
            many target channels it sees, `[2, n]`; None for a matrix.
    """

    counts: Integers
    place: tuple[slice, ...]
    lists: Integers | None


class Geometry(Protocol):
    """A connection, asked about blocks of its targets."""

    def reach(self, block: Block) -> Reach: ...


class ConvolutionGeometry:
    """Of a convolution from a source of `shape`."""

    def __init__(self, connection: Convolution, shape: Shape) -> None:
        self._connection, self._shape = connection, shape
        self._below = np.zeros((1 + len(connection.weight), *connection.weight.shape[1:]), np.int64)
        np.cumsum(np.not_equal(connection.weight, 0), axis=0, out=self._below[1:])
        self._channels: dict[tuple[int, int], tuple[Integers, Integers]] = {}
        self._lines: dict[tuple[int, int, int], tuple[NDArray[np.float64], slice]] = {}
        self._found: dict[tuple[object, ...], tuple[Integers, Integers]] = {}

    def reach(self, block: Block) -> Reach:
        channels = block[0]
        (rows, y), (columns, x) = (self._line(axis, *bounds) for axis, bounds in enumerate(block[1:]))
        # blocks that see the same rows and columns of the kernel differ in nothing but their place
        key = (channels, rows.shape, columns.shape, rows.tobytes(), columns.tobytes())
        if key not in self._found:
            taps, seen = self._taps(*channels)
            counts = np.rint(np.einsum("ckl,ky,lx->cyx", taps, rows, columns, optimize=True)).astype(np.int64)
            used = (taps > 0) & rows.any(axis=1, keepdims=True) & columns.any(axis=1)
            self._found[key] = counts, np.stack([taps[used], np.broadcast_to(seen[:, None, None], taps.shape)[used]])
        counts, lists = self._found[key]
        return Reach(counts, (slice(0, self._shape[0]), y, x), lists)

    def _taps(self, start: int, stop: int) -> tuple[Integers, Integers]:
        """Of every source channel: synapses with these targets by tap `[C, kH, kW]`, and target channels that it sees `[C]`."""
        if (start, stop) not in self._channels:
            groups = self._connection.groups
            size = len(self._connection.weight) // groups
            bounds = [np.clip((start, stop), group * size, (group + 1) * size) for group in range(groups)]
            taps = np.concatenate([self._below[last] - self._below[first] for first, last in bounds])
            seen = np.repeat([last - first for first, last in bounds], self._connection.weight.shape[1])
            self._channels[start, stop] = taps, seen
        return self._channels[start, stop]

    def _line(self, axis: int, start: int, stop: int) -> tuple[NDArray[np.float64], slice]:
        """Whether a tap connects a source row (column) to one of the targets', `[k, rows]`, and which rows these are."""
        if (axis, start, stop) not in self._lines:
            c = self._connection
            taps = c.dilation[axis] * np.arange(c.weight.shape[2 + axis])
            places = np.arange(start, stop) * c.stride[axis] - c.padding[axis] + taps[:, None]
            inside = (places >= 0) & (places < self._shape[1 + axis])
            low, high = (int(places[inside].min()), int(places[inside].max()) + 1) if inside.any() else (0, 0)
            line = np.zeros((len(taps), high - low))
            line[np.nonzero(inside)[0], places[inside] - low] = 1
            self._lines[axis, start, stop] = line, slice(low, high)
        return self._lines[axis, start, stop]


class MatrixGeometry:
    """Of a matrix that reads a source of `shape` in C order."""

    def __init__(self, weight: Integers, shape: Shape) -> None:
        self._shape = shape
        self._present: Any = weight != 0

    def reach(self, block: Block) -> Reach:
        ((start, stop),) = block
        counts = np.count_nonzero(self._present[start:stop], axis=0).reshape(self._shape)
        return Reach(counts, tuple(slice(0, size) for size in self._shape), None)


def geometry(connection: Convolution | Matrix, shape: Shape) -> Geometry:
    """Of a connection from a source of `shape`."""
    if isinstance(connection, Convolution):
        return ConvolutionGeometry(connection, shape)
    return MatrixGeometry(connection.weight, shape)


def neurons(block: Block) -> int:
    """How many a block holds."""
    return prod(stop - start for start, stop in block)


def slices(block: Block) -> tuple[slice, ...]:
    """The block as an index into an array over its population."""
    return tuple(slice(start, stop) for start, stop in block)
