"""Which neurons of a source reach a block of target neurons, and through how many synapses. Weights of 0 are no synapses.

A convolution is separable: whether a tap (ky, kx) of the kernel connects a source to the block is a question of rows and one of
columns, so counts come from two small products per block, never from a walk over synapses.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Synapse
from neurodeploy_exporters.lava.connection import Convolution, Integers, Matrix, Shape
from neurodeploy_exporters.lava.mapping import compiler
from neurodeploy_exporters.lava.mapping.chip import Chip, Encoding, Resource

Block: TypeAlias = tuple[tuple[int, int], ...]
"""First and one past the last index of a block of neurons, on every axis of their population."""


@dataclass(frozen=True, eq=False)
class Reach:
    """How a source reaches a block.

    Attributes:
        counts: synapses of every source neuron in the smallest box that holds all that have one; its axes are the source's.
        place: where this box is in the source.
        lists: of a convolution stored once for all places: the synapses of every source channel and tap that is used, and how
            many target channels it sees, `[2, n]`; None for a matrix.
    """

    counts: Integers
    place: tuple[slice, ...]
    lists: Integers | None


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


def geometry(connection: Convolution | Matrix, shape: Shape) -> Callable[[Block], Reach]:
    """Of a connection from a source of `shape`: how it reaches a block of its targets."""
    if isinstance(connection, Convolution):
        return ConvolutionGeometry(connection, shape).reach
    present: Any = connection.weight != 0

    def reach(block: Block) -> Reach:
        ((start, stop),) = block
        counts = np.count_nonzero(present[start:stop], axis=0).reshape(shape)
        return Reach(counts, tuple(slice(0, size) for size in shape), None)

    return reach


def synapse_bits(reach: Reach, neurons: int, delay_bits: int, encoding: Encoding) -> int:
    """Bits of one connection into one core, in the smaller of the two formats: a weight for every neuron, or with an index.

    Args:
        reach: which source neurons reach the core.
        neurons: of the core.
        delay_bits: per synapse.
        encoding: of the chip.
    """
    if encoding.shared_kernels and reach.lists is not None:
        present, seen = reach.lists
    else:
        present = reach.counts[reach.counts > 0]
        seen = np.full_like(present, neurons)
    widest = int(seen.max(initial=1))
    index = next((bits for bits in encoding.index_bits if 1 << bits >= widest), widest.bit_length())
    return min(_bits(seen, delay_bits, encoding), _bits(present, delay_bits + index, encoding))


def _bits(lists: Integers, extra: int, encoding: Encoding) -> int:
    each = encoding.weight_bits + encoding.tag_bits + extra
    full, rest = np.divmod(lists, encoding.synapses_per_block)
    whole = full * _words(np.asarray(encoding.synapses_per_block * each + encoding.header_bits), encoding)
    last = np.where(rest > 0, _words(rest * each + encoding.header_bits, encoding), 0)
    return int((whole + last).sum()) * encoding.word_bits


def _words(bits: Integers, encoding: Encoding) -> Integers:
    return -(-bits // encoding.word_bits)


_MIN_DELAY_SLOTS = 8


@dataclass(frozen=True)
class Use:
    """Of one core.

    Attributes:
        neurons: compartments.
        input_axons: distinct source neurons with a synapse in the core; a convolution whose kernel is shared takes one.
        output_axons: for every neuron, the cores that it sends to, and one for the host if it sends to none.
        synapse_bits: memory of its synapses.
        delay_slots: accumulators in which its synapses' sums wait for their step.
        synapses: connections with a weight other than 0.
    """

    neurons: int
    input_axons: int
    output_axons: int
    synapse_bits: int
    delay_slots: int
    synapses: int

    def shares(self, chip: Chip) -> dict[Resource, float]:
        """Of each limited resource: how much of it is used; above 1 is too much."""
        return {resource: getattr(self, resource) / limit.value for resource, limit in chip.limits.items()}

    def fullest(self, chip: Chip) -> tuple[Resource, float]:
        """The resource of which the largest share is used, and this share."""
        return max(self.shares(chip).items(), key=lambda item: item[1])


class Demand:
    """What flows into a population, asked about blocks of its neurons.

    Args:
        circuit, index: the population is `circuit.populations[index]`.
        chip: that holds it.
    """

    def __init__(self, circuit: Circuit, index: int, chip: Chip) -> None:
        self.population, self._chip = circuit.populations[index], chip
        synapses = list(circuit.into(index))
        if self.population.recurrent is not None:
            own = Matrix(weight=self.population.recurrent)
            synapses.append(Synapse(source=index, target=index, connection=own))
        self._index, self._synapses = index, synapses
        self._geometries = [geometry(s.connection, circuit.shape_of(s.source)) for s in synapses]
        self._delays = [s.delay + int(np.max(getattr(s.connection, "delay", 0))) for s in synapses]
        self._slots = max(_MIN_DELAY_SLOTS, 1 << (max(self._delays, default=0) + 1).bit_length())

    def use(self, block: Block, fan_out: Integers) -> Use:
        """Of a core that holds a block.

        Args:
            block: of neurons of the population.
            fan_out: of every neuron of the population, the output axons that it needs.
        """
        held = prod(stop - start for start, stop in block)
        reached: dict[int, list[Reach]] = defaultdict(list)
        axons = bits = synapses = 0
        for synapse, reach_of, delay in zip(self._synapses, self._geometries, self._delays, strict=True):
            reach, fitted = reach_of(block), self._chip.fitted
            if fitted is None:
                bits += synapse_bits(reach, held, delay.bit_length(), self._chip.encoding)
            else:
                bits += compiler.synapse_bits(synapse.connection, block[0][1] - block[0][0], held, fitted)
            synapses += int(reach.counts.sum())
            if self._chip.encoding.shared_kernels and isinstance(synapse.connection, Convolution):
                axons += int(reach.counts.any())
            else:
                reached[synapse.source].append(reach)
        axons += sum(int(np.count_nonzero(union(reaches)[1])) for reaches in reached.values())
        return Use(
            held, axons, int(fan_out[tuple(slice(*bounds) for bounds in block)].sum()), bits, held * self._slots, synapses
        )

    def reached(self, block: Block) -> dict[int, list[Reach]]:
        """Population → how its neurons reach the block, once for each synapse; without the circuit's input."""
        reaches: dict[int, list[Reach]] = defaultdict(list)
        for synapse, reach_of in zip(self._synapses, self._geometries, strict=True):
            if synapse.source != INPUT:
                reaches[synapse.source].append(reach_of(block))
        return reaches

    def own_axons(self, blocks: Sequence[Block]) -> Integers | int:
        """Of every neuron, the cores of its own population that it sends to, if that is divided into these blocks."""
        if self.population.recurrent is None:
            return 0
        axons = np.zeros(self.population.shape, np.int64)
        for block in blocks:
            for reach in self.reached(block)[self._index]:
                axons[reach.place] += reach.counts > 0
        return axons


def union(reaches: Sequence[Reach]) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """Which neurons of one source reach a block through any of several synapses: a box, and whether each neuron in it does."""
    corners = [[(s.start, s.stop) for s in reach.place] for reach in reaches if reach.counts.size]
    if len(reaches) == 1 or not corners:
        return reaches[0].place, reaches[0].counts > 0
    low, high = np.min(corners, axis=0)[:, 0], np.max(corners, axis=0)[:, 1]
    mask = np.zeros(high - low, np.bool_)
    for reach in reaches:
        if reach.counts.size:
            inner = tuple(slice(s.start - first, s.stop - first) for s, first in zip(reach.place, low, strict=True))
            mask[inner] |= reach.counts > 0
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), mask
