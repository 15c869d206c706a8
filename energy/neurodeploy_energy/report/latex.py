"""The report's tables in LaTeX, for `\\usepackage{booktabs}` and a Unicode engine or `\\usepackage[utf8]{inputenc}`."""

from collections.abc import Iterable

from neurodeploy_energy.report import tables
from neurodeploy_energy.report.conventions import caveats
from neurodeploy_energy.report.tables import Row, Table
from neurodeploy_energy.result import Report

PREAMBLE = "% needs \\usepackage{booktabs} and, for \\textquotedbl, \\usepackage[T1]{fontenc}"
_SPECIAL = {
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
}


def as_latex(report: Report) -> str:
    """One `table` environment for each table of the report."""
    lines = [PREAMBLE]
    for table in tables.all_tables(report, report.profiles[0].name):
        lines += table_lines(table, sources=[f"{p.name}: {p.source}." for p in report.profiles])
    lines += [f"% {' '.join(line.split())}" for line in caveats(report)]
    return "\n".join(lines) + "\n"


def table_lines(table: Table, sources: Iterable[str] = ()) -> list[str]:
    """A `table` environment; notes and sources are in its caption."""
    columns = "".join("l" if place < table.text else "r" for place in range(len(table.headings)))
    title = f"{table.title[0].upper()}{table.title[1:]}."
    lines = [
        "",
        r"\begin{table}",
        rf"\caption{{{escaped(' '.join((title, *table.notes, *sources)))}}}",
        r"\centering",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(escaped(heading) for heading in table.headings),
        r"\midrule",
        *map(_row, table.rows),
    ]
    if table.foot is not None:
        lines += [r"\midrule", _row(table.foot)]
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def escaped(text: str) -> str:
    """Text that stays text in LaTeX."""
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))


def _row(row: Row) -> str:
    return _line(escaped(cell.text) for cell in row)


def _line(values: Iterable[str]) -> str:
    return f"{' & '.join(values)} \\\\"
