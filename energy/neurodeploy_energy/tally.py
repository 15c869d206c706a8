"""The running counts of one layer, as whole numbers over all samples."""

from dataclasses import dataclass, field


@dataclass
class Tally:
    """Totals over a data set; integers, so that nothing is lost to rounding.

    Attributes:
        kind: "synapse", "neuron", "average pool", "max pool" or "sum".
        calls: number of forward calls.
        rows: samples times time steps that went through the layer.
        neurons: neurons of a spiking layer.
        spikes: non-zero outputs of a spiking layer, or non-zero inputs of a synapse layer.
        elements: number of input values of a synapse layer or a pool.
        analog: whether any input of a synapse layer or a pool was no whole number; then all its work is on analog values,
            so that the counts do not depend on how the data were cut into batches.
        sops: synaptic operations, every synapse counted; `sops_nonzero_weights` without weights of zero.
        dense_macs: multiply-accumulates if every input were analog.
        effective_macs: the same without inputs and weights of zero.
        adds: accumulations of spikes in pooling.
        operand_adds: accumulations of spikes in a residual sum, by the position of the operand.
        analog_operands: operands of a residual sum that carried currents, not spikes.
        updates_active: neuron updates with a non-zero current or a spike.
        updates: all neuron updates.
        notes: what a reader must know of this layer.
    """

    kind: str
    calls: int = 0
    rows: int = 0
    neurons: int = 0
    spikes: int = 0
    elements: int = 0
    analog: bool = False
    sops: int = 0
    sops_nonzero_weights: int = 0
    dense_macs: int = 0
    effective_macs: int = 0
    adds: int = 0
    operand_adds: dict[int, int] = field(default_factory=dict)
    analog_operands: set[int] = field(default_factory=set)
    updates_active: int = 0
    updates: int = 0
    notes: set[str] = field(default_factory=set)
