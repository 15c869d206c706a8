"""The running counts of one layer, as whole numbers over all samples, and the row of means per sample that comes of them."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from neurodeploy_energy.count.layer import GRADED, InputKinds, LayerRow, MemoryAccesses, Series, SynapseGeometry
from neurodeploy_energy.count.signals import Counts


class Along:
    """One count by time step and by sample.

    Attributes:
        steps: `[T]`, over all samples so far.
        samples: `[B]` of every batch so far; the last is the one that runs.
    """

    def __init__(self, samples_before: int) -> None:
        self.steps = np.zeros(0, np.int64)
        self.samples = [np.zeros(samples_before, np.int64)]

    def begin_batch(self, batch: int) -> None:
        """Room for the samples of the next batch."""
        self.samples.append(np.zeros(batch, np.int64))

    def add(self, rows: Counts, first_step: int, *, time_runs_faster: bool) -> None:
        """Add counts `[R]` of one call, R = batch · steps.

        Args:
            rows: counts of the rows of one call.
            first_step: time step of the first row.
            time_runs_faster: whether a sample's steps follow each other, else the samples of a step.
        """
        batch = len(self.samples[-1])
        grid = rows.reshape(batch, -1).T if time_runs_faster else rows.reshape(-1, batch)
        last = first_step + len(grid)
        if last > len(self.steps):
            self.steps = np.concatenate([self.steps, np.zeros(last - len(self.steps), np.int64)])
        self.steps[first_step:last] += grid.sum(1)
        self.samples[-1] += grid.sum(0)

    def by_sample(self) -> Tensor:
        """`[N]`, int64."""
        return torch.from_numpy(np.concatenate(self.samples))


@dataclass
class Tally:
    """Totals over a data set; integers, so that nothing is lost to rounding or depends on how the data were cut into batches.

    Attributes:
        kind: "synapse", "matmul", "recurrent", "neuron", "average pool", "max pool" or "sum".
        calls: number of forward calls; `calls_now` of the batch that runs, `calls_most` of any batch.
        rows: samples times time steps that went through the layer.
        steps_now: time steps that the layer has seen of the batch that runs.
        neurons: neurons of a spiking layer; each keeps `states` values from step to step.
        spikes: non-zero outputs of a spiking layer; `spikes_value` their Σ|value|.
        elements: number of input values of a synapse layer or a pool; of those `whole_spikes` are ±1, `graded` other whole
            numbers and `analog` no whole numbers.
        messages: whether it reads graded messages, each of which is one event whatever its value.
        dense: whether the layer reads one dense signal (see `counter.Counter`), so that a whole number in it is no spike.
        sops: synaptic operations, every synapse counted; `sops_nonzero_weights` without weights of zero.
        analog_macs: multiply-accumulates of the analog values alone; `analog_effective_macs` without weights of zero.
        dense_macs: multiply-accumulates if every input were analog, zeros and padding too.
        effective_macs: the same without inputs and weights of zero.
        hidden_macs: multiply-accumulates on values inside a recurrent layer, always analog; `hidden_effective_macs` without
            weights of zero.
        outputs: values that the layer computed.
        adds: accumulations of spikes in pooling.
        analog_adds: accumulations of analog values in pooling.
        operand_adds: accumulations of spikes in a residual sum, by the position of the operand.
        analog_operands: operands of a residual sum that carried currents, not spikes.
        updates_active: neuron updates with a non-zero current or a spike.
        updates: all neuron updates.
        drives: spiking layer that the currents of a synapse layer drive.
        drives_last: whether no later layer drives it too.
        geometry: of a synapse layer.
        notes: what a reader must know of this layer.
        along: the counts by step and by sample: "spikes", "sops", "macs", "dense_macs", "hidden".
        apart: whether all rows so far could be told apart by step and by sample.
        samples: of all batches before the one that runs; `batch` of that.
    """

    kind: str
    calls: int = 0
    calls_now: int = 0
    calls_most: int = 0
    rows: int = 0
    steps_now: int = 0
    neurons: int = 0
    states: int = 1
    spikes: int = 0
    spikes_value: float = 0
    elements: int = 0
    whole_spikes: int = 0
    graded: int = 0
    analog: int = 0
    messages: bool = False
    dense: bool = False
    sops: int = 0
    sops_nonzero_weights: int = 0
    analog_macs: int = 0
    analog_effective_macs: int = 0
    dense_macs: int = 0
    effective_macs: int = 0
    hidden_macs: int = 0
    hidden_effective_macs: int = 0
    outputs: int = 0
    adds: int = 0
    analog_adds: int = 0
    operand_adds: dict[int, int] = field(default_factory=dict)
    analog_operands: set[int] = field(default_factory=set)
    updates_active: int = 0
    updates: int = 0
    drives: str = ""
    drives_last: bool = False
    leaky: bool | None = None
    geometry: SynapseGeometry | None = None
    notes: set[str] = field(default_factory=set)
    along: dict[str, Along] = field(default_factory=dict)
    apart: bool = True
    samples: int = 0
    batch: int = 0

    def begin_batch(self, batch: int) -> None:
        """Room for the samples of the next batch."""
        self.samples += self.batch
        self.batch, self.calls_now, self.steps_now = batch, 0, 0
        for along in self.along.values():
            along.begin_batch(batch)

    def add_rows(self, counts: dict[str, Counts], *, time_runs_faster: bool) -> None:
        """Add what one call counted, row by row; see `Along.add`."""
        self.calls += 1
        self.calls_now += 1
        self.calls_most = max(self.calls_most, self.calls_now)
        rows = len(next(iter(counts.values())))
        self.rows += rows
        if self.batch == 0 or rows % self.batch:
            self.apart = False
            return
        for key, values in counts.items():
            if key not in self.along:
                self.along[key] = Along(self.samples)
                self.along[key].begin_batch(self.batch)
            self.along[key].add(values, self.steps_now, time_runs_faster=time_runs_faster and rows > self.batch)
        self.steps_now += rows // self.batch

    @property
    def nonzero(self) -> int:
        """Input values that are not 0."""
        return self.whole_spikes + self.graded + self.analog

    @property
    def all_analog(self) -> bool:
        """Whether the layer's work is that of a dense layer: it reads a dense signal, or not one value of it is a spike."""
        return self.analog > 0 and (self.dense or self.whole_spikes + self.graded == 0)

    def series(self) -> Series | None:
        """By step and by sample; None if this layer's rows could not be told apart."""
        if not self.along or not self.apart:
            return None
        samples = {key: along.by_sample() for key, along in self.along.items()}
        nothing = torch.zeros_like(samples["spikes"])
        sops, macs = samples.get("sops", nothing), samples.get("macs", nothing)
        if self.all_analog:
            sops, macs = nothing, samples["dense_macs"]
        macs = macs + samples.get("hidden", nothing)
        return Series(torch.from_numpy(self.along["spikes"].steps), samples["spikes"], sops, macs)


