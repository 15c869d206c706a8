"""What a sweep found, for people and programs: table, JSON, CSV, Markdown, page and Pareto figure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neurodeploy.app.study import Found, Outcome
from neurodeploy.app.sweep import shown
from neurodeploy.io.files import atomic_members, write_text
from neurodeploy.io.json_text import json_text
from neurodeploy.recipe.sweep import Space, Value
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.report import page
from neurodeploy_energy.report.charts import Point, Scatter
from neurodeploy_energy.report.figures import pareto, write_png
from neurodeploy_energy.report.formats import escape_markdown, markdown_table, table_as_csv
from neurodeploy_energy.report.svg import drawn
from neurodeploy_energy.report.tables import CONVENTIONS, ReportTable, TableCell, energy_cell, microjoule, number

SCHEMA_VERSION = 1


def table_of(outcome: Outcome, trials: tuple[Found, ...], title: str) -> ReportTable:
    """Trials with their settings."""
    paths = list(dict.fromkeys(path for one in outcome.found for path in one.values))
    rows = tuple(
        (
            TableCell(str(one.number), one.number),
            TableCell(f"{one.accuracy:.2f}", one.accuracy),
            energy_cell(one.uj),
            TableCell(number(one.spikes), one.spikes),
            TableCell(f"{one.test_accuracy:.2f}", one.test_accuracy),
            TableCell("front", 1) if one.front else TableCell(""),
            *(_value(one.values.get(path, "")) for path in paths),
        )
        for one in trials
    )
    headings = ("trial", "accuracy, %", f"µJ ({outcome.profile}, estimate)", "spikes", "test accuracy, %", "Pareto")
    seeds = "one seed" if outcome.seeds == 1 else f"means over {outcome.seeds} seeds"
    notes = [
        f"Accuracy, energy and spikes of {outcome.student} per sample on {outcome.held_out:,} training samples that no network "
        f"was trained on; {seeds}. The test accuracy was not searched on.",
        "Front: no other trial is at least as accurate for less energy.",
    ]
    if outcome.failed:
        notes.append(f"{len(outcome.failed)} trials failed: {'; '.join(dict.fromkeys(outcome.failed.values()))}")
    return ReportTable(title, (*headings, *_short(paths)), rows, text=0, notes=tuple(notes))


def as_document(outcome: Outcome) -> dict[str, Any]:
    """Plain dictionaries and lists."""
    answer = {"schema_version": SCHEMA_VERSION, "unit": "per sample", "estimate": True, **asdict(outcome)}
    answer["front"] = [one.number for one in outcome.front]
    return answer


def as_json(outcome: Outcome) -> str:
    return json_text(as_document(outcome))


def as_markdown(outcome: Outcome) -> str:
    """Both tables."""
    lines = [f"# {escape_markdown(_title(outcome))}"]
    for table in _tables(outcome):
        lines += ["", f"## {escape_markdown(table.title)}", "", *markdown_table(table)]
    return "\n".join([*lines, "", "## Conventions", "", *(f"- {line}" for line in CONVENTIONS)]) + "\n"


def as_page(outcome: Outcome, facts: Mapping[str, str]) -> str:
    """One self-contained page."""
    caption = "Accuracy against estimated energy of every trial; the dashed line is the Pareto front"
    unit = f"estimated energy, µJ per sample ({outcome.profile})"
    figure = drawn(Scatter(_points(outcome, labels=False), caption, unit, "accuracy on held-out samples, %"))
    top = page.heading(_title(outcome), f"{len(outcome.found)} trials of {outcome.recipe}.", ())
    sections = [
        page.PagePart("Accuracy against energy", [figure]),
        *map(page.section, _tables(outcome)),
        page.sources(facts, CONVENTIONS),
        page.PagePart("Profile", [page.profile_list([load(outcome.profile)])]),
    ]
    trials = table_as_csv(table_of(outcome, outcome.found, "trials"))
    files = [
        page.Attachment("sweep.json", "application/json", json_text(as_document(outcome), None)),
        page.Attachment("sweep.csv", "text/csv", trials),
    ]
    return page.framed(_title(outcome), top, sections, files)


def write_sweep(outcome: Outcome, space: Space, root: Path) -> dict[str, Path]:
    """Write `sweep.html`, `.json`, `.csv`, `.md` and `pareto.png`.

    Returns:
        Format → path.
    """
    searched = {one.path: _range(one.low, one.high, one.choices, log=one.log) for one in space.settings.parameter}
    facts = {"Recipe": space.origin, "Energy profile": outcome.profile, **searched}
    texts = {
        "html": as_page(outcome, facts),
        "json": as_json(outcome),
        "csv": table_as_csv(table_of(outcome, outcome.found, "trials")),
        "md": as_markdown(outcome),
    }
    paths = {ending: root / f"sweep.{ending}" for ending in texts}
    paths["png"] = root / "pareto.png"
    figure = pareto(_points(outcome, labels=True), profile=outcome.profile, accuracy="accuracy on held-out samples")
    with atomic_members(root) as new:
        for ending, text in texts.items():
            write_text(new / paths[ending].name, text)
        write_png(figure, new / "pareto.png")
    return paths


def _title(outcome: Outcome) -> str:
    return f"Sweep of {outcome.recipe}: {outcome.student}"


def _tables(outcome: Outcome) -> list[ReportTable]:
    return [table_of(outcome, outcome.front, "Pareto front"), table_of(outcome, outcome.found, "All trials")]


def _points(outcome: Outcome, *, labels: bool) -> list[Point]:
    """`labels`: the numbers of the trials of the front; they would overlap beside all."""
    return [
        Point(
            str(one.number) if labels and one.front else "",
            one.uj,
            one.accuracy,
            f"trial {one.number}: {one.accuracy:.2f} %, {microjoule(one.uj)} µJ; "
            + ", ".join(f"{path} = {shown(value)}" for path, value in one.values.items()),
            0 if one.front else 4,
            front=one.front,
        )
        for one in outcome.found
    ]


def _short(paths: Sequence[str]) -> list[str]:
    """Of each path its last parts, as many as it takes to tell them apart."""
    parts = [path.split(".") for path in paths]
    depth = [
        next(n for n in range(1, len(one) + 1) if sum(other[-n:] == one[-n:] for other in parts) == 1 or n == len(one))
        for one in parts
    ]
    return [".".join(one[-n:]) for one, n in zip(parts, depth, strict=True)]


def _value(value: Value) -> TableCell:
    return TableCell(shown(value), None if isinstance(value, str | bool) else value)


def _range(low: float | None, high: float | None, choices: tuple[Value, ...] | None, *, log: bool) -> str:
    if choices is not None:
        return f"one of {', '.join(map(shown, choices))}"
    return f"{low:g} to {high:g}{', by orders of magnitude' if log else ''}"
