"""Reading numpy files that may be damaged or hostile: never pickle, and one clear error for whatever is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError


def read_array(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file.

    Raises:
        UserError: the file is missing, damaged, or holds Python objects.
    """
    content = _load(path, "npy")
    if not isinstance(content, np.ndarray):
        raise UserError(f"{path}: an archive of arrays found, one array in a .npy file expected")
    return content


def map_array(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file, of which only what is looked at is read from disk.

    Raises:
        UserError: the file is missing, damaged, or holds Python objects.
    """
    content = _load(path, "npy", mapped=True)
    if not isinstance(content, np.ndarray):
        raise UserError(f"{path}: an archive of arrays found, one array in a .npy file expected")
    return content


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a `.npz` file by name.

    Raises:
        UserError: the file is missing, damaged, or holds Python objects or something else than arrays.
    """
    content = _load(path, "npz")
    if isinstance(content, np.ndarray):
        raise UserError(f"{path}: a single array found, an .npz file with named arrays expected")
    with content:
        try:
            arrays = {name: content[name] for name in content.files}
        except Exception as error:  # zipfile and numpy answer damage with nearly any type of exception
            raise UserError(f"{path}: not a readable .npz file: {_reason(error)}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise UserError(f"{path}: {name} is no .npy file, but should be an array")
    return arrays


def _load(path: Path, ending: str, *, mapped: bool = False) -> Any:
    if path.exists() and not path.is_file():  # a folder, or a pipe, which would be waited for
        raise UserError(f"{path}: not a file, a .{ending} file expected")
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, a .{ending} file expected") from None
    except Exception as error:  # see above
        raise UserError(f"{path}: not a readable .{ending} file: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "allow_pickle" in text:  # numpy's advice for whatever has no header of its own, which nobody should follow
        return "damaged, no array at all, or Python objects, which are never read"
    return text or "damaged"
