"""Files by SpikingJelly 2.0.0, snnTorch 1.0.0, Norse 1.1.0 and sinabs 3.1.3, and what these computed on recorded spikes.

`python -m checks.nir_frameworks --keep tests/exporters/nir/files` writes them again.
"""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

FILES = Path(__file__).with_name("files")


@pytest.fixture
def theirs(tmp_path) -> Callable[[str], tuple[Path, np.ndarray, np.ndarray]]:
    """Name → the file, spikes that go in `[T, B, …]`, and what came out."""

    def find(name):
        path = tmp_path / f"{name}.nir"
        path.write_bytes(gzip.decompress((FILES / f"{name}.nir.gz").read_bytes()))
        recorded = np.load(FILES / f"{name}.npz")
        return path, recorded["inputs"].astype(np.float32), recorded["outputs"]

    return find