_READS = ("synapse", "matmul", "recurrent")


def layer_rows(tallies: dict[str, Tally], samples: int, steps: int) -> tuple[LayerRow, ...]:
    """One row for each layer; `steps`: T of the model."""
    return tuple(_row(name, tally, tallies, samples, steps) for name, tally in tallies.items())


def _row(name: str, tally: Tally, tallies: dict[str, Tally], samples: int, steps: int) -> LayerRow:
    own_steps = tally.rows / samples
    spiking, reads = tally.kind == "neuron", tally.kind in _READS
    dense = reads and tally.all_analog
    sops = 0 if dense else tally.sops
    macs = (tally.dense_macs if dense else tally.analog_macs) + tally.hidden_macs
    effective = (tally.effective_macs if dense else tally.analog_effective_macs) + tally.hidden_effective_macs
    slots = tally.elements if reads else tally.neurons * tally.rows
    rate = tally.spikes / slots if slots else 0.0
    adds = tally.adds + _operand_adds(tally)
    drives = tally.drives if reads else ""
    geometry = None if tally.geometry is None else replace(tally.geometry, leaky=tally.leaky if drives else None)
    whole = tally.whole_spikes + tally.graded
    zeros = max(0, tally.elements - tally.nonzero)
    return LayerRow(
        name=name,
        kind=GRADED if tally.messages else tally.kind,
        neurons=tally.neurons,
        steps=own_steps,
        spikes=tally.spikes / samples if spiking else 0.0,
        rate=rate,
        sops=sops / samples,
        sops_nonzero_weights=0.0 if dense else tally.sops_nonzero_weights / samples,
        sops_by_rate=rate * tally.dense_macs / samples if reads and whole and not dense else 0.0,
        dense_macs=(tally.dense_macs + tally.hidden_macs) / samples,
        macs=macs / samples,
        effective_macs=effective / samples,
        adds=adds / samples,
        analog_adds=tally.analog_adds / samples,
        updates_active=tally.updates_active / samples,
        updates_idle=(tally.updates - tally.updates_active) / samples,
        note="; ".join(_notes(tally, own_steps, steps)),
        spikes_in=tally.nonzero / samples if reads else 0.0,
        spikes_out=tallies[drives].spikes / samples if drives and tally.drives_last else 0.0,
        spikes_value=tally.spikes_value / samples,
        drives=drives,
        inputs=InputKinds(zeros / samples, tally.whole_spikes / samples, tally.graded / samples, tally.analog / samples),
        memory=_accesses(tally, sops / samples, macs / samples, (adds + tally.analog_adds) / samples, samples),
        geometry=geometry,
    )


