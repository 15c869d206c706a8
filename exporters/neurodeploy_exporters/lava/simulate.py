"""Runs a chain or a circuit as Lava's fixed-point CPU simulation does, bit for bit, for whole batches.

Nothing flows back, so each population is computed for all steps before the next one (`engine`). The samples of a batch do not
see each other: they are shared out among the threads that torch may use, and taken a few at a time to bound the memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit
from neurodeploy_exporters.lava.connection import Shape
from neurodeploy_exporters.lava.engine import Drive, Prepared, Traces, prepare, run
from neurodeploy_exporters.lava.fields import MESSAGE_BITS
from neurodeploy_exporters.lava.layers import FlattenLayer
from neurodeploy_exporters.lava.network import Network, Skip
from neurodeploy_exporters.lava.sigmadelta import are_graded, run_graded

Mode = Literal["spikes", "bias", "ain"]
_MODES = ("spikes", "bias", "ain")
_DTYPES: dict[str, Any] = {"s": np.bool_, "u": np.int32, "v": np.int32}
_CHUNK = 1 << 26  # spikes of one population that are held at once by a thread, over samples and steps
_SHARE = 1 << 21  # neuron updates that are worth a thread


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
    Sigma-delta networks are run likewise (`sigmadelta`): "s" are graded messages, "u" what a neuron has added up, "v" its
    activation, all int32; delta encoders take their input in mode "ain", nothing is reset, and a network without them takes
    graded messages where input_message_bits is above 0, as after an input layer that is skipped.

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
    if skip_layers and network.graded and network.has_input_neurons:
        input_message_bits = input_message_bits or MESSAGE_BITS  # netx remembers those of the layer that it leaves out
    if skip_layers or num_layers is not None:
        network = network.part(skip_layers=skip_layers, num_layers=num_layers)
    values = _whole(inputs)
    if input_shape is None and network.input_shape is None:
        input_shape = values.shape[1 if mode == "bias" else 2 :]
        if isinstance(network.layers[0], FlattenLayer):
            input_shape = (int(np.prod(input_shape)),)
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
    if mode != "bias":
        values = _pad(values, steps)
    if mode == "spikes" and not message_bits:
        values = values != 0
    if mode != "spikes":
        with _named(places[0]):
            _check_drive(values, mode)
    if are_graded(circuit.populations):
        return _run_graded(circuit, places, values, steps, mode, interval, record)
    peak, first = _largest(values), 0 if circuit.has_input_neurons else 1
    with _one_thread_each() as threads, torch.autocast("cpu", enabled=False):  # autocast would round the sums
        populations = []
        for index, depth in enumerate(circuit.depths):
            with _named(places[index]):
                populations.append(prepare(circuit, index, peak, _resets(steps, depth - first, interval, offset)))
        recorded = {
            f"{population.key}_{what}": np.empty((steps, values.shape[1], *population.shape), _DTYPES[what])
            for population in populations
            for what in record
        }
        entering = np.ascontiguousarray(np.moveaxis(values, 2, -1))  # channels last
        readers = {synapse.source: synapse.target for synapse in sorted(circuit.synapses, key=lambda synapse: synapse.target)}
        job = _Job(populations, places, entering, mode, steps, readers, recorded)
        sizes, batch = [int(np.prod(population.shape)) for population in populations], values.shape[1]
        threads = max(1, min(threads, batch, batch * steps * sum(sizes) // _SHARE))
        _in_chunks(job, batch, max(1, _CHUNK // (steps * max(sizes))), threads)
    return {key: _ours(array) for key, array in recorded.items()}


def _run_graded(
    circuit: Circuit,
    places: Sequence[str],
    values: NDArray[Any],
    steps: int,
    mode: Mode,
    interval: int | None,
    record: Sequence[str],
) -> dict[str, NDArray[Any]]:
    if mode == "bias":
        raise UserError("mode: 'bias' found with delta encoders, whose input is a current: ain expected")
    if interval is not None:
        raise UserError("reset: found with sigma-delta neurons, which Lava does not reset; leave it out")
    entering = np.ascontiguousarray(np.moveaxis(values, 2, -1)).astype(np.int64)
    recorded = run_graded(circuit, entering, steps, record, lambda index: _named(places[index]))
    return {key: _ours(array) for key, array in recorded.items()}


@dataclass(frozen=True, eq=False)
class _Job:
    """A run, to be called for one part of the batch after another.

    Attributes:
        populations, places: of the circuit, and their names in messages.
        entering: `[T, B, …]`, or `[1, B, …]` in mode "bias", channels last.
        mode, steps: of the run.
        last_reader: source → the last population that reads it.
        recorded: what is asked for, channels last; a call fills the places of its samples.
    """

    populations: Sequence[Prepared]
    places: Sequence[str]
    entering: NDArray[Any]
    mode: Mode
    steps: int
    last_reader: Mapping[int, int]
    recorded: Mapping[str, NDArray[Any]]

    def __call__(self, samples: slice) -> None:
        part = self.entering[:, samples]
        drive = {"bias": Drive(bias=part[0]), "ain": Drive(current=part), "spikes": Drive()}[self.mode]
        fired = {INPUT: part}
        for index, population in enumerate(self.populations):
            traces = self._traces(population, samples, part.shape[1])
            with _named(self.places[index]):
                run(population, fired, Drive() if index else drive, traces)
            fired[index] = traces.s
            # what nobody reads any more is let go: spikes of all populations at once would be the larger part of the memory
            fired = {source: spikes for source, spikes in fired.items() if self.last_reader.get(source, INPUT) > index}

    def _traces(self, population: Prepared, samples: slice, batch: int) -> Traces:
        """Where the states go: into the recording, and spikes that nobody records anywhere else."""
        keys = {what: f"{population.key}_{what}" for what in _DTYPES}
        parts = {what: self.recorded[key][:, samples] for what, key in keys.items() if key in self.recorded}
        spikes = parts.pop("s", None)
        return Traces(np.empty((self.steps, batch, *population.shape), np.bool_) if spikes is None else spikes, **parts)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Puts the place in front of an error's message."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _in_chunks(run_samples: Callable[[slice], None], batch: int, most: int, threads: int) -> None:
    """Call `run_samples` for consecutive parts of the batch of at most `most` samples, in some threads."""
    size = min(most, -(-batch // threads))
    chunks = [slice(start, min(start + size, batch)) for start in range(0, batch, size)]
    if threads == 1:
        for chunk in chunks:
            run_samples(chunk)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run_samples, chunks))  # the list raises what a thread has raised


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Lets each thread run torch's operations alone, and tells how many threads torch might have used.

    Threads of torch wait for each other after every operation; the samples of a batch need not.
    """
    allowed = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield allowed
    finally:
        torch.set_num_threads(allowed)


