"""Any number of models side by side: tables, JSON, CSV, Markdown, LaTeX, a page and the Pareto figure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from neurodeploy.io.errors import one_line
from neurodeploy.io.files import atomic_members, write_text
from neurodeploy.io.json_text import json_text
from neurodeploy_energy.declared import Declared, Number
from neurodeploy_energy.price.account import has_twins
from neurodeploy_energy.price.contest import CONFIDENCE, Contender, Contest, Interval, LayerChange
from neurodeploy_energy.price.estimate import flips
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_energy.report import formats, page, svg
from neurodeploy_energy.report.charts import Bar, BarChart, Point, Scatter
from neurodeploy_energy.report.document import Answers, Estimate
from neurodeploy_energy.report.tables import (
    CONVENTIONS,
    NOTHING,
    ReportTable,
    Row,
    TableCell,
    change_cell,
    energy_cell,
    microjoule,
    number,
    verdict_table,
)

SCHEMA_VERSION: Literal[2] = 2
_FEW = 5


def models(contest: Contest) -> ReportTable:
    """Accuracy, spikes and energy under the headline profile, with intervals; the front is marked."""
    profile, rows = contest.profiles[0].name, []
    front = contest.front(profile)
    for one in contest.contenders:
        standing = contest.standing(one.name, profile)
        rows.append(
            (
                TableCell(one.name),
                TableCell(str(len(one.reports)), len(one.reports)),
                NOTHING if one.accuracy is None else TableCell(f"{one.accuracy:.2f}", one.accuracy),
                _between(one.accuracy_interval(), ".2f"),
                TableCell(number(one.spikes), one.spikes),
                energy_cell(standing.uj),
                _between(standing.interval, ",.4g"),
                change_cell(standing.change_percent),
                _between(standing.change_interval, "+.1f"),
                TableCell("front", 1) if one.name in front else NOTHING,
            )
        )
    headings = (
        "model",
        "seeds",
        "accuracy, %",
        "accuracy, 95 %",
        "spikes",
        f"µJ ({profile}, estimate)",
        "µJ, 95 %",
        "change",
        "change, 95 %",
        "Pareto",
    )
    over = sorted({s.interval.over for s in contest.standings if s.interval is not None})
    notes = [f"Changes are against {contest.baseline.name}. Counts and energies are means per sample."]
    if over:
        few = min(len(one.reports) for one in contest.contenders) < _FEW and any("seeds" in one for one in over)
        caution = f"; of fewer than {_FEW} seeds they come out too narrow" if few else ""
        notes.append(f"Intervals: bootstrap over {' or '.join(over)}, {100 * CONFIDENCE:g} %{caution}.")
    if front:
        notes.append("Front: no other model is at least as accurate for less energy.")
    sizes = {report.samples for one in contest.contenders for report in one.reports}
    if len(sizes) > 1:
        notes.append(f"The models were counted on different numbers of samples: {', '.join(f'{n:,}' for n in sorted(sizes))}.")
    return ReportTable("accuracy against estimated energy", headings, tuple(rows), notes=tuple(notes))


def profiles(contest: Contest) -> ReportTable:
    """Every model under every profile."""
    rows = []
    for profile in contest.profiles:
        for one in contest.contenders:
            s = contest.standing(one.name, profile.name)
            change = change_cell(s.change_percent)
            cells = (energy_cell(s.uj), _between(s.interval, ",.4g"), change, _between(s.change_interval, "+.1f"))
            rows.append((TableCell(profile.name), TableCell(one.name), *cells))
    headings = ("profile", "model", "µJ", "µJ, 95 %", f"change against {contest.baseline.name}", "change, 95 %")
    return ReportTable("estimated energy per sample under every profile, µJ", headings, tuple(rows), text=2)


def twins(contest: Contest) -> ReportTable | None:
    """Every spiking model that is known whole against its twins, and where the verdict flips; None without such a model."""
    known = {one.name for one in contest.contenders if _is_judged(one)}
    judged = [(s.model, s.verdict) for s in contest.standings if s.model in known]
    if not judged:
        return None
    lines = [
        f"{one.name}: {sentence}"
        for one in contest.contenders
        for sentence in flips([verdict for name, verdict in judged if name == one.name])
    ]
    measured = any(report.twin is not None for one in contest.contenders for report in one.reports)
    deployed = all(report.host is not None for one in contest.contenders for report in one.reports)
    return verdict_table(judged, lines, measured=measured, deployed=deployed, named=True)


def _is_judged(one: Contender) -> bool:
    return all(has_twins(report) for report in one.reports)


def layers(contest: Contest) -> ReportTable:
    """Spikes of each spiking layer, against the baseline."""
    rows: list[Row] = []
    for change in contest.layers:
        spikes = (NOTHING if n is None else TableCell(number(n), n) for n in (change.spikes, change.baseline))
        difference = NOTHING if change.difference is None else TableCell(f"{change.difference:+,.1f}", change.difference)
        rows.append((TableCell(change.layer), TableCell(change.model), *spikes, difference, _between(change.interval, "+,.1f")))
    headings = ("layer", "model", "spikes", f"spikes of {contest.baseline.name}", "difference", "difference, 95 %")
    return ReportTable("spikes per sample, layer by layer", headings, tuple(rows), text=2)


def all_tables(contest: Contest) -> list[ReportTable]:
    """In the order in which every format shows them."""
    return list(filter(None, [models(contest), profiles(contest), twins(contest), layers(contest)]))


@dataclass(frozen=True)
class StandingEntry(Declared):
    """One model under one profile; see `Standing`."""

    profile: str
    estimate: Estimate
    uj: Number | None
    interval: Interval | None
    change_percent: Number | None
    change_interval: Interval | None
    dense_twin_uj: Number | None
    quantised_twin_uj: Number | None
    break_even_rate: Number | None
    spikes_allowed: Number | None
    on_front: bool


@dataclass(frozen=True)
class ContenderEntry(Declared):
    """One model; `accuracy` in percent."""

    name: str
    seeds: int
    answers: tuple[Answers | None, ...]
    accuracy: Number | None
    accuracy_interval: Interval | None
    spikes: Number
    energy: tuple[StandingEntry, ...]


@dataclass(frozen=True)
class ContestDocument(Declared):
    """The whole comparison; energies in µJ per sample."""

    schema_version: Literal[2]
    unit: Literal["per sample"]
    baseline: str
    profiles: tuple[Profile, ...]
    models: tuple[ContenderEntry, ...]
    layers: tuple[LayerChange, ...]


def document_of(contest: Contest) -> ContestDocument:
    """What is written."""
    models = tuple(_contender(contest, one) for one in contest.contenders)
    return ContestDocument(SCHEMA_VERSION, "per sample", contest.baseline.name, contest.profiles, models, contest.layers)


def _contender(contest: Contest, one: Contender) -> ContenderEntry:
    judged = _is_judged(one)
    answers = tuple(None if report.answers is None else Answers(*report.answers) for report in one.reports)
    standings = tuple(
        StandingEntry(
            profile=s.profile.name,
            estimate=True,
            uj=s.uj,
            interval=s.interval,
            change_percent=s.change_percent,
            change_interval=s.change_interval,
            dense_twin_uj=s.verdict.dense_uj if judged else None,
            quantised_twin_uj=s.verdict.quantised_uj if judged else None,
            break_even_rate=s.verdict.break_even_rate if judged else None,
            spikes_allowed=s.verdict.spikes_allowed if judged else None,
            on_front=s.model in contest.front(s.profile.name),
        )
        for s in contest.standings
        if s.model == one.name
    )
    return ContenderEntry(one.name, len(one.reports), answers, one.accuracy, one.accuracy_interval(), one.spikes, standings)


def as_json(contest: Contest, *, indent: int | None = 2) -> str:
    return json_text(asdict(document_of(contest)), indent)


def as_markdown(contest: Contest, *, title: str) -> str:
    """Headings and tables."""
    lines = [f"# {formats.escape_markdown(title)}", *formats.markdown_sections(all_tables(contest))]
    return "\n".join([*lines, "", "## Conventions", "", *(f"- {line}" for line in CONVENTIONS)]) + "\n"


def as_latex(contest: Contest) -> str:
    """One `table` environment for each table."""
    return formats.latex_document(all_tables(contest), contest.profiles)


def front_of(contest: Contest, profile: str) -> Scatter | None:
    """Models in the plane of energy and accuracy; None if no accuracy is known."""
    front, points = contest.front(profile), []
    for one in contest.contenders:
        if one.accuracy is None:
            continue
        s, up = contest.standing(one.name, profile), one.accuracy_interval()
        if s.uj is None:
            continue
        points.append(
            Point(
                one.name,
                s.uj,
                one.accuracy,
                tip=f"{one.name}: {one.accuracy:.2f} %, {microjoule(s.uj)} µJ under {profile}",
                style=0 if one.name in front else 4,
                across=None if s.interval is None else (s.interval.low, s.interval.high),
                up=None if up is None else (up.low, up.high),
                front=one.name in front,
            )
        )
    caption = f"Test accuracy against estimated energy ({profile}), with 95 % intervals; the dashed line is the Pareto front"
    unit = f"estimated energy, µJ per sample ({profile})"
    return Scatter(points, caption, unit, "test accuracy, %", profile) if points else None


def spikes_of(contest: Contest) -> BarChart:
    """Spikes of every spiking layer of every model, the baseline's first."""
    names, base = [one.name for one in contest.contenders], contest.baseline.name
    rows: dict[str, list[Bar]] = {}
    for change in contest.layers:
        if change.layer not in rows:
            before = change.baseline
            rows[change.layer] = [] if before is None else [Bar(before, 0, f"{change.layer}: {number(before)} ({base})")]
        if change.spikes is not None:
            style = 1 + (names.index(change.model) - 1) % 5
            rows[change.layer].append(Bar(change.spikes, style, f"{change.layer}: {number(change.spikes)} ({change.model})"))
    used = {bar.style for bars in rows.values() for bar in bars}
    legend = [name if style in used else "" for style, name in enumerate(names[:6])]
    return BarChart(rows, "Spikes per sample of every spiking layer", "spikes per sample", legend)


