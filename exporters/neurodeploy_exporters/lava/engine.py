"""Runs the populations of a circuit one after another, each for all steps, in blocks that stay in the processor's cache.

Inside, channels are the last axis, `(H, W, C)`: there the convolutions are fastest, and what is the same for all neurons of a
channel lies along the innermost axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from neurodeploy.errors import UserError
from neurodeploy.fixed_point import CubaParameters
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Population
from neurodeploy_exporters.lava.neurons import NeuronConstants, Neurons
from neurodeploy_exporters.lava.synapse import Delivery, deliveries, recurrent
from neurodeploy_exporters.lava.values import Shape

_BLOCK = 1 << 21  # values of a block: what its synapses deliver, over some steps and samples


@dataclass(frozen=True, eq=False)
class Afferent:
    """Synapses with one delay on a population, and the population (or `INPUT`) that they read."""

    source: int
    delivery: Delivery


@dataclass(frozen=True, eq=False)
class Prepared:
    """A population ready to run.

    Attributes:
        key: its name in recordings.
        shape: channels last.
        parameters: of its neurons, channels last.
        afferents: what it receives from others.
        recurrent: what it receives from itself, or None.
        resets: steps, from 0, before whose update u and v are cleared.
    """

    key: str
    shape: Shape
    parameters: CubaParameters
    afferents: tuple[Afferent, ...]
    recurrent: Delivery | None
    resets: frozenset[int]


@dataclass(frozen=True, eq=False)
class Traces:
    """Where a population's states go, each `[T, B, *shape]`, channels last.

    Attributes:
        s: spikes, boolean.
        u, v: int32, or None where nobody wants them.
    """

    s: Tensor
    u: Tensor | None = None
    v: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Drive:
    """What input neurons receive, channels last.

    Attributes:
        bias: `[B, *shape]`, the same in every step, or None.
        current: `[T, B, *shape]`, or None.
    """

    bias: Tensor | None = None
    current: Tensor | None = None


def channels_last(shape: Shape) -> Shape:
    """`(C, H, W)` → `(H, W, C)`; `(N,)` stays."""
    return (*shape[1:], shape[0])


def prepare(circuit: Circuit, index: int, peak: int, resets: frozenset[int]) -> Prepared:
    """Make a population ready.

    Args:
        peak: largest magnitude of the circuit's input messages.
        resets: see `Prepared`.

    Raises:
        UserError: a sum could exceed what Lava's integers hold.
    """
    population = circuit.populations[index]
    afferents = []
    for synapse in circuit.into(index):
        source = circuit.input_shape if synapse.source == INPUT else circuit.populations[synapse.source].shape
        messages = peak if synapse.source == INPUT else 1
        found = deliveries(synapse.connection, source, messages, synapse.delay)
        afferents += [Afferent(synapse.source, delivery) for delivery in found]
    return Prepared(
        key=population.key,
        shape=channels_last(population.shape),
        parameters=_parameters(population),
        afferents=tuple(afferents),
        recurrent=None if population.recurrent is None else recurrent(population.recurrent),
        resets=resets,
    )


def _parameters(population: Population) -> CubaParameters:
    neuron, bias = population.neuron, population.bias
    if bias is None:
        return CubaParameters(neuron.i_decay, neuron.v_decay, neuron.threshold)
    return CubaParameters(neuron.i_decay, neuron.v_decay, neuron.threshold, np.moveaxis(bias, 0, -1))


def run(prepared: Prepared, fired: Mapping[int, Tensor], drive: Drive | None, traces: Traces) -> None:
    """Run a population for all steps; fills `traces`.

    Args:
        fired: messages of every source, `[T, B, *shape]`, channels last.
        drive: for input neurons.

    Raises:
        UserError: a value leaves the range of Lava's integers.
    """
    steps, batch = traces.s.shape[:2]
    sources = [fired[afferent.source][0, 0].numel() for afferent in prepared.afferents]
    size = max([traces.s[0, 0].numel(), *sources])
    samples = max(1, _BLOCK // (steps * size))
    span = max(1, _BLOCK // (samples * size))
    for first in range(0, batch, samples):
        part = slice(first, first + samples)
        _run_block(prepared, fired, drive, traces, part, span)


@dataclass(eq=False)
class _Sums:
    """What arrives in a span of steps: `steps[i]` in step `first + i`."""

    first: int = 0
    steps: Sequence[Tensor] = field(default_factory=tuple)

    def at(self, step: int) -> Tensor | None:
        return self.steps[step - self.first] if 0 <= step - self.first < len(self.steps) else None


def _run_block(
    prepared: Prepared, fired: Mapping[int, Tensor], drive: Drive | None, traces: Traces, part: slice, span: int
) -> None:
    spikes = traces.s[:, part]
    steps = len(spikes)
    neurons = Neurons(_constants(prepared, drive, part, keep_current=traces.u is not None), tuple(spikes.shape[1:]))
    for start in range(0, steps, span):
        stop = min(start + span, steps)
        arriving = [_arriving(afferent, fired[afferent.source][:, part], start, stop) for afferent in prepared.afferents]
        if drive is not None and drive.current is not None:
            arriving.append(_Sums(start, (64 * drive.current[start:stop, part].to(neurons.constants.dtype)).unbind()))
        for step in range(start, stop):
            if step in prepared.resets:
                neurons.reset()
            sums = [found for each in arriving if (found := each.at(step)) is not None]
            if prepared.recurrent is not None and step:
                sums.append(prepared.recurrent.deliver(spikes[step - 1 : step])[0])
            try:
                neurons.step(sums, spikes[step])
            except UserError as error:
                raise UserError(f"step {step + 1}: {error}") from None
            if traces.u is not None and neurons.u is not None:
                traces.u[step, part].copy_(neurons.u)
            if traces.v is not None:
                traces.v[step, part].copy_(neurons.minus_v).neg_()


def _constants(prepared: Prepared, drive: Drive | None, part: slice, *, keep_current: bool) -> NeuronConstants:
    found = [*(afferent.delivery for afferent in prepared.afferents), *filter(None, [prepared.recurrent])]
    largest, parameters = sum(delivery.largest for delivery in found), prepared.parameters
    if drive is not None and drive.current is not None:
        largest += int(drive.current.abs().max())
    if drive is not None and drive.bias is not None:
        bias: Any = drive.bias[part].numpy()
        parameters = CubaParameters(parameters.i_decay, parameters.v_decay, parameters.threshold, bias)
    return NeuronConstants(parameters, largest_sum=largest, keep_current=keep_current)


def _arriving(afferent: Afferent, messages: Tensor, start: int, stop: int) -> _Sums:
    late = afferent.delivery.delay + 1
    first, last = max(0, start - late), max(0, stop - late)
    return _Sums(first + late, afferent.delivery.deliver(messages[first:last]).unbind()) if last > first else _Sums()
