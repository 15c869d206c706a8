"""The places where the chip may end, side by side: what leaves it there, and what chip and host cost together."""

from rich.table import Table

from neurodeploy.app.cutting import Weighed
from neurodeploy_exporters.bundle import HeadCost, HeadCut


def head_cut_table(cut: HeadCut, weighed: Weighed) -> Table:
    """What leaves the chip, and what the last synapse computes, for both places of the cut, per sample; energies where weighed.

    The energies are those of the whole deployment, whose parts before the cut are the same.
    """
    costs: dict[str, HeadCost | None] = {"last-spike": cut.last_spike, "last-synapse": cut.last_synapse}
    headings = [f"{name} (chosen)" if name == cut.chosen else name for name in costs]
    table = Table("head cut, per sample", *headings, caption=_caption(cut, weighed), caption_justify="left")
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
    energies = [weighed.energies.get(name) for name in costs]
    for label, field in {"chip and host": "total_uj", "chip": "chip_uj", "host": "host_uj"}.items():
        values = [None if energy is None else getattr(energy, field) for energy in energies]
        table.add_row(f"energy, µJ: {label}", *("-" if value is None else f"{value:,.4g}" for value in values))
    return table


def _caption(cut: HeadCut, weighed: Weighed) -> str:
    pair = next(iter(weighed.energies.values())).pair
    chosen = "chosen by the energy of chip and host" if cut.why else "as asked for, or as the only way"
    return (
        "Counts are those of the last synapse. Energies are estimates of the whole network "
        f"({pair}); a graded value is priced as a spike. Cut {chosen}."
    )
