"""Files that are written whole or not at all, and locks on folders that two processes may want."""

import contextlib
import errno
import glob
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.exchange import (
    READY,
    exclusive,
    finish_members,
    flush,
    flush_names,
    linked,
    move_members,
    note_stale,
    put_in_place,
    recover,
    stands_alone,
    swapped,
)

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
                flush_names(path.parent)
            finally:
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it is flushed to disk and takes the place of `path` in one step.

    Whoever is killed on the way leaves the old folder or the new one, whole (see `neurodeploy.io.exchange`).
    An existing `path` is replaced only when it contains the file `marker`, that is, when it is a folder of the same kind.

    Raises:
        UserError: `path` exists and is not such a folder, or cannot be written (see `writing`).
        Failure: the disk is full, or failed.
    """
    recover(path)
    if path.exists() and not (path / marker).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path}: exists and holds no {marker}, so it is not overwritten; choose another folder")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _discard_abandoned(path, "part")
        with _of_our_own(lambda: _new_folder(path, "part")) as temporary:
            try:
                yield temporary
                temporary.chmod(0o777 & ~_umask())
                put_in_place(temporary, path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        _discard_abandoned(path, "old")


@contextlib.contextmanager
def atomic_members(folder: Path, *, stale: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty folder; on success every file in it takes the place of that of the same name in `folder`.

    Other files of `folder` stay. Whatever goes wrong (a full disk, Ctrl-C), what was there before is there again, and a process
    that is killed while it writes leaves it as it was.

    Args:
        folder: made if it is missing.
        stale: patterns of an earlier writing's files, such as `figures/*.png`: those that nothing new replaces are removed.

    Raises:
        UserError, Failure: it cannot be written (see `writing`).
    """
    with writing(folder):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive(folder):
                folder.mkdir(exist_ok=True)
                finish_members(folder)
                _discard_abandoned(folder / "files", "part")
                _discard_abandoned(folder, "part")
                yield from _members(folder, stale)
        finally:
            for path in made:
                with contextlib.suppress(OSError):
                    path.rmdir()  # only what is empty goes


def _members(folder: Path, stale: Sequence[str]) -> Iterator[Path]:
    with _of_our_own(lambda: _new_folder(folder / "files", "part")) as temporary:
        new = temporary / "new"
        try:
            new.mkdir()
            yield new
            flush(new)
            coming = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
            left = {path.relative_to(folder) for pattern in stale for path in folder.glob(pattern) if path.is_file()}
            if not _exchanged(folder, new, temporary, coming, left - coming):
                _moved(folder, new, temporary, left - coming)
        except (UserError, Failure) as error:  # what is said is said of the place that the reader knows
            raise type(error)(str(error).replace(str(new), str(folder))) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(folder / temporary.name, ignore_errors=True)


def _exchanged(folder: Path, new: Path, temporary: Path, coming: set[Path], left: set[Path]) -> bool:
    """Exchange the folder as a whole, its other files included; False where that cannot be done."""
    hidden = temporary.relative_to(folder)
    others = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    kept = [name for name in others if name not in coming | left and hidden not in name.parents]
    beside = _new_folder(folder, "part")
    try:
        with locked(beside):
            if not stands_alone(folder, coming, beside=hidden) or not linked(folder, beside, kept):
                return False
            for name in sorted(coming):
                (beside / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(new / name, beside / name)
            flush(beside)
            if not swapped(beside, folder):
                return False
            flush_names(folder.parent)
            return True
    except (OSError, NotImplementedError):
        return False
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _moved(folder: Path, new: Path, temporary: Path, left: set[Path]) -> None:
    """Move the files one by one; whoever is killed once the first is moved leaves a note by which the next writer goes on."""
    for source in new.rglob("*"):
        target = folder / source.relative_to(new)
        if source.is_file() and target.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    note_stale(temporary, sorted(left))
    flush(temporary)
    ready = temporary.with_name(temporary.name.replace(".part-", f".{READY}-"))
    temporary.replace(ready)
    flush_names(folder)
    move_members(ready, folder)


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
