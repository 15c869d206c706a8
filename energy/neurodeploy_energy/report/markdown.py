"""The report as Markdown."""

from neurodeploy_energy.report.columns import COLUMNS, cells, energies, microjoule, percent
from neurodeploy_energy.report.conventions import CONVENTIONS, caveats
from neurodeploy_energy.report.terminal import spike_line
from neurodeploy_energy.result import Report


def as_markdown(report: Report, *, title: str) -> str:
    """Headings, the layer table, the energy table, and the conventions."""
    profile = report.profiles[0]
    per_layer = energies(report, profile.name)
    lines = [f"# {_escape(title)}", "", f"{_escape(spike_line(report))}. Means over {report.samples:,} samples.", ""]
    lines += _row(["layer", *(column.heading for column in COLUMNS), f"µJ ({_escape(profile.name)}, estimate)", "note"])
    lines += _row(["---", *("---:" for _ in COLUMNS), "---:", "---"])
    for row in report.layers:
        lines += _row([_escape(row.name), *cells(row), microjoule(per_layer[row.name]), _escape(row.note)])
    total = [f"**{cell}**" if cell else "" for cell in (*cells(report.total), microjoule(report.energy(profile.name).total_uj))]
    lines += [*_row(["**total**", *total, ""]), "", "## Estimated energy per sample", ""]
    lines += [*_energies(report), "", "## Conventions", "", *(f"- {line}" for line in CONVENTIONS)]
    found = caveats(report)
    if found:
        lines += ["", "## Left out", "", *(f"- {_escape(line)}" for line in found)]
    lines += ["", "## Profiles", ""]
    lines += [
        f"- **{_escape(p.name)}** ({p.basis}, {p.scope}, {p.year}): {_escape(p.source)}. {_escape(p.note)}"
        for p in report.profiles
    ]
    return "\n".join(lines) + "\n"


def _energies(report: Report) -> list[str]:
    if report.comparison is None:
        lines = [*_row(["profile", "µJ"]), *_row(["---", "---:"])]
        for profile in report.profiles:
            lines += _row([_escape(profile.name), microjoule(report.energy(profile.name).total_uj)])
        return lines
    baseline = report.comparison.baseline.name
    headings = [
        "profile",
        f"{_escape(report.name)}, µJ",
        f"{_escape(baseline)}, µJ",
        "change",
        "dense ReLU twin, µJ",
        "break-even rate",
    ]
    lines = [*_row(headings), *_row(["---", *("---:" for _ in headings[1:])])]
    for pair in report.comparison.energies:
        lines += _row(
            [
                _escape(pair.profile.name),
                microjoule(pair.model),
                microjoule(pair.baseline),
                "" if pair.change_percent is None else f"{pair.change_percent:+.1f} %",
                "no MAC cost" if pair.twin is None else microjoule(pair.twin),
                "" if pair.break_even_rate is None else percent(pair.break_even_rate),
            ]
        )
    return lines


def _row(values: list[str]) -> list[str]:
    return [f"| {' | '.join(values)} |"]


def _escape(text: str) -> str:
    for character in ("\\", "|", "*", "_", "<", "`", "["):
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
