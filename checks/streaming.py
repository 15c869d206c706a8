"""Trains on a folder of many images that are read while it trains, and says what memory and time that takes.

    python -m checks.streaming --images 60000

The images are drawn at random around ten patterns, one for each class. A tiny network is trained on a hundredth of them and on
all, with two workers that read ahead: if memory is bounded, the largest process needs as much for both. Then it is trained in
two processes, and once more in one that is killed by SIGKILL at a random moment and resumed, which must end bit for bit as the
first. Memory is read from `/proc`: the largest peak of a process (RSS), and the largest sum over all of them in which shared
pages count once (PSS). Exit code 1 if a run fails, ends otherwise, or all images need more than `--most` MiB above those of the
hundredth.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from checks.differences import differences
from checks.launch import Command, family, kill

CLASSES = 10
_SIDE = 32
_RECIPE = """
name = "streaming"
seeds = [0]
steps = 2
baseline = "student"
deployed = "student"
data = {{ kind = "folder", folder = "{folder}", workers = {workers} }}
augmentation = [{{ kind = "crop", padding = 2 }}, {{ kind = "flip" }}]
network = {{ kind = "conv", channels = [4, 8], strides = [2, 2] }}
teacher = {{ epochs = 1, batch_size = 128 }}

[[student]]
name = "student"
training = {{ epochs = 2, batch_size = 128 }}
loss = [{{ kind = "cross-entropy" }}, {{ kind = "response" }}]
"""


@dataclass(frozen=True)
class Measured:
    """What a training took.

    Attributes:
        seconds: from its start to its end.
        largest: peak RSS of the largest process, in MiB.
        together: peak of the sum of all processes' PSS, in MiB.
    """

    seconds: float
    largest: float
    together: float

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s, largest process {self.largest:,.0f} MiB, all together {self.together:,.0f} MiB"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--most", type=float, default=100.0, help="MiB that all images may need above a hundredth of them")
    parser.add_argument("--seed", type=int, default=0, help="of the images, and of the moment of the kill")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="streaming.") as name:
        faults = check(Path(name), options.images, options.workers, options.most, Random(options.seed))
    for fault in faults:
        print(f"  {fault}")
    print("bounded memory, and resumed bit for bit" if not faults else "at fault")
    return 1 if faults else 0


def check(work: Path, images: int, workers: int, most: float, random: Random) -> list[str]:
    """What is wrong; see above."""
    few, many = work / "few", work / "many"
    for folder, count in ((few, max(images // 100, 10 * CLASSES)), (many, images)):
        draw(folder, count, max(count // 30, CLASSES))
    recipe, few_recipe = work / "many.toml", work / "few.toml"
    recipe.write_text(_RECIPE.format(folder=many, workers=workers))
    few_recipe.write_text(_RECIPE.format(folder=few, workers=workers))
    small = measured(Command.training(work / "few-run", 1, work / "log", few_recipe))
    print(f"{max(images // 100, 10 * CLASSES):,} images, one process, {workers} workers: {small}", flush=True)
    whole = measured(Command.training(work / "whole", 1, work / "log", recipe))
    print(f"{images:,} images, one process, {workers} workers: {whole}", flush=True)
    shared = measured(Command.training(work / "shared", 2, work / "log", recipe))
    print(f"{images:,} images, two processes of {workers} workers each: {shared}", flush=True)
    cut_at = cut(Command.training(work / "cut", 1, work / "log", recipe), work / "cut", random)
    resumed = measured(Command.training(work / "cut", 1, work / "log", recipe))
    faults = differences(work / "whole", work / "cut")
    ended = "differs" if faults else "the same bit for bit"
    print(f"killed {cut_at:.1f} s into the student's second epoch, and resumed: {resumed}; {ended}", flush=True)
    if whole.largest - small.largest > most:
        faults.append(f"{whole.largest - small.largest:,.0f} MiB more for all images, {most:,.0f} at most expected")
    return faults


def cut(training: Command, folder: Path, random: Random) -> float:
    """Kill a training, its workers too, in the last epoch; how many seconds after that one began.

    Raises:
        SystemExit: it ended before.
    """
    while not (folder / "seed-0" / "student" / "checkpoint.safetensors").exists() and training.process.poll() is None:
        time.sleep(0.01)
    moment = random.uniform(0.05, 0.5)
    time.sleep(moment)
    if training.process.poll() is not None:
        raise SystemExit(f"ended before it was killed:\n{training.printed()[-3000:]}")
    kill(family(training.process.pid))
    training.process.wait()
    return moment


def draw(root: Path, train: int, test: int) -> None:
    """PNG files of 32×32 colour pixels: the coarse pattern of a class, and noise."""
    random = np.random.default_rng(0)
    patterns = np.kron(random.integers(40, 216, (CLASSES, 4, 4, 3)), np.ones((1, _SIDE // 4, _SIDE // 4, 1)))
    for part, count in (("train", train), ("test", test)):
        for label in range(CLASSES):
            (root / part / f"class-{label}").mkdir(parents=True)
        for number in range(count):
            label = number % CLASSES
            pixels = np.clip(patterns[label] + random.normal(0, 60, (_SIDE, _SIDE, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / part / f"class-{label}" / f"{number:05d}.png", compress_level=1)


def measured(training: Command) -> Measured:
    """Wait for the end of a training, and watch its memory.

    Raises:
        SystemExit: it failed.
    """
    began, largest, together = time.monotonic(), 0.0, 0.0
    while training.process.poll() is None:
        pids = family(training.process.pid)
        largest = max([largest, *(_kilobytes(pid, "status", "VmHWM") for pid in pids)])
        together = max(together, sum(_kilobytes(pid, "smaps_rollup", "Pss") for pid in pids))
        time.sleep(0.2)
    if training.process.returncode != 0:
        raise SystemExit(f"ended with exit code {training.process.returncode}:\n{training.printed()[-3000:]}")
    return Measured(time.monotonic() - began, largest / 1024, together / 1024)


def _kilobytes(pid: int, file: str, field: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0.0)


if __name__ == "__main__":
    sys.exit(main())
