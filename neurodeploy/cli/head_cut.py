"""Both places where the chip may end, side by side: what leaves it there, and what the last synapse costs on either side."""

from rich.table import Table

from neurodeploy_energy.price.profiles import Profile
from neurodeploy_exporters.bundle import HeadCost, HeadCut

_CAPTION = "Energies are estimates: chip {chip}, host {host}; a graded value on its way is taken for a spike."


def head_cut_table(cut: HeadCut, chip: Profile, host: Profile) -> Table:
    """What leaves the chip, and what the last synapse costs, for both places of the cut; counts per sample."""
    costs: dict[str, HeadCost | None] = {"last-spike": cut.last_spike, "last-synapse": cut.last_synapse}
    headings = [f"{name} (chosen)" if name == cut.chosen else name for name in costs]
    table = Table("head cut, per sample", *headings, caption=_CAPTION.format(chip=chip.name, host=host.name))
    for column in table.columns[1:]:
        column.justify = "right"
    counts = {
        "spikes that leave the chip": "spikes",
        "graded values that leave the chip": "graded_values",
        "synaptic operations on the chip": "synaptic_operations",
        "neuron updates on the chip": "neuron_updates",
        "multiply-accumulates on the host": "multiply_accumulates",
    }
    for label, field in counts.items():
        table.add_row(label, *("-" if cost is None else f"{getattr(cost, field):,.1f}" for cost in costs.values()))
    table.add_row("energy on the chip, nJ", *(_shown(_chip_pj(cost, chip)) for cost in costs.values()))
    table.add_row("energy on the host, nJ", *(_shown(_host_pj(cost, host)) for cost in costs.values()))
    return table


def _chip_pj(cost: HeadCost | None, profile: Profile) -> float | None:
    """Of the last synapse, its neurons, and the spikes that leave; None where the profile lacks a cost that is needed.

    No profile says what a graded value costs on its way; it is taken for a spike.
    """
    if cost is None:
        return None
    idle = cost.neuron_updates - cost.neuron_updates_active
    return _sum(
        (cost.spikes + cost.graded_values, profile.spike),
        (cost.synaptic_operations, profile.ac),
        (cost.neuron_updates_active, profile.neuron_update_active),
        (idle, profile.neuron_update_idle),
    )


def _host_pj(cost: HeadCost | None, profile: Profile) -> float | None:
    return None if cost is None else _sum((cost.multiply_accumulates, profile.mac))


def _sum(*parts: tuple[float, float | None]) -> float | None:
    total = 0.0
    for count, price in parts:
        if count and price is None:
            return None
        total += count * (price or 0.0)
    return total


def _shown(picojoules: float | None) -> str:
    return "-" if picojoules is None else f"{picojoules / 1000:,.3f}"