def as_page(contest: Contest, *, title: str, facts: Mapping[str, str] | None = None, notices: Sequence[str] = ()) -> str:
    """One self-contained page."""
    names = ", ".join(one.name for one in contest.contenders[1:])
    top = [*page.heading(title, f"{names} against {contest.baseline.name}.", notices), page.profile_choice(contest.profiles)]
    fronts = [front for p in contest.profiles if (front := front_of(contest, p.name)) is not None]
    spikes = spikes_of(contest)
    return page.framed(
        title,
        top,
        [
            page.PagePart("Pareto fronts", [*map(svg.drawn, fronts)]),
            *map(page.section, all_tables(contest)),
            page.PagePart("Spikes of every layer", [svg.drawn(spikes)] if spikes.rows else []),
            page.sources(facts or {}, CONVENTIONS),
            page.PagePart("Profiles", [page.profile_list(contest.profiles)]),
        ],
        [
            page.Attachment("comparison.json", "application/json", as_json(contest, indent=None)),
            page.Attachment("comparison.csv", "text/csv", formats.table_as_csv(profiles(contest))),
        ],
    )


@dataclass(frozen=True, repr=False)
class ContestReport(Contest):
    """A contest that shows itself: `print` it, look at it in a notebook, save it."""

    def __str__(self) -> str:
        return formats.as_terminal(all_tables(self))

    def __repr__(self) -> str:
        return f"<ContestReport of {len(self.contenders)} models against {one_line(self.baseline.name)}; print it>"

    def _repr_html_(self) -> str:
        return as_page(self, title=f"Comparison with {self.baseline.name}", facts=None, notices=())

    def save(self, folder: str | Path, *, facts: Mapping[str, str] | None = None) -> dict[str, Path]:
        """Write the comparison in every format; see `write_contest`."""
        return write_contest(self, folder, title=f"Comparison with {self.baseline.name}", facts=facts)


