"""What is known of a layer once it has been counted: its counts, its inputs by kind, its shape, its accesses to memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from math import fsum, prod
from typing import Literal

import torch
from torch import Tensor

from neurodeploy_energy.declared import Count, Declared, Natural, Positive

NEVER_CALLED = "was never called"
"""Why a layer is not counted that does nothing: all else that is not counted leaves a report without a verdict."""


def exact_sum(values: Iterable[float]) -> float:
    """The sum, rounded once: `sum` of floats gives other last digits from Python 3.12 on. Whole numbers stay whole."""
    terms = list(values)
    return sum(terms) if all(isinstance(term, int) for term in terms) else fsum(terms)


@dataclass(frozen=True)
class InputKinds(Declared):
    """Input values of a layer per sample, all steps together, by kind. A value that is not finite is analog.

    Attributes:
        zeros: 0.
        spikes: 1 or −1.
        graded: any other whole number.
        analog: no whole number.
    """

    zeros: Count = 0.0
    spikes: Count = 0.0
    graded: Count = 0.0
    analog: Count = 0.0

    def __add__(self, other: "InputKinds") -> "InputKinds":
        return InputKinds(
            self.zeros + other.zeros, self.spikes + other.spikes, self.graded + other.graded, self.analog + other.analog
        )


@dataclass(frozen=True)
class MemoryAccesses(Declared):
    """Reads and writes of one layer per sample, in values (not bits), from the counts of the very data that were run.

    A synapse layer driven by spikes reads each spike once, then for each synaptic operation one weight, and reads and writes
    one potential. One driven by analog values reads one input and one weight per multiply-accumulate, and writes each output
    once. A layer of neurons reads and writes each potential once per step and writes each of its spikes.

    Attributes:
        input_reads: values taken from the layer before.
        weight_reads: weights.
        potential_reads, potential_writes: membrane potentials, or partial sums that stand for them.
        output_writes: spikes, or analog values.
    """

    input_reads: Count = 0.0
    weight_reads: Count = 0.0
    potential_reads: Count = 0.0
    potential_writes: Count = 0.0
    output_writes: Count = 0.0

    def __add__(self, other: "MemoryAccesses") -> "MemoryAccesses":
        return MemoryAccesses(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def total(self) -> float:
        """All reads and writes."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class SynapseGeometry(Declared):
    """A synapse layer at the input it was given.

    Attributes:
        kind: "conv", "transposed" or "linear".
        in_channels, out_channels: of the layer; features of a linear layer.
        kernel, stride, dilation: one entry per spatial axis; empty for a linear layer.
        groups: of a convolution.
        input, output: spatial sizes of one sample before and after the layer; empty for a linear layer.
        bias: whether the layer has one.
        leaky: whether the neurons that its currents drive leak; None if they drive none that is known.
    """

    kind: Literal["conv", "transposed", "linear"]
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: Positive = 1
    input: tuple[int, ...] = ()
    output: tuple[int, ...] = ()
    bias: bool = False
    leaky: bool | None = None

    @property
    def input_positions(self) -> int:
        """Values of one sample at the input, per step."""
        return self.in_channels * prod(self.input)

    @property
    def output_positions(self) -> int:
        """Values of one sample at the output, per step: target neurons."""
        return self.out_channels * prod(self.output)

    @property
    def weights(self) -> int:
        """Number of weights, without the bias."""
        return self.in_channels * self.out_channels * prod(self.kernel) // self.groups


GRADED = "graded synapse"
"""Kind of a row of synapses that graded messages reach: each operation multiplies a weight by a message."""


