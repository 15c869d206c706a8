"""The smallest change that would make a circuit fit: found by trying, with the same rules that place it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np

from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution
from neurodeploy_exporters.lava.mapping.chip import Chip
from neurodeploy_exporters.lava.mapping.geometry import Block
from neurodeploy_exporters.lava.mapping.narrowing import can_narrow, narrowed
from neurodeploy_exporters.lava.mapping.partition import blocks, fits
from neurodeploy_exporters.lava.mapping.placement import Placer
from neurodeploy_exporters.lava.mapping.result import Unplaced
from neurodeploy_exporters.lava.mapping.usage import Demand, Use
from neurodeploy_exporters.lava.values import Integers

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
    return max(uses, key=lambda found: found[1].fullest(chip)[1])


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
        found = placer.place(narrowed(circuit, channels))
        return sum(len(each) for each in found if each is not None) <= allowed and None not in found

    choices = sorted((index for index in range(len(cores)) if can_narrow(circuit, index)), key=lambda index: -cores[index])
    best: tuple[int, str] | None = None
    for index in choices[:_CANDIDATES]:
        key, shape = circuit.populations[index].key, circuit.populations[index].shape
        kept = _largest(partial(_alone, small_enough, index), shape[0] - 1)
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


def _alone(small_enough: Callable[[dict[int, int]], bool], index: int, kept: int) -> bool:
    return small_enough({index: kept})


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
