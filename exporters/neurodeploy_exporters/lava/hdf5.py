"""Guarded access to an HDF5 file that somebody else wrote: nothing outside the file, nothing larger than expected.

Every read states what it expects; links, external storage and oversized data sets are refused before any data is read.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import UserError

MAX_FILE_BYTES = 1 << 30
MAX_ELEMENTS = 1 << 26  # of one data set: far above the synapses of any chip
MAX_MEMBERS = 4096
_MAX_TEXT = 64
_BUILT_IN_FILTERS = {1, 2, 3}  # deflate, shuffle, Fletcher-32: others may load code from outside


class LocatedError(UserError):
    """A UserError whose message already names the file and the place in it."""


@dataclass(frozen=True, eq=False)
class Folder:
    """A group of an open file.

    Attributes:
        file: the file's path, for messages.
        path: the group's path inside the file, without a slash at the end.
        group: the group itself.
    """

    file: Path
    path: str
    group: Any

    def names(self) -> list[str]:
        """Names of the members, sorted.

        Raises:
            UserError: there are absurdly many, or the group is damaged.
        """
        with self._guarded(self.path or "/"):
            count = len(self.group)
            if count > MAX_MEMBERS:
                raise LocatedError(f"{self.file}: {self.path or '/'}: {count} members found, at most {MAX_MEMBERS} expected")
            return sorted(map(str, self.group))

    def __contains__(self, name: str) -> bool:
        with self._guarded(f"{self.path}/{name}"):
            return bool(name in self.group)

    def folder(self, name: str) -> "Folder":
        """The group `name`."""
        return Folder(self.file, f"{self.path}/{name}", self._member(name, h5py.Group, "group"))

    def text(self, name: str) -> str:
        """The string `name`: a scalar or an array of one."""
        dataset, where = self._dataset(name), f"{self.path}/{name}"
        with self._guarded(where):
            kind = dataset.dtype.kind
            if dataset.size != 1 or (kind == "S" and dataset.dtype.itemsize > _MAX_TEXT):
                raise LocatedError(f"{self.file}: {where}: shape {dataset.shape} found, one short string expected")
            if kind != "S" and h5py.check_string_dtype(dataset.dtype) is None:
                raise LocatedError(f"{self.file}: {where}: {dataset.dtype} found, a string expected")
            value = dataset[()] if dataset.shape == () else dataset[:].flat[0]
            text = value if isinstance(value, str) else bytes(value).decode("ascii")
            if len(text) > _MAX_TEXT:
                raise LocatedError(f"{self.file}: {where}: {len(text)} characters found, at most {_MAX_TEXT} expected")
            return text

    def integers(self, name: str) -> NDArray[np.int64]:
        """The numbers `name`, of any shape; stored as any number type, but whole.

        Raises:
            UserError: missing, not numbers, too many, or one is not whole (the message names it).
        """
        dataset, where = self._dataset(name), f"{self.path}/{name}"
        with self._guarded(where):
            if dataset.dtype.kind not in "iufb" or dataset.dtype.itemsize > 8:
                raise LocatedError(f"{self.file}: {where}: {dataset.dtype} found, numbers expected")
            if dataset.shape is None or dataset.size > MAX_ELEMENTS:
                raise LocatedError(
                    f"{self.file}: {where}: shape {dataset.shape} found, at most {MAX_ELEMENTS} numbers expected"
                )
            values = np.asarray(dataset[()])
        if values.dtype.kind == "f":
            values = values.astype(np.float64)
            whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 1 << 53)
        else:
            whole = values <= np.iinfo(np.int64).max
        wrong = values[~whole]
        if wrong.size:
            raise LocatedError(f"{self.file}: {where}: {wrong.flat[0]} found, whole numbers expected (Lava cuts off fractions)")
        return values.astype(np.int64)

    def _dataset(self, name: str) -> Any:
        dataset, where = self._member(name, h5py.Dataset, "data set"), f"{self.path}/{name}"
        with self._guarded(where):
            if dataset.external or dataset.is_virtual:
                raise LocatedError(f"{self.file}: {where}: its values are stored in another file; copy them into this one")
            settings = dataset.id.get_create_plist()
            filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
            if not filters <= _BUILT_IN_FILTERS:
                raise LocatedError(f"{self.file}: {where}: compressed by filter {max(filters)}; store it plain or with gzip")
        return dataset

    def _member(self, name: str, kind: type, noun: str) -> Any:
        where = f"{self.path}/{name}"
        with self._guarded(where):
            link = self.group.get(name, getlink=True)
            if link is None:
                raise LocatedError(f"{self.file}: {where}: missing; a {noun} expected")
            if not isinstance(link, h5py.HardLink):
                raise LocatedError(f"{self.file}: {where}: a link to elsewhere found; a {noun} of this file expected")
            member = self.group[name]
            if not isinstance(member, kind):
                raise LocatedError(f"{self.file}: {where}: {type(member).__name__} found, a {noun} expected")
            return member

    def error(self, message: str) -> LocatedError:
        """An error at this group: `message` begins with the name of the member."""
        return LocatedError(f"{self.file}: {self.path}/{message}")

    @contextlib.contextmanager
    def _guarded(self, where: str) -> Iterator[None]:
        try:
            yield
        except LocatedError:
            raise
        except Exception as error:  # h5py answers damage with nearly any exception type
            found = f"damaged or of an unknown kind ({_one_line(error)})"
            raise LocatedError(f"{self.file}: {where}: {found}; write the file again") from error


@contextlib.contextmanager
def opened(path: Path, *, expected: str = "a .net file") -> Iterator[Folder]:
    """The root group of the HDF5 file `path`, for reading; `expected` says in messages what it should be.

    Raises:
        UserError: there is no such file, it is absurdly large, or it is not HDF5.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {expected} expected") from error
    if not path.is_file() or size > MAX_FILE_BYTES:
        raise UserError(f"{path}: {size} bytes found, a file of at most {MAX_FILE_BYTES} expected")
    try:
        file = h5py.File(path, "r")
    except Exception as error:  # h5py answers damage with nearly any exception type
        raise UserError(f"{path}: is not a readable HDF5 file ({_one_line(error)}); {expected} expected") from error
    try:
        yield Folder(path, "", file)
    finally:
        with contextlib.suppress(Exception):  # closing a damaged file may fail too; it was only read
            file.close()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
