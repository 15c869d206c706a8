"""Starting commands in one process or several, and killing all or a part of them. Reads `/proc`, so Linux only."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

RECIPE = Path(__file__).with_name("kills.toml")
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "COLUMNS": "200"}


@dataclass(eq=False)
class Command:
    """A command under way.

    Attributes:
        process: of the command; with several processes, torchrun, whose workers are sessions of their own.
        log: receives what it prints.
    """

    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, arguments: Sequence[str], log: Path, *, processes: int = 1) -> Self:
        """`neurodeploy` with these arguments."""
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
        line = [sys.executable, *torchrun, "-m", "neurodeploy", *arguments]
        with log.open("wb") as output:
            return cls(subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT, env=_ENVIRONMENT), log)

    @classmethod
    def training(cls, folder: Path, processes: int, log: Path, recipe: Path = RECIPE) -> Self:
        """Train the recipe in `folder`, or go on with it."""
        line = ["train", str(recipe), "--device", "cpu", "--resume", "--output", str(folder)]
        return cls.start(line, log, processes=processes)

    def printed(self) -> str:
        return self.log.read_text("utf-8", errors="replace")


def family(pid: int) -> list[int]:
    """A process and all below it, parents first."""
    found = [pid]
    for one in found:
        found += _children(one)
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL to each, at once."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def alive(pids: list[int]) -> list[int]:
    """Those that have not ended; a zombie has."""
    return [pid for pid in pids if _state(pid) not in ("", "Z", "X")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = place.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == pid:
            found.append(int(place.parent.name))
    return found
