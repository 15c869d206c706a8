"""The running counts of one layer, as whole numbers over all samples."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from neurodeploy_energy.count.layer import Series, SynapseGeometry
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

    def __add__(self, other: "Along") -> "Along":
        both = Along(0)
        steps = max(len(self.steps), len(other.steps))
        both.steps = sum((np.pad(one.steps, (0, steps - len(one.steps))) for one in (self, other)), np.zeros(steps, np.int64))
        both.samples = [np.concatenate(self.samples) + np.concatenate(other.samples)]
        return both

    def nothing(self) -> "Along":
        """As many steps and samples, all 0."""
        none = Along(0)
        none.steps, none.samples = np.zeros_like(self.steps), [np.zeros_like(one) for one in self.samples]
        return none


Reads = Literal["spikes", "messages", "mixed", "analog", "data", "constant", "unknown"]
Part = tuple[Reads, Literal["fired", "each", "once"]]
"""What a call reads; and whether that depends on neurons, or else can be the same in every step: of such each call is counted,
and those that differ."""
_SUMMED = [
    "calls",
    "rows",
    "elements",
    "spikes",
    "whole_spikes",
    "graded",
    "analog",
    "sops",
    "sops_nonzero_weights",
    "analog_macs",
    "analog_effective_macs",
    "dense_macs",
    "effective_macs",
    "hidden_macs",
    "hidden_effective_macs",
    "outputs",
]


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
        parts: counts of the calls by what they read: see `Part`; `settle` makes one of them.
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
        reads: rows that its inputs come from, and `INPUT` for the data.
        drives: spiking layer that the currents of a synapse layer drive.
        drives_last: whether no later layer drives it too.
        geometry: of a synapse layer.
        notes: what a reader must know of this layer.
        along: the counts by step and by sample: "spikes", "sops", "macs", "dense_macs", "hidden".
        apart: whether all rows so far could be told apart by step and by sample.
        samples: of all batches before the one that runs; `batch` of that.
        pooled: whether it has read means of a pool that is folded into it.
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
    parts: dict["Part", "Tally"] = field(default_factory=dict)
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
    reads: set[str] = field(default_factory=set)
    drives: str = ""
    drives_last: bool = False
    leaky: bool | None = None
    geometry: SynapseGeometry | None = None
    notes: set[str] = field(default_factory=set)
    along: dict[str, Along] = field(default_factory=dict)
    apart: bool = True
    samples: int = 0
    batch: int = 0
    pooled: bool = False

    def begin_batch(self, batch: int) -> None:
        """Room for the samples of the next batch."""
        self.samples += self.batch
        self.batch, self.calls_now, self.steps_now = batch, 0, 0
        for along in self.along.values():
            along.begin_batch(batch)
        for part in self.parts.values():
            part.begin_batch(batch)

    def add_rows(
        self, counts: dict[str, Counts], *, time_runs_faster: bool, positions: int = 1, first_step: int | None = None
    ) -> None:
        """Add what one call counted, row by row; see `Along.add`.

        Args:
            counts: of the rows, by what was counted.
            time_runs_faster: whether a sample's rows follow each other.
            positions: rows of one sample and step, such as tokens, which follow each other.
            first_step: of the rows; that after the last call's if None.
        """
        self.calls += 1
        self.calls_now += 1
        self.calls_most = max(self.calls_most, self.calls_now)
        rows = len(next(iter(counts.values())))
        self.rows += rows
        if self.batch == 0 or rows % (self.batch * positions):
            self.apart = False
            return
        first, rows = self.steps_now if first_step is None else first_step, rows // positions
        for key, values in counts.items():
            if key not in self.along:
                self.along[key] = Along(self.samples)
                self.along[key].begin_batch(self.batch)
            values = values.reshape(-1, positions).sum(1) if positions > 1 else values
            self.along[key].add(values, first, time_runs_faster=time_runs_faster and rows > self.batch)
        self.steps_now = first + rows // self.batch

    def part(self, part: "Part") -> "Tally":
        """The counts of the calls that read one kind of values."""
        if part not in self.parts:
            self.parts[part] = Tally(self.kind, samples=self.samples, batch=self.batch)
        return self.parts[part]

    def settle(self, steps: int, events: bool | None) -> None:
        """One row of counts from those by what the calls read.

        Args:
            steps: T of the model.
            events: whether data are spikes; None: if all of a layer's data are 0, 1 or −1, they are.
        """
        chosen: list[Tally] = []
        parts, self.parts = self.parts, {}
        for (reads, constant), tally in parts.items():
            if constant == "once":
                continue
            once = parts.get((reads, "once")) if constant == "each" else None
            repeated = once is not None and steps > 1 and tally.rows == steps * once.rows
            used = once if repeated and once is not None else tally
            used.calls_most = tally.calls_most if not repeated else used.calls_most
            whole = used.whole_spikes + used.graded
            kinds = {kind for kind, _ in parts}
            alone = not kinds & {"spikes", "messages", "mixed"}
            state = reads == "constant" and "analog" in kinds and alone  # of zeros, in the first step
            dense = reads == "analog" or state or (used.analog > 0 and not whole and reads != "mixed")
            if reads == "data" and events is not True:
                dense |= events is False or used.graded + used.analog > 0
            if dense:
                used.make_dense()
            chosen.append(used)
        for one in chosen:
            self._absorb(one)
        if self.kind == "matmul" and self.all_analog:
            self.analog_macs = self.dense_macs
        if len(chosen) > 1:
            self.calls_most = max(self.calls_most, 2)

    def make_dense(self) -> None:
        """Every value that was read is analog, whole numbers and zeros too."""
        self.analog += self.whole_spikes + self.graded
        self.whole_spikes = self.graded = self.sops = self.sops_nonzero_weights = 0
        self.analog_macs, self.analog_effective_macs = self.dense_macs, self.effective_macs
        if "dense_macs" in self.along:
            self.along["macs"] = self.along["dense_macs"]
            self.along["sops"] = self.along["sops"].nothing()

    def _absorb(self, other: "Tally") -> None:
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.calls_most = max(self.calls_most, other.calls_most)
        self.apart &= other.apart
        for key, along in other.along.items():
            self.along[key] = self.along[key] + along if key in self.along else along

    @property
    def nonzero(self) -> int:
        """Input values that are not 0."""
        return self.whole_spikes + self.graded + self.analog

    @property
    def all_analog(self) -> bool:
        """Whether the layer's work is that of a dense layer: not one value that it reads is a spike."""
        return self.analog > 0 and self.whole_spikes + self.graded == 0

    def series(self) -> Series | None:
        """By step and by sample; None if this layer's rows could not be told apart."""
        if not self.along or not self.apart:
            return None
        samples = {key: along.by_sample() for key, along in self.along.items()}
        nothing = torch.zeros_like(samples["spikes"])
        sops, macs = samples.get("sops", nothing), samples.get("macs", nothing)
        macs = macs + samples.get("hidden", nothing)
        return Series(torch.from_numpy(self.along["spikes"].steps), samples["spikes"], sops, macs)
