"""Trains a small recipe once undisturbed, then again and again while it is killed and resumed: both must end bit for bit alike.

    python -m checks.kills --kills 20 --processes 2 --seed 0

A kill is SIGKILL at a moment drawn evenly from the time that an undisturbed run takes, counted from the start of the command.
Every third one waits from there on until a file is being written. With two processes it hits, in turn, torchrun and both
workers at once, one worker alone, or torchrun alone; workers that outlive it are killed after a second run was begun beside
them. A run that has trained everything is resumed once more and compared, and the next one begins in another folder. Exit
code 1 if anything differs, or a resumed run fails.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

from safetensors import safe_open

from checks.differences import differences
from checks.launch import Command, alive, family, kill

_PATIENCE = 300.0  # seconds that a run may take to end
_VICTIMS = {1: ("it",), 2: ("all", "all", "a worker", "all", "torchrun")}
IN_USE = "is training here"


class Unsound(Exception):
    """A resumed run failed or hung."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1, choices=sorted(_VICTIMS))
    parser.add_argument("--seed", type=int, default=0, help="of the moments and victims")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="kills.") as name:
        try:
            faults = check(Path(name), options.kills, options.processes, Random(options.seed))
        except Unsound as error:
            faults = [str(error)]
    for fault in faults:
        print(f"  {fault}")
    ended = "differs from the undisturbed run" if faults else "ends bit for bit as the undisturbed run"
    print(f"{options.kills} kills, {options.processes} process(es), seed {options.seed}: {ended}")
    return 1 if faults else 0


def check(work: Path, kills: int, processes: int, random: Random) -> list[str]:
    """Differences of the first run that shows any.

    Raises:
        Unsound: a resumed run failed or hung.
    """
    began = time.monotonic()
    finish(Command.training(work / "whole", processes, work / "log"))
    duration = time.monotonic() - began
    print(f"undisturbed: {duration:.1f} s", flush=True)
    made = 0
    for number in count(1):
        folder = work / f"run-{number}"
        while made < kills:
            began, fresh = time.monotonic(), not folder.exists()
            training = Command.training(folder, processes, work / "log")
            moment, writing = random.uniform(0, duration), made % 3 == 2
            if not wait_until(training, folder, moment, writing=writing):
                duration = min(duration, time.monotonic() - began) if fresh else duration  # the machine is less busy now
                break
            victim = _VICTIMS[processes][made % len(_VICTIMS[processes])]
            strike(training, folder, victim, random)
            made += 1
            what = " while writing" if writing else ""
            print(f"kill {made} at {moment:.2f} s{what}, {victim}: run {number}, {reached(folder)}", flush=True)
            if epochs(folder) == epochs(work / "whole"):
                break
        finish(Command.training(folder, processes, work / "log"))
        found = differences(work / "whole", folder)
        print(f"run {number}: {'differs' if found else 'the same'}", flush=True)
        if found or made == kills:
            return found
    raise AssertionError


def wait_until(training: Command, folder: Path, moment: float, *, writing: bool) -> bool:
    """Wait for the moment, and for a temporary file after it; False if the run ends before.

    Raises:
        Unsound: it ended with an error.
    """
    end, older = time.monotonic() + moment, set(temporaries(folder))
    while training.process.poll() is None:
        if time.monotonic() >= end and (not writing or not older.issuperset(temporaries(folder))):
            return True
        time.sleep(0.0002 if time.monotonic() >= end else 0.005)
    finish(training)
    return False


def strike(training: Command, folder: Path, victim: str, random: Random) -> None:
    """Kill the victim, and see all the others end.

    Raises:
        Unsound: they hang.
    """
    processes = family(training.process.pid)
    if victim == "a worker":
        kill([random.choice(processes[1:] or processes)])
        settle(training, processes)
        return
    try:
        if victim == "torchrun":
            kill(processes[:1])
            go_beside(folder)
    finally:
        kill(processes)
    settle(training, processes)


def go_beside(folder: Path) -> None:
    """Begin a second run while workers outlive torchrun: it is refused where one of them trains.

    Raises:
        Unsound: it failed otherwise.
    """
    second = Command.training(folder, 2, folder.with_suffix(".log"))
    settle(second, [])
    if second.process.returncode != 0 and IN_USE not in second.printed():
        raise Unsound(f"a run beside living workers failed, and was not refused:\n{second.printed()[-3000:]}")
    print(f"  a second run beside them: {'went through' if second.process.returncode == 0 else 'refused'}", flush=True)


def settle(training: Command, processes: list[int]) -> None:
    """Wait until a run and these processes have ended.

    Raises:
        Unsound: they hang.
    """
    end = time.monotonic() + _PATIENCE
    while training.process.poll() is None or alive(processes):
        if time.monotonic() > end:
            kill([*family(training.process.pid), *processes])
            raise Unsound(f"hangs:\n{training.printed()[-3000:]}")
        time.sleep(0.01)


def finish(training: Command) -> None:
    """Let a run end.

    Raises:
        Unsound: with an error, or not at all.
    """
    settle(training, [])
    if training.process.returncode != 0:
        raise Unsound(f"ended with exit code {training.process.returncode}:\n{training.printed()[-3000:]}")


def temporaries(folder: Path) -> Iterator[Path]:
    """Files that are being written, or were when a run was killed."""
    return folder.rglob(".*")


def reached(folder: Path) -> str:
    """How far a killed run had come, and what it left behind."""
    done = ", ".join(f"{network} {count}" for network, count in epochs(folder).items())
    left = ", ".join(sorted(path.name for path in temporaries(folder)))
    return (done or "no checkpoint") + (f"; left {left}" if left else "")


def epochs(folder: Path) -> dict[str, int]:
    """Network → epochs of its checkpoint, in the order of training."""
    found = {}
    for path in sorted(folder.rglob("checkpoint.safetensors"), key=lambda path: path.stat().st_mtime):
        with safe_open(path, framework="pt") as file:
            found[path.parent.name] = json.loads(file.metadata()["neurodeploy"])["epoch"]
    return found


if __name__ == "__main__":
    sys.exit(main())
