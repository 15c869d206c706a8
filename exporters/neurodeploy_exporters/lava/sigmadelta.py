"""Sigma-delta networks (SDNN): neurons that send what their activation has changed by, as graded messages.

Source: lava-nc, `lava.proc.sdn` (PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed), which netx runs; its messages
and states were compared with those of `run_graded` value by value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Population, Synapse
from neurodeploy_exporters.lava.connection import Convolution, Integers
from neurodeploy_exporters.lava.layers import SigmaDeltaConstants
from neurodeploy_exporters.lava.mapping.usage import geometry
from neurodeploy_exporters.lava.population import deliveries

State: TypeAlias = tuple[Integers, Integers, Integers]
"""σ, the activation and what was held back: sigma, act and residue."""

_SPIKE_EXP, _STATE_EXP = 6, 6  # netx's own; a state has both, a message the first
_UNIT = 1 << _SPIKE_EXP + _STATE_EXP
INT32 = (1 << 31) - 1
"""The largest number that Lava's states hold."""


def sigma_delta_step(state: State, a: Integers, constants: SigmaDeltaConstants, bias: Integers | int) -> tuple[Integers, State]:
    """One time step.

    ```
    σ' = σ + a                          delta: the activation is 4096 a;  sigma: σ' itself is sent
    x  = max(σ' + 4096 bias, 0)
    δ  = x − act + residue
    s  = δ if |δ| ≥ 4096 vThMant else 0
    residue' = δ − s;   act' = x;   the message is s >> 6
    ```

    Args:
        state: after the previous step, 64-bit integers.
        a: what the synapses deliver, or the input of a delta encoder.
        constants: threshold and role.
        bias: broadcasts against the state.

    Returns:
        Messages, and the state after the step.
    """
    sigma, act, residue = state
    if constants.role == "delta":
        x = a * _UNIT
    else:
        sigma = sigma + a
        if constants.role == "sigma":
            return sigma, (sigma, act, residue)
        x = np.maximum(sigma + np.multiply(bias, _UNIT), 0)
    delta = x - act + residue
    sent = np.where(np.abs(delta) >= np.multiply(constants.threshold, _UNIT), delta, 0)
    return sent >> _STATE_EXP, (sigma, x, delta - sent)


def run_graded(
    circuit: Circuit,
    inputs: Integers,
    steps: int,
    record: Sequence[str],
    named: Callable[[int], AbstractContextManager[None]],
) -> dict[str, NDArray[np.int32]]:
    """Run a sigma-delta network, population after population.

    Args:
        circuit: all of whose neurons are sigma-delta ones.
        inputs: messages `[T, B, H, W, C]` or `[T, B, N]`, or what delta encoders encode; as long as the run.
        steps: T.
        record: "s" (messages), "u" (σ), "v" (the activation).
        named: puts a population's place in front of an error's message.

    Returns:
        As `simulate`, channels last, int32.

    Raises:
        UserError: a value leaves Lava's 32-bit integers.
    """
    fired: dict[int, Integers] = {INPUT: inputs.astype(np.int64)}
    recorded: dict[str, NDArray[np.int32]] = {}
    for index, population in enumerate(circuit.populations):
        with named(index):
            traces = _traces(circuit, index, fired, steps)
        fired[index] = traces["s"]
        recorded |= {f"{population.key}_{what}": traces[what].astype(np.int32) for what in record}
    return recorded


def _traces(circuit: Circuit, index: int, fired: Mapping[int, Integers], steps: int) -> dict[str, Integers]:
    population, synapses = circuit.populations[index], circuit.into(index)
    constants = population.neuron
    assert isinstance(constants, SigmaDeltaConstants)
    batch = fired[INPUT].shape[1]
    whole = (steps, batch, *population.shape[1:], population.shape[0])
    total = np.zeros(whole, np.int64)
    if not synapses:
        total += fired[INPUT]
    for synapse in synapses:
        total[1:] += _sums(synapse, circuit, fired[synapse.source])[:-1]
    bias: Any = 0 if population.bias is None else np.moveaxis(population.bias, 0, -1)
    state: State = (np.zeros(whole[1:], np.int64), np.zeros(whole[1:], np.int64), np.zeros(whole[1:], np.int64))
    traces = {what: np.zeros(whole, np.int64) for what in "suv"}
    for step in range(steps):
        traces["s"][step], state = sigma_delta_step(state, total[step], constants, bias)
        traces["u"][step], traces["v"][step] = state[:2]
        if max(int(np.abs(each).max()) for each in state) > INT32:
            raise UserError(f"step {step + 1}: a state left Lava's 32 bits; use smaller inputs or weights")
    return traces


