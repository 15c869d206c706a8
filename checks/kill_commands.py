"""Kills commands at random moments: whatever they write is at every moment the old or the new, and whole.

    python -m checks.kill_commands --kills 40 --seed 0 --command export energy

`export` and `energy` write over an older bundle and report, `finetune` (`export --finetune`) over an older bundle, `run` and
`sweep` into a folder of their own; all of a small recipe (`checks/kill_commands.toml`). A kill is SIGKILL at a moment drawn
evenly from the time that the undisturbed command takes; every other one waits from there on until a file is being written.
After each, every file must be that of before or that of the undisturbed command, a bundle's and those of a report folder all
of the same one, and what a training keeps must be readable. After one to three kills the command is left alone: it must end as
the undisturbed one did, bit for bit but for times, and leave nothing else behind. Exit code 1 if anything is otherwise.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from checks.differences import differences
from checks.kills import Unsound, finish, settle, wait_until
from checks.launch import Command, family, kill
from neurodeploy.io.errors import UserError
from neurodeploy.training import CHECKPOINT, checkpoint

RECIPE = Path(__file__).with_name("kill_commands.toml")
_TOLD = "sweep."
_KEPT_APART = ("study.db", _TOLD)  # with the times of trials; what they found is compared by itself
_ADDED_TO = (".jsonl", ".db", ".db-journal")
"""Endings of files that grow: metrics, and the database of a sweep, whose journal takes back what a kill has cut off."""


@dataclass(frozen=True)
class Case:
    """A command that is killed.

    Attributes:
        line: its arguments, which write into the folder that is given.
        before: the arguments of the command that wrote the folder's older content; None if there is none.
        unit: whether the folder is one thing, which changes as a whole.
    """

    line: Callable[[Path], list[str]]
    before: Callable[[Path], list[str]] | None = None
    unit: bool = False


def cases(trained: Path) -> dict[str, Case]:
    """By name; `trained` is the folder of a run of the recipe."""
    student = str(trained / "seed-0" / "student" / "checkpoint.safetensors")
    baseline = str(trained / "seed-0" / "baseline" / "checkpoint.safetensors")

    def exported(model: str, *options: str) -> Callable[[Path], list[str]]:
        return lambda folder: ["export", model, *options, "--output", str(folder)]

    def counted(model: str) -> Callable[[Path], list[str]]:
        return lambda folder: ["energy", model, "--output", str(folder)]

    both, tuned = (
        ("--target", "onnx", "--target", "lava"),
        ("--target", "lava", "--finetune", "4", "--device", "cpu", "--resume"),
    )
    return {
        "export": Case(exported(student, *both), exported(baseline, *both)),
        "energy": Case(counted(student), counted(baseline), unit=True),
        "finetune": Case(exported(student, *tuned), exported(baseline, "--target", "lava")),
        "run": Case(lambda folder: ["run", str(RECIPE), "--device", "cpu", "--resume", "--output", str(folder)]),
        "sweep": Case(lambda folder: ["sweep", str(RECIPE), "--device", "cpu", "--output", str(folder)]),
    }


COMMANDS = tuple(cases(Path()))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="of each command")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--command", nargs="+", choices=COMMANDS, default=COMMANDS)
    return parser.parse_args()


def main() -> int:
    options, failed = arguments(), False
    with tempfile.TemporaryDirectory(prefix="kill-commands.") as name:
        trained = Path(name) / "trained"
        complete(["train", str(RECIPE), "--device", "cpu", "--output", str(trained)], Path(name) / "log")
        for command in options.command:
            work = Path(name) / command
            work.mkdir()
            try:
                check(command, cases(trained)[command], work, options.kills, Random(f"{command} {options.seed}"))
                said = "always the old or the new, whole, and the same in the end"
            except Unsound as error:
                failed, said = True, str(error)
            print(f"{command}: {options.kills} kills, seed {options.seed}: {said}", flush=True)
    return int(failed)


def check(name: str, case: Case, work: Path, kills: int, random: Random) -> None:
    """Kill a command so often.

    Raises:
        Unsound: something was not whole, or a command that was left alone failed, hung or ended otherwise.
    """
    log, old, new, folder = work / "log", work / "old", work / "new", work / "folder"
    if case.before is not None:
        complete(case.before(folder), log)
        shutil.copytree(folder, old)
    began = time.monotonic()
    complete(case.line(folder), log)
    duration, made = time.monotonic() - began, 0
    folder.rename(new)  # files hold their own path, so that all of them are written in one place
    for number in count(1):
        if case.before is not None:
            shutil.copytree(old, folder)
        for _ in range(random.randint(1, 3)):
            if made == kills:
                break
            command, moment = Command.start(case.line(folder), log), random.uniform(0, duration)
            if not wait_until(command, work, moment, writing=made % 2 == 1):
                break
            processes = family(command.process.pid)
            kill(processes)
            settle(command, processes)
            made += 1
            print(f"{name}: kill {made} at {moment:.2f} s, {left(folder)}", flush=True)
            require(faults(case, old, new, folder), f"after a kill at {moment:.2f} s")
        complete(case.line(folder), log)
        require(ends(new, folder), f"round {number}, left alone")
        require([f"{path.name}: left over" for path in work.glob(".*")], f"round {number}, left alone")
        if made == kills:
            return
        shutil.rmtree(folder)


def complete(line: list[str], log: Path) -> None:
    """Let a command end.

    Raises:
        Unsound: with an error, or not at all.
    """
    finish(Command.start(line, log))


def require(found: list[str], when: str) -> None:
    """Nothing found.

    Raises:
        Unsound: something was.
    """
    if found:
        raise Unsound("\n  ".join([when, *found]))


def left(folder: Path) -> str:
    """What a kill left behind beside whole files."""
    names = sorted(path.name for path in (*folder.parent.glob(".*"), *folder.rglob(".*")))
    return f"left {', '.join(names)}" if names else "left nothing"


def faults(case: Case, old: Path, new: Path, folder: Path) -> list[str]:
    """What is neither the old nor the new, or partly this and partly that."""
    found, of_units = [], set()
    for unit in [Path()] if case.unit else sorted({*units(old), *units(new)}):
        of_units.update(path.relative_to(folder) for path in (folder / unit).rglob("*"))
        if (folder / unit).exists() and all(settled(known / unit, folder / unit) for known in (old, new)):
            found.append(f"{unit}: neither the old nor the new")
    for path in files(folder):
        if path in of_units:
            continue
        if path.name == CHECKPOINT or path.suffix in _ADDED_TO or "tfevents" in path.name or path.name.startswith(_TOLD):
            found += unreadable(folder / path)
        elif not any((root / path).is_file() and same(root / path, folder / path) for root in (old, new)):
            found.append(f"{path}: neither the old nor the new")
    return found


def settled(known: Path, folder: Path) -> list[str]:
    """Differences of what is in place; a hidden file is one that was being written, and in nobody's way."""
    return [line for line in differences(known, folder) if not line.startswith(".") and "/." not in line.partition(":")[0]]


