"""A benchmark for people: one table in a terminal and on a page."""

from collections.abc import Callable, Mapping
from textwrap import shorten
from typing import TypeVar

from neurodeploy.app.benchmark.document import as_json
from neurodeploy.app.benchmark.outcome import Benchmark
from neurodeploy.app.benchmark.rows import BATCHES, BenchmarkRow, DeployedEnergy, Duration, SpikeDifference, Unknown
from neurodeploy.io.errors import printable
from neurodeploy.training.evaluation import Accuracy
from neurodeploy_energy.report import page
from neurodeploy_energy.report.tables import ReportTable, Row, TableCell, microjoule

_HEADINGS = (
    "format",
    "runtime",
    "opens",
    "accuracy, %",
    "spikes that differ",
    "from the first runtime",
    "ms, B = 1",
    "ms, B = 64",
    "KiB",
    "µJ",
    "fits",
)
_TEXT = 3
_KIB = 1024
_LONG = 1000  # ms
_LONGEST = 400
Known = TypeVar("Known")


class _Footnotes:
    """What does not go into a field, each once, by its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        said = shorten(printable(text), _LONGEST, placeholder=" …").removesuffix(".")
        return self._numbers.setdefault(said, len(self._numbers) + 1)

    def cell(self, value: Known | Unknown, shown: Callable[[Known], TableCell]) -> TableCell:
        """A field, or a dash and the number of the reason why it is empty."""
        return TableCell(f"– ({self.number(value.reason)})") if isinstance(value, Unknown) else shown(value)

    def lines(self) -> list[str]:
        return [f"({number}) {text}." for text, number in self._numbers.items()]


def table_of(found: Benchmark) -> ReportTable:
    """One row for each artefact in each program; below it why fields are empty, and what belongs to others."""
    notes = _Footnotes()
    usual = max((row.difference.compared for row in found.rows if isinstance(row.difference, SpikeDifference)), default=0)
    rows = tuple(_cells(row, notes, found.samples, usual) for row in found.rows)
    absent = [f"Not installed here: {', '.join(found.absent)}."] if found.absent else []
    spikes = [f"Spikes: {usual:,} values (neuron, step, sample) were compared, where nothing else is said."] if usual else []
    title = f"{found.name}: {found.samples:,} samples"
    return ReportTable(title, _HEADINGS, rows, text=_TEXT, notes=(*notes.lines(), *absent, *spikes, *found.notes))


def _cells(row: BenchmarkRow, notes: _Footnotes, samples: int, usual: int) -> Row:
    def accuracy(found: Accuracy) -> TableCell:
        low, high = found.interval
        some = (
            f" ({notes.number(f'of {found.samples:,} samples, for which there was time')})" if found.samples < samples else ""
        )
        return TableCell(f"{found.percent:.1f} [{low:.1f}, {high:.1f}]{some}", found.percent)

    def difference(found: SpikeDifference) -> TableCell:
        of = f" of {found.compared:,}" if found.compared != usual else ""
        lacking = f"without the layers {', '.join(found.absent)}, which the artefact does not have"
        return TableCell(f"{found.count:,}{of}" + (f" ({notes.number(lacking)})" if found.absent else ""), found.count)

    def from_first(found: SpikeDifference) -> TableCell:
        return TableCell(f"{found.from_first:,}", found.from_first) if found.first else TableCell("")

    def energy(found: DeployedEnergy) -> TableCell:
        least = "at least " if found.left_out else ""
        said = f"under {' + '.join(found.profiles)}"
        if found.left_out:
            said = f"{said}, which has no cost for {', '.join(found.left_out)}"
        return TableCell(f"{least}{microjoule(found.uj)} ({notes.number(said)})", found.uj)

    return (
        TableCell(row.format),
        TableCell(" ".join(filter(None, (row.runtime, row.version)))),
        notes.cell(row.opens, lambda _: TableCell("yes")),
        notes.cell(row.accuracy, accuracy),
        notes.cell(row.difference, difference),
        notes.cell(row.difference, from_first),
        *(notes.cell(row.durations[size], _duration) for size in BATCHES),
        notes.cell(row.size, lambda size: TableCell(f"{size / _KIB:,.1f}", size / _KIB)),
        notes.cell(row.energy, energy),
        notes.cell(row.fit, lambda found: TableCell(f"{found.verdict} ({notes.number(f'{found.device}: {found.detail}')})")),
    )


def _duration(found: Duration) -> TableCell:
    value = found.ms_per_sample
    return TableCell(f"{value:,.3f}" if value < 1 else f"{value:,.3g}" if value < _LONG else f"{value:,.0f}", value)


def as_page(found: Benchmark, facts: Mapping[str, str]) -> str:
    """One self-contained page."""
    title = f"Benchmark of {found.name}"
    shown = table_of(found)
    lead = f"{len(found.rows)} artefacts in programs, on {found.samples:,} samples: {found.data}."
    sections = [page.PagePart("Formats and programs", [page.table(shown)]), page.sources(facts, ())]
    files = [page.Attachment("benchmark.json", "application/json", as_json(found, indent=None))]
    return page.framed(title, page.heading(title, lead, ()), sections, files)
