"""What moving the data of a layer costs, and the analytical model of Lemaire et al. (ICONIP 2022, arXiv 2210.13107).

A synapse layer and the neurons behind it share the potentials: a layer's accesses are those of its spikes, the neurons' are
those of every step. The two together are the paper's formulas for one layer.
"""

from dataclasses import dataclass
from math import prod
from typing import Protocol

from neurodeploy_energy.count.layer import LayerRow, SynapseGeometry, exact_sum
from neurodeploy_energy.declared import Count, Declared


@dataclass(frozen=True)
class ValueWidths:
    """Bits of the values that are moved: of weights and potentials, and of dense inputs and outputs."""

    values: int
    activations: int


@dataclass(frozen=True)
class Traffic:
    """What moving the data of a layer costs per sample, and the operations that come with it.

    Attributes:
        pj: of all accesses and of the network on chip.
        address_macs, address_acs: operations that find out where weights and potentials are.
        acs, macs: operations of the neurons' own updates: adding the bias and resetting, and the leak.
    """

    pj: float
    address_macs: float = 0.0
    address_acs: float = 0.0
    acs: float = 0.0
    macs: float = 0.0


class MemoryModel(Protocol):
    """What profiles add to their arithmetic."""

    @property
    def name(self) -> str:
        """As profiles append it to theirs."""

    def of_spikes(self, layer: SynapseGeometry, spikes: float, sops: float, widths: ValueWidths) -> Traffic:
        """Of a synapse layer that so many spikes reach per sample, with as many synaptic operations."""

    def of_dense(self, layer: SynapseGeometry, macs: float, evaluations: float, widths: ValueWidths) -> Traffic:
        """Of a synapse layer on analog values; `macs` are those of all evaluations of a sample."""

    def of_neurons(self, count: int, updates: float, spikes: float, widths: ValueWidths, *, leaky: bool) -> Traffic:
        """Of `count` spiking neurons with so many updates and spikes per sample."""


@dataclass(frozen=True)
class Lemaire(Declared):
    """What one access costs, by the size of the memory: `per_bit · size + fixed`, in pJ.

    Attributes:
        name: as profiles append it to theirs.
        title, source, note: for people.
        per_bit: pJ for every bit of the memory's size.
        fixed: pJ.
    """

    name: str
    title: str
    source: str
    note: str
    per_bit: Count
    fixed: Count

    def access_pj(self, elements: float, bits: int) -> float:
        """Of one access to a memory of so many elements of `bits` each."""
        return self.per_bit * elements * bits + self.fixed

    def of_spikes(self, layer: SynapseGeometry, spikes: float, sops: float, widths: ValueWidths) -> Traffic:  # noqa: ARG002
        """See `spike_accesses`: the paper takes every spike to meet the whole kernel, whatever its true fan-out was."""
        return self._traffic(spike_accesses(layer, spikes), widths)

    def of_dense(self, layer: SynapseGeometry, macs: float, evaluations: float, widths: ValueWidths) -> Traffic:
        """See `dense_accesses`."""
        return self._traffic(dense_accesses(layer, macs, evaluations), widths)

    def of_neurons(self, count: int, updates: float, spikes: float, widths: ValueWidths, *, leaky: bool) -> Traffic:
        """See `neuron_accesses`."""
        return self._traffic(neuron_accesses(count, updates, spikes, leaky=leaky), widths)

    def _traffic(self, one: "ModelAccesses", widths: ValueWidths) -> Traffic:
        picojoules = one.energy_pj(self, widths.values, widths.activations)
        return Traffic(picojoules, one.address_macs, one.address_acs, one.acs, one.macs)


