"""The report as tables for a terminal."""

from rich import table as rich

from neurodeploy_energy.report import tables
from neurodeploy_energy.report.columns import number
from neurodeploy_energy.report.tables import Table
from neurodeploy_energy.result import Report


def layer_table(report: Report) -> rich.Table:
    """Layers, totals and the estimated energy under the headline profile."""
    return drawn(tables.layers(report, report.profiles[0].name, against=False))


def energy_table(report: Report) -> rich.Table:
    """Estimated energy under every profile, against the baseline if there is one."""
    return drawn(tables.profiles(report))


def further_tables(report: Report) -> list[rich.Table]:
    """The twins without spikes, and chip and host, and measured joules where there are any."""
    found = (tables.twins(report), tables.deployments(report), tables.measurements(report))
    return [drawn(table) for table in found if table is not None]


def drawn(table: Table) -> rich.Table:
    """For a terminal; the notes are its caption."""
    found = rich.Table(
        title=table.title,
        title_justify="left",
        caption="\n".join(table.notes) or None,
        caption_justify="left",
    )
    for place, heading in enumerate(table.headings):
        text = place < table.text
        cells = [row[place].text for row in (*table.rows, *filter(None, (table.foot,)))]
        width = None if text else max(map(len, cells), default=0)  # headings break before numbers do
        found.add_column(heading, justify="left" if text else "right", overflow="fold", min_width=width)
    for row in table.rows:
        found.add_row(*(cell.text for cell in row))
    if table.foot is not None:
        found.add_section()
        found.add_row(*(cell.text for cell in table.foot))
    return found


def spike_line(report: Report) -> str:
    """Spikes per sample in one sentence."""
    spikes = f"{number(report.total.spikes)} spikes per sample"
    if report.comparison is None or not report.comparison.baseline.total.spikes:
        return spikes
    baseline = report.comparison.baseline
    change = 100 * (report.total.spikes / baseline.total.spikes - 1)
    return f"{spikes}, {number(baseline.total.spikes)} of {baseline.name}: {change:+.1f} %"
