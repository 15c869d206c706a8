"""The values in a `.net` or circuit file that can be damaged."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from neurodeploy_exporters.bundle import Bundle, Piece
from neurodeploy_exporters.bundle.values import Values

_KINDS = {
    "weight": "weight",
    "weight_rec": "weight",
    "recurrent": "weight",
    "bias": "bias",
    "vThMant": "threshold",
    "vDecay": "decay",
    "iDecay": "decay",
}
_STEPS = {"weight": 2}  # of even integers
_HIGHEST = {"weight": 254, "decay": 4096}


def values(bundle: Bundle, piece: Piece) -> Iterator[Values]:
    """See `Format.values`. Weights move by 2, everything else by 1."""
    found: list[tuple[str, str, int]] = []

    def visit(name: str, item: object) -> None:
        kind = _KINDS.get(name.rpartition("/")[2])
        if kind is not None and isinstance(item, h5py.Dataset):
            found.append((name, kind, int(item.size)))

    with h5py.File(bundle.path(piece.file), "r") as file:
        file.visititems(visit)
    for name, kind, count in found:
        yield Values(name, kind, count, partial(_change, name, kind))


def _change(name: str, kind: str, path: Path, index: int) -> None:
    step, highest = _STEPS.get(kind, 1), _HIGHEST.get(kind)
    with h5py.File(path, "r+") as file:
        stored = file[name]
        array = np.asarray(stored[()])
        flat = array.reshape(-1).copy()
        flat[index] += -step if highest is not None and flat[index] + step > highest else step
        stored[...] = flat.reshape(array.shape)
