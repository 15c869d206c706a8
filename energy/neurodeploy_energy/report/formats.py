"""The report as text: in Markdown, in LaTeX, as CSV, as tables for a terminal, and as a data frame of pandas.

LaTeX is for `\\usepackage{booktabs,longtable}` and a Unicode engine or `\\usepackage[utf8]{inputenc}`.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from neurodeploy.io.errors import UserError, one_line
from neurodeploy_energy.count.layer import LayerRow, SynapseGeometry
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_energy.report import tables
from neurodeploy_energy.report.reconciling import reconciling_tables
from neurodeploy_energy.report.simulated import simulations
from neurodeploy_energy.report.tables import CONVENTIONS, ReportTable, Row, caveats, energies, spike_line

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table as RichTable


def as_markdown(report: Account, *, title: str) -> str:
    """Headings, the tables, and the conventions."""
    lines = [
        f"# {escape_markdown(title)}",
        "",
        f"{escape_markdown(spike_line(report))}. Means over {report.samples:,} samples.",
        "",
    ]
    deployed = tables.deployed_line(report)
    lines += [escape_markdown(deployed), ""] if deployed else []
    lines += markdown_table(tables.layers(report, report.profiles[0].name))
    notes = {row.name: row.note for row in report.layers if row.note}
    lines += ["", *(f"- {escape_markdown(name)}: {escape_markdown(note)}" for name, note in notes.items())]
    headings = tables.layers(report, report.profiles[0].name).title
    lines += markdown_sections(t for t in _all_tables(report) if t.title != headings)
    lines += ["", "## Conventions", "", *(f"- {line}" for line in CONVENTIONS)]
    missing = caveats(report)
    if missing:
        lines += ["", "## Left out", "", *(f"- {escape_markdown(line)}" for line in missing)]
    lines += ["", "## Profiles", ""]
    lines += [
        f"- **{escape_markdown(p.name)}** ({p.basis}, {p.scope}, {p.year}): {escape_markdown(f'{p.source}. {p.note}')}"
        for p in report.profiles
    ]
    return "\n".join(lines) + "\n"


def markdown_sections(shown: Iterable[ReportTable]) -> list[str]:
    """Tables, each below its title."""
    return [line for table in shown for line in ("", f"## {escape_markdown(table.heading)}", "", *markdown_table(table))]


def markdown_table(table: ReportTable) -> list[str]:
    """A table and its notes."""
    rules = ["---" if column < table.text else "---:" for column in range(len(table.headings))]
    lines = [
        _markdown_line(escape_markdown(heading) for heading in table.headings),
        _markdown_line(rules),
        *map(_markdown_row, table.rows),
    ]
    if table.foot is not None:
        lines.append(_markdown_line(f"**{escape_markdown(cell.text)}**" if cell.text else "" for cell in table.foot))
    return lines + [part for note in table.notes for part in ("", escape_markdown(note))]


def escape_markdown(text: str) -> str:
    """Text that stays text in Markdown."""
    return "".join(f"\\{character}" if character in "\\|*_<`[&~$" else character for character in one_line(text))


def _markdown_row(row: Row) -> str:
    return _markdown_line(escape_markdown(cell.text) for cell in row)


def _markdown_line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


def _all_tables(report: Account) -> list[ReportTable]:
    return [*tables.all_tables(report, report.profiles[0].name), *simulations(report), *reconciling_tables(report)]


LATEX_PREAMBLE = "% needs \\usepackage{booktabs,longtable} and, for \\textquotedbl, \\usepackage[T1]{fontenc}"
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "µ": r"\textmu{}",
    "×": r"\texttimes{}",
    "±": r"\textpm{}",
    "⌈": r"\(\lceil\)",
    "⌉": r"\(\rceil\)",
    "γ": r"\(\gamma\)",
    "→": r"\(\to\)",
    "≤": r"\(\leq\)",
    "≥": r"\(\geq\)",
    "−": r"\(-\)",
}


def as_latex(report: Account) -> str:
    """One `table` environment for each table of the report."""
    return latex_document(_all_tables(report), report.profiles, caveats(report))


def latex_document(shown: Iterable[ReportTable], profiles: Iterable[Profile], remarks: Iterable[str] = ()) -> str:
    """Tables, the sources of the profiles below the first of them, and remarks as comments."""
    first = [f"Profiles: {'; '.join(f'{p.name}: {p.source}' for p in profiles)}."]
    lines = [LATEX_PREAMBLE]
    for table in shown:
        lines += latex_table(table, first)
        first = []
    return "\n".join([*lines, *(f"% {one_line(line)}" for line in remarks)]) + "\n"


def latex_table(table: ReportTable, sources: Iterable[str] = ()) -> list[str]:
    """A `table` environment with a short caption; notes and sources stand below it. One longer than a page is a `longtable`."""
    columns = "".join("l" if place < table.text else "r" for place in range(len(table.headings)))
    caption = rf"\caption{{{escape_latex(table.heading)}}}"
    head = [r"\toprule", _latex_line(escape_latex(heading) for heading in table.headings), r"\midrule"]
    rows = [*map(_latex_row, table.rows), *([] if table.foot is None else [r"\midrule", _latex_row(table.foot)])]
    below = " ".join(escape_latex(note) for note in (*table.notes, *sources))
    said = [rf"\par\medskip\footnotesize\raggedright {below}"] if below else []
    if len(rows) > _PAGE:
        begin = [r"\begingroup\small", rf"\begin{{longtable}}{{{columns}}}", rf"{caption}\\", *head, r"\endhead"]
        return ["", *begin, *rows, r"\bottomrule", r"\end{longtable}", *said, r"\par\endgroup"]
    begin = [r"\begin{table}", caption, r"\centering\small", rf"\begin{{tabular}}{{{columns}}}"]
    return ["", *begin, *head, *rows, r"\bottomrule", r"\end{tabular}", *said, r"\end{table}"]


_PAGE = 40
"""Rows that a page has room for."""


def escape_latex(text: str) -> str:
    """Text that stays text in LaTeX."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def _latex_row(row: Row) -> str:
    return _latex_line(escape_latex(cell.text) for cell in row)


