"""Guarded access to an HDF5 file that somebody else wrote: nothing outside the file, nothing larger than expected.

Every read states what it expects; links, external storage and oversized data sets are refused before any data is read.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy.io.hdf5_heap import DamagedHeap, check_heaps, read_variable_texts

MAX_FILE_BYTES = 1 << 30
MAX_ELEMENTS = 1 << 26  # of one data set: half the synapses of a chip
MAX_MEMBERS = 1024  # of a group; a board of 8 chips has as many cores, and each layer takes at least one
_FREE_ELEMENTS, _ELEMENTS_PER_BYTE = 1 << 22, 64  # of a file: deflate makes up to 1000 times as much of it, networks never do
_MAX_TEXT = 64
_MAX_MESSAGE = 500
_BLOCK = 1 << 20  # numbers that are converted at once
_BUILT_IN_FILTERS = {1, 2, 3}  # deflate, shuffle, Fletcher-32: others may load code from outside


class LocatedError(UserError):
    """A UserError whose message already names the file and the member of it. What it quotes is made printable, and short."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text that quotes a file, with no character that a terminal would take for a command, and short."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return shown if len(shown) <= _MAX_MESSAGE else f"{shown[: _MAX_MESSAGE - 100]} … {shown[-100:]}"


@dataclass(eq=False)
class Allowance:
    """How many numbers may still be read from a file."""

    left: int

    def take(self, count: int) -> bool:
        self.left -= count
        return self.left >= 0


