"""Unpacking archives that may be hostile: only plain files, only below the destination, never more than was agreed."""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO

from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import atomic_folder, writing

_CHUNK = 1 << 20
_MOST_FILES = 500_000
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error),
    *(OSError, EOFError, ValueError, LookupError, OverflowError, RuntimeError),
)

Member = tuple[str, Callable[[], IO[bytes]] | None]
"""Name in the archive, and what opens its content; None for a folder."""


def extract(archive: Path, destination: Path, *, top: str, marker: str, at_most: int, content: str | None = None) -> None:
    """Unpack a `.tar.gz` or `.zip` into a folder, whole or not at all.

    Args:
        archive: the file.
        destination: takes the place of an older folder of the same kind (one that holds `marker`).
        top: the folder in the archive whose content is wanted, without itself; "" for everything.
        marker: a file, relative to `destination`, that the archive has to hold.
        at_most: bytes that the unpacked files may have together.
        content: the folder's digest; None if the archive itself was checked.

    Raises:
        UserError: the archive is damaged or has another content than it should, holds more than `at_most` bytes or 500,000
            files, an absolute path, `..`, a link, a device, the same file twice, or no `marker`; or the destination cannot be
            written.
        Failure: the disk is full.
    """
    room = _Room(archive, at_most)
    with atomic_folder(destination, marker=marker) as temporary:
        with _faults_named(archive):
            for name, open_content in _members(archive, room):
                path = _below(archive, name, top)
                room.take_file()
                if path is not None:
                    _put(room, name, temporary / path, open_content)
        if not (temporary / marker).is_file():
            raise UserError(f"{archive}: holds no {PurePosixPath(top, marker)}; remove it and fetch the official archive")
        if content is not None and digest(temporary) != content:
            raise UserError(f"{archive}: its files are not the official ones (SHA-256 {content} expected); nothing was kept")


def digest(folder: Path) -> str:
    """SHA-256 of a folder without folders in it: that of what `sha256sum *` prints of its files in the order of their names."""
    lines = [f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir()) if path.is_file()]
    return sha256("".join(lines).encode()).hexdigest()


class _Room:
    """Counts files and bytes down to the agreed limits."""

    def __init__(self, archive: Path, at_most: int) -> None:
        self.archive, self.at_most, self.bytes_left, self.files_left = archive, at_most, at_most, _MOST_FILES

    def take(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise UserError(f"{self.archive}: unpacks to more than {self.at_most:,} bytes; fetch the official archive")

    def take_file(self) -> None:
        self.files_left -= 1
        if self.files_left < 0:
            raise UserError(f"{self.archive}: holds more than {_MOST_FILES:,} files; fetch the official archive")


class _Limited(io.RawIOBase):
    """A stream that ends in an error when it gives out more than a tar with the agreed content could have."""

    def __init__(self, stream: gzip.GzipFile, room: _Room) -> None:
        self._stream, self._room = stream, _Room(room.archive, 2 * room.at_most + (64 << 20))

    def read(self, size: int = -1, /) -> bytes:
        content = self._stream.read(size)
        self._room.take(len(content))
        return content


def _members(archive: Path, room: _Room) -> Iterator[Member]:
    try:
        is_zip = zipfile.is_zipfile(archive)
    except OSError as error:
        raise UserError(f"{archive}: cannot be read ({error.strerror}); a readable archive expected") from None
    return _zip_members(archive) if is_zip else _tar_members(archive, room)


def _tar_members(archive: Path, room: _Room) -> Iterator[Member]:
    with gzip.open(archive) as stream, tarfile.open(fileobj=_Limited(stream, room), mode="r|") as tar:
        for member in tar:
            if member.isdir():
                yield member.name, None
            elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                yield member.name, partial(_opened, tar, member)
            else:
                raise _no_plain_file(archive, member.name)


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None
    return content


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir():
                yield member.filename, None
            elif kind not in (0, stat.S_IFREG):
                raise _no_plain_file(archive, member.filename)
            else:
                yield member.filename, partial(file.open, member)


def _no_plain_file(archive: Path, name: str) -> UserError:
    return UserError(f"{archive}: {_shown(name)} is no plain file (a link or device); nothing was unpacked")


def _below(archive: Path, name: str, top: str) -> PurePosixPath | None:
    """The member's path relative to `top`; None if it is elsewhere in the archive."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0"):
        raise UserError(f"{archive}: {_shown(name)} leads out of its folder; nothing was unpacked, fetch the official archive")
    return path.relative_to(top) if path.is_relative_to(top) else None


def _put(room: _Room, name: str, path: Path, open_content: Callable[[], IO[bytes]] | None) -> None:
    with writing(path):
        if open_content is None:
            path.mkdir(parents=True, exist_ok=True)
            return
        if path.exists():
            raise UserError(f"{room.archive}: {_shown(name)} occurs twice; nothing was unpacked, fetch the official archive")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target, _faults_named(room.archive), open_content() as content:
            while chunk := content.read(_CHUNK):
                room.take(len(chunk))
                with writing(path):
                    target.write(chunk)


@contextmanager
def _faults_named(archive: Path) -> Iterator[None]:
    """Whatever goes wrong in reading the archive is its damage; errors in writing are named before they come here."""
    try:
        yield
    except (UserError, Failure):
        raise
    except _DAMAGED as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise UserError(f"{archive}: not a whole .tar.gz or .zip archive ({reason}); remove it and fetch it again") from None


def _shown(name: str) -> str:
    """A hostile name, made harmless to print."""
    return ascii(name if len(name) <= 80 else f"{name[:77]}...")
