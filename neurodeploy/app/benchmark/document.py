"""`benchmark.json`: a benchmark for programs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

from neurodeploy.app.benchmark.outcome import Benchmark
from neurodeploy.app.benchmark.rows import BATCHES, BenchmarkRow, DeployedEnergy, Duration, SpikeDifference, Unknown
from neurodeploy.io.json_text import json_text
from neurodeploy.training.evaluation import Accuracy
from neurodeploy_exporters.runtime import Fit

SCHEMA_VERSION = 1
Known = TypeVar("Known")
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class AccuracyEntry:
    """Of one artefact in one program.

    Attributes:
        correct: samples answered rightly.
        samples: that were asked.
        percent: of them.
        interval_95: Wilson's, percent.
    """

    correct: int
    samples: int
    percent: float
    interval_95: tuple[float, float]


@dataclass(frozen=True)
class DeployedEnergyEntry:
    """Of one artefact; see `DeployedEnergy`.

    Attributes:
        estimate: always.
    """

    estimate: bool
    uj: float
    profiles: tuple[str, ...]
    samples: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class RowEntry:
    """One artefact in one program; see `BenchmarkRow`. A field that cannot be filled is null.

    Attributes:
        opens: whether the program reads the artefact.
        spikes: against the network's.
        ms_per_sample_batch_1, ms_per_sample_batch_64: medians.
        bytes: of the files that the program reads.
        why: field → why it is null.
    """

    target: str
    variant: str
    runtime: str
    version: str
    opens: bool
    accuracy: AccuracyEntry | None
    spikes: SpikeDifference | None
    ms_per_sample_batch_1: float | None
    ms_per_sample_batch_64: float | None
    bytes: int | None
    energy: DeployedEnergyEntry | None
    fit: Fit | None
    why: dict[str, str]


@dataclass(frozen=True)
class BenchmarkDocument:
    """`benchmark.json` of `neurodeploy benchmark`.

    Attributes:
        schema_version: of this form.
        name: of the network.
        data: what the samples are.
        samples: that were given to every program.
        threads: of every program.
        not_installed: runtimes that are not there.
        notes: what a reader must know.
        rows: the network itself first, then target by target.
    """

    schema_version: int
    name: str
    data: str
    samples: int
    threads: int
    not_installed: tuple[str, ...]
    notes: tuple[str, ...]
    rows: tuple[RowEntry, ...]


def document_of(found: Benchmark) -> BenchmarkDocument:
    """A benchmark as its file has it."""
    rows = tuple(_entry(row) for row in found.rows)
    return BenchmarkDocument(
        SCHEMA_VERSION, found.name, found.data, found.samples, found.threads, tuple(found.absent), tuple(found.notes), rows
    )


def as_json(found: Benchmark, *, indent: int | None = 2) -> str:
    """The text of `benchmark.json`; `indent`: see `json_text`."""
    return json_text(asdict(document_of(found)), indent)


def _entry(row: BenchmarkRow) -> RowEntry:
    single, many = (row.durations[size] for size in BATCHES)
    fields = {
        "opens": row.opens,
        "accuracy": row.accuracy,
        "spikes": row.difference,
        "ms_per_sample_batch_1": single,
        "ms_per_sample_batch_64": many,
        "bytes": row.size,
        "energy": row.energy,
        "fit": row.fit,
    }
    return RowEntry(
        target=row.target,
        variant=row.variant,
        runtime=row.runtime,
        version=row.version,
        opens=not isinstance(row.opens, Unknown),
        accuracy=_known(row.accuracy, _accuracy),
        spikes=_known(row.difference, _as_it_is),
        ms_per_sample_batch_1=_known(single, _milliseconds),
        ms_per_sample_batch_64=_known(many, _milliseconds),
        bytes=_known(row.size, _as_it_is),
        energy=_known(row.energy, _energy),
        fit=_known(row.fit, _as_it_is),
        why={field: value.reason for field, value in fields.items() if isinstance(value, Unknown)},
    )


def _known(value: Known | Unknown, entry: Callable[[Known], Entry]) -> Entry | None:
    return None if isinstance(value, Unknown) else entry(value)


def _as_it_is(value: Known) -> Known:
    return value


def _milliseconds(found: Duration) -> float:
    return found.ms_per_sample


def _accuracy(found: Accuracy) -> AccuracyEntry:
    return AccuracyEntry(found.correct, found.samples, found.percent, found.interval)


def _energy(found: DeployedEnergy) -> DeployedEnergyEntry:
    return DeployedEnergyEntry(True, found.uj, found.profiles, found.samples, found.left_out)