@dataclass(frozen=True, eq=False)
class Folder:
    """A group of an open file.

    Attributes:
        file: the file's path, for messages.
        path: the group's path inside the file, without a slash at the end.
        group: the group itself.
        allowance: for all groups of the file together.
    """

    file: Path
    path: str
    group: Any
    allowance: Allowance

    def names(self) -> list[str]:
        """Names of the members, sorted.

        Raises:
            UserError: there are absurdly many, or the group is damaged.
        """
        with self._guarded(""):
            count = len(self.group)
            if count > MAX_MEMBERS:
                raise LocatedError(f"{self.file}: {self.path or '/'}: {count} members found, at most {MAX_MEMBERS} expected")
            return sorted(map(str, self.group))

    def __contains__(self, name: str) -> bool:
        """Whether there is such a member; where it is a link, `folder` and others refuse it, wherever it leads."""
        with self._guarded(name):
            return bool(self.group.id.links.exists(name.encode()))

    def folder(self, name: str) -> "Folder":
        """The group `name`."""
        return Folder(self.file, f"{self.path}/{name}", self._member(name, h5py.Group, "group"), self.allowance)

    def is_folder(self, name: str) -> bool:
        """Whether the member `name` is a group."""
        return isinstance(self._member(name, h5py.HLObject, "member"), h5py.Group)

    def holds_text(self, name: str) -> bool:
        """Whether the data set `name` holds strings."""
        dataset = self._dataset(name)
        with self._guarded(name):
            return dataset.dtype.kind == "S" or h5py.check_string_dtype(dataset.dtype) is not None

    def text(self, name: str, *, longest: int = _MAX_TEXT, encoding: Literal["ascii", "utf-8"] = "ascii") -> str:
        """The string `name`: a scalar or an array of one, of `longest` bytes at most."""
        dataset = self._dataset(name)
        with self._guarded(name):
            if dataset.shape not in ((), (1,)) or (dataset.dtype.kind == "S" and dataset.dtype.itemsize > longest):
                raise self.error(f"{name}: shape {dataset.shape} found, one short string expected")
            return self._texts(dataset, name, longest, encoding)[0]

    def pairs_of_text(self, name: str, *, longest: int, most: int) -> list[tuple[str, str]]:
        """The array `[N, 2]` of strings `name`, at most `most` rows, UTF-8; an empty array of any type is no row."""
        dataset = self._dataset(name)
        with self._guarded(name):
            if dataset.shape is not None and dataset.size == 0:
                return []
            if dataset.shape is None or len(dataset.shape) != 2 or dataset.shape[1] != 2 or dataset.shape[0] > most:
                raise self.error(f"{name}: shape {dataset.shape} found, pairs of strings expected, {most} at most")
            if dataset.dtype.kind == "S" and (dataset.dtype.itemsize > longest or not self.allowance.take(dataset.size)):
                raise self.error(f"{name}: {dataset.dtype} found, strings of at most {longest} bytes expected")
            texts = self._texts(dataset, name, longest, "utf-8")
            return list(zip(texts[::2], texts[1::2], strict=True))

    def _texts(self, dataset: Any, name: str, longest: int, encoding: str) -> list[str]:
        if dataset.dtype.kind == "S":
            self._check_stored(dataset, name)
            texts = [bytes(text) for text in np.asarray(dataset[()]).ravel().tolist()]
        elif h5py.check_string_dtype(dataset.dtype) is not None:
            texts = self._variable_texts(dataset, name, longest)
        else:
            raise self.error(f"{name}: {dataset.dtype} found, a string expected")
        try:
            return [text.decode(encoding) for text in texts]
        except UnicodeDecodeError as error:
            raise self.error(f"{name}: {error.object!r} found, {encoding.upper()} expected") from None

    def _variable_texts(self, dataset: Any, name: str, longest: int) -> list[bytes]:
        offset, root = dataset.id.get_offset(), self.group.file
        if offset is None or root.id.get_create_plist().get_sizes()[0] != 8:
            raise self.error(f"{name}: stored in pieces; write it as h5py does by default")
        try:
            return read_variable_texts(self.file, offset, dataset.size, root.userblock_size, longest)
        except DamagedHeap as error:
            raise self.error(f"{name}: {error}") from None

    def numbers(self, name: str) -> NDArray[Any]:
        """The numbers `name`, of any shape and number type, as they are stored.

        Raises:
            UserError: missing, not numbers, or too many.
        """
        dataset = self._dataset(name)
        with self._guarded(name):
            if dataset.dtype.kind not in "iufb" or dataset.dtype.itemsize > 8:
                raise self.error(f"{name}: {dataset.dtype} found, numbers expected")
            if dataset.shape is None or dataset.size > MAX_ELEMENTS:
                raise self.error(f"{name}: shape {dataset.shape} found, at most {MAX_ELEMENTS} numbers expected")
            if not self.allowance.take(dataset.size):
                raise self.error(f"{name}: with it, the file claims more numbers than one of its size can hold")
            self._check_stored(dataset, name)
            return np.asarray(dataset[()])

    def integers(self, name: str) -> NDArray[np.int64]:
        """The numbers `name`, of any shape; stored as any number type, but whole.

        Raises:
            UserError: missing, not numbers, too many, or one is not whole (the message names it).
        """
        values = self.numbers(name)
        whole_numbers = np.empty(values.shape, np.int64)
        flat, into = values.reshape(-1), whole_numbers.reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            part = flat[start : start + _BLOCK]
            whole: NDArray[np.bool_] = np.ones(part.shape, np.bool_)
            if part.dtype.kind == "f":
                with np.errstate(invalid="ignore"):
                    part = part.astype(np.float64)
                    whole = np.isfinite(part) & (part == np.rint(part)) & (np.abs(part) < 1 << 53)
            elif part.dtype.kind == "u":
                whole = part <= np.iinfo(np.int64).max
            if not whole.all():
                number = part[~whole][0]
                raise self.error(f"{name}: {number} found, whole numbers expected (Lava cuts off fractions)")
            into[start : start + _BLOCK] = part
        return whole_numbers

    def unsigned(self, name: str) -> bool:
        """Whether the numbers `name` are of a type that has no negative ones."""
        dataset = self._dataset(name)
        with self._guarded(name):
            return bool(dataset.dtype.kind == "u")

    def _check_stored(self, dataset: Any, name: str) -> None:
        """Refuse sizes that are only claimed: HDF5 fills in what was never written."""
        if dataset.chunks is not None:
            pieces = prod(-(-size // piece) for size, piece in zip(dataset.shape, dataset.chunks, strict=True))
            stored = dataset.id.get_num_chunks()
        else:
            pieces, stored = min(dataset.size, 1), min(dataset.id.get_storage_size(), 1)
        if stored < pieces:
            raise self.error(f"{name}: shape {dataset.shape} found, but only {stored} of its {pieces} pieces are stored")

    def _dataset(self, name: str) -> Any:
        dataset = self._member(name, h5py.Dataset, "data set")
        with self._guarded(name):
            if dataset.external or dataset.is_virtual:
                raise self.error(f"{name}: its values are stored in another file; copy them into this one")
            settings = dataset.id.get_create_plist()
            filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
            if not filters <= _BUILT_IN_FILTERS:
                raise self.error(f"{name}: compressed by filter {max(filters)}; store it plain or with gzip")
        return dataset

    def _member(self, name: str, kind: type, noun: str) -> Any:
        with self._guarded(name):
            links = self.group.id.links
            if not links.exists(name.encode()):
                raise self.error(f"{name}: missing; a {noun} expected")
            if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:  # not followed to find out: it may lead to a device
                raise self.error(f"{name}: a link to elsewhere found; a {noun} of this file expected")
            member = self.group[name]
            if not isinstance(member, kind):
                raise self.error(f"{name}: {type(member).__name__} found, a {noun} expected")
            return member

    def error(self, message: str) -> LocatedError:
        """An error at this group: `message` begins with the name of the member."""
        return LocatedError(f"{self.file}: {self.path}/{message}")

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Say which member cannot be read; "" is the group itself."""
        try:
            yield
        except LocatedError:
            raise
        except Exception as error:  # h5py answers damage with nearly any exception type
            member, reason = f"{self.path}/{name}" if name else self.path or "/", _one_line(error)
            message = f"{self.file}: {member}: damaged or of an unknown kind ({reason}); write the file again"
            raise LocatedError(message) from error


_POINTER = b"version https://git-lfs.github.com/spec/"


def _check_no_pointer(path: Path, expected: str) -> None:
    """Raises UserError for what Git leaves in place of a large file that has not been fetched."""
    with contextlib.suppress(OSError), path.open("rb") as file:  # a file that cannot be read is refused by who reads it
        if file.read(len(_POINTER)) == _POINTER:
            raise UserError(f"{path}: a pointer of Git LFS, {expected} expected; fetch the file itself with git lfs pull")


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
    if not path.is_file():
        raise UserError(f"{path}: not a file; {expected} expected")
    if size > MAX_FILE_BYTES:
        raise UserError(f"{path}: {size} bytes found, a file of at most {MAX_FILE_BYTES} expected")
    _check_no_pointer(path, expected)
    try:
        check_heaps(path)
        file = h5py.File(path, "r")
    except Exception as error:  # h5py answers damage with nearly any exception type
        raise UserError(f"{path}: is not a readable HDF5 file ({_one_line(error)}); {expected} expected") from error
    try:
        yield Folder(path, "", file, Allowance(_FREE_ELEMENTS + _ELEMENTS_PER_BYTE * size))
    finally:
        with contextlib.suppress(Exception):  # closing a damaged file may fail too; it was only read
            file.close()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
