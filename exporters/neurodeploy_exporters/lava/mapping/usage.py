"""What a block of a population's neurons takes of a core."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Synapse
from neurodeploy_exporters.lava.mapping.chip import Chip, Resource
from neurodeploy_exporters.lava.mapping.encoding import synapse_bits
from neurodeploy_exporters.lava.mapping.geometry import Block, Reach, geometry, neurons, slices
from neurodeploy_exporters.lava.values import Integers, Shape

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
        self._geometries = [geometry(s.connection, source_shape(circuit, s)) for s in synapses]
        self._delays = [longest_delay(synapse) for synapse in synapses]
        self._slots = max(_MIN_DELAY_SLOTS, 1 << (max(self._delays, default=0) + 1).bit_length())

    def use(self, block: Block, fan_out: Integers) -> Use:
        """Of a core that holds a block.

        Args:
            block: of neurons of the population.
            fan_out: of every neuron of the population, the output axons that it needs.
        """
        held = neurons(block)
        reached: dict[int, list[Reach]] = defaultdict(list)
        axons = bits = synapses = 0
        for synapse, each, delay in zip(self._synapses, self._geometries, self._delays, strict=True):
            reach = each.reach(block)
            bits += synapse_bits(reach, held, delay.bit_length(), self._chip.encoding)
            synapses += int(reach.counts.sum())
            if self._shares(synapse):
                axons += int(reach.counts.any())
            else:
                reached[synapse.source].append(reach)
        axons += sum(_distinct(reaches) for reaches in reached.values())
        return Use(held, axons, int(fan_out[slices(block)].sum()), bits, held * self._slots, synapses)

    def reached(self, block: Block) -> dict[int, list[Reach]]:
        """Population → how its neurons reach the block, once for each synapse; without the circuit's input."""
        found: dict[int, list[Reach]] = defaultdict(list)
        for synapse, each in zip(self._synapses, self._geometries, strict=True):
            if synapse.source != INPUT:
                found[synapse.source].append(each.reach(block))
        return found

    def own_axons(self, blocks: Sequence[Block]) -> Integers | int:
        """Of every neuron, the cores of its own population that it sends to, if that is divided into these blocks."""
        if self.population.recurrent is None:
            return 0
        axons = np.zeros(self.population.shape, np.int64)
        for block in blocks:
            for reach in self.reached(block)[self._index]:
                axons[reach.place] += reach.counts > 0
        return axons

    def _shares(self, synapse: Synapse) -> bool:
        return self._chip.encoding.shared_kernels and isinstance(synapse.connection, Convolution)


def source_shape(circuit: Circuit, synapse: Synapse) -> Shape:
    """Shape of what a synapse reads."""
    return circuit.input_shape if synapse.source == INPUT else circuit.populations[synapse.source].shape


def longest_delay(synapse: Synapse) -> int:
    """Steps, over all of its connections."""
    own = int(np.max(synapse.connection.delay)) if isinstance(synapse.connection, Matrix) else 0
    return synapse.delay + own


def union(reaches: Sequence[Reach]) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """Which neurons of one source reach a block through any of several synapses: a box, and whether each neuron in it does."""
    if len(reaches) == 1:
        return reaches[0].place, reaches[0].counts > 0
    corners = [[(s.start, s.stop) for s in reach.place] for reach in reaches if reach.counts.size]
    if not corners:
        return reaches[0].place, reaches[0].counts > 0
    low, high = np.min(corners, axis=0)[:, 0], np.max(corners, axis=0)[:, 1]
    mask = np.zeros(high - low, np.bool_)
    for reach in reaches:
        if reach.counts.size:
            inner = tuple(slice(s.start - first, s.stop - first) for s, first in zip(reach.place, low, strict=True))
            mask[inner] |= reach.counts > 0
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)), mask


def _distinct(reaches: Sequence[Reach]) -> int:
    return int(np.count_nonzero(union(reaches)[1]))
