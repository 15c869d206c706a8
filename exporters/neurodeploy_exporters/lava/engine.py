"""Runs the populations of a circuit one after another, each for all steps, in blocks that stay in the processor's cache.

Inside, channels are the last axis, `(H, W, C)`: there the convolutions are fastest, and what is the same for all neurons of a
channel is along the innermost axis.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import CubaParameters
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit
from neurodeploy_exporters.lava.connection import Shape
from neurodeploy_exporters.lava.population import Delivery, NeuronConstants, NeuronState, deliveries, recurrent

_VECTOR = 1 << 17  # neurons, over some samples, that are updated at once: their state stays in the cache
_BLOCK = 1 << 21  # sums that are held at once, over some steps of these neurons


@dataclass(frozen=True, eq=False)
class Prepared:
    """A population ready to run.

    Attributes:
        key: its name in recordings.
        shape: channels last.
        parameters: of its neurons, channels last.
        afferents: the populations (or `INPUT`) that it reads, and what they deliver.
        recurrent: what it receives from itself, or None.
        resets: steps, from 0, before whose update u and v are cleared.
    """

    key: str
    shape: Shape
    parameters: CubaParameters
    afferents: tuple[tuple[int, Delivery], ...]
    recurrent: Delivery | None
    resets: frozenset[int]


@dataclass(frozen=True, eq=False)
class Traces:
    """Where a population's states go, each `[T, B, *shape]`, channels last.

    Attributes:
        s: spikes, boolean.
        u, v: int32, or None where nobody wants them.
    """

    s: NDArray[np.bool_]
    u: NDArray[np.int32] | None = None
    v: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class Drive:
    """What input neurons receive, channels last; nothing for other populations.

    Attributes:
        bias: `[B, *shape]`, the same in every step, or None.
        current: `[T, B, *shape]`, or None.
    """

    bias: NDArray[Any] | None = None
    current: NDArray[Any] | None = None


def prepare(circuit: Circuit, index: int, peak: int, resets: frozenset[int]) -> Prepared:
    """Make a population ready.

    Args:
        peak: largest magnitude of the circuit's input messages.
        resets: see `Prepared`.

    Raises:
        UserError: a sum could exceed what Lava's integers hold.
    """
    population, afferents = circuit.populations[index], []
    for synapse in circuit.into(index):
        messages = peak if synapse.source == INPUT else 1
        arriving = deliveries(synapse.connection, circuit.shape_of(synapse.source), messages, synapse.delay)
        afferents += [(synapse.source, delivery) for delivery in arriving]
    neuron, bias = population.cuba, 0 if population.bias is None else np.moveaxis(population.bias, 0, -1)
    return Prepared(
        key=population.key,
        shape=(*population.shape[1:], population.shape[0]),
        parameters=CubaParameters(neuron.i_decay, neuron.v_decay, neuron.threshold, bias),
        afferents=tuple(afferents),
        recurrent=None if population.recurrent is None else recurrent(population.recurrent),
        resets=resets,
    )


def run(prepared: Prepared, fired: Mapping[int, NDArray[Any]], drive: Drive, traces: Traces) -> None:
    """Run a population for all steps; fills `traces`.

    Args:
        fired: messages of every source, `[T, B, *shape]`, channels last.
        drive: for input neurons.

    Raises:
        UserError: a value leaves the range of Lava's integers.
    """
    batch = traces.s.shape[1]
    size = max(traces.s[0, 0].size, *(fired[source][0, 0].size for source, _ in prepared.afferents), 1)
    samples = min(batch, max(1, _VECTOR // size))
    span = max(1, _BLOCK // (samples * size))
    for first in range(0, batch, samples):
        part = slice(first, first + samples)
        _run_block(prepared, fired, drive, traces, part, span)


@dataclass(frozen=True, eq=False)
class _Arriving:
    """What arrives in a span of steps: `sums[i]` in step `first + i`."""

    first: int
    sums: NDArray[Any]

    def at(self, step: int) -> tuple[NDArray[Any], ...]:
        return (self.sums[step - self.first],) if 0 <= step - self.first < len(self.sums) else ()


def _run_block(
    prepared: Prepared, fired: Mapping[int, NDArray[Any]], drive: Drive, traces: Traces, part: slice, span: int
) -> None:
    spikes = traces.s[:, part]
    steps = len(spikes)
    neurons = NeuronState(_constants(prepared, drive, part, keep_current=traces.u is not None), tuple(spikes.shape[1:]))
    for start in range(0, steps, span):
        stop = min(start + span, steps)
        arriving = _arriving(prepared, fired, part, start, stop)
        if drive.current is not None:
            arriving.append(_Arriving(start, 64 * drive.current[start:stop, part].astype(neurons.constants.dtype)))
        for step in range(start, stop):
            if step in prepared.resets:
                neurons.reset()
            sums = [found for each in arriving for found in each.at(step)]
            if prepared.recurrent is not None and step:
                sums.append(prepared.recurrent.deliver(spikes[step - 1 : step])[0])
            try:
                neurons.step(sums, spikes[step])
            except UserError as error:
                raise UserError(f"step {step + 1}: {error}") from None
            if traces.u is not None and neurons.u is not None:
                traces.u[step, part] = neurons.u
            if traces.v is not None:
                np.negative(neurons.minus_v, out=traces.v[step, part], casting="unsafe")


def _constants(prepared: Prepared, drive: Drive, part: slice, *, keep_current: bool) -> NeuronConstants:
    arriving = [*(delivery for _, delivery in prepared.afferents), *filter(None, [prepared.recurrent])]
    largest, parameters = sum(delivery.largest for delivery in arriving), prepared.parameters
    if drive.current is not None:
        largest += max(int(drive.current.max()), -int(drive.current.min()))
    if drive.bias is not None:
        parameters = replace(parameters, bias=drive.bias[part])
    return NeuronConstants(parameters, largest_sum=largest, keep_current=keep_current)


def _arriving(prepared: Prepared, fired: Mapping[int, NDArray[Any]], part: slice, start: int, stop: int) -> list[_Arriving]:
    arriving = []
    for source, delivery in prepared.afferents:
        late = delivery.delay + 1
        first, last = max(0, start - late), max(0, stop - late)
        if last > first:
            arriving.append(_Arriving(first + late, delivery.deliver(fired[source][first:last, part])))
    return arriving
