"""Files that are written whole or not at all, and locks on folders that two processes may want."""

import contextlib
import errno
import glob
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from neurodeploy.io.errors import Failure, UserError

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Hold the lock of an existing file or folder, without waiting for it.

    Yields:
        True: it is ours. False: somebody else holds it. None: nobody can say (the path is gone or may not be read; Windows and
        some network drives have no such locks).
    """
    if sys.platform == "win32":
        yield None
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        handle = None
    try:
        yield None if handle is None else _take(handle)
    finally:
        if handle is not None:
            os.close(handle)


def _take(handle: int) -> bool | None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone.

    Raises:
        UserError: another process holds it.
    """
    with locked(folder) as held:
        if held is False:
            raise UserError(f"{folder}: another process is training here; wait until it has ended, or end it")
        yield


_USERS_FAULTS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which path could not be written, and why.

    Raises:
        UserError: the path cannot be written by this user, or something else is in its place.
        Failure: the disk is full, or failed.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or (str(error).splitlines() or ["unknown fault"])[0]
        if error.errno in _USERS_FAULTS:
            raise UserError(f"{path}: cannot be written ({reason}); choose another place") from None
        advice = "; free some space or choose another place" if error.errno in _NO_ROOM else ""
        raise Failure(f"{path}: not written ({reason}){advice}") from None


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    Whatever goes wrong inside (a full disk, Ctrl-C), the temporary file is removed and an older `path` stays as it was.

    Raises:
        UserError, Failure: it cannot be written (see `writing`).
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _discard_abandoned(path, "part")
        with _of_our_own(lambda: _new_file(path)) as temporary:
            try:
                yield temporary
                with temporary.open("rb+") as written:
                    os.fsync(written.fileno())
                temporary.chmod(0o666 & ~_umask())  # mkstemp leaves it to its owner alone
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`.

    An existing `path` is replaced only when it contains the file `marker`, that is, when it is a folder of the same kind.

    Raises:
        UserError: `path` exists and is not such a folder, or cannot be written (see `writing`).
        Failure: the disk is full, or failed.
    """
    if path.exists() and not (path / marker).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path}: exists and holds no {marker}, so it is not overwritten; choose another folder")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _discard_abandoned(path, "part")
        with _of_our_own(lambda: _new_folder(path, "part")) as temporary:
            try:
                yield temporary
                temporary.chmod(0o777 & ~_umask())
                if path.exists():
                    with _of_our_own(lambda: _new_folder(path, "old")) as retired:
                        path.replace(retired / path.name)
                        temporary.replace(path)
                        shutil.rmtree(retired)
                else:
                    temporary.replace(path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        _discard_abandoned(path, "old")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _new_file(path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.part-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    return Path(name)


def _new_folder(path: Path, use: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.{use}-", dir=path.parent))


@contextlib.contextmanager
def _of_our_own(make: Callable[[], Path]) -> Iterator[Path]:
    """A new path, locked before another process could take it for abandoned."""
    while True:
        path = make()
        with locked(path) as held:
            if held is not False and path.exists():
                yield path
                return


def _discard_abandoned(path: Path, use: str) -> None:
    """Remove what killed processes left beside `path`: no living one holds its lock."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{use}-*"):
        with locked(left) as held, contextlib.suppress(OSError):
            if held and left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            elif held:
                left.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
