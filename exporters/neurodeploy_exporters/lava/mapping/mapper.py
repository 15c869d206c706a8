"""A circuit with fewer channels in some of its populations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Population, Synapse
from neurodeploy_exporters.lava.connection import Integers
from neurodeploy_exporters.lava.mapping.chip import Chip
from neurodeploy_exporters.lava.mapping.placement import Placer, blocks, fits, required_axons
from neurodeploy_exporters.lava.mapping.result import Mapping, PlacedPopulation, Unplaced
from neurodeploy_exporters.lava.mapping.usage import Block, Demand, Use


def can_narrow(circuit: Circuit, index: int) -> bool:
    """Whether a population may have fewer channels: others read it, and no grouped convolution ties its channels to others."""
    if not circuit.into(index) or all(synapse.source != index for synapse in circuit.synapses):
        return False
    touching = [synapse for synapse in circuit.synapses if index in (synapse.source, synapse.target)]
    return all(not isinstance(s.connection, Convolution) or s.connection.groups == 1 for s in touching)


def narrowed(circuit: Circuit, channels: dict[int, int]) -> Circuit:
    """The circuit with only the first channels (neurons, of a population of shape `(N,)`) of some populations.

    Args:
        circuit: unchanged.
        channels: index of a population that `can_narrow` → channels that are left.
    """
    populations = tuple(
        _population(population, channels[index]) if index in channels else population
        for index, population in enumerate(circuit.populations)
    )
    synapses = []
    for synapse in circuit.synapses:
        if synapse.target in channels:
            synapse = _selected(synapse, slice(channels[synapse.target]))
        if synapse.source in channels:
            # of a matrix, a channel is as many inputs as it has places
            places = 1 if isinstance(synapse.connection, Convolution) else prod(circuit.shape_of(synapse.source)[1:])
            synapse = _selected(synapse, (slice(None), slice(channels[synapse.source] * places)))
        synapses.append(synapse)
    return replace(circuit, populations=populations, synapses=tuple(synapses))


def _population(population: Population, channels: int) -> Population:
    neuron = population.neuron
    return replace(
        population,
        shape=(channels, *population.shape[1:]),
        neuron=replace(neuron, **{name: _first(value, channels) for name, value in vars(neuron).items()}),
        bias=_first(population.bias, channels),
        recurrent=None if population.recurrent is None else population.recurrent[:channels, :channels],
    )


def _first(values: Any, channels: int) -> Any:
    return values if values is None or np.ndim(values) == 0 else values[:channels]


def _selected(synapse: Synapse, which: Any) -> Synapse:
    connection: Any = synapse.connection
    changed = {"weight": connection.weight[which]}
    if np.ndim(getattr(connection, "delay", 0)):
        changed["delay"] = connection.delay[which]
    return replace(synapse, connection=replace(connection, **changed))


_CANDIDATES = 3
"""Populations, those of most cores, that are tried alone."""


def explain(circuit: Circuit, index: int, chip: Chip, fan_out: Integers) -> Unplaced:
    """Why no core can hold a neuron of a population, and what would help.

    Args:
        circuit, index: the population is `circuit.populations[index]`.
        chip: whose limits are exceeded.
        fan_out: of every neuron, the output axons that it needs.
    """
    population, demand = circuit.populations[index], Demand(circuit, index, chip)
    single = blocks(population.shape, (1,) * len(population.shape))
    axons = fan_out + demand.own_axons(single)
    # neurons of one channel differ at the edges alone, where they read less, and in what they send to
    likely = [block for block in single if block[1:] == tuple((size // 2, size // 2 + 1) for size in population.shape[1:])]
    likely.append(single[int(axons.argmax())])
    worst, use = _fullest(demand, axons, chip, likely)
    if fits(use, chip):
        worst, use = _fullest(demand, axons, chip, single)
    resource, _ = use.fullest(chip)
    limit = chip.limits[resource].value
    if resource == "output_axons":
        change = f"make the populations that it sends to fit {limit:,} cores instead of {use.output_axons:,}"
    else:
        change = _less_fan_in(circuit, index, chip, worst, axons)
    return Unplaced(population.key, population.shape, resource, getattr(use, resource), limit, change)


def _fullest(demand: Demand, axons: Integers, chip: Chip, among: Sequence[Block]) -> tuple[Block, Use]:
    """The block that takes the largest share of a core, and its use."""
    uses = ((block, demand.use(block, axons)) for block in among)
    return max(uses, key=lambda pair: pair[1].fullest(chip)[1])


def _less_fan_in(circuit: Circuit, index: int, chip: Chip, block: Block, axons: Integers) -> str:
    """How many channels (neurons) of its largest source a neuron may keep."""
    own = [number for number, synapse in enumerate(circuit.synapses) if synapse.target == index]
    number = max(own, key=lambda n: prod(circuit.synapses[n].connection.weight.shape[1:]))
    synapse = circuit.synapses[number]
    connection = synapse.connection
    width = connection.weight.shape[1]

    def with_inputs(kept: int) -> bool:
        weight = np.ones_like(connection.weight)  # which weights are 0 after the next training is not known
        weight[:, kept:] = 0
        changed = replace(synapse, connection=replace(connection, weight=weight))
        synapses = tuple(changed if n == number else s for n, s in enumerate(circuit.synapses))
        return fits(Demand(replace(circuit, synapses=synapses), index, chip).use(block, axons), chip)

    source = "the input" if synapse.source == INPUT else circuit.populations[synapse.source].key
    kept = _largest(with_inputs, width)
    if not kept:
        return f"divide what it reads over several populations; it would not fit without {source} either"
    if not isinstance(connection, Convolution):
        return f"let each of its neurons read at most {kept:,} of the {width:,} neurons of {source}"
    taps = prod(connection.weight.shape[2:])
    groups = f" in each of {connection.groups} groups" if connection.groups > 1 else ""
    return (
        f"reduce the channels that it reads from {source} from {width:,} to {kept:,}{groups} "
        f"(fan-in {width * taps:,} to {kept * taps:,})"
    )


def shrink(circuit: Circuit, placer: Placer, allowed: int, cores: list[int]) -> str:
    """The smallest reduction of one population's channels, or else of all, with which `allowed` cores are enough.

    Args:
        circuit, placer: every population can be placed.
        allowed: cores.
        cores: that each population takes now.
    """

    def small_enough(channels: dict[int, int]) -> bool:
        placement = placer.place(narrowed(circuit, channels))
        return sum(len(each) for each in placement if each is not None) <= allowed and None not in placement

    def alone_enough(index: int, kept: int) -> bool:
        return small_enough({index: kept})

    choices = sorted((index for index in range(len(cores)) if can_narrow(circuit, index)), key=lambda index: -cores[index])
    best: tuple[int, str] | None = None
    for index in choices[:_CANDIDATES]:
        key, shape = circuit.populations[index].key, circuit.populations[index].shape
        kept = _largest(partial(alone_enough, index), shape[0] - 1)
        if kept:
            lost = (shape[0] - kept) * prod(shape[1:])
            text = f"reduce the {'channels' if len(shape) > 1 else 'neurons'} of {key} from {shape[0]:,} to {kept:,}"
            best = min(best or (lost, text), (lost, text))
    if best is not None:
        return best[1]

    def scaled(percent: int) -> dict[int, int]:
        return {index: max(1, circuit.populations[index].shape[0] * percent // 100) for index in choices}

    percent = _largest(lambda percent: small_enough(scaled(percent)), 99) if choices else 0
    if percent:
        return f"reduce the channels of all populations that can be narrowed ({len(choices)}) to {percent} %"
    return "use a smaller network: fewer channels, or a smaller input"


def _largest(works: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to `most` that works, by bisection, or 0 if none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if works(middle):
            low = middle
        else:
            high = middle - 1
    return low


def map_circuit(circuit: Circuit, chip: Chip, *, chips: int | None = None) -> Mapping:
    """Divide a circuit among the cores of chips of one kind.

    Args:
        circuit: what is to run.
        chip: its limits.
        chips: how many there may be; as many as the largest board has, if None.

    Raises:
        UserError: `chips` is less than 1.
    """
    allowed = chip.boards[-1].chips if chips is None else chips
    if allowed < 1:
        raise UserError(f"chips: {allowed} found, at least 1 expected")
    placer = Placer(chip)
    placement = placer.place(circuit)
    axons = required_axons(circuit, chip, placement)
    placed, unplaced = [], []
    for index, (population, cores) in enumerate(zip(circuit.populations, placement, strict=True)):
        if cores is None:
            unplaced.append(explain(circuit, index, chip, axons[index]))
        else:
            placed.append(PlacedPopulation(population.key, population.shape, cores))
    mapping = Mapping(chip, tuple(placed), tuple(unplaced), allowed)
    if mapping.unplaced or not mapping.cores_too_many:  # a margin that is beyond the chips asks for no change
        return mapping
    change = shrink(circuit, placer, allowed * chip.cores.value, [len(population.cores) for population in placed])
    return Mapping(chip, tuple(placed), (), allowed, change)
