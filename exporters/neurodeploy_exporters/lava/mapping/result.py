"""Where every neuron of a circuit goes, what each core holds, and what does not fit."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from math import ceil
from typing import Literal

from neurodeploy_exporters.lava.connection import Shape
from neurodeploy_exporters.lava.mapping.chip import Board, Chip, Resource
from neurodeploy_exporters.lava.mapping.placement import Core
from neurodeploy_exporters.lava.mapping.usage import Block, Use

Verdict = Literal["fits", "may fit", "does not fit"]


@dataclass(frozen=True)
class PlacedPopulation:
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
    placed: tuple[PlacedPopulation, ...]
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
    def cores_at_most(self) -> int:
        """With the margin by which the chip's compiler may take more."""
        return self.cores if self.chip.fitted is None else ceil(self.cores * (1 + self.chip.fitted.margin))

    @property
    def verdict(self) -> Verdict:
        """ "may fit": only the margin is beyond what is there."""
        if self.unplaced or self.cores_too_many:
            return "does not fit"
        return "fits" if self.cores_at_most <= self.chips_allowed * self.chip.cores.value else "may fit"

    @property
    def fits(self) -> bool:
        """Whether it does with the margin."""
        return self.verdict == "fits"

    @property
    def board(self) -> Board | None:
        """The smallest that holds all cores, with the margin."""
        return self.chip.smallest_board(-(-self.cores_at_most // self.chip.cores.value))

    @property
    def total(self) -> Use:
        """Summed over all cores."""
        uses = [core.use for population in self.placed for core in population.cores]
        return Use(**{field: sum(getattr(use, field) for use in uses) for field in Use.__dataclass_fields__})


WORDS: dict[Resource, str] = {
    "neurons": "neurons",
    "input_axons": "input axons",
    "output_axons": "output axons",
    "synapse_bits": "synapse memory",
    "delay_slots": "delay slots",
}


@dataclass(frozen=True)
class CoreEntry:
    """A core in `map.json`, and what it holds; see `Use`.

    Attributes:
        block: of each axis of the population's shape, the first neuron and the one behind the last.
        shares: of each limited resource, how much of it is used; above 1 is too much.
    """

    block: Block
    neurons: int
    input_axons: int
    output_axons: int
    synapse_bits: int
    delay_slots: int
    synapses: int
    shares: dict[Resource, float]


@dataclass(frozen=True)
class PopulationEntry:
    """A population in `map.json`.

    Attributes:
        name: of the population.
        shape: of its neurons.
        cores: in order.
    """

    name: str
    shape: Shape
    cores: tuple[CoreEntry, ...]


@dataclass(frozen=True)
class ChipMapDocument:
    """`map.json` of a network on a neuromorphic chip.

    Attributes:
        source: the file that the circuit came from.
        chip: its limits and their sources.
        fits: whether it does, with the margin.
        verdict: "may fit": only the margin is beyond what is there.
        cores: all that are used.
        cores_at_most: with the margin by which the chip's compiler may take more.
        chips: on which these cores are.
        chips_allowed: how many there may be.
        smallest_board: that holds all cores, with the margin; null if none does.
        total: summed over all cores.
        populations: in order.
        unplaced: populations that no core can hold.
        cores_too_many: more than the chips allowed have.
        smallest_change: that would make everything fit; "" if it does, or if a population is unplaced.
    """

    source: str
    chip: Chip
    fits: bool
    verdict: Verdict
    cores: int
    cores_at_most: int
    chips: int
    chips_allowed: int
    smallest_board: str | None
    total: Use
    populations: tuple[PopulationEntry, ...]
    unplaced: tuple[Unplaced, ...]
    cores_too_many: int
    smallest_change: str


def document(mapping: Mapping, source: str) -> ChipMapDocument:
    """Everything, with the limits and their sources.

    Args:
        mapping: of a circuit.
        source: the file that the circuit came from.
    """
    populations = tuple(
        PopulationEntry(
            population.key,
            population.shape,
            tuple(CoreEntry(core.block, **asdict(core.use), shares=core.use.shares(mapping.chip)) for core in population.cores),
        )
        for population in mapping.placed
    )
    return ChipMapDocument(
        source=source,
        chip=mapping.chip,
        fits=mapping.fits,
        verdict=mapping.verdict,
        cores=mapping.cores,
        cores_at_most=mapping.cores_at_most,
        chips=mapping.chips,
        chips_allowed=mapping.chips_allowed,
        smallest_board=None if mapping.board is None else mapping.board.name,
        total=mapping.total,
        populations=populations,
        unplaced=mapping.unplaced,
        cores_too_many=mapping.cores_too_many,
        smallest_change=mapping.change,
    )


def as_json(mapping: Mapping, source: str) -> str:
    """The text of `map.json`; see `document`."""
    return json.dumps(asdict(document(mapping, source)), indent=2) + "\n"


def summary(mapping: Mapping) -> list[str]:
    """What people need to know beside the table, one fact a line."""
    chip, total = mapping.chip, mapping.total
    available = mapping.chips * chip.cores.value
    lines = [
        f"total: {mapping.cores:,} cores on {_count(mapping.chips, 'chip')} of {chip.cores.value}"
        + (f" ({100 * mapping.cores / available:.0f} % of their cores)" if available else "")
        + f", {total.neurons:,} neurons, {total.synapses:,} synapses, {kib(total.synapse_bits)} of synapse memory"
    ]
    if mapping.board is not None and not mapping.unplaced:
        lines.append(f"smallest board: {mapping.board.name} ({_count(mapping.board.chips, 'chip')})")
    fitted = chip.fitted
    if fitted is not None:
        lines.append(
            f"margin: up to {mapping.cores_at_most:,} cores, {percent(fitted.margin)} more, as Intel's compiler took for "
            f"{fitted.worst}"
        )
    if mapping.verdict != "does not fit":
        there = mapping.chips_allowed * chip.cores.value
        taken = f"{mapping.cores:,}" if fitted is None else f"{mapping.cores:,} to {mapping.cores_at_most:,}"
        lines.append(f"{mapping.verdict}: {taken} of the {there:,} cores of {_count(mapping.chips_allowed, 'chip')}")
    kind = "approximate" if chip.approximate else "note"
    return [*lines, f"{kind}: {chip.note}", f"encoding: {chip.encoding.source}"]


def faults(mapping: Mapping) -> list[str]:
    """What does not fit and the smallest change that would help, one fault a line; none if everything fits."""
    lines = [_fault(unplaced) for unplaced in mapping.unplaced]
    if mapping.cores_too_many:
        most = mapping.chips_allowed * mapping.chip.cores.value
        where = f"the {most:,} of {_count(mapping.chips_allowed, 'chip')}"
        lines.append(f"{_count(mapping.cores_too_many, 'core')} more than {where}: {mapping.change or 'first see above'}")
    return lines


def _fault(unplaced: Unplaced) -> str:
    what = WORDS[unplaced.resource]
    shown, what = (kib, f"of {what}") if unplaced.resource == "synapse_bits" else ("{:,}".format, what)
    limit = f"a core has {shown(unplaced.limit)}"
    return f"{unplaced.key}: one neuron takes {shown(unplaced.found)} {what}, {limit}: {unplaced.change}"


def percent(share: float) -> str:
    """A share as people read it."""
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def kib(bits: int) -> str:
    """Memory as people read it."""
    return f"{bits / 8192:,.1f} KiB"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
