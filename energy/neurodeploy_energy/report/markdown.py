"""The report as Markdown."""

from collections.abc import Iterable

from neurodeploy_energy.report import tables
from neurodeploy_energy.report.conventions import CONVENTIONS, caveats
from neurodeploy_energy.report.tables import Row, Table
from neurodeploy_energy.report.terminal import spike_line
from neurodeploy_energy.result import Report


def as_markdown(report: Report, *, title: str) -> str:
    """Headings, the tables, and the conventions."""
    lines = [f"# {escaped(title)}", "", f"{escaped(spike_line(report))}. Means over {report.samples:,} samples.", ""]
    first, *others = tables.all_tables(report, report.profiles[0].name)
    lines += table_lines(first)
    notes = {row.name: row.note for row in report.layers if row.note}
    lines += ["", *(f"- {escaped(name)}: {escaped(note)}" for name, note in notes.items())]
    for table in others:
        lines += ["", f"## {escaped(table.title[0].upper() + table.title[1:])}", "", *table_lines(table)]
    lines += ["", "## Conventions", "", *(f"- {line}" for line in CONVENTIONS)]
    found = caveats(report)
    if found:
        lines += ["", "## Left out", "", *(f"- {escaped(line)}" for line in found)]
    lines += ["", "## Profiles", ""]
    lines += [
        f"- **{escaped(p.name)}** ({p.basis}, {p.scope}, {p.year}): {escaped(p.source)}. {escaped(p.note)}"
        for p in report.profiles
    ]
    return "\n".join(lines) + "\n"


def table_lines(table: Table) -> list[str]:
    """A table and its notes."""
    rules = ["---" if place < table.text else "---:" for place in range(len(table.headings))]
    lines = [_line(escaped(heading) for heading in table.headings), _line(rules), *map(_row, table.rows)]
    if table.foot is not None:
        lines.append(_line(f"**{escaped(cell.text)}**" if cell.text else "" for cell in table.foot))
    return lines + [part for note in table.notes for part in ("", escaped(note))]


def escaped(text: str) -> str:
    """Text that stays text in Markdown."""
    for character in ("\\", "|", "*", "_", "<", "`", "["):
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _row(row: Row) -> str:
    return _line(escaped(cell.text) for cell in row)


def _line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"
