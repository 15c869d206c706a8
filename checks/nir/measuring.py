"""What the frameworks make of our files, and we of theirs, by calling their workers."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.nir.cases import Case
from checks.nir.limits import TOLD
from neurodeploy.graph import interpreter
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir import read_with_conventions, write

_CLOSE = 1e-5  # of outputs that are no spikes


@dataclass(frozen=True)
class Found:
    """What came of one file.

    Attributes:
        loaded: whether it was read and run.
        values: outputs compared.
        different: of them.
        detail: the error, or the convention that was recognised.
    """

    loaded: bool
    values: int
    different: int
    detail: str

    @property
    def equal(self) -> bool:
        return self.loaded and self.different == 0

    def __str__(self) -> str:
        if not self.loaded:
            return "not read"
        return "equal" if self.equal else f"{100 * self.different / self.values:.1f} % differ"


def versions(python: Path, names: list[str]) -> dict[str, str]:
    """Package → version in an environment."""
    code = f"import importlib.metadata as m; print('\\n'.join(m.version(n) for n in {names!r}))"
    done = subprocess.run([python, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(names, done.stdout.split(), strict=True))


def theirs_of_ours(reader: str, dialect: str, python: Path, cases: Mapping[str, Case], folder: Path) -> dict[str, Found]:
    """Case → what a reader made of our file in a dialect."""
    framework = reader.replace("-", "_")
    folder = _fresh(folder / framework / "load")
    for name, case in cases.items():
        write(case.graph, folder / f"{name}.nir", dialect=dialect)
        np.savez_compressed(folder / f"{name}.npz", inputs=case.inputs)
    _call(python, framework, "load", folder)
    found = {}
    for name, case in cases.items():
        expected = interpreter.run(case.graph, case.inputs)["output"]
        answer = folder / f"{name}.out.npz"
        if answer.exists():
            found[name] = _compared(expected, np.load(answer)["outputs"], "")
        else:
            found[name] = Found(False, 0, 0, _reason(folder / f"{name}.txt"))
    return found


def made_by(framework: str, python: Path, folder: Path) -> Path:
    """A folder with the framework's own files."""
    folder = _fresh(folder / framework / "make")
    _call(python, framework, "make", folder)
    return folder


def ours_of_theirs(framework: str, folder: Path) -> dict[str, Found]:
    """Network → what our reader made of the framework's file; with what must be told, where a file does not tell it."""
    found = {}
    for name in sorted({path.name.partition(".")[0] for path in folder.iterdir()}):
        path, failed = folder / f"{name}.nir", folder / f"{name}.txt"
        if failed.exists():
            found[name] = Found(False, 0, 0, _reason(failed))
            continue
        recorded = np.load(path.with_suffix(".npz"))
        try:
            reading = read_with_conventions(path, convention=TOLD.get(framework, {}).get(name, (None, ""))[0])
        except UserError as error:
            found[name] = Found(False, 0, 0, str(error).removeprefix(f"{path}: "))
            continue
        tensors = interpreter.run(reading.graph, recorded["inputs"].astype(np.float32))
        last = reading.graph[reading.graph[reading.graph.output.name].inputs[0]].inputs[0]
        assert reading.convention is not None
        found[name] = _compared(tensors[last], recorded["outputs"], reading.convention.name)
    return found


def _compared(one: NDArray[Any], other: NDArray[Any], detail: str) -> Found:
    if one.shape != other.shape:
        return Found(True, one.size, one.size, f"{detail} outputs of shape {other.shape} instead of {one.shape}".strip())
    spikes = set(np.unique(one)) <= {0, 1} and set(np.unique(other)) <= {0, 1}
    different = one != other if spikes else np.abs(one - other) > _CLOSE
    return Found(True, one.size, int(np.count_nonzero(different)), detail)


def _reason(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _call(python: Path, framework: str, task: str, folder: Path) -> None:
    subprocess.run([python, "-W", "ignore", "-m", f"checks.nir.with_{framework}", task, folder], check=True, timeout=600)