def _latex_line(values: Iterable[str]) -> str:
    return f"{' & '.join(values)} \\\\"


def as_csv(report: Account) -> str:
    """Comma-separated, with a header; a name that a spreadsheet would run as a formula is quoted with an apostrophe."""
    target = io.StringIO()
    columns = {profile.name: energies(report, profile.name) for profile in report.profiles}
    fields = [*_flat(report.layers[0]), *(f"estimated_uj_{name}" for name in columns), "accuracy_percent"]
    accuracy = tables.accuracy_of(report)
    writer = csv.DictWriter(target, fields, lineterminator="\n")
    writer.writerow({field: _harmless(field) for field in fields})
    for row in report.layers:
        values = _flat(row) | {f"estimated_uj_{name}": per_layer[row.name] for name, per_layer in columns.items()}
        values["accuracy_percent"] = "" if accuracy is None else accuracy  # of the model, on each of its rows
        writer.writerow({key: _harmless(value) for key, value in values.items()})
    return target.getvalue()


def table_as_csv(table: ReportTable) -> str:
    """A table as a reader sees it, its numbers unrounded."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(map(_harmless, table.headings))
    writer.writerows([_harmless(cell.text) if cell.value is None else cell.value for cell in row] for row in table.rows)
    return target.getvalue()


def _flat(row: LayerRow) -> dict[str, Any]:
    """A row as columns: `inputs_…` and `memory_…` for each kind, `geometry_…` for each part of the geometry."""
    values = asdict(row)
    geometry = values.pop("geometry")
    values["reads"] = "; ".join(values["reads"])
    for group in ("inputs", "memory"):
        values |= {f"{group}_{key}": value for key, value in values.pop(group).items()}
    return values | {
        f"geometry_{key}": _cell(geometry[key]) if geometry else "" for key in SynapseGeometry.__dataclass_fields__
    }


def _cell(value: object) -> object:
    """A cell of one value: sizes as `3x3`, what is not known as nothing."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return "" if value is None else value


def _harmless(value: object) -> object:
    """No formula, in letters of any width, and nothing that a terminal would take for a command."""
    if not isinstance(value, str):
        return value
    value = one_line(value)
    return f"'{value}" if value[:1] in tuple("=+-@＝＋－＠") else value


def layer_table(report: Account) -> "RichTable":
    """Layers, totals and the estimated energy under the headline profile."""
    return drawn(tables.layers(report, report.profiles[0].name, against=False))


def energy_table(report: Account) -> "RichTable":
    """Estimated energy under every profile, against the baseline if there is one."""
    return drawn(tables.profiles(report))


def further_tables(report: Account) -> list["RichTable"]:
    """Chip and host, the twins without spikes, simulations, measured joules, break-even rates and other tools' counts, where
    there are any.
    """
    further = (tables.deployments(report), tables.twins(report), *simulations(report), tables.measurements(report))
    shown = [*(table for table in further if table is not None), *reconciling_tables(report, reasons=False)]
    return [drawn(table) for table in shown]


def drawn(table: ReportTable) -> "RichTable":
    """For a terminal; the notes are its caption."""
    from rich.table import Table as RichTable

    rich_table = RichTable(
        title=one_line(table.title),
        title_justify="left",
        caption="\n".join(map(one_line, table.notes)) or None,
        caption_justify="left",
    )
    for column, heading in enumerate(table.headings):
        text = column < table.text
        cells = [one_line(row[column].text) for row in (*table.rows, *filter(None, (table.foot,)))]
        width = None if text else max(map(len, cells), default=0)  # headings break before numbers do
        rich_table.add_column(one_line(heading), justify="left" if text else "right", overflow="fold", min_width=width)
    for row in table.rows:
        rich_table.add_row(*(one_line(cell.text) for cell in row))
    if table.foot is not None:
        rich_table.add_section()
        rich_table.add_row(*(one_line(cell.text) for cell in table.foot))
    return rich_table


def as_terminal(shown: Iterable[ReportTable], *, width: int = 100) -> str:
    """Tables as text, as the command line prints them."""
    from io import StringIO

    from rich.console import Console

    screen = StringIO()
    console = Console(file=screen, width=width, highlight=False, markup=False, emoji=False)
    for table in shown:
        console.print(drawn(table))
    return screen.getvalue().rstrip("\n")


def as_frame(report: Account) -> "DataFrame":
    """One row per layer, by its name: the counts, unrounded, and the estimated energy under each profile in µJ.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError("pandas is not installed; pip install pandas, or read the report's CSV") from None
    values: list[dict[str, Any]] = [asdict(row) for row in report.layers]
    frame = pandas.json_normalize(values, sep="_").set_index("name")
    for profile in report.profiles:
        frame[f"estimated_uj_{profile.name}"] = frame.index.map(energies(report, profile.name))
    frame.attrs = {"name": report.name, "samples": report.samples, "steps": report.steps, "unit": "per sample"}
    return frame
