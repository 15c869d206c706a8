"""A process that damages and tries many files, under limits of time and memory, watched by the one that started it.

Reads `/proc`, so Linux only.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from random import Random

from checks.fuzzing.content import damage_content
from checks.fuzzing.members import damage_members
from checks.fuzzing.trial import Outcome, try_file

CASE = "case.net"
Trial = Callable[[Path, Random], Outcome]
"""A file, and what is random about its trial → how it ended."""
_BATCH = 1000  # files before a process makes room for a fresh one


@dataclass(frozen=True)
class Limits:
    """What one file may take.

    Attributes:
        seconds: of wall time, from damage to the last reading.
        megabytes: of memory beyond what the process has before it.
    """

    seconds: float = 60.0
    megabytes: int = 3072


@dataclass(frozen=True)
class Result:
    """One file's end.

    Attributes:
        number: of the file; with the seed it makes the file again.
        outcome: how it ended.
        megabytes: the most memory that it took; 0 where unknown.
    """

    number: int
    outcome: Outcome
    megabytes: float = 0.0


def results(
    seeds: list[bytes], seed: int, numbers: range, work: Path, limits: Limits, trial: Trial | None = None
) -> Iterator[Result]:
    """Try the files `numbers`, one after the other, in a process that is replaced whenever it crashes or hangs.

    Args:
        seeds: contents of sound files.
        seed: of all that is random.
        numbers: of the files.
        work: an existing folder; after a file was tried it lies there as `CASE`.
        limits: for each file.
        trial: what is done with a file; that of `.net` files if None.
    """
    context = multiprocessing.get_context("fork")
    while numbers:
        ours, theirs = context.Pipe(duplex=False)
        batch = numbers[:_BATCH]
        worker = context.Process(target=_work, args=(theirs, seeds, seed, batch, work, limits, trial), daemon=True)
        worker.start()
        theirs.close()
        try:
            for number in batch:
                result = _receive(ours, worker, number, limits.seconds)
                numbers = numbers[1:]
                yield result
                if worker.exitcode is not None:
                    break
        finally:
            worker.kill()
            worker.join()
            ours.close()


def make(seeds: list[bytes], seed: int, number: int) -> tuple[bytes, str]:
    """The damaged file `number`, and what was done to it."""
    random = Random(f"{seed}/{number}")
    data, names, by_members = random.choice(seeds), [], random.random() < 0.6
    if by_members:
        data, name = damage_members(data, random)
        names.append(name)
    if not by_members or random.random() < 0.15:
        data, name = damage_content(data, seeds, random)
        names.append(name)
    return data, " + ".join(names)


def _work(
    results: Connection,
    seeds: list[bytes],
    seed: int,
    numbers: range,
    work: Path,
    limits: Limits,
    trial: Trial | None,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not (work / "pipe").exists():
        os.mkfifo(work / "pipe")  # who opens it waits forever
    os.chdir(work)  # relative names in a hostile file lead to what lies there
    address_space = int(_megabytes("VmSize") + 1.5 * limits.megabytes) << 20
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in numbers:
        (work / CASE).write_bytes(make(seeds, seed, number)[0])
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _megabytes("VmRSS")
        outcome = (trial or try_file)(work / CASE, Random(f"{seed}/{number}/input"))
        peak = _megabytes("VmHWM") - before
        if outcome.kind != "defect" and peak > limits.megabytes:
            outcome = Outcome("defect", f"{peak:.0f} MB of memory taken")
        results.send(Result(number, outcome, peak))


def _receive(results: Connection, worker: ForkProcess, number: int, seconds: float) -> Result:
    """A file's result; a worker that crashed or hangs has ended afterwards."""
    if results.poll(seconds):
        with contextlib.suppress(EOFError):
            return results.recv()
        worker.join()
        return Result(number, Outcome("defect", f"crash: the process ended with {worker.exitcode}"))
    worker.kill()
    worker.join()
    return Result(number, Outcome("defect", f"hang: no end within {seconds:g} s"))


def _megabytes(field: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024
