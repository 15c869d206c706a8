"""Where the command line writes: results to standard output, progress and errors to standard error.

Neither reads markup: a layer or a path may hold square brackets.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


@contextmanager
def remembered() -> Iterator[Callable[[], None]]:
    """Inside, Ctrl-C raises KeyboardInterrupt as always; the function that it gives raises it again if that one was dropped."""
    seen = threading.Event()

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        seen.set()
        raise KeyboardInterrupt

    def check() -> None:
        if seen.is_set():
            raise KeyboardInterrupt

    def ignored(what: "sys.UnraisableHookArgs") -> None:
        if what.exc_type is not KeyboardInterrupt:  # that one is not lost
            report_unraisable(what)

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield check
        return
    report_unraisable, sys.unraisablehook = sys.unraisablehook, ignored
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = report_unraisable