@dataclass(frozen=True)
class LayerRow(Declared):
    """One layer, per sample: the mean over the data set.

    Attributes:
        name: of the layer in the model.
        kind: "synapse", "graded synapse" (which graded messages reach), "neuron", "average pool", "max pool" or "sum".
        neurons: of a spiking layer.
        steps: time steps in which the layer is evaluated; 1 for a direct-coded first layer, computed once per sample.
        spikes: non-zero outputs of a spiking layer, summed over the steps.
        rate: firing rate, spikes / (neurons · steps), of a spiking layer; of a synapse layer the share of non-zero inputs.
        sops: synaptic operations: Σ over input spikes, or graded messages, of their true fan-out.
        sops_nonzero_weights: the same, weights of zero not counted.
        sops_by_rate: rate · steps · dense MACs, the formula of most papers; over-counts at borders.
        dense_macs: multiply-accumulates of dense evaluations in every step.
        macs: multiply-accumulates on analog inputs (dense).
        effective_macs: the same without inputs and weights of zero.
        adds: accumulations of spikes in pooling and residual sums.
        analog_adds: accumulations of analog values in pooling.
        updates_active: neuron updates with a non-zero current or a spike in that step.
        updates_idle: all other neuron updates.
        note: what a reader must know.
        spikes_in: non-zero inputs of a synapse layer, whatever their kind: θ_in.
        spikes_out: spikes of the neurons that a synapse layer's currents drive: θ_out. Where several layers drive the same
            neurons it stands at the last of them, so that a sum counts no spike twice.
        spikes_value: Σ|value| of the outputs of a spiking layer: more than `spikes` where they are graded.
        drives: name of the spiking layer that a synapse layer's currents drive; "" if there is none that is known.
        reads: names of the rows that its inputs come from, through pools, sums and activations; "the data" for the model's own
            input. Empty where that is not known.
        inputs: values at the input of a synapse layer or a pool, by kind.
        memory: accesses, counted.
        geometry: of a synapse layer.
        weight_bits, activation_bits: width of the integers that a layer of a quantised network multiplies; 0 where its values
            are not known to be integers.
        pairs: input values other than 0, each with every weight other than 0 that it meets: what is multiplied if nothing is
            known of spikes. Values are those at the layer, means of a pool too.
        pooled: whether it reads the means of a pool that is folded into it, and so no spikes as they were fired.
    """

    name: str
    kind: str
    neurons: int = 0
    steps: Count = 0.0
    spikes: Count = 0.0
    rate: Count = 0.0
    sops: Count = 0.0
    sops_nonzero_weights: Count = 0.0
    sops_by_rate: Count = 0.0
    dense_macs: Count = 0.0
    macs: Count = 0.0
    effective_macs: Count = 0.0
    adds: Count = 0.0
    analog_adds: Count = 0.0
    updates_active: Count = 0.0
    updates_idle: Count = 0.0
    note: str = ""
    spikes_in: Count = 0.0
    spikes_out: Count = 0.0
    spikes_value: Count = 0.0
    drives: str = ""
    reads: tuple[str, ...] = ()
    inputs: InputKinds = field(default_factory=InputKinds)
    memory: MemoryAccesses = field(default_factory=MemoryAccesses)
    geometry: SynapseGeometry | None = None
    weight_bits: Natural = 0
    activation_bits: Natural = 0
    pairs: Count = 0.0
    pooled: bool = False


@dataclass(frozen=True, eq=False)
class Series:
    """One layer's counts along time and along the data set; int64, on the CPU.

    Attributes:
        spikes_per_step: `[T]`, over all samples: spikes of a spiking layer, non-zero inputs of a synapse layer.
        spikes_per_sample: `[N]`, over all steps: the same.
        sops_per_sample: `[N]`: synaptic operations of a synapse layer, weights of zero included.
        macs_per_sample: `[N]`: multiply-accumulates of a synapse layer.
    """

    spikes_per_step: Tensor
    spikes_per_sample: Tensor
    sops_per_sample: Tensor
    macs_per_sample: Tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and all(torch.equal(a, b) for a, b in zip(self._all(), other._all(), strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _all(self) -> tuple[Tensor, ...]:
        return self.spikes_per_step, self.spikes_per_sample, self.sops_per_sample, self.macs_per_sample
