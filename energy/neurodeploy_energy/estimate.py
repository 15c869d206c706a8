"""From counts to estimated energy: operations times the constants of one profile, layer by layer, by cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurodeploy_energy.cost import Profile
from neurodeploy_energy.memory_model import accesses_of

if TYPE_CHECKING:
    from neurodeploy_energy.result import LayerRow

CAUSES = {
    "synaptic operations": "synaptic_operations",
    "dense operations": "macs",
    "neuron updates": "neuron_updates",
    "spikes": "spikes",
    "memory": "memory",
    "addresses": "addresses",
}
"""Cause in words → field of `LayerEnergy`."""


@dataclass(frozen=True)
class LayerEnergy:
    """Estimated energy of one layer per sample, in pJ, by cause; memory and addresses only with a memory model."""

    name: str
    synaptic_operations: float
    macs: float
    neuron_updates: float
    spikes: float
    memory: float = 0.0
    addresses: float = 0.0

    @property
    def total(self) -> float:
        return sum(getattr(self, field) for field in CAUSES.values())


@dataclass(frozen=True)
class EnergyBreakdown:
    """Estimated energy of a model per sample under one profile.

    Attributes:
        profile: whose constants were used; a total never mixes two.
        layers: in pJ.
        left_out: what the profile gives no cost for, in words with the amount; empty if all is in the total.
        static_uj: what flows while the steps of a sample last, whether anything is computed or not, µJ; None if the profile
            does not say. It is a line of its own, not part of the total.
    """

    profile: Profile
    layers: tuple[LayerEnergy, ...]
    left_out: tuple[str, ...]
    static_uj: float | None = None

    @property
    def total_uj(self) -> float:
        """µJ per sample, static energy aside."""
        return sum(layer.total for layer in self.layers) * 1e-6


def estimate(rows: Sequence["LayerRow"], profile: Profile, steps: int) -> EnergyBreakdown:
    """Counts times constants.

    ```
    E = AC · (SOPs + adds) + MAC · MACs + AC · analog adds
      + active · active updates + idle · idle updates + spike · spikes
    ```

    With a memory model: + its accesses, + MAC and AC · the operations on addresses and in the neurons' updates.

    Args:
        rows: of the layers that are costed.
        profile: whose constants.
        steps: T, for the static energy.
    """
    leak_free = {row.drives for row in rows if row.geometry is not None and row.geometry.leaky is False}
    layers = tuple(_layer(row, profile, leaky=row.name not in leak_free) for row in rows)
    static = None
    if profile.static_mw is not None and profile.step_us is not None:
        static = profile.static_mw * profile.step_us * steps * 1e-3
    return EnergyBreakdown(profile, layers, _left_out(rows, profile), static)


def _layer(row: "LayerRow", profile: Profile, *, leaky: bool) -> LayerEnergy:
    ac, mac = profile.ac or 0.0, profile.mac or 0.0
    updates = (profile.neuron_update_active or 0.0) * row.updates_active + (
        profile.neuron_update_idle or 0.0
    ) * row.updates_idle
    memory = addresses = 0.0
    if profile.memory is not None and profile.bits is not None:
        for found in accesses_of(row, leaky=leaky):
            memory += found.energy_pj(profile.memory, profile.bits)
            addresses += mac * found.address_macs + ac * found.address_acs
            updates += mac * found.macs + ac * found.acs
    return LayerEnergy(
        row.name,
        ac * (row.sops + row.adds),
        0.0 if profile.mac is None else mac * row.macs + ac * row.analog_adds,
        updates,
        (profile.spike or 0.0) * row.spikes,
        memory,
        addresses,
    )


def _left_out(rows: Sequence["LayerRow"], profile: Profile) -> tuple[str, ...]:
    """What has no cost, with its amount. An all-in cost per synaptic event has the chip's own updates and spikes in it."""
    lines = [
        (profile.ac, ("sops", "adds"), "synaptic operations"),
        (profile.mac, ("macs",), "multiply-accumulates on analog values, which run on a host"),
        (profile.mac, ("analog_adds",), "additions of analog values, which run on a host"),
    ]
    if not profile.all_in and profile.memory is None:
        lines += [
            (profile.neuron_update_active, ("updates_active",), "active neuron updates"),
            (profile.neuron_update_idle, ("updates_idle",), "idle neuron updates"),
        ]
    if not profile.all_in:
        lines += [(profile.spike, ("spikes",), "spikes sent")]
    shapeless = [row.name for row in rows if row.dense_macs and row.geometry is None]
    unknown = [f"memory accesses of {', '.join(shapeless)}, whose shape is not known"] if profile.memory and shapeless else []
    amounts = ((cost, sum(getattr(row, field) for row in rows for field in fields), what) for cost, fields, what in lines)
    known = (f"{amount:,.0f} {what}" for cost, amount, what in amounts if cost is None and amount)
    return (*known, *unknown)
