"""Reading numpy files that may be damaged or hostile: never pickle, no more than is asked for, one clear error for a fault."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError, one_line
from neurodeploy.io.reading import check_file

_ROOM, _RATIO = 1 << 29, 100
"""Bytes that an archive may unpack to in any case, and how many times its own size beyond that: deflate reaches 1,032."""
_ENDING = ".npy"
_LONGEST = 300  # letters of what others say
_OBJECTS = "damaged, no array at all, or Python objects, which are never read"


def read_array(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file.

    Raises:
        UserError: the file is missing, damaged, or holds Python objects.
    """
    return _read(path, mapped=False)


def map_array(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file, of which only what is looked at is read from disk.

    Raises:
        UserError: the file is missing, damaged, or holds Python objects.
    """
    return _read(path, mapped=True)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a `.npz` file by name.

    Raises:
        UserError: as `NamedArrays`.
    """
    return dict(NamedArrays(path))


class NamedArrays(Mapping[str, NDArray[Any]]):
    """The arrays of a `.npz` file by name; each is read when it is asked for, and no other.

    Args:
        path: of the file.

    Raises:
        UserError: the file is missing, damaged, holds Python objects or something else than arrays, two of one name, or
            unpacks to far more than its size; also when an array is read.
    """

    def __init__(self, path: Path) -> None:
        self.path, size = path, check_file(path, "a .npz file")
        with _faults(path, "npz"), path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                raise UserError(f"{path}: a single array found, an .npz file with named arrays expected")
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            name = member.filename.removesuffix(_ENDING)
            if name == member.filename:
                raise UserError(f"{path}: {one_line(name)} is no .npy file, but should be an array")
            if name in self._members:
                raise UserError(f"{path}: two arrays of the name {one_line(name)} found, one expected")
            self._members[name] = member
        unpacked, most = sum(member.file_size for member in members), max(_ROOM, _RATIO * size)
        if unpacked > most:
            raise UserError(f"{path}: unpacks to {unpacked:,} bytes from {size:,}, at most {most:,} expected")

    def __getitem__(self, name: str) -> NDArray[Any]:
        member = self._members[name]
        with _faults(self.path, "npz"), zipfile.ZipFile(self.path) as archive, archive.open(member) as content:
            if content.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
                raise UserError(f"{self.path}: {one_line(name)} is no .npy file, but should be an array")
            content.seek(0)
            shape, _, dtype = _header(content)
            _check_claim(f"{self.path}: {one_line(name)}", shape, dtype, member.file_size)
            with archive.open(member) as again:
                array: NDArray[Any] = npy.read_array(again, allow_pickle=False)
                if again.read(1):
                    raise UserError(f"{self.path}: {one_line(name)}: more bytes found than its shape {shape} asks for")
                return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _read(path: Path, *, mapped: bool) -> NDArray[Any]:
    size = check_file(path, "a .npy file")
    with _faults(path, "npy"):
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                raise UserError(f"{path}: an archive of arrays found, one array in a .npy file expected")
            file.seek(0)
            shape, _, dtype = _header(file)
            _check_claim(str(path), shape, dtype, size - file.tell())
        if mapped and 0 not in shape:
            return npy.open_memmap(path, mode="r")
        with path.open("rb") as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return array


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    return npy._read_array_header(file, version=version)  # type: ignore[attr-defined] # 3.0 has no public name


def _check_claim(origin: str, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> None:
    """Refuse an array that claims more than is there, before memory is taken for it."""
    if dtype.hasobject:
        raise ValueError(_OBJECTS)
    if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize > size:
        raise UserError(f"{origin}: shape {shape} of {dtype} found, but only {size:,} bytes are stored; damaged")


@contextmanager
def _faults(path: Path, ending: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes one line that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # zipfile and numpy answer damage with nearly any type of exception
        raise UserError(f"{path}: not a readable .{ending} file: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = one_line(str(error))
    if "magic string" in text:
        return _OBJECTS
    return text[:_LONGEST] or "damaged"
