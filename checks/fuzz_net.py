"""Damages `.net` files in thousands of ways and looks at what becomes of each: it must be read, run and written again, or
refused in one line that names the file, within limits of time and memory.

    python -m checks.fuzz_net --seed 0 --files 10000 --recordings FOLDER

The sound files to begin with are made here; `.net` files found under `--recordings` are damaged too. Seed and number make a
file, whatever came before it: `--only NUMBER` tries one again. A file that shows a defect (a traceback, a crash, a hang, too
much memory, a message that is not one line) is kept. Exit code 1 if there is any. Linux only.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from checks.fuzzing.seeds import seeds as sound_files
from checks.fuzzing.worker import Limits, Result, Trial, make, results


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--files", type=int, default=10_000, help="how many to try")
    parser.add_argument("--recordings", type=Path, help="a folder with .net files to damage besides those made here")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try this one file")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="folder for files that show a defect")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="that one file may take")
    parser.add_argument("--megabytes", type=int, default=Limits.megabytes, help="of memory that one file may take")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    numbers = range(options.files) if options.only is None else range(options.only, options.only + 1)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="fuzz.") as name:
        work = Path(name)
        seeds = sound_files(work, options.recordings)
        found = fuzz(seeds, options.seed, numbers, work, Limits(options.seconds, options.megabytes), options.keep, console)
    defects = sum(result.outcome.kind == "defect" for result in found)
    counts = Counter(result.outcome.kind for result in found)
    parts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    most = max((result.megabytes for result in found), default=0.0)
    print(f"{len(found):,} files from {len(seeds)} sound ones, seed {options.seed}: {parts}; at most {most:,.0f} MB each")
    return 1 if defects else 0


def fuzz(
    seeds: list[bytes],
    seed: int,
    numbers: range,
    work: Path,
    limits: Limits,
    keep: Path,
    console: Console,
    trial: Trial | None = None,
    suffix: str = "net",
) -> list[Result]:
    """Try the files and say on the console which of them show defects.

    Args:
        seeds: contents of sound files.
        seed: of all that is random.
        numbers: of the files.
        work: an existing folder for files on the way.
        limits: for each file.
        keep: folder for those that show a defect.
        console: for progress.
        trial: what is done with a file; that of `.net` files if None.
        suffix: of the files that are kept.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TextColumn("{task.fields[defects]} defects"),
        TimeRemainingColumn(compact=True),
    )
    found: list[Result] = []
    with Progress(*columns, console=console) as progress:
        task, defects = progress.add_task(f"seed {seed}", total=len(numbers), defects=0), 0
        for result in results(seeds, seed, numbers, work, limits, trial):
            found.append(result)
            if result.outcome.kind == "defect":
                defects += 1
                console.print(_kept(seeds, seed, result, keep, suffix), markup=False, highlight=False)
            progress.update(task, advance=1, defects=defects)
    return found


def _kept(seeds: list[bytes], seed: int, result: Result, keep: Path, suffix: str) -> str:
    """Keep a file that shows a defect, and describe both."""
    data, damage = make(seeds, seed, result.number)
    path = keep / f"{seed}-{result.number}.{suffix}"
    keep.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"{path}: {damage}\n{result.outcome.detail!s}"


if __name__ == "__main__":
    sys.exit(main())
