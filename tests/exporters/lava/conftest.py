"""The recorded runs of Intel's Lava: where they are, and their axes in ours."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "golden"


@dataclass(frozen=True)
class Case:
    """One recorded run.

    Attributes:
        settings: the case's `case.json`.
        network: path of its `.net` file.
        inputs: `[T, B=1, …]`, or `[B=1, …]` in mode "bias".
        expected: recorded arrays, `[T, B=1, …]`.
    """

    settings: dict[str, Any]
    network: Path
    inputs: np.ndarray
    expected: dict[str, np.ndarray]

    def digest(self, array: np.ndarray) -> str:
        """SHA-256 of an array `[T, B=1, …]` in the form in which `case.json` gives it."""
        return hashlib.sha256(np.ascontiguousarray(array[:, 0].transpose(), "<i4").tobytes()).hexdigest()


@pytest.fixture
def recorded() -> Callable[[str], Case]:
    """Reads the case whose folder begins with a name; skips the test where the recordings are absent."""
    return _load


def _load(name: str) -> Case:
    found = sorted(FOLDER.glob(f"{name}*"))
    if not found:
        pytest.skip(f"no recorded Lava runs at {FOLDER}")
    settings = json.loads((found[0] / "case.json").read_text())
    with np.load(found[0] / "input.npz", allow_pickle=False) as file:
        inputs = file["input"]
    with np.load(found[0] / "expected.npz", allow_pickle=False) as file:
        expected = {key: _ours(file[key]) for key in file.files}
    moved = inputs.transpose()[None] if settings["mode"] == "bias" else _ours(inputs)
    return Case(settings, found[0] / "network.net", moved, expected)


def _ours(array: np.ndarray) -> np.ndarray:
    """Lava's `(W, H, C, T)` or `(N, T)` → `[T, 1, C, H, W]` or `[T, 1, N]`."""
    return array.transpose()[:, None]
