"""Runs a `.net` network as Lava's fixed-point CPU simulation does, bit for bit, for whole batches.

Because the network is a chain, each block is computed for all steps before the next one: first what its synapses deliver, as
one convolution or matrix product over time, then the neurons step by step through `neurodeploy.fixed_point.cuba_step`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import UserError
from neurodeploy.fixed_point import CubaParameters, cuba_step
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Population
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.skip import Skip
from neurodeploy_exporters.lava.synapse import deliver, recurrent
from neurodeploy_exporters.lava.values import Integers, Shape

Mode = Literal["spikes", "bias", "ain"]
_MODES = ("spikes", "bias", "ain")
_DTYPES: dict[str, Any] = {"s": np.uint8, "u": np.int32, "v": np.int32}


def simulate(
    network: Network,
    inputs: NDArray[Any],
    steps: int,
    *,
    mode: Mode = "spikes",
    reset_interval: int | None = None,
    reset_offset: int = 0,
    skip_layers: int = 0,
    num_layers: int | None = None,
    input_shape: Shape | None = None,
    input_message_bits: int = 0,
    skips: Sequence[Skip | Mapping[str, Any]] = (),
    record: Sequence[str] = ("s", "u", "v"),
) -> dict[str, NDArray[Any]]:
    """Run `steps` time steps, starting from u = v = 0. Index k of a time axis is Lava's step k + 1.

    Every synapse takes one step: what a block fires in step t reaches the next one in step t + 1 (+ the synapse's delay).
    Biases act from the first step on. With reset interval I and offset O, block i sets u and v to 0 before its update in
    every step t = 1, 2, … with `t % I == (O + 1 + i) % I`; what its synapses deliver in that step still counts.

    Args:
        network: the chain of layers.
        inputs: whole numbers `[T, B, C, H, W]` or `[T, B, N]`, followed by zeros where the run is longer; in mode "bias"
            without the time axis. A network whose input is `(N,)` takes any sample of N values, in C order.
        steps: number of steps.
        mode: "spikes" drives the first synapse (the network must not begin with input neurons); "bias" is the constant bias
            of the input neurons, 16-bit; "ain" is added to their current, shifted left by 6.
        reset_interval, reset_offset: I and O; no reset if I is None.
        skip_layers, num_layers: first layer, and the layer to stop before, both counted as in the file.
        input_shape: of one sample and step, where the file begins with a convolution; that of `inputs` if None.
        input_message_bits: 0 takes every non-zero input for one spike; above 0 the value multiplies the weight.
        skips: further synapses between blocks, see `Network.circuit`.
        record: any of "s" (spikes), "u" (synaptic current), "v" (membrane potential), at the end of each step.

    Returns:
        `L{i}_{Input|Conv|Dense|RecurrentDense}_{s|u|v}` → `[steps, B, *shape]`; s: uint8, u and v: int32.

    Raises:
        UserError: the inputs do not fit the network or the mode, or a value leaves the range of Lava's integers.
    """
    if skip_layers or num_layers is not None:
        network = network.part(skip_layers=skip_layers, num_layers=num_layers)
    values = _whole(inputs)
    if input_shape is None and network.input_shape is None:
        input_shape = values.shape[1 if mode == "bias" else 2 :]
    circuit = network.circuit(skips, input_shape)
    places = [f"/layer/{block.position} ({block.key})" for block in network.blocks()]
    return _run(circuit, places, values, steps, mode, reset_interval, reset_offset, input_message_bits, record)


def simulate_circuit(
    circuit: Circuit,
    inputs: NDArray[Any],
    steps: int,
    *,
    mode: Mode = "spikes",
    reset_interval: int | None = None,
    reset_offset: int = 0,
    input_message_bits: int = 0,
    record: Sequence[str] = ("s", "u", "v"),
) -> dict[str, NDArray[Any]]:
    """Run a circuit; arguments and result as for `simulate`, keys are those of the populations.

    The reset is staggered by depth: a population is cleared in the steps t with `t % I == (O + 1 + i) % I`, where i is the
    number of synapses on its longest way from the first population that has one, or from the input neurons.

    Raises:
        UserError: the inputs do not fit the circuit or the mode, or a value leaves the range of Lava's integers.
    """
    places = [f"/population/{index} ({population.key})" for index, population in enumerate(circuit.populations)]
    values = _whole(inputs)
    return _run(circuit, places, values, steps, mode, reset_interval, reset_offset, input_message_bits, record)


def _run(
    circuit: Circuit,
    places: Sequence[str],
    values: NDArray[Any],
    steps: int,
    mode: Mode,
    interval: int | None,
    offset: int,
    message_bits: int,
    record: Sequence[str],
) -> dict[str, NDArray[Any]]:
    _check_options(circuit, steps, mode, interval, offset, record)
    values = shaped_input(values, circuit, leading=1)[None] if mode == "bias" else shaped_input(values, circuit, leading=2)
    values = values if mode == "bias" else _pad(values, steps)
    messages: Any = values.astype(np.int64) if message_bits else (values != 0).astype(np.uint8)
    fired: dict[int, Any] = {INPUT: messages}
    recorded: dict[str, NDArray[Any]] = {}
    first = 0 if circuit.has_input_neurons else 1
    for index, population in enumerate(circuit.populations):
        resets = _resets(steps, circuit.depths[index] - first, interval, offset)
        try:
            if circuit.into(index):
                delivered: Any = sum(
                    deliver(synapse.connection, fired[synapse.source], population.shape, synapse.delay)
                    for synapse in circuit.into(index)
                )
                bias = _per_neuron(population.bias, population.shape)
            else:
                delivered, bias = _input_drive(values, mode, steps)
            fired[index] = _run_population(population, delivered, bias, resets, record, recorded)
        except UserError as error:
            raise UserError(f"{places[index]}: {error}") from None
    return recorded


def shaped_input(values: NDArray[Any], network: Network | Circuit, *, leading: int) -> NDArray[Any]:
    """Give `values` the network's input shape after the first `leading` axes.

    A network whose input is `(N,)` takes any sample of N values, in C order; one whose input is `(C, L, 1)` takes `(C, L)`.

    Raises:
        UserError: the samples do not have that shape.
    """
    if values.ndim <= leading or 0 in values.shape:
        raise UserError(f"input: shape {values.shape} found, {leading} leading axes (time, batch) and a sample expected")
    given, wanted = values.shape[leading:], network.input_shape
    if wanted is None:
        return values
    flattens = len(wanted) == 1 and int(np.prod(given)) == wanted[0]
    if given != wanted and not flattens and (*given, 1) != wanted:
        raise UserError(f"input: samples of shape {given} found, {wanted} expected")
    return values.reshape(*values.shape[:leading], *wanted)


def _check_options(circuit: Circuit, steps: int, mode: str, interval: int | None, offset: int, record: Sequence[str]) -> None:
    if set(record) - set(_DTYPES):
        raise UserError(f"record: {', '.join(record)} found, any of s, u, v expected")
    if steps < 1:
        raise UserError(f"steps: {steps} found, at least 1 expected")
    if (interval is not None and interval < 1) or offset < 0:
        raise UserError(f"reset: interval {interval} and offset {offset} found, at least 1 and 0 expected")
    if mode not in _MODES:
        raise UserError(f"mode: {mode!r} found, {', '.join(_MODES)} expected")
    if (mode == "spikes") == circuit.has_input_neurons:
        neurons, fitting = ("input neurons", "bias or ain") if circuit.has_input_neurons else ("no input neurons", "spikes")
        raise UserError(f"mode: {mode!r} found, but the network has {neurons}: {fitting} expected")


def _whole(inputs: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(inputs)
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
            raise UserError("input: fractions found, whole numbers expected")
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub":
        raise UserError(f"input: {values.dtype} found, whole numbers expected")
    if values.size and np.abs(values.astype(np.int64)).max() > np.iinfo(np.int32).max:
        raise UserError("input: a number beyond 32 bits found")
    return values


def _pad(values: NDArray[Any], steps: int) -> NDArray[Any]:
    missing = max(0, steps - len(values))
    return np.pad(values[:steps], [(0, missing), *[(0, 0)] * (values.ndim - 1)])


def _input_drive(values: NDArray[Any], mode: Mode, steps: int) -> tuple[Integers, Any]:
    """What the input neurons receive in every step `[steps, B, …]`, and their bias."""
    if mode == "ain":
        if np.abs(values.astype(np.int64)).max() >= 1 << 24:
            raise UserError("input: a current of 2^24 or more found, which Lava's 32-bit integers do not hold after the shift")
        return values.astype(np.int64), 0
    bias = values[0].astype(np.int64)
    if bias.min() < -(1 << 15) or bias.max() >= 1 << 15:
        raise UserError(f"input: biases from {bias.min()} to {bias.max()} found, 16-bit numbers expected")
    return np.broadcast_to(np.zeros((), np.int64), (steps, *bias.shape)), bias


def _per_neuron(constant: int | Integers | None, shape: Shape) -> Any:
    """A layer's constant so that it broadcasts against the state `[B, *shape]`."""
    if constant is None:
        return 0
    if np.ndim(constant) == 1 and len(shape) == 3:
        return np.asarray(constant)[:, None, None]
    return constant


def _resets(steps: int, index: int, interval: int | None, offset: int) -> frozenset[int]:
    if interval is None:
        return frozenset()
    return frozenset(k for k in range(steps) if (k + 1) % interval == (offset + 1 + index) % interval)


def _run_population(
    population: Population,
    delivered: Integers,
    bias: Any,
    resets: frozenset[int],
    record: Sequence[str],
    recorded: dict[str, NDArray[Any]],
) -> NDArray[np.uint8]:
    """The neurons of a population over all steps; fills `recorded` and returns the spikes."""
    neuron, shape = population.neuron, population.shape
    parameters = CubaParameters(
        i_decay=_per_neuron(neuron.i_decay, shape),
        v_decay=_per_neuron(neuron.v_decay, shape),
        threshold=neuron.threshold,
        bias=bias,
    )
    kept = {what: np.empty(delivered.shape, _DTYPES[what]) for what in {*record, "s"}}
    weight_rec = population.recurrent
    u: Any = np.zeros(delivered.shape[1:], np.int64)
    v: Any = np.zeros_like(u)
    s: Any = np.zeros_like(u)
    # the one wrap per step holds u within 24 bits unless a step adds more than 2^24, that is, a sum beyond 2^18
    may_leave = weight_rec is not None or bool(np.abs(delivered).max() > 1 << 18)
    for k, a in enumerate(delivered):
        if k in resets:
            u, v = np.zeros_like(u), np.zeros_like(v)
        if weight_rec is not None:
            a = a + recurrent(weight_rec, s)
        s, u, v = cuba_step(u, v, a, parameters)
        if may_leave and np.abs(u).max() > np.iinfo(np.int32).max:
            raise UserError(f"step {k + 1}: the current left Lava's 32 bits; use smaller weights or messages")
        for what, state in (("s", s), ("u", u), ("v", v)):
            if what in kept:
                kept[what][k] = state
    recorded.update({f"{population.key}_{what}": kept[what] for what in record})
    return kept["s"]
