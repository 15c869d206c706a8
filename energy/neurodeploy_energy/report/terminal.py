"""The report as tables for a terminal."""

from rich.table import Table

from neurodeploy_energy.report.columns import COLUMNS, cells, energies, microjoule, number, percent
from neurodeploy_energy.result import Report


def layer_table(report: Report) -> Table:
    """Layers, totals and the estimated energy under the headline profile."""
    profile = report.profiles[0]
    table = Table(title=f"{report.name}: per sample, mean over {report.samples:,} samples", title_justify="left")
    table.add_column("layer", overflow="fold")
    for column in COLUMNS:
        table.add_column(column.heading, justify="right")
    table.add_column(f"µJ ({profile.name}, estimate)", justify="right")
    per_layer = energies(report, profile.name)
    for row in report.layers:
        table.add_row(row.name, *cells(row), microjoule(per_layer[row.name]))
    table.add_section()
    table.add_row("total", *cells(report.total), microjoule(report.energy(profile.name).total_uj))
    return table


def energy_table(report: Report) -> Table:
    """Estimated energy under every profile, against the baseline and the dense twin where there are any."""
    comparison = report.comparison
    table = Table(title="estimated energy per sample, µJ", title_justify="left")
    table.add_column("profile")
    table.add_column(report.name, justify="right")
    if comparison is not None:
        table.add_column(comparison.baseline.name, justify="right")
        table.add_column("change", justify="right")
        table.add_column("dense ReLU twin", justify="right")
        table.add_column("break-even rate", justify="right")
        for pair in comparison.energies:
            change = "" if pair.change_percent is None else f"{pair.change_percent:+.1f} %"
            twin = "no MAC cost" if pair.twin is None else microjoule(pair.twin)
            rate = "" if pair.break_even_rate is None else percent(pair.break_even_rate)
            table.add_row(pair.profile.name, microjoule(pair.model), microjoule(pair.baseline), change, twin, rate)
    else:
        for profile in report.profiles:
            table.add_row(profile.name, microjoule(report.energy(profile.name).total_uj))
    return table


def spike_line(report: Report) -> str:
    """Spikes per sample in one sentence."""
    spikes = f"{number(report.total.spikes)} spikes per sample"
    if report.comparison is None or not report.comparison.baseline.total.spikes:
        return spikes
    baseline = report.comparison.baseline
    change = 100 * (report.total.spikes / baseline.total.spikes - 1)
    return f"{spikes}, {number(baseline.total.spikes)} of {baseline.name}: {change:+.1f} %"
