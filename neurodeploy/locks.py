"""Locks that end with the process that holds them, however it ends. Standard library only."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from neurodeploy.errors import UserError

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
