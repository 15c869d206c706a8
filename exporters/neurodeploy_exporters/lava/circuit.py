"""Populations of CUBA-LIF neurons and the synapses between them: what a chip runs, in any feed-forward arrangement.

A `.net` file holds a chain, each block reading the one before it (`Network`). Residual and branching networks need more:
several synapses on one population, whose sums add, and delays that line the short way up with the long one. A `Circuit` says
all of that. Every synapse takes one step, so a population answers `depth` steps late, the number of synapses on its longest way
from the input; a synapse from depth d to depth e is aligned if its delay is e − d − 1.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.layers import MAX_DELAY, CubaNeuron, Integers, Shape

INPUT = -1
"""The source of a synapse that reads the circuit's input."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution:
    """A convolutional connection (cross-correlation, zero-padded, as in torch).

    Attributes:
        weight: `[C_out, C_in / groups, kH, kW]`.
        stride, padding, dilation: `(y, x)`.
        groups: number of blocks of channels that do not see each other.
    """

    weight: Integers
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Matrix:
    """A full connection; its source is flattened in C order of `(C, H, W)`.

    Attributes:
        weight: `[N_out, N_in]`.
        delay: further steps of each synapse, `[N_out, N_in]` or one number; added to the delay of the whole synapse.
    """

    weight: Integers
    delay: int | Integers = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Synapse:
    """One connection between populations.

    Attributes:
        source: index of a population, or `INPUT`.
        target: index of a population, larger than `source`.
        connection: its weights and geometry.
        delay: a spike of step t arrives in step t + 1 + delay; 0 … 62.
    """

    source: int
    target: int
    connection: Convolution | Matrix
    delay: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Population:
    """Neurons with the same constants.

    Attributes:
        key: name in recordings, such as `L2_Conv`.
        shape: `(C, H, W)` or `(N,)`.
        neuron: decays and threshold.
        bias: `[C]`, one per neuron, or None; added at every step in units of the threshold.
        recurrent: `[N, N]` or None; the population's own spikes, one step later.
    """

    key: str
    shape: Shape
    neuron: CubaNeuron
    bias: Integers | None = None
    recurrent: Integers | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Circuit:
    """What a chip runs: populations in order of computation, fed by synapses from the input and from earlier populations.

    Attributes:
        input_shape: of one sample and step, `(C, H, W)` or `(N,)`.
        populations: each but input neurons has at least one synapse.
        synapses: in any order.

    Raises:
        UserError: an index, shape or delay does not fit; the message names the synapse.
    """

    input_shape: Shape
    populations: tuple[Population, ...]
    synapses: tuple[Synapse, ...]

    def __post_init__(self) -> None:
        if not self.populations:
            raise UserError("circuit: no population found, at least one expected")
        for number, synapse in enumerate(self.synapses):
            if not INPUT <= synapse.source < synapse.target < len(self.populations):
                raise UserError(
                    f"synapse {number}: from {synapse.source} to {synapse.target} found, an earlier population (or {INPUT} for "
                    f"the input) to one of 0 to {len(self.populations) - 1} expected"
                )
            if not 0 <= synapse.delay <= MAX_DELAY:
                raise UserError(f"synapse {number}: delay: {synapse.delay} found, 0 to {MAX_DELAY} expected")

    def into(self, target: int) -> tuple[Synapse, ...]:
        """The synapses on a population."""
        return tuple(synapse for synapse in self.synapses if synapse.target == target)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Of each population: the number of synapses on its longest way from the input; 0 for input neurons."""
        found: list[int] = []
        for index in range(len(self.populations)):
            before = [0 if s.source == INPUT else found[s.source] for s in self.into(index)]
            found.append(1 + max(before) if before else 0)
        return tuple(found)

    def aligned_delay(self, synapse: Synapse) -> int:
        """The delay with which a synapse brings spikes of the same input step as the longest way into its target does."""
        before = 0 if synapse.source == INPUT else self.depths[synapse.source]
        return self.depths[synapse.target] - before - 1

    @property
    def aligned(self) -> bool:
        """Whether every synapse has its aligned delay, and none of its own beside it."""
        return all(
            synapse.delay == self.aligned_delay(synapse)
            and not (isinstance(synapse.connection, Matrix) and np.any(synapse.connection.delay))
            for synapse in self.synapses
        )
