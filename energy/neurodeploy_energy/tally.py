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
        elements: number of input values of a synapse layer.
        sops: synaptic operations, every synapse counted; `sops_nonzero_weights` without weights of zero.
        dense_macs: multiply-accumulates if every input were analog.
        macs: those of the calls that had analog inputs.
        effective_macs: the same without inputs of zero.
        adds: accumulations of spikes in pooling and residual sums.
        analog_adds: accumulations of analog values in pooling.
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
    sops: int = 0
    sops_nonzero_weights: int = 0
    dense_macs: int = 0
    macs: int = 0
    effective_macs: int = 0
    adds: int = 0
    analog_adds: int = 0
    updates_active: int = 0
    updates: int = 0
    notes: set[str] = field(default_factory=set)
