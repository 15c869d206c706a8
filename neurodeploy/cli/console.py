"""Where the command line writes: results to standard output, progress and errors to standard error.

Neither reads markup: a layer or a path may hold square brackets.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from neurodeploy.training import Watch


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
            told(what)

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield check
        return
    told, sys.unraisablehook = sys.unraisablehook, ignored
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = told


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: object) -> Text:
        speed = getattr(task, "speed", None)
        return Text(f"{speed:,.0f} samples/s" if speed else "", style="dim")


@contextmanager
def training_bar(title: str, epochs: int, samples: int) -> "Iterator[Watch]":
    """Show one training on standard error; a `neurodeploy.training.experiment.Watcher`."""
    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=err) as progress:
        task: TaskID = progress.add_task(title, total=epochs * samples, epoch=0, epochs=epochs)
        seen: list[int] = []

        def watch(epoch: int, count: int) -> None:
            if not seen and epoch:
                progress.reset(task, completed=epoch * samples)
            seen.append(epoch)
            progress.update(task, advance=count, epoch=epoch + 1)

        yield watch
        progress.update(task, completed=epochs * samples, epoch=epochs)
