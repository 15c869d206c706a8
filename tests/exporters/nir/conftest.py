"""Files by SpikingJelly 2.0.0, snnTorch 1.0.0, Norse 1.1.0, sinabs 3.1.3 and spyx 1.0.0, and what these computed on spikes.

`python -m checks.nir_frameworks --keep tests/exporters/nir/files` writes them again. Those called `paper-` are of NIR's paper
(Pedersen et al. 2024; github.com/neuromorphs/NIR, folder `paper`, Copyright (c) 2023, NIR Team, BSD 3-Clause): the spikes
of `lif_norse` are those that Norse recorded there, those of `cnn_sinabs` were computed by sinabs 3.1.3's own reader, those of
the Braille networks by snnTorch 1.0.0's RSynaptic and Synaptic with the files' constants, on random spikes.
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


@pytest.fixture
def recorded() -> Callable[[str], dict[str, np.ndarray]]:
    """Name → all arrays of a recording."""
    return lambda name: dict(np.load(FILES / f"{name}.npz"))
