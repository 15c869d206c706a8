"""Dividing a population into cores: blocks of channels, rows and columns, the fewest that satisfy every limit."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import ceil, prod

import numpy as np

from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.connection import Integers, Shape
from neurodeploy_exporters.lava.mapping.chip import Chip
from neurodeploy_exporters.lava.mapping.compiler import slices
from neurodeploy_exporters.lava.mapping.usage import Block, Demand, Use, union


@dataclass(frozen=True)
class Core:
    """A core and what it holds.

    Attributes:
        block: of neurons.
        use: of the core.
    """

    block: Block
    use: Use


def divide(demand: Demand, fan_out: Integers, chip: Chip) -> tuple[Core, ...] | None:
    """The cores of a population, or None if not even one neuron to a core would do.

    All blocks of a division have the same size, but those at the far ends. Of divisions into equally many cores, the one with
    the fewest blocks of channels is taken: neurons of one place share their inputs. Where the chip's compiler divides by rules
    of its own, these come first.

    Args:
        demand: of the population.
        fan_out: of every neuron, the output axons that it needs for other populations and the host.
        chip: whose limits hold.
    """
    shape = demand.population.shape
    neuron = tuple((size // 2, size // 2 + 1) for size in shape)
    if not fits(demand.use(neuron, fan_out), chip):
        return None
    if chip.fitted is not None:
        as_compiled = _parts(demand, fan_out, chip) if len(shape) == 1 else slices(shape, chip.limits["neurons"].value)
        for sizes in as_compiled:
            cores = _cores(demand, fan_out, chip, sizes)
            if cores is not None:
                return cores
    for sizes in _divisions(shape):
        if prod(sizes) <= chip.limits["neurons"].value:
            cores = _cores(demand, fan_out, chip, sizes)
            if cores is not None:
                return cores
    return None


def _parts(demand: Demand, fan_out: Integers, chip: Chip) -> Iterator[Shape]:
    """Sizes of parts of a population without axes: again and again so many times smaller as they exceed a core."""
    (whole,), parts = demand.population.shape, 1
    while parts <= whole:
        size = -(-whole // parts)
        excess = ceil(demand.use(((0, size),), fan_out).fullest(chip)[1])
        if excess <= 1:
            yield (size,)
            return
        parts *= excess


def fits(use: Use, chip: Chip) -> bool:
    """Whether a core can hold this."""
    return use.fullest(chip)[1] <= 1


def blocks(shape: Shape, sizes: Shape) -> tuple[Block, ...]:
    """A population of `shape` divided into blocks of at most these sizes."""
    spans = [
        [(start, min(start + size, whole)) for start in range(0, whole, size)] for whole, size in zip(shape, sizes, strict=True)
    ]
    return tuple(product(*spans))


def _divisions(shape: Shape) -> list[Shape]:
    """Sizes of blocks that are worth trying, those of few blocks first: for every number of blocks on an axis the most even."""
    axes = [sorted({-(-whole // parts) for parts in range(1, whole + 1)}) for whole in shape]

    def order(sizes: Shape) -> tuple[int, ...]:
        counts = [-(-whole // size) for whole, size in zip(shape, sizes, strict=True)]
        return (prod(counts), *counts)

    return sorted(product(*axes), key=order)


def _cores(demand: Demand, fan_out: Integers, chip: Chip, sizes: Shape) -> tuple[Core, ...] | None:
    parts = blocks(demand.population.shape, sizes)
    # blocks far from the edges need most, so one of them says soonest that a division will not do
    middle = parts[len(parts) // 2]
    if not fits(demand.use(middle, fan_out), chip):
        return None
    axons = fan_out + demand.own_axons(parts)
    cores = []
    for block in parts:
        use = demand.use(block, axons)
        if not fits(use, chip):
            return None
        cores.append(Core(block, use))
    return tuple(cores)


Placement = Sequence[tuple[Core, ...] | None]
"""The cores of every population; None for one of which a single neuron exceeds a core."""


@dataclass
class Placer:
    """Divides circuits among cores of one kind, and remembers how: of circuits that share populations, each is divided once.

    Attributes:
        chip: the kind.
    """

    chip: Chip
    _known: dict[Hashable, tuple[Demand, tuple[Core, ...] | None]] = field(default_factory=dict)

    def place(self, circuit: Circuit) -> Placement:
        """Divide every population into the fewest cores."""
        fan_out = _host_axons(circuit)
        placement: list[tuple[Core, ...] | None] = []
        for index in reversed(range(len(circuit.populations))):
            # populations and synapses are equal only to themselves, and a synapse's source cannot change without it
            key = (circuit.populations[index], circuit.into(index), fan_out[index].tobytes())
            if key not in self._known:
                demand = Demand(circuit, index, self.chip)
                self._known[key] = demand, divide(demand, fan_out[index], self.chip)
            demand, cores = self._known[key]
            placement.append(cores)
            _send(demand, index, cores or (), fan_out)
        return placement[::-1]


def required_axons(circuit: Circuit, chip: Chip, placement: Placement) -> list[Integers]:
    """Of every neuron of every population, the output axons that it needs for other populations and the host."""
    fan_out = _host_axons(circuit)
    for index, cores in enumerate(placement):
        _send(Demand(circuit, index, chip), index, cores or (), fan_out)
    return fan_out


def _host_axons(circuit: Circuit) -> list[Integers]:
    """1 where the population sends to no other, for then the host reads it."""
    senders = {synapse.source for synapse in circuit.synapses}
    return [np.full(p.shape, int(index not in senders), np.int64) for index, p in enumerate(circuit.populations)]


def _send(demand: Demand, index: int, cores: Sequence[Core], fan_out: list[Integers]) -> None:
    """Add to `fan_out` one axon for every core of population `index`, at each earlier neuron that reaches it."""
    for core in cores:
        for source, reaches in demand.reached(core.block).items():
            if source != index:
                box, mask = union(reaches)
                fan_out[source][box] += mask
