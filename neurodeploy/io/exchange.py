"""Folders and files that change places in one step, or by a journal, so that whoever is killed leaves the old or the new.

Where the system can, two folders are exchanged by one call. Where it cannot, the new one is complete, on disk, and named as
such before the old one is touched: whoever comes next finishes what was begun.
"""

import contextlib
import ctypes
import glob
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from neurodeploy.io.errors import UserError

if sys.platform != "win32":
    import fcntl

READY, _STALE = "ready", "stale.json"
_AT_FDCWD, _EXCHANGE, _SWAP = -100, 2, 2
_PATIENCE = 20.0
"""Seconds for which a second writer waits: a report takes a few."""


def flush(path: Path) -> None:
    """Put a file, or a folder with all that is in it, on disk.

    Raises:
        OSError: the disk is full, or failed.
    """
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                _fsync(Path(folder, name))
            _fsync(Path(folder))
    else:
        _fsync(path)


def flush_names(folder: Path) -> None:
    """Put on disk which files a folder has: without it, a rename may be forgotten when the power fails."""
    with contextlib.suppress(OSError):  # some network drives have no such thing
        _fsync(folder)


def _fsync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def swapped(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if platform.system() == "Linux":
            return not libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)
        if platform.system() == "Darwin":
            return not libc.renamex_np(os.fsencode(one), os.fsencode(other), _SWAP)
    except (AttributeError, OSError, TypeError):  # an older C library has no such call
        pass
    return False


def put_in_place(new: Path, path: Path) -> None:
    """Give a complete folder the name `path`; what was there is removed.

    Raises:
        OSError: it cannot be moved; the old one is then where it was.
    """
    flush(new)
    if not path.exists():
        new.replace(path)
    elif swapped(new, path):
        flush_names(path.parent)
        new.unlink() if new.is_symlink() else shutil.rmtree(new)
    else:
        ready = new.with_name(f".{path.name}.{READY}-{new.name.rpartition('-')[2]}")
        new.replace(ready)  # from here on the new one counts: `recover` finishes this
        flush_names(path.parent)
        _finish(ready, path)
    flush_names(path.parent)


def recover(path: Path) -> None:
    """Finish what a killed process had begun to put in place of the folder `path`; nothing where there is no such thing."""
    for ready in sorted(path.parent.glob(f".{glob.escape(path.name)}.{READY}-*")):
        with contextlib.suppress(OSError):
            _finish(ready, path)


def _finish(ready: Path, path: Path) -> None:
    retired = ready.with_name(ready.name.replace(f".{READY}-", ".old-"))
    if path.exists():
        retired.mkdir(exist_ok=True)
        path.replace(retired / path.name)
    ready.replace(path)
    shutil.rmtree(retired, ignore_errors=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Be the only writer of the files in a folder, which may not be there yet; another one is waited for, for a while.

    Raises:
        UserError: another process still writes there.
        OSError: the folder around it cannot be written.
    """
    path, until = folder.parent / f".{folder.name or 'root'}.lock", time.monotonic() + _PATIENCE
    if sys.platform == "win32":
        yield
        return
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            if _holds(handle, path):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(handle)
        if time.monotonic() > until:
            raise UserError(f"{folder}: another process is writing here; wait until it has ended, or choose another folder")
        time.sleep(0.05)


def _holds(handle: int, path: Path) -> bool:
    """Whether the lock is ours, and still that of the file which others would open."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a drive without locks: nobody can be kept out
        return True
    with contextlib.suppress(OSError):
        return os.fstat(handle).st_ino == path.stat().st_ino
    return False


def stands_alone(folder: Path, coming: set[Path], *, beside: Path) -> bool:
    """Whether a folder can be exchanged as a whole: all that is in it are files, in folders that new files are in as well.

    Args:
        folder: to be exchanged.
        coming: names of the new files.
        beside: name of a folder in it that does not count.
    """
    if folder.is_symlink() or Path.cwd().is_relative_to(folder.resolve()):  # who stands in it would stand nowhere
        return False
    inside = {parent for name in coming for parent in name.parents}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if name == beside or beside in name.parents:
            continue
        plain = path.is_file() and not path.is_symlink()
        if not plain and not (path.is_dir() and not path.is_symlink() and name in inside):
            return False
    return True


def linked(folder: Path, new: Path, names: Sequence[Path]) -> bool:
    """Give a new folder the files of an old one that stay, as second names of them; False where there are no such names."""
    try:
        for name in names:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(folder / name, new / name, follow_symlinks=False)
    except (OSError, NotImplementedError):
        return False
    shutil.copymode(folder, new)
    return True


def note_stale(ready: Path, names: Sequence[Path]) -> None:
    """Write down which files are to go once those of `ready` are in place."""
    (ready / _STALE).write_text(json.dumps([name.as_posix() for name in names]), encoding="utf-8")


def finish_members(folder: Path) -> None:
    """Finish what a killed process had begun to put into a folder, file by file."""
    for ready in sorted(folder.glob(f".files.{READY}-*")):
        with contextlib.suppress(OSError, ValueError):
            if (ready / _STALE).is_file():
                move_members(ready, folder)
            else:  # all is in place: it was killed while it removed this
                shutil.rmtree(ready)


def move_members(ready: Path, folder: Path) -> None:
    """Move every file of `ready/new` into a folder, each in one step over the one that is there, and remove the stale ones.

    Raises:
        OSError: one cannot be moved.
    """
    for source in sorted((ready / "new").rglob("*")):
        if source.is_file():
            target = folder / source.relative_to(ready / "new")
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
    for name in json.loads((ready / _STALE).read_text("utf-8")):
        path = Path(os.path.normpath(folder / name))
        if path.is_relative_to(folder):
            path.unlink(missing_ok=True)
    flush_names(folder)
    shutil.rmtree(ready)
