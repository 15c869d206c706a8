"""A body for Loihi on the Loihi of SANA-FE: in the cores of our map, our spikes entering, and its spikes held against ours.

What SANA-FE's neurons compute is what the chip's do where a current lasts for one step (iDecay 4096): the potential decays and
is cut to 1/64 towards zero, current and bias add, it fires above the threshold and starts again from 0; a message takes one
step. Currents that stay, and delays, are the runner's. What still differed, such as a convolution's sums beyond 24 bits, would
show as spikes that differ, and is counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit
from neurodeploy_exporters.lava.connection import Integers, Matrix
from neurodeploy_exporters.lava.mapping import Mapping as ChipMapping
from neurodeploy_exporters.lava.mapping import load, map_circuit
from neurodeploy_exporters.lava.mapping.result import faults
from neurodeploy_exporters.lava.pipeline import kept_between_samples
from neurodeploy_exporters.lava.sanafe.job import Job, JobConnection, JobGroup, JobResult, JobRun, StepTrace
from neurodeploy_exporters.lava.sanafe.program import NAME, available_bytes, find_program, run_job
from neurodeploy_exporters.lava.sanafe.synapses import expanded, fan_out, unit_of
from neurodeploy_exporters.lava.simulate import shaped_input, simulate_circuit
from neurodeploy_exporters.simulation import ChipPhase, ChipSimulation, SimulatedSpikes, Simulator

_CHIP = "loihi1"
_PER_TILE = 4  # cores, of the Loihi of SANA-FE and of the chip
_HEIGHT = 4  # tiles of one chip's mesh, which is 8 wide
_BYTES = 900  # of memory that SANA-FE 2.2.0 takes for a synapse, rounded up from 810 in a network of 8.5 million
_SHARE = 0.8  # of the memory that is there, at most
_AGAIN = 3  # runs, until every neuron that fires had its synapses
_DIRECT_DRIVE = 1  # as in `pipeline`
_SOURCE = (
    "Boyle et al., SANA-FE, IEEE TCAD 44(8), 2025, doi:10.1109/TCAD.2025.3537971; its own loihi.yaml, SHA-256 {}…, with "
    "constants after Davies et al., IEEE Micro 38(1), 2018"
)


def simulate_body(
    circuit: Circuit, spikes: NDArray[Any], simulator: Simulator, *, origin: str, names: Mapping[str, str] | None = None
) -> ChipSimulation:
    """Run a body in SANA-FE: every sample alone, then one after the other.

    Args:
        circuit: a body, without input neurons.
        spikes: `[T, B, …]`, 0 or 1, what enters it.
        simulator: where SANA-FE is.
        origin: of the body, for messages.
        names: key of a population → name of its layer; others, such as read-out neurons, are not in the answer's layers. All of
            them under their keys if None.

    Raises:
        UserError: SANA-FE cannot be used, the body does not fit on the chip, or needs more memory than there is.
        Failure: SANA-FE fails or takes too long.
    """
    if simulator.name != NAME:
        raise UserError(f"--simulator: {simulator.name!r} found; for Loihi there is: {NAME}")
    program = find_program(simulator)  # first: what follows takes its time
    with _named(origin):
        values = _checked(circuit, spikes)
        mapping = map_circuit(circuit, load(_CHIP))
        if mapping.verdict == "does not fit":
            raise UserError(f"does not fit on {mapping.chip.title}, and cannot be simulated there: {faults(mapping)[0]}")
        plan = _Plan(circuit, mapping, values)
        active = plan.active
        _check_size(circuit, active)
    result = run_job(program, plan.job(active), simulator.seconds)
    for _ in range(_AGAIN):
        fired = [_neurons(result, group, size) for group, size in enumerate(plan.sizes)]
        if all((seen <= known).all() for seen, known in zip(fired, active, strict=True)):
            break
        active = [known | seen for known, seen in zip(active, fired, strict=True)]
        result = run_job(program, plan.job(active), simulator.seconds)
    return _answer(plan, result, active, names)


@contextmanager
def _named(origin: str) -> Iterator[None]:
    """Puts the origin in front of an error's message."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None


def _checked(circuit: Circuit, spikes: NDArray[Any]) -> NDArray[np.bool_]:
    if circuit.has_input_neurons:
        raise UserError("it begins with input neurons, which a bias or current drives; a body that spikes enter expected")
    _ = [population.cuba for population in circuit.populations]  # others are refused by name
    values = shaped_input(np.asarray(spikes), circuit, leading=2)
    if not ((values == 0) | (values == 1)).all():
        raise UserError("spikes: values other than 0 and 1 found; SANA-FE's messages are spikes")
    return values != 0


