"""Reading numpy files that may be damaged or hostile: never pickle, and one clear error for whatever is wrong."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import UserError

_DAMAGED = (OSError, ValueError, EOFError, TypeError, AttributeError, SyntaxError, zipfile.BadZipFile, zlib.error, MemoryError)


def read_array(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file.

    Raises:
        UserError: the file is missing, damaged, or holds Python objects.
    """
    found = _load(path, "npy")
    if not isinstance(found, np.ndarray):
        raise UserError(f"{path}: an archive of arrays found, one array in a .npy file expected")
    return found


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a `.npz` file by name.

    Raises:
        UserError: the file is missing, damaged, or holds Python objects.
    """
    found = _load(path, "npz")
    if isinstance(found, np.ndarray):
        raise UserError(f"{path}: a single array found, an .npz file with named arrays expected")
    with found:
        try:
            return {name: found[name] for name in found.files}
        except _DAMAGED as error:
            raise UserError(f"{path}: not a readable .npz file: {_reason(error)}") from None


def _load(path: Path, ending: str) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, a .{ending} file expected") from None
    except _DAMAGED as error:
        raise UserError(f"{path}: not a readable .{ending} file: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "damaged"