def write_contest(
    contest: Contest, folder: str | Path, *, title: str, facts: Mapping[str, str] | None = None, notices: Sequence[str] = ()
) -> dict[str, Path]:
    """Write `comparison.html`, `.json`, `.csv`, `.md`, `.tex`, and `figures/pareto_PROFILE.png` where accuracies are known.

    All of them take the places of an earlier comparison's, or none.

    Returns:
        Format or figure name → path.
    """
    from neurodeploy_energy.report.figures import drawn, write_png

    folder = Path(folder)
    texts = {
        "html": as_page(contest, title=title, facts=facts, notices=notices),
        "json": as_json(contest),
        "csv": formats.table_as_csv(profiles(contest)),
        "md": as_markdown(contest, title=title),
        "tex": as_latex(contest),
    }
    paths = {ending: folder / f"comparison.{ending}" for ending in texts}
    with atomic_members(folder, stale=["figures/pareto_*.png"]) as new:
        for ending, text in texts.items():
            write_text(new / paths[ending].name, text)
        for profile in contest.profiles:
            front, name = front_of(contest, profile.name), f"pareto_{profile.name}"
            if front is not None:
                write_png(drawn(front), new / "figures" / f"{name}.png")
                paths[name] = folder / "figures" / f"{name}.png"
    return paths


def _between(ends: Interval | None, form: str) -> TableCell:
    return NOTHING if ends is None else TableCell(f"{ends.low:{form}} to {ends.high:{form}}", ends.low)
