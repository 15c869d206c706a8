"""Where the command line writes: results to standard output, progress and errors to standard error.

Neither reads markup: a layer or a path may hold square brackets. No text from outside reaches the terminal as a command, and
one that is not for UTF-8 gets other letters for those that it does not know.
"""

import codecs
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import dumps, loads
from types import FrameType
from typing import Any
from unicodedata import normalize

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neurodeploy.io.errors import printable, spelled
from neurodeploy.io.json_text import escaped

_IN_ASCII = dict(zip("×–—−·⌈⌉µ’‘“”", "x----[]u''\"\"", strict=True))
_IN_ASCII |= {"…": "...", "→": "->", "±": "+-", "≥": ">=", "≤": "<=", "γ": "gamma", "Σ": "sum", "θ": "theta", "√": "sqrt"}
_SPELLED = "neurodeploy.spelled"


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """Letters that an encoding does not know, in those of ASCII; what has no such form as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wanted = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(c) or _plain(c) for c in wanted), error.end


def _plain(character: str) -> str:
    letters = normalize("NFKD", character).encode("ascii", "ignore").decode()
    return letters or ascii(character)[1:-1]


codecs.register_error(_SPELLED, _spelled)


class PlainConsole(Console):
    """A console whose texts are printed as they are read, with no command in them, in the letters that its stream knows."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """Every text that is printed, in a table or alone, passes here."""
        shown = printable(text).encode(self.encoding, _SPELLED).decode(self.encoding)
        return super().render_str(shown, **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        """As rich's, with each cell of a table on one line: a name with a line break makes no row of its own."""
        for table in objects:
            for column in table.columns if isinstance(table, Table) else ():
                column._cells[:] = [spelled(cell) if isinstance(cell, str) else cell for cell in column._cells]
        super().print(*objects, **settings)

    def print_json(self, json: str | None = None, **settings: Any) -> None:
        """A document in colours; if it has letters that cannot be printed, those beyond ASCII are escapes."""
        text = dumps(loads(json or "null"), ensure_ascii=False)
        super().print_json(json, **settings | {"ensure_ascii": escaped(text, self.encoding) != text})


out = PlainConsole(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = PlainConsole(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def spell_out() -> None:
    """Streams of this process write what their encoding does not know in other letters, and never fail over it."""
    for stream in (sys.stdout, sys.stderr):
        encoding, reconfigure = getattr(stream, "encoding", None), getattr(stream, "reconfigure", None)
        if encoding and reconfigure is not None:
            reconfigure(errors=_SPELLED)


def print_json(text: str) -> None:
    """A whole document on standard output, its line break included; letters that cannot be written there are escapes."""
    sys.stdout.write(escaped(text, sys.stdout.encoding or "utf-8"))
    sys.stdout.flush()


def terminated_as_interrupted() -> None:
    """SIGTERM, which schedulers and `kill` send, ends a command as Ctrl-C does: what is done is kept, and how to go on said."""

    def terminate(number: int, frame: FrameType | None) -> None:
        interrupted = signal.getsignal(signal.SIGINT)
        if callable(interrupted):
            interrupted(number, frame)
        raise KeyboardInterrupt  # also where Ctrl-C is ignored, as behind nohup

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


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