def _ours(array: NDArray[Any]) -> NDArray[Any]:
    """`[T, B, H, W, C]` → a view `[T, B, C, H, W]`; spikes as uint8."""
    values = array.view(np.uint8) if array.dtype == np.bool_ else array
    return np.moveaxis(values, -1, 2) if values.ndim == 5 else values


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
        broken = ~(np.isfinite(values) & (values == np.rint(values)))
        if broken.any():
            place = [int(number) for number in np.argwhere(broken)[0]]
            raise UserError(f"input: {values[tuple(place)]} at {place} found, whole numbers expected")
        if values.size and np.abs(values).max() > np.iinfo(np.int32).max:  # before int64 turns some of them round
            raise UserError("input: a number beyond 32 bits found")
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub":
        raise UserError(f"input: {values.dtype} found, whole numbers expected")
    if values.size and _largest(values) > np.iinfo(np.int32).max:
        raise UserError("input: a number beyond 32 bits found")
    return values


def _largest(values: NDArray[Any]) -> int:
    """Largest magnitude of integers or booleans."""
    return max(int(values.max()), -int(values.min()))


def _pad(values: NDArray[Any], steps: int) -> NDArray[Any]:
    missing = steps - len(values)  # np.pad would copy even for none
    return values[:steps] if missing <= 0 else np.pad(values, [(0, missing), *[(0, 0)] * (values.ndim - 1)])


def _check_drive(values: NDArray[Any], mode: Mode) -> None:
    """Refuse what the input neurons cannot receive."""
    if mode == "ain" and _largest(values) >= 1 << 24:
        raise UserError("input: a current of 2^24 or more found, which Lava's 32-bit integers do not hold after the shift")
    if mode == "bias" and (values.min() < -(1 << 15) or values.max() >= 1 << 15):
        raise UserError(f"input: biases from {values.min()} to {values.max()} found, 16-bit numbers expected")


def _resets(steps: int, index: int, interval: int | None, offset: int) -> frozenset[int]:
    return frozenset(k for k in range(steps) if interval and (k + 1) % interval == (offset + 1 + index) % interval)