class _Plan:
    """What runs where: group 0 is the input, group i + 1 population i; the last run is the stream, those before it samples."""

    def __init__(self, circuit: Circuit, mapping: ChipMapping, spikes: NDArray[np.bool_]) -> None:
        self.circuit, self.mapping, self.spikes = circuit, mapping, spikes
        self.steps, self.samples = spikes.shape[:2]
        self.sizes = (prod(circuit.input_shape), *(prod(population.shape) for population in circuit.populations))
        self.late = max(circuit.depths)
        self.lead = ceil(self.late / (self.steps * self.samples))
        """Rounds of all samples before the one that is measured: then the last population has begun on the first sample."""
        self.streams = not kept_between_samples(circuit)
        neurons = mapping.chip.limits["neurons"].value
        self.input_cores = ceil(self.sizes[0] / neurons)
        self.cores = (np.arange(self.sizes[0]) // neurons, *self._placed())
        self.chips = ceil((self.input_cores + mapping.cores) / mapping.chip.cores.value)
        self.width = self.chips * mapping.chip.cores.value // (_PER_TILE * _HEIGHT)
        self.ours = [self._alone(sample) for sample in range(self.samples)] + ([self._stream()] if self.streams else [])

    @property
    def tiles(self) -> int:
        return ceil((self.input_cores + self.mapping.cores) / _PER_TILE)

    @property
    def active(self) -> list[NDArray[np.bool_]]:
        """Of every group, the neurons that fire at all."""
        flat = [[fired.reshape(len(fired), -1) for fired in run] for run in self.ours]
        return [np.any([run[group].any(0) for run in flat], axis=0) for group in range(len(self.sizes))]

    def window(self) -> slice:
        """The steps of the stream that are measured: one round of all samples, the chip full of them."""
        each = self.steps * self.samples
        return slice(self.lead * each, (self.lead + 1) * each)

    def job(self, active: Sequence[NDArray[np.bool_]]) -> Job:
        """With the synapses of the neurons that fire; others cost nothing."""
        runs = [self._run(run, self.steps + self.late) for run in self.ours[: self.samples]]
        runs += [self._run(run, self.steps) for run in self.ours[self.samples :]]
        connections = []
        for synapse in self.circuit.synapses:
            pre, post, weight = expanded(synapse.connection, self.circuit.shape_of(synapse.source), active[synapse.source + 1])
            delay = np.full_like(pre, synapse.delay)
            if isinstance(synapse.connection, Matrix):
                delay += np.broadcast_to(synapse.connection.delay, synapse.connection.weight.shape)[post, pre]
            unit = unit_of(synapse.connection)
            connections.append(JobConnection(synapse.source + 1, synapse.target + 1, unit, pre, post, weight, delay))
        for index, population in enumerate(self.circuit.populations):
            if population.recurrent is not None:
                own = Matrix(weight=population.recurrent)
                pre, post, weight = expanded(own, population.shape, active[index + 1])
                connections.append(JobConnection(index + 1, index + 1, unit_of(own), pre, post, weight, np.zeros_like(pre)))
        return Job(self.width, _HEIGHT, tuple(self._groups()), tuple(connections), tuple(runs))

    def _groups(self) -> list[JobGroup]:
        zeros = np.zeros(self.sizes[0], np.int64)
        groups = [JobGroup("input", True, self.cores[0], zeros, zeros, zeros, zeros)]
        for index, population in enumerate(self.circuit.populations):
            neuron, shape = population.cuba, population.shape

            def each(values: Any, shape: tuple[int, ...] = shape) -> Integers:
                """One number for all, one for each channel, or one for each neuron → one for each neuron."""
                array = np.asarray(values, np.int64)
                spread = array.reshape(-1, *(1,) * (len(shape) - 1)) if array.ndim == 1 else array
                return np.broadcast_to(spread, shape).ravel()

            bias = 0 if population.bias is None else population.bias
            keeps = each(4096 - np.asarray(neuron.v_decay)), each(4096 - np.asarray(neuron.i_decay))
            groups.append(JobGroup(f"p{index}", False, self.cores[index + 1], each(neuron.threshold), each(bias), *keeps))
        return groups

    def _placed(self) -> list[Integers]:
        """Of every population, the core of each neuron: in the order of the map, behind those of the input."""
        cores, number = [], self.input_cores
        for population in self.mapping.placed:
            where = np.empty(population.shape, np.int64)
            for core in population.cores:
                where[tuple(slice(*bounds) for bounds in core.block)] = number
                number += 1
            cores.append(where.ravel())
        return cores

    def _alone(self, sample: int) -> list[NDArray[Any]]:
        """Spikes of every group in every step, `[T + late, …]`."""
        length = self.steps + self.late
        return self._simulated(self.spikes[:, sample : sample + 1], length, length)

    def _stream(self) -> list[NDArray[Any]]:
        """The same of all samples without a gap, round after round, to the end of the one that is measured."""
        line = np.moveaxis(self.spikes, 1, 0).reshape(-1, 1, *self.spikes.shape[2:])
        return self._simulated(np.concatenate([line] * (self.lead + 1)), self.window().stop, self.steps)

    def _simulated(self, entering: NDArray[np.bool_], length: int, interval: int) -> list[NDArray[Any]]:
        fired = simulate_circuit(
            self.circuit, entering, length, reset_interval=interval, reset_offset=_DIRECT_DRIVE, record=("s",)
        )
        padded = np.zeros((length, *entering.shape[2:]), np.bool_)
        padded[: len(entering)] = entering[:length, 0]
        return [padded, *(fired[f"{population.key}_s"][:, 0] != 0 for population in self.circuit.populations)]

    def _run(self, run: Sequence[NDArray[Any]], interval: int) -> JobRun:
        length = len(run[0])
        step, neuron = np.nonzero(run[0].reshape(length, -1))
        resets = [
            (step, group + 1)
            for group, depth in enumerate(self.circuit.depths)
            for step in range(1, length + 1)
            if step % interval == (depth + _DIRECT_DRIVE) % interval
        ]
        return JobRun(length, np.stack([step + 1, neuron], 1), tuple(resets))


def _check_size(circuit: Circuit, active: Sequence[NDArray[np.bool_]]) -> None:
    """Refuse what would not fit into this machine's memory, before any of it is built."""
    count = sum(
        int(fan_out(synapse.connection, circuit.shape_of(synapse.source))[active[synapse.source + 1]].sum())
        for synapse in circuit.synapses
    )
    count += sum(p.recurrent.size for p in circuit.populations if p.recurrent is not None)
    needed, there = count * _BYTES, available_bytes()
    if there is not None and needed > _SHARE * there:
        raise UserError(
            f"SANA-FE would need some {needed / 2**30:,.1f} GiB for {count:,} synapses, and {there / 2**30:,.1f} GiB are free; "
            "give fewer samples (--simulator-samples 1: only synapses of neurons that fire count), or use a larger machine"
        )


def _neurons(result: JobResult, group: int, size: int) -> NDArray[np.bool_]:
    fired = np.zeros(size, np.bool_)
    for run in result.runs:
        fired[run.spikes[run.spikes[:, 1] == group, 2]] = True
    return fired


def _answer(
    plan: _Plan, result: JobResult, active: Sequence[NDArray[np.bool_]], names: Mapping[str, str] | None
) -> ChipSimulation:
    count, messages = plan.samples, _messages_of_input(plan, active)
    alone, whole = result.runs[:count], slice(None)
    first = _phase([(run, whole) for run in alone], plan, messages, plan.steps + plan.late)
    stream = [(run, plan.window()) for run in result.runs[count:]]
    second = _phase(stream, plan, messages, plan.steps) if stream else None
    counted = list(zip(plan.ours[count:], stream, strict=True)) or [
        (ours, (run, whole)) for ours, run in zip(plan.ours, alone, strict=False)
    ]
    layers = []
    for index, population in enumerate(plan.circuit.populations):
        name = population.key if names is None else names.get(population.key, "")
        if name:
            pairs = [_compared(ours[index + 1], run, index + 1, part) for ours, (run, part) in counted]
            layers.append(SimulatedSpikes(name, *(sum(column) for column in zip(*pairs, strict=True))))
    return ChipSimulation(
        simulator="SANA-FE",
        version=result.version,
        source=_SOURCE.format(result.architecture[:12]),
        chip=plan.mapping.chip.title,
        samples=count,
        steps=plan.steps,
        cores=plan.mapping.cores,
        input_cores=plan.input_cores,
        tiles=plan.tiles,
        chips=plan.chips,
        alone=first,
        stream=second,
        layers=tuple(layers),
        assumptions=tuple(_assumptions(plan)),
    )


def _messages_of_input(plan: _Plan, active: Sequence[NDArray[np.bool_]]) -> Integers:
    """Of every input neuron, the cores that it sends to."""
    pairs = []
    for synapse in plan.circuit.synapses:
        if synapse.source == INPUT:
            pre, post, _ = expanded(synapse.connection, plan.circuit.input_shape, active[0])
            pairs.append(np.unique(np.stack([pre, plan.cores[synapse.target + 1][post]], 1), axis=0))
    return np.bincount(np.unique(np.concatenate(pairs), axis=0)[:, 0], minlength=plan.sizes[0])


def _phase(runs: Sequence[tuple[StepTrace, slice]], plan: _Plan, messages: Integers, steps: int) -> ChipPhase:
    """Means over the samples of some runs."""

    def per_sample(*columns: str) -> float:
        return sum(float(getattr(run, column)[part].sum()) for column in columns for run, part in runs) / plan.samples

    entering = [_spikes(run, 0, part)[:, 1] for run, part in runs]
    times = [1e6 * float(run.seconds[part].sum()) for run, part in runs]
    if len(runs) == 1 and plan.samples > 1:  # a stream: its samples share their steps
        times = [times[0] / plan.samples]
    total = 1e6 * per_sample("total_j")
    return ChipPhase(
        steps=steps,
        time_us=sum(times) / len(times),
        longest_us=max(times),
        total_uj=total,
        synapse_uj=1e6 * per_sample("synapse_j"),
        neuron_uj=1e6 * per_sample("soma_j", "dendrite_j"),
        network_uj=1e6 * per_sample("network_j"),
        synaptic_events=per_sample("synapses"),
        messages=per_sample("messages"),
        hops=per_sample("hops"),
        updates=per_sample("updated") - sum(map(len, entering)) / plan.samples,  # those of the input neurons cost nothing
        input_messages=sum(int(messages[neurons].sum()) for neurons in entering) / plan.samples,
    )


def _spikes(run: StepTrace, group: int, part: slice) -> Integers:
    """Step from 0 and neuron of every spike of a group in a part of a run."""
    length = len(run.seconds)
    first, stop, _ = part.indices(length)
    mine = run.spikes[run.spikes[:, 1] == group]
    step = mine[:, 0] - 1
    return np.stack([step, mine[:, 2]], 1)[(step >= first) & (step < stop)]


def _compared(ours: NDArray[Any], run: StepTrace, group: int, part: slice) -> tuple[int, int, int]:
    """Our spikes, SANA-FE's, and where one fires and the other does not."""
    flat = ours.reshape(len(ours), -1)
    theirs = np.zeros_like(flat)
    found = _spikes(run, group, slice(None))
    theirs[found[:, 0], found[:, 1]] = True
    mine, other = flat[part], theirs[part]
    return int(mine.sum()), int(other.sum()), int((mine != other).sum())


def _assumptions(plan: _Plan) -> list[str]:
    chip, circuit = plan.mapping.chip, plan.circuit
    before = "one core" if plan.input_cores == 1 else f"{plan.input_cores} cores"
    said = [
        f"Neurons are in the cores in which neurodeploy map --chip {chip.name} puts them, in order, four cores to a tile. What "
        f"enters is sent by {before} before them, at no cost but that of its messages and synapses.",
        "Convolutions are computed by the synapse unit for convolutions, matrices by that for dense ones or, if most weights "
        "are 0, for sparse ones; weights of 0 are read, but for sparse ones.",
        "Energy of operations on the chip alone: without static power, the embedded processors, the host, and what passes "
        "between them.",
    ]
    if plan.chips > 1:
        said.append(
            f"{plan.chips} chips are one mesh of {plan.width} by {_HEIGHT} tiles: a hop from chip to chip costs as little as "
            "one on a chip, and synchronisation what it costs on one."
        )
    if any(synapse.delay or np.any(getattr(synapse.connection, "delay", 0)) for synapse in circuit.synapses):
        said.append(
            "A synapse with a delay costs what it costs when its message arrives, and what it carries is added to the neuron's "
            "bias in its step: SANA-FE's own delay units hand it on only where another message comes in that very step."
        )
    if any(np.any(np.less(population.cuba.i_decay, 4096)) for population in circuit.populations):
        said.append(
            "Currents that stay from step to step are added to the biases likewise: SANA-FE does not round them as the chip "
            "does, and no reset clears them there."
        )
    if not plan.streams:
        said.append(
            "Delays or recurrent synapses keep spikes from sample to sample: every sample runs alone, none in a stream."
        )
    return said