def _operand_adds(tally: Tally) -> int:
    return sum(count for at, count in tally.operand_adds.items() if at not in tally.analog_operands)


def _accesses(tally: Tally, sops: float, macs: float, adds: float, samples: int) -> MemoryAccesses:
    """See `MemoryAccesses`; means per sample."""
    if tally.kind == "neuron":
        updates = tally.states * tally.updates / samples
        return MemoryAccesses(potential_reads=updates, potential_writes=updates, output_writes=tally.spikes / samples)
    if tally.kind in _READS:
        events = 0.0 if tally.all_analog else (tally.whole_spikes + tally.graded) / samples
        outputs = tally.outputs / samples if macs else 0.0
        return MemoryAccesses(events + macs, sops + macs, sops, sops, outputs)
    return MemoryAccesses(input_reads=adds, potential_reads=adds, potential_writes=adds)


def _notes(tally: Tally, own_steps: float, steps: int) -> list[str]:
    notes = set(tally.notes)
    if tally.analog_adds:
        notes.add("analog input: one accumulation per value")
    first: list[str] = []
    if tally.kind in _READS:
        if tally.all_analog:
            first.append("analog input: multiply-accumulates")
        elif tally.analog:
            share = tally.analog / tally.nonzero
            first.append(f"mixed input: {share:.1%} of the non-zero values are analog, and cost multiply-accumulates")
        if tally.messages:
            notes.add("graded messages: each is one operation at every synapse that it reaches, and multiplies its weight")
        elif tally.graded and not tally.all_analog:
            notes.add("graded spikes: a value of k costs k synaptic operations")
    if tally.analog_operands:
        notes.add("currents meet in the neuron: no operation of their own")
    if tally.operand_adds.keys() - tally.analog_operands:
        notes.add("each spike of the shortcut is one accumulation")
    last: list[str] = []
    if tally.kind == "synapse":
        if own_steps == 1 < steps:
            last.append(f"computed once per sample; every step would cost {steps} times as much")
        elif own_steps > steps:
            often = f"runs {own_steps:g} times per sample"
            last.append(f"{often}, in several calls" if tally.calls_most > 1 else f"{often}, once for each position")
    return [*first, *sorted(notes), *last]