def units(root: Path) -> Iterator[Path]:
    """Bundles, relative to `root`. The report of a run lies beside its trainings: each of its files is whole by itself."""
    for path in root.rglob("manifest.json"):
        yield path.parent.relative_to(root)


def files(root: Path) -> Iterator[Path]:
    """Relative to `root`, without those that are being written and what trials keep for themselves."""
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            yield inside


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def unreadable(path: Path) -> list[str]:
    """Why a file that a training adds to, or that tells the times of trials, cannot be read."""
    try:
        if path.name == CHECKPOINT:
            checkpoint.load(path)
        elif path.suffix == ".jsonl":
            for line in path.read_text("utf-8").splitlines():
                json.loads(line)
        elif path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".html" and not path.read_text("utf-8").rstrip().endswith("</html>"):
            return [f"{path.name}: cut off"]
    except (UserError, ValueError) as error:
        return [f"{path.name}: {error}"]
    return []


def ends(expected: Path, found: Path) -> list[str]:
    """In what a folder differs from that of the undisturbed command."""
    lines = [line for line in differences(expected, found) if not line.startswith(_KEPT_APART)]
    if (expected / "sweep.json").is_file():
        trials = [sorted(json.loads((root / "sweep.json").read_text("utf-8"))["found"], key=str) for root in (expected, found)]
        lines += ["sweep.json: other trials"] * (trials[0] != trials[1])
    return lines


if __name__ == "__main__":
    sys.exit(main())
