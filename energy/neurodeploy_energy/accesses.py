"""Memory accesses of a layer, counted: how often a value is read or written if nothing is kept in registers."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class MemoryAccesses:
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

    input_reads: float = 0.0
    weight_reads: float = 0.0
    potential_reads: float = 0.0
    potential_writes: float = 0.0
    output_writes: float = 0.0

    def __add__(self, other: "MemoryAccesses") -> "MemoryAccesses":
        return MemoryAccesses(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def total(self) -> float:
        """All reads and writes."""
        return sum(getattr(self, field.name) for field in fields(self))
