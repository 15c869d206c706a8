"""The fixed-point simulator of Loihi against Intel's Lava: the same states, the time, the memory.

First every spike, current and potential is compared with what Lava computed; then whole batches are timed, against the times
that were recorded for Lava's CPU simulation and, where lava-nc is installed, against Lava itself, interleaved.

    python -m benchmarks.loihi --recordings FOLDER --batch 1 32 --rounds 3
"""

import argparse
import os
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks.machine import cpu_model, machine, slug
from benchmarks.memory import peak_of
from benchmarks.recordings import Recording, recorded_time, recording
from benchmarks.report import table
from benchmarks.results import SimulationMemory, SimulationResult, SimulationTiming, StatesAgreement
from benchmarks.timing import interleaved
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava import simulate

CASES = ("g01", "g06", "g10b")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True, help="folder of recorded runs, see benchmarks/recordings.py")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--no-lava", action="store_true", help="do not run Lava, even if it is installed")
    parser.add_argument("--output", type=Path, help="JSON; default benchmarks/results/loihi/<date>-<machine>.json")
    return parser.parse_args()


def compare(case: Recording) -> StatesAgreement:
    """All recorded states, with the skips that were recorded."""
    computed = simulate(case.network, case.inputs, case.steps, skips=case.skips, **case.settings)
    different = sum(int((computed[key] != values).sum()) for key, values in case.expected.items())
    return StatesAgreement(case=case.name, compared=sum(map(np.size, case.expected.values())), different=different)


def run(case: Recording, inputs: Any) -> None:
    """One run of the chain as the timed runs of Lava were: only the spikes are recorded."""
    simulate(case.network, inputs, case.steps, record=("s",), **case.settings)


def time_batches(case: Recording, batches: list[int], threads: int, rounds: int, lava: bool) -> list[SimulationTiming]:
    """Ours for every batch, and Lava's for one sample, in turn."""
    steps: dict[str, Callable[[], None]] = {str(batch): _Counted(partial(run, case, case.batch(batch))) for batch in batches}
    if lava:
        from benchmarks.peers.lava import LavaRun

        running = LavaRun(case)
        steps["lava"] = running.run
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    seconds = interleaved(steps, rounds)
    torch.set_num_threads(before)
    if lava:
        running.stop()
    return [
        SimulationTiming(
            subject="lava" if name == "lava" else "neurodeploy",
            case=case.name,
            batch=1 if name == "lava" else int(name),
            threads=threads,
            median_s=median(values),
            fastest_s=min(values),
            cpu_s=median(each.cpu_s) if isinstance(each := steps[name], _Counted) else None,
            rounds=rounds,
        )
        for name, values in seconds.items()
    ]


class _Counted:
    """A step that notes its processor time, which other jobs on the machine lengthen less than the time on the clock."""

    def __init__(self, step: Callable[[], None]) -> None:
        self.step, self.cpu_s = step, list[float]()

    def __call__(self) -> None:
        start = process_time()
        self.step()
        self.cpu_s.append(process_time() - start)


def measure_memory(folder: Path, name: str, batch: int, threads: int) -> SimulationMemory:
    """The peak of one run; to be called in a process of its own."""
    torch.set_num_threads(threads)
    case = recording(folder, name)
    peak, method = peak_of(partial(run, case, case.batch(batch)))
    return SimulationMemory(case=case.name, batch=batch, threads=threads, peak_bytes=peak, method=method)


def text(result: SimulationResult) -> str:
    """The whole report."""
    m = result.machine
    threads = max(t.threads for t in result.timings)
    head = [
        f"{result.day}  {m.cpu}, {m.cores} cores, {m.memory_gib:g} GiB, Python {m.python}, torch {m.torch}",
        f"load average {m.load_before:g} before, {m.load_after:g} after"
        + ("  (other jobs ran too: our times are too long)" if m.load_after > threads + 0.5 else ""),
    ]
    return "\n\n".join(["\n".join(head), *(_case(result, recorded.case) for recorded in result.recorded)]) + "\n"


def _case(result: SimulationResult, name: str) -> str:
    recorded = next(each for each in result.recorded if each.case == name)
    agreement = next(each for each in result.agreement if each.case == name)
    peaks = {(each.batch, each.threads): f"{each.peak_bytes / 2**20:,.0f}" for each in result.memory if each.case == name}
    here = {each.threads: each.median_s for each in result.timings if each.case == name and each.subject == "lava"}
    columns = ("threads", "batch", "ms", "ms per sample", "of processor time")
    rows = [["", *columns, "samples in Lava's recorded time", "in its time here", "peak, MiB"]]
    for t in (each for each in result.timings if each.case == name):
        gain = f"{t.batch * recorded.seconds / t.median_s:.1f}"
        peak = "–" if t.subject == "lava" else peaks.get((t.batch, t.threads), "–")
        cpu = "–" if t.cpu_s is None else f"{1e3 * t.cpu_s / t.batch:.2f}"
        ms = (f"{1e3 * t.median_s:.2f}", f"{1e3 * t.median_s / t.batch:.2f}", cpu)
        beside = f"{t.batch * here[t.threads] / t.median_s:.1f}" if t.threads in here else "–"
        rows.append([t.subject, str(t.threads), str(t.batch), *ms, gain, beside, peak])
    title = f"{name}: {recorded.what}; {agreement.different} of {agreement.compared:,} recorded states differ"
    return f"{title}\nLava, recorded: {1e3 * recorded.seconds:.1f} ms for one sample on {recorded.machine}\n{table(rows)}"


def main() -> None:
    given = arguments()
    load = os.getloadavg()[0]
    lava = find_spec("lava") is not None and not given.no_lava
    if not lava:
        _say("lava: not run (recorded times alone)")
    try:
        cases = [recording(given.recordings, name) for name in given.cases]
        recorded = [recorded_time(given.recordings, case.name) for case in cases]
    except UserError as error:
        sys.exit(f"error: {error}")
    agreement, timings, memory = [], [], []
    for case in cases:
        agreement.append(compare(case))
        for threads in given.threads:
            _say(f"time: {case.name}, threads {threads}")
            timings += time_batches(case, given.batch, threads, given.rounds, lava)
            for batch in [] if given.no_memory else given.batch:
                _say(f"memory: {case.name}, threads {threads}, batch {batch}")
                with get_context("spawn").Pool(1) as pool:
                    memory.append(pool.apply(measure_memory, (given.recordings, case.name, batch, threads)))
    result = SimulationResult(
        day=date.today(),
        machine=machine("cpu", "default", load),
        versions={name: _version(name) for name in ("numpy", "torch", *(["lava-nc"] if lava else []))},
        recorded=recorded,
        agreement=agreement,
        timings=timings,
        memory=memory,
    )
    name = slug(f"{cpu_model()}-{os.cpu_count()}-cores")
    output = given.output or Path(__file__).parent / "results" / "loihi" / f"{result.day}-{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"\n{text(result)}\nresults in {output}\n")
    if any(each.different for each in result.agreement):
        sys.exit("error: states differ from the recorded ones; the timings do not compare the same computation")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "sources"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