@dataclass(frozen=True)
class ModelAccesses:
    """Reads, writes and the computing of addresses per sample, by the formulas of the paper.

    Attributes:
        inputs, weights, potentials, outputs: number of accesses, reads and writes together; potentials stand for biases where
            a layer has analog inputs.
        input_size, weight_size, potential_size, output_size: elements of the memory that each goes to.
        address_macs, address_acs: operations that find out where a spike's weights and potentials are.
        acs, macs: operations of the neurons' own updates: adding the bias and resetting, and the leak.
    """

    inputs: float = 0.0
    weights: float = 0.0
    potentials: float = 0.0
    outputs: float = 0.0
    input_size: int = 0
    weight_size: int = 0
    potential_size: int = 0
    output_size: int = 0
    address_macs: float = 0.0
    address_acs: float = 0.0
    acs: float = 0.0
    macs: float = 0.0

    @property
    def total(self) -> float:
        """Number of accesses."""
        return self.inputs + self.weights + self.potentials + self.outputs

    def energy_pj(self, model: Lemaire, bits: int, activation_bits: int | None = None) -> float:
        """Of the accesses alone; inputs and outputs may be narrower than weights and potentials."""
        narrow = bits if activation_bits is None else activation_bits
        widths = {"input": narrow, "weight": bits, "potential": bits, "output": narrow}
        counts = {kind: getattr(self, f"{kind}s") for kind in widths}
        return exact_sum(n * model.access_pj(getattr(self, f"{kind}_size"), widths[kind]) for kind, n in counts.items() if n)


def spike_accesses(layer: SynapseGeometry, spikes: float) -> ModelAccesses:
    """Of a synapse layer that `spikes` reach per sample (θ_in): each reads its weights, and reads and writes potentials."""
    touched = spikes * (layer.out_channels // layer.groups) * prod(layer.kernel)
    return ModelAccesses(
        inputs=spikes,
        weights=touched,
        potentials=2 * touched,
        input_size=layer.input_positions,
        weight_size=layer.weights,
        potential_size=layer.output_positions,
        address_macs=2 * spikes,
        address_acs=touched,
    )


def dense_accesses(layer: SynapseGeometry, macs: float, evaluations: float) -> ModelAccesses:
    """Of a synapse layer on analog values: every multiplication reads an input and a weight; biases are read, outputs written.

    Args:
        layer: its shape.
        macs: multiply-accumulates per sample, over all evaluations.
        evaluations: per sample.
    """
    written = evaluations * layer.output_positions
    return ModelAccesses(
        inputs=macs,
        weights=macs,
        potentials=written,
        outputs=written,
        input_size=layer.input_positions,
        weight_size=layer.weights,
        potential_size=layer.out_channels,
        output_size=layer.output_positions,
    )


def neuron_accesses(count: int, updates: float, spikes: float, *, leaky: bool) -> ModelAccesses:
    """Of spiking neurons: every update reads and writes a potential, every spike is written.

    Args:
        count: of the layer.
        updates: neurons times steps.
        spikes: emitted per sample (θ_out).
        leaky: whether the potential decays, one multiplication per update.
    """
    return ModelAccesses(
        potentials=2 * updates,
        outputs=spikes,
        potential_size=count,
        output_size=count,
        acs=updates + spikes,
        macs=updates if leaky else 0.0,
    )


def traffic_of(row: LayerRow, model: MemoryModel, widths: ValueWidths, *, leaky: bool) -> tuple[Traffic, ...]:
    """Of one layer of a report; none for pools and sums, which no model knows.

    A layer with inputs of both kinds has the traffic of its spikes, and that of the multiply-accumulates on the rest.
    """
    if row.kind == "neuron":
        updates = row.updates_active + row.updates_idle
        return (model.of_neurons(row.neurons, updates, row.spikes, widths, leaky=leaky),)
    if row.geometry is None:
        return ()
    spikes = row.inputs.spikes + row.inputs.graded
    reads_spikes = row.sops or not row.macs  # silent layers too: their weights are there
    driven = (model.of_spikes(row.geometry, spikes, row.sops, widths),) if reads_spikes else ()
    return (*driven, model.of_dense(row.geometry, row.macs, row.steps, widths)) if row.macs else driven
