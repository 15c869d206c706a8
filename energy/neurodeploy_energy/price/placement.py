"""Where each layer of a deployed network runs: on a chip, or on the host before and behind it; and what the host's share costs.

A host is a processor: it evaluates its layers densely, zeros and all, in every step.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.layer import LayerRow, exact_sum
from neurodeploy_energy.declared import Count, Declared
from neurodeploy_energy.price.memory import ValueWidths
from neurodeploy_energy.price.profiles import Profile

Place = Literal["encoder", "body", "head"]
"""A host computes "encoder" and "head", a chip what is between them."""


@dataclass(frozen=True)
class ReadoutNeurons(Declared):
    """Neurons that a chip needs beside those of the network, where its last synapses deliver their currents; per sample.

    They never fire: what they gather leaves the chip as numbers.

    Attributes:
        updates_active: updates in a step in which a spike reached the neuron.
        updates_idle: all others.
        graded_values: numbers that leave the chip.
    """

    updates_active: Count = 0.0
    updates_idle: Count = 0.0
    graded_values: Count = 0.0


@dataclass(frozen=True)
class Placement:
    """Who computes what.

    Attributes:
        host: its profile, which has a cost of multiply-accumulates.
        places: layer name → place; empty: the host computes what is on analog values, wherever it is, and the chip the rest.
        readout: of the chip.
    """

    host: Profile
    places: Mapping[str, Place] = field(default_factory=dict)
    readout: ReadoutNeurons | None = None

    def __post_init__(self) -> None:
        if self.host.mac is None:
            raise UserError(f"profile {self.host.name}: a host computes densely, and it gives no cost_pj.mac; choose another")

    def on_host(self, row: LayerRow) -> bool:
        """Whether the whole layer is the host's. A layer of which it is not known is taken to be on the chip."""
        return self.places.get(row.name, "body") != "body"

    def on_chip(self, rows: Sequence[LayerRow]) -> list[LayerRow]:
        """The chip's share of the layers: without the host's layers, or without the operations on analog values."""
        kept = [row for row in rows if not self.on_host(row)]
        return kept if self.places else [replace(row, macs=0.0, analog_adds=0.0) for row in kept]

    def host_macs(self, row: LayerRow) -> float:
        """Multiply-accumulates of the host for a layer, zeros and all. An update of a neuron is one of them."""
        if self.places:
            return row.dense_macs + row.updates_active + row.updates_idle if self.on_host(row) else 0.0
        return row.macs

    def host_pj(self, row: LayerRow, *, leaky: bool) -> float:
        """What a layer costs the host per sample; its accesses to memory are in it if its profile has a memory model."""
        host, adds = self.host, 0.0 if self.places and not self.on_host(row) else row.analog_adds
        if self.places and self.on_host(row):
            adds += row.adds
        macs = self.host_macs(row)
        picojoules = (host.mac_pj(row.weight_bits, row.activation_bits) or 0.0) * macs + (host.ac or 0.0) * adds
        if host.memory is None or host.bits is None or not macs:
            return picojoules
        widths = host.widths(row.weight_bits, row.activation_bits) or ValueWidths(host.bits, host.bits)
        if row.kind == "neuron":
            updates = row.updates_active + row.updates_idle
            return picojoules + host.memory.of_neurons(row.neurons, updates, row.spikes, widths, leaky=leaky).pj
        if row.geometry is None:
            return picojoules
        return picojoules + host.memory.of_dense(row.geometry, macs, row.steps, widths).pj

    def event_pj(self, row: LayerRow, *, leaky: bool) -> float:
        """What a layer would cost a host that computes only what spikes reach, instead of every zero; `host_pj` for any other.

        No exported file computes so: it is what could be saved.
        """
        if not self.on_host(row) or not row.sops or self.host.ac is None:
            return self.host_pj(row, leaky=leaky)
        picojoules = self.host.ac * (row.sops + row.adds + row.analog_adds)
        if self.host.memory is None or self.host.bits is None or row.geometry is None:
            return picojoules
        widths = ValueWidths(self.host.bits, self.host.bits)
        traffic = self.host.memory.of_spikes(row.geometry, row.inputs.spikes + row.inputs.graded, row.sops, widths)
        addresses = (self.host.mac or 0.0) * traffic.address_macs + self.host.ac * traffic.address_acs
        return picojoules + traffic.pj + addresses

    def lacking(self, rows: Sequence[LayerRow]) -> tuple[str, ...]:
        """What of the host's work has no price: layers whose accesses are not known."""
        if self.host.memory is None:
            return ()
        shapeless = [row.name for row in rows if row.geometry is None and row.kind != "neuron" and self.host_macs(row)]
        return (f"memory accesses of {', '.join(shapeless)} on the host, whose shape is not known",) if shapeless else ()

    def readout_pj(self, chip: Profile) -> float:
        """What the chip's read-out neurons cost. No profile says what sending a graded value costs: it is priced as a spike."""
        if self.readout is None:
            return 0.0
        counts = (
            (chip.neuron_update_active, self.readout.updates_active),
            (chip.neuron_update_idle, self.readout.updates_idle),
            (chip.spike, self.readout.graded_values),
        )
        return exact_sum((cost or 0.0) * count for cost, count in counts)


def share(rows: Sequence[LayerRow], placement: Placement, names: Collection[str]) -> float:
    """Multiply-accumulates of the host in some layers."""
    return exact_sum(placement.host_macs(row) for row in rows if row.name in names)