def _sums(synapse: Synapse, circuit: Circuit, messages: Integers) -> Integers:
    """What a synapse delivers for the messages of every step, `[T, B, *target]`."""
    source, peak = circuit.shape_of(synapse.source), max(1, int(np.abs(messages).max()))
    if isinstance(synapse.connection, Convolution):
        (delivery,) = deliveries(synapse.connection, source, peak)
        return np.rint(delivery.deliver(messages) / 64).astype(np.int64)
    weight = synapse.connection.weight
    if len(source) == 3:  # columns are in the order of (C, H, W)
        weight = weight.reshape(-1, *source).transpose(0, 2, 3, 1).reshape(weight.shape)
    # float64 products are whole as long as they stay within 53 bits, and far faster than those of integers
    sums = messages.reshape(*messages.shape[:2], -1).astype(np.float64) @ weight.T.astype(np.float64)
    check_sums(float(np.abs(sums).max()), weight)
    return np.rint(sums).astype(np.int64)


def check_sums(largest: float, weight: Integers) -> None:
    """Raises UserError where Lava's integers do not hold the sums of a matrix; `largest` of their sizes."""
    if largest * _packed(weight) > INT32:
        raise UserError(f"sums up to {largest:.0f} found, which leave Lava's 32 bits; use smaller inputs or weights")


def _packed(weight: Integers) -> int:
    """The power of two by which netx enlarges the weights of a matrix before it multiplies, and divides the sums after it."""
    low, high = int(weight.min()), int(weight.max())
    mixed = low < 0 < high
    scales = ([127 / high] if high > 0 else []) + ([-128 / low] if low < 0 else [])
    room = min(scales) if mixed else (255 / high if low >= 0 else -256 / low)
    return 1 << max(0, int(np.floor(np.log2(room))) + mixed)


def are_graded(populations: Sequence[Population]) -> bool:
    """Whether all neurons are sigma-delta ones."""
    return all(isinstance(population.neuron, SigmaDeltaConstants) for population in populations)


def counted(circuit: Circuit, fired: Mapping[str, NDArray[Any]], inputs: NDArray[Any]) -> Iterator[tuple[str, int, int, int]]:
    """What a run has sent and computed, spikes and graded messages alike.

    Args:
        circuit: that was run.
        fired: population → messages `[T, B, C, H, W]` or `[T, B, N]`; what is not 0 is sent.
        inputs: messages of the input, likewise; unused with input neurons.

    Yields:
        Of each population: its key, the messages that it sent, its synaptic operations (synapses that a message reached, but
        for weights of 0 and places outside an image), and the products that a dense layer would have computed.
    """
    for index, population in enumerate(circuit.populations):
        sent, operations, dense = int(np.count_nonzero(fired[population.key])), 0, 0
        for synapse in circuit.into(index):
            source = inputs if synapse.source == INPUT else fired[circuit.populations[synapse.source].key]
            shape = circuit.shape_of(synapse.source)
            arrived = (source.reshape(*source.shape[:2], *shape) != 0).sum((0, 1))
            operations += int((arrived * _fan_out(synapse, shape)).sum())
            places = int(np.prod(population.shape[1:]))
            dense += source.shape[0] * source.shape[1] * places * synapse.connection.weight.size
        yield population.key, sent, operations, dense


def _fan_out(synapse: Synapse, shape: tuple[int, ...]) -> Integers:
    """Synapses of every source neuron, `[*shape]`."""
    connection = synapse.connection
    target = connection.output_shape(shape)
    reach = geometry(connection, shape)(tuple((0, size) for size in target))
    counts = np.zeros(shape, np.int64)
    counts[reach.place] = reach.counts
    return counts
