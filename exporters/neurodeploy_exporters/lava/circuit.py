"""Populations of CUBA-LIF neurons and the synapses between them: what a chip runs, in any feed-forward arrangement.

A `.net` file holds a chain, each block reading the one before it (`Network`). Residual and branching networks need more:
several synapses on one population, whose sums add, and delays that line the short way up with the long one. A `Circuit` says
all of that. Every synapse takes one step, so a population answers `depth` steps late, the number of synapses on its longest way
from the input; a synapse from depth d to depth e is aligned if its delay is e − d − 1.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.connection import MAX_DELAY, Integers, Shape, check_range, check_shape
from neurodeploy_exporters.lava.connection import Convolution as Convolution
from neurodeploy_exporters.lava.connection import Matrix as Matrix
from neurodeploy_exporters.lava.layers import CubaConstants, Neuron, check_bias, check_sizes, check_synapses

INPUT = -1
"""The source of a synapse that reads the circuit's input."""

_MAX_KEY = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class Synapse:
    """One connection between populations.

    Attributes:
        source: index of a population, or `INPUT`.
        target: index of a population, larger than `source`.
        connection: its weights and geometry.
        delay: a spike of step t arrives in step t + 1 + delay; 0 … 62, together with the delays of the connection.
    """

    source: int
    target: int
    connection: Convolution | Matrix
    delay: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Population:
    """Neurons with the same constants.

    Attributes:
        key: name in recordings, such as `L2_Conv`; ASCII, without `/`.
        shape: `(C, H, W)` or `(N,)`.
        neuron: decays and threshold.
        bias: `[C]`, one per neuron, or None; added at every step in units of the threshold.
        recurrent: `[N, N]`, −256 … 255, or None; the population's own spikes, one step later.

    Raises:
        UserError: a value does not fit the shape, or is outside its range.
    """

    key: str
    shape: Shape
    neuron: Neuron
    bias: Integers | None = None
    recurrent: Integers | None = None

    @property
    def cuba(self) -> CubaConstants:
        """The constants of neurons that fire.

        Raises:
            UserError: they send graded messages instead.
        """
        if isinstance(self.neuron, CubaConstants):
            return self.neuron
        raise UserError(
            f"population {self.key}: sigma-delta neurons, whose messages are graded and whose state goes on from sample to "
            "sample; run the network with simulate"
        )

    def __post_init__(self) -> None:
        if not self.key.isascii() or not self.key.isprintable() or "/" in self.key or not 0 < len(self.key) <= _MAX_KEY:
            raise UserError(f"key: {self.key!r} found, 1 to {_MAX_KEY} ASCII characters without / expected")
        check_shape(self.shape, (1, 3))
        check_bias(self.bias, ((self.shape[0],), self.shape))
        self.neuron.check_channels(self.shape[0])
        if self.recurrent is not None:
            square = (self.shape[0], self.shape[0])
            if len(self.shape) != 1 or self.recurrent.shape != square:
                raise UserError(f"recurrent: shape {self.recurrent.shape} found on {self.shape}, (N, N) on (N,) expected")
            check_range("recurrent", self.recurrent, -256, 255)


@dataclass(frozen=True, eq=False, kw_only=True)
class Circuit:
    """What a chip runs: populations in order of computation, fed by synapses from the input and from earlier populations.

    Attributes:
        input_shape: of one sample and step, `(C, H, W)` or `(N,)`.
        populations: each has at least one synapse, but the first, which may be input neurons: a bias or a current drives them,
            and no synapse reads the input.
        synapses: in any order.

    Raises:
        UserError: an index, shape or delay does not fit; the message names the synapse or population.
    """

    input_shape: Shape
    populations: tuple[Population, ...]
    synapses: tuple[Synapse, ...]

    def __post_init__(self) -> None:
        check_shape(self.input_shape, (1, 3))
        if not self.populations:
            raise UserError("circuit: no population found, at least one expected")
        seen: set[str] = set()
        for index, population in enumerate(self.populations):
            if population.key in seen:
                raise UserError(f"population {index}: key: {population.key} found twice, names that differ expected")
            seen.add(population.key)
        for number, synapse in enumerate(self.synapses):
            try:
                self._check_synapse(synapse)
            except UserError as error:
                raise UserError(f"synapse {number}: {error}") from None
        for index in range(len(self.populations)):
            if not self.into(index):
                self._check_input_neurons(index)
        check_sizes(population.shape for population in self.populations)
        check_synapses((synapse.connection, self.populations[synapse.target].shape) for synapse in self.synapses)

    def _check_synapse(self, synapse: Synapse) -> None:
        if not INPUT <= synapse.source < synapse.target < len(self.populations):
            raise UserError(
                f"from {synapse.source} to {synapse.target} found, from an earlier population (or {INPUT} for the input) to a "
                f"later one of 0 to {len(self.populations) - 1} expected: a circuit has no feedback"
            )
        check_range("delay", synapse.delay, 0, MAX_DELAY)
        if isinstance(synapse.connection, Matrix):
            check_range("delay, together with that of the matrix", synapse.delay + synapse.connection.delay, 0, MAX_DELAY)
        source = self.shape_of(synapse.source)
        computed, stated = synapse.connection.output_shape(source), self.populations[synapse.target].shape
        if computed != stated:
            raise UserError(f"makes {computed} of its source {source}, but population {synapse.target} has shape {stated}")

    def _check_input_neurons(self, index: int) -> None:
        population = self.populations[index]
        if index or any(synapse.source == INPUT for synapse in self.synapses):
            raise UserError(
                f"population {index}: no synapse found, at least one expected (only population 0 may do without, as input "
                "neurons, and then no synapse reads the input)"
            )
        if population.shape != self.input_shape or population.bias is not None or population.recurrent is not None:
            raise UserError(
                f"population {index}: input neurons of shape {self.input_shape}, without bias and recurrent synapses, expected"
            )

    @cached_property
    def has_input_neurons(self) -> bool:
        return not self.into(0)

    def shape_of(self, source: int) -> Shape:
        """Of a population, or of the input."""
        return self.input_shape if source == INPUT else self.populations[source].shape

    def into(self, target: int) -> tuple[Synapse, ...]:
        """The synapses on a population."""
        return self._by_target.get(target, ())

    @cached_property
    def _by_target(self) -> dict[int, tuple[Synapse, ...]]:
        into: dict[int, list[Synapse]] = {}
        for synapse in self.synapses:
            into.setdefault(synapse.target, []).append(synapse)
        return {target: tuple(synapses) for target, synapses in into.items()}

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Of each population: the number of synapses on its longest way from the input; 0 for input neurons."""
        depths: list[int] = []
        for index in range(len(self.populations)):
            before = [0 if s.source == INPUT else depths[s.source] for s in self.into(index)]
            depths.append(1 + max(before) if before else 0)
        return tuple(depths)

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
