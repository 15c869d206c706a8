"""The benchmark as a whole: artefacts are written, opened by every runtime that their target names, asked, timed and priced."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from neurodeploy.app.benchmark.compared import Compared
from neurodeploy.app.benchmark.contestants import Contestant, Settings, Watch, entered
from neurodeploy.app.benchmark.measuring import ROUNDS, ask, time_batches
from neurodeploy.app.benchmark.pricing import PRICED, Prices, priced_bundles
from neurodeploy.app.benchmark.rows import BATCHES, BenchmarkRow, SpikeDifference, Unknown
from neurodeploy.io.errors import UserError
from neurodeploy.training.evaluation import Accuracy
from neurodeploy_energy.price.profiles import load


@dataclass(frozen=True)
class Benchmark:
    """What came out.

    Attributes:
        name: of the network.
        data: what the samples are.
        samples: that were given to every program.
        rows: the network itself first, then target by target.
        threads: of every program.
        absent: runtimes that are not installed here.
        notes: what a reader must know.
    """

    name: str
    data: str
    samples: int
    rows: tuple[BenchmarkRow, ...]
    threads: int
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def benchmark(asked: Compared, settings: Settings, root: Path, *, watch: Watch = lambda *_: None) -> Benchmark:
    """Compare every format and program.

    Args:
        asked: the network or bundle, and samples.
        settings: see there.
        root: an empty folder, for the bundles.
        watch: see `Watch`.

    Raises:
        UserError: a target, an option or a profile is unknown.
    """
    if load(settings.host).mac is None:
        raise UserError(f"profile {settings.host}: a host computes densely, and it gives no cost_pj.mac; choose another")
    load(settings.chip)
    with _threads(settings.threads):
        contestants, absent = entered(asked, settings, root, watch)
        ask(asked, contestants, settings.seconds, watch)
        for size in BATCHES:
            time_batches(asked, contestants, size, settings.seconds, watch)
        priced = priced_bundles(asked, contestants, settings, watch)
    rows = tuple(_row(one, asked, priced) for one in contestants)
    return Benchmark(
        asked.name, asked.data, asked.samples, rows, settings.threads, absent, _notes(asked, contestants, settings)
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _row(one: Contestant, asked: Compared, priced: Prices) -> BenchmarkRow:
    nothing = Unknown("the network as it was trained is no file, and deployed nowhere")
    if isinstance(one.opens, Unknown):
        nothing = one.opens
    energy, fit = (nothing, nothing) if one.bundle is None else priced[one.bundle.folder]
    return BenchmarkRow(
        target=one.target,
        variant=one.variant,
        runtime=one.runtime,
        version=one.version,
        opens=one.opens,
        accuracy=_accuracy(one, asked),
        difference=_difference(one, asked),
        durations=dict(one.durations),
        size=nothing if one.bundle is None else sum(one.bundle.path(name).stat().st_size for name in one.files),
        energy=energy,
        fit=fit,
    )


def _accuracy(one: Contestant, asked: Compared) -> Accuracy | Unknown:
    if isinstance(one.opens, Unknown):
        return one.opens
    if one.fault or not one.answered:
        return Unknown(one.fault or "no sample was answered in time")
    return asked.labels if isinstance(asked.labels, Unknown) else Accuracy(one.correct, one.answered)


def _difference(one: Contestant, asked: Compared) -> SpikeDifference | Unknown:
    if isinstance(one.opens, Unknown):
        return one.opens
    if one.fault:
        return Unknown(one.fault)
    if isinstance(asked.spikes, Unknown):
        return asked.spikes
    if not one.values:
        return Unknown("no spiking layer of the network is in the artefact, or there was no time to compare")
    absent = () if asked.subject is None else tuple(name for name in asked.subject.graph.spiking if name not in one.layers)
    return SpikeDifference(one.differing, one.values, one.compared, absent, one.first, one.from_first)


def _notes(asked: Compared, contestants: Sequence[Contestant], settings: Settings) -> tuple[str, ...]:
    """What must be known of the whole table."""
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    times = f"Times: medians of up to {ROUNDS} rounds in which every program takes its turn, {threads}"
    few = "; samples are repeated to fill a batch" if asked.samples < max(BATCHES) else ""
    notices = dict.fromkeys(notice for one in contestants for notice in one.notices)
    return (
        *asked.notes,
        f"{times}{few}.",
        f"Energies are estimates, of the artefact whichever program runs it here: operations of up to {PRICED} samples times "
        "the costs of a profile. A host is priced densely, every product of every step; a chip by what spikes cause.",
        *notices,
    )
