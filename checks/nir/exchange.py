"""How a framework's worker, in an environment of its own, is given files and gives back what came of them.

A worker is called with a folder. For each `*.nir` in it there is a `*.npz` with `inputs`, `[T, B, …]`. Of each it writes
`*.out.npz` with `outputs`, `[T, B, …]`, or `*.txt` with the reason why not. Only numpy and the framework are needed for that.
"""

import contextlib
import io
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = Callable[[Path, NDArray[np.float32]], NDArray[Any]]
Make = Callable[[Path], tuple[NDArray[np.float32], NDArray[Any]]]


def serve(run: Run, makers: dict[str, Make]) -> None:
    """What a worker's main program does: `load FOLDER` reads and runs files, `make FOLDER` writes the framework's own."""
    warnings.simplefilter("ignore")
    task, folder = sys.argv[1], Path(sys.argv[2])
    if task == "load":
        for path in sorted(folder.glob("*.nir")):
            _attempt(path, lambda path=path: _run(run, path))
    else:
        for name, make in makers.items():
            path = folder / f"{name}.nir"
            _attempt(path, lambda path=path, make=make: _make(make, path))


def _run(run: Run, path: Path) -> None:
    outputs = run(path, np.load(path.with_suffix(".npz"))["inputs"])
    np.savez_compressed(path.with_suffix(".out.npz"), outputs=np.asarray(outputs, np.float32))


def _make(make: Make, path: Path) -> None:
    inputs, outputs = make(path)
    np.savez_compressed(path.with_suffix(".npz"), inputs=inputs.astype(np.uint8), outputs=_small(outputs))


def _small(values: NDArray[Any]) -> NDArray[Any]:
    """Spikes in bytes."""
    whole = (values == np.rint(values)).all() and values.min() >= 0 and values.max() < 256
    return values.astype(np.uint8 if whole else np.float32)


def _attempt(path: Path, task: Callable[[], None]) -> None:
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            task()
    except BaseException as error:  # whatever a framework answers, the others are to be asked too
        if sys.argv[1] == "make":
            path.unlink(missing_ok=True)  # what was written of it
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(str(error).split())[:200]
        path.with_suffix(".txt").write_text(
            f"{type(error).__name__}: {reason} ({Path(place.filename).name})\n", encoding="utf-8"
        )


def spikes(seed: int, *shape: int, rate: float = 0.4) -> NDArray[np.float32]:
    """Random spikes, the same everywhere."""
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.float32)
