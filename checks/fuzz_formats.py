"""Damages files of every format that the toolkit reads, and looks for what is neither read nor refused in one line.

    make fuzz-formats
    python -m checks.fuzz_formats --files 10000 --format checkpoint

Each file is read in a watched process with a limit of time and memory. What shows a defect is kept, with its number: the seed
and the number make it again. Linux only.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from checks.fuzzing.formats import FORMATS, Format
from neurodeploy.io.errors import Failure, UserError

_SECONDS = 10.0
_MEGABYTES = 1024
_BATCH = 500
_LONGEST = 1500
_INTERESTING = (
    b"\x00",
    b"\xff",
    b"\n",
    b"\x1b[31m",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"[" * 3000,
    b"9" * 40,
    b"\\u0000",
    b'""',
    b"{}",
)


def damaged(content: bytes, others: list[bytes], random: Random) -> bytes:
    """Bytes with some damage: flipped, cut, doubled, replaced by what readers stumble over, or mixed with another file's."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        at = random.randrange(len(data) + 1)
        span = min(len(data) - at, random.choice((1, 1, 2, 4, 8, 64, 1024)))
        match random.randrange(8):
            case 0 if data:
                data[min(at, len(data) - 1)] ^= 1 << random.randrange(8)
            case 1:
                data[at : at + span] = random.randbytes(span)
            case 2:
                del data[at : at + span]
            case 3:
                data[at:at] = data[at : at + span] * random.choice((1, 2, 50))
            case 4:
                data[at : at + span] = random.choice(_INTERESTING)
            case 5:
                data[at : at + 8] = random.choice((0, 1, 255, 2**31 - 1, 2**32, 2**63 - 1, 2**64 - 1)).to_bytes(8, "little")
            case 6:
                other = random.choice(others)
                begin = random.randrange(len(other) + 1)
                data[at : at + span] = other[begin : begin + span]
            case _:
                del data[at:]
    return bytes(data)


def made(kind: Format, seeds: list[bytes], seed: int, number: int) -> bytes:
    """The damaged file of this number; sound files are those below 0."""
    if number < 0:
        return seeds[number]
    random = Random(f"{kind.name}/{seed}/{number}")
    return damaged(random.choice(seeds), seeds, random)


def tried(read: Callable[[Path], object], path: Path, folder: Path) -> str:
    """What becomes of a file: "read" or "refused"; else the defect."""
    try:
        read(path)
    except (UserError, Failure) as error:
        text = str(error)
        if "\n" in text or len(text) > _LONGEST or not text.isprintable():
            return f"message: {text[:300]!r}"
        return "refused" if path.name in text or str(folder) in text else f"unnamed: {text[:300]!r}"
    except MemoryError:
        return "refused"
    except BaseException as error:  # whatever else comes is what is looked for
        return f"{type(error).__name__}: {str(error)[:300]!r}"
    return "read"


def _work(results: Connection, kind: Format, seed: int, numbers: range, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    taken = next(int(line.split()[1]) << 10 for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line)
    resource.setrlimit(resource.RLIMIT_AS, (taken + (_MEGABYTES << 20),) * 2)
    seeds = kind.seeds()
    for number in numbers:
        path = folder / kind.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made(kind, seeds, seed, number))
        results.send((number, tried(kind.read, path, folder)))


def outcomes(kind: Format, seed: int, numbers: range, folder: Path) -> Iterator[tuple[int, str]]:
    """Number and end of each file, in processes that are replaced when they end or hang."""
    context = multiprocessing.get_context("fork")
    while numbers:
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(theirs, kind, seed, numbers[:_BATCH], folder), daemon=True)
        worker.start()
        theirs.close()
        for number in numbers[:_BATCH]:
            numbers, outcome = numbers[1:], f"no end within {_SECONDS:g} s"
            if ours.poll(_SECONDS):
                try:
                    _, outcome = ours.recv()
                except EOFError:
                    worker.join()
                    outcome = f"the process ended with {worker.exitcode}"
            yield number, outcome
            if outcome.startswith(("no end", "the process")):
                break
        worker.kill()
        worker.join()
        ours.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--files", type=int, default=10_000, help="how many of each format")
    parser.add_argument("--format", action="append", choices=[kind.name for kind in FORMATS], help="only this one; repeatable")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try this one file")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz-formats"), help="folder for files that show a defect")
    options = parser.parse_args()
    numbers = range(options.files) if options.only is None else range(options.only, options.only + 1)
    defects = 0
    for kind in FORMATS:
        if options.format and kind.name not in options.format:
            continue
        counts: Counter[str] = Counter()
        with tempfile.TemporaryDirectory(prefix="fuzz.") as name:
            for number, outcome in outcomes(kind, options.seed, range(-len(kind.seeds()), 0), Path(name)):
                if outcome != "read":  # nothing could be said of damaged ones
                    defects += 1
                    print(f"{kind.name}: sound file {number}: {outcome}", flush=True)
            for number, outcome in outcomes(kind, options.seed, numbers, Path(name)):
                sort = outcome if outcome in ("read", "refused") else "defect"
                counts[sort] += 1
                if sort == "defect":
                    options.keep.mkdir(parents=True, exist_ok=True)
                    kept = options.keep / f"{kind.name}-{options.seed}-{number}"
                    kept.write_bytes(made(kind, kind.seeds(), options.seed, number))
                    print(f"{kept}: {outcome}", flush=True)
        defects += counts["defect"]
        parts = ", ".join(f"{count:,} {sort}" for sort, count in sorted(counts.items()))
        print(f"{kind.name}: {sum(counts.values()):,} files, seed {options.seed}: {parts}", flush=True)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
