"""Where every neuron of a circuit goes, what each core holds, and what does not fit."""

from dataclasses import dataclass
from functools import cached_property

from neurodeploy_exporters.lava.mapping.chip import Board, Chip, Resource
from neurodeploy_exporters.lava.mapping.partition import Core
from neurodeploy_exporters.lava.mapping.usage import Use
from neurodeploy_exporters.lava.values import Shape


@dataclass(frozen=True)
class Placed:
    """A population in its cores.

    Attributes:
        key: of the population.
        shape: of its neurons.
        cores: in order.
    """

    key: str
    shape: Shape
    cores: tuple[Core, ...]

    @property
    def block(self) -> Shape:
        """Shape of the neurons in the first core, which is as large as any."""
        return tuple(stop - start for start, stop in self.cores[0].block)

    def largest(self, field: str) -> int:
        """The largest use of a field of `Use` by any of its cores."""
        return max(getattr(core.use, field) for core in self.cores)

    def fullest(self, chip: Chip) -> tuple[Resource, float]:
        """The resource of which one core uses the largest share, and this share."""
        return max((core.use.fullest(chip) for core in self.cores), key=lambda item: item[1])


@dataclass(frozen=True)
class Unplaced:
    """A population of which one neuron alone exceeds a core.

    Attributes:
        key: of the population.
        shape: of its neurons.
        resource: that is exceeded.
        found: what the neuron takes of it.
        limit: what a core has.
        change: the smallest change that would make it fit.
    """

    key: str
    shape: Shape
    resource: Resource
    found: int
    limit: int
    change: str


@dataclass(frozen=True)
class Mapping:
    """A circuit on a chip.

    Attributes:
        chip: its limits and their sources.
        placed: populations in order.
        unplaced: those that no core can hold; without them, the others' output axons to them are not counted.
        chips_allowed: how many there may be.
        change: the smallest change that would make everything fit on so many; "" if it does, or if a population is unplaced.
    """

    chip: Chip
    placed: tuple[Placed, ...]
    unplaced: tuple[Unplaced, ...]
    chips_allowed: int
    change: str = ""

    @cached_property
    def cores(self) -> int:
        """All that are used."""
        return sum(len(population.cores) for population in self.placed)

    @property
    def chips(self) -> int:
        """Cores are handed out in order, one chip after the other."""
        return -(-self.cores // self.chip.cores.value)

    @property
    def cores_too_many(self) -> int:
        """More than the chips allowed have."""
        return max(0, self.cores - self.chips_allowed * self.chip.cores.value)

    @property
    def fits(self) -> bool:
        return not self.unplaced and not self.cores_too_many

    @property
    def board(self) -> Board | None:
        """The smallest that holds all chips."""
        return self.chip.smallest_board(self.chips)

    @property
    def total(self) -> Use:
        """Summed over all cores."""
        uses = [core.use for population in self.placed for core in population.cores]
        return Use(**{field: sum(getattr(use, field) for use in uses) for field in Use.__dataclass_fields__})
