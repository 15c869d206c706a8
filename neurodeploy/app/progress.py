"""The progress of a training on standard error: epochs, samples per second, and when it will be done."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from neurodeploy.io.screen import progress_console
from neurodeploy.training import Watch


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: object) -> Text:
        speed = getattr(task, "speed", None)
        return Text(f"{speed:,.0f} samples/s" if speed else "", style="dim")


class _Bar:
    """Shows what a training does on its line; see `neurodeploy.training.loop.Watch`."""

    def __init__(self, progress: Progress, task: TaskID, samples: int) -> None:
        self._progress, self._task, self._samples = progress, task, samples
        self._begun = False

    def __call__(self, epoch: int, count: int) -> None:
        if not self._begun and epoch:
            self._progress.reset(self._task, completed=epoch * self._samples)
        self._begun = True
        self._progress.update(self._task, advance=count, epoch=epoch + 1)

    def fired(self, rate: float) -> None:
        self._progress.update(self._task, firing=f"firing {100 * rate:.2g} %")


@contextmanager
def training_bar(title: str, epochs: int, samples: int) -> Iterator[Watch]:
    """Show one training on standard error; a `neurodeploy.training.experiment.Watcher`."""
    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        TextColumn("{task.fields[firing]}", markup=False, style="dim"),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=progress_console()) as progress:
        task: TaskID = progress.add_task(title, total=epochs * samples, epoch=0, epochs=epochs, firing="")
        yield _Bar(progress, task, samples)
        progress.update(task, completed=epochs * samples, epoch=epochs)
