"""The progress of a training on standard error: epochs, samples per second, and when it will be done."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from neurodeploy.training import Watch


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: object) -> Text:
        speed = getattr(task, "speed", None)
        return Text(f"{speed:,.0f} samples/s" if speed else "", style="dim")


@contextmanager
def training_bar(title: str, epochs: int, samples: int) -> Iterator[Watch]:
    """Show one training on standard error; a `neurodeploy.training.experiment.Watcher`."""
    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
    with Progress(*columns, console=console) as progress:
        task: TaskID = progress.add_task(title, total=epochs * samples, epoch=0, epochs=epochs)
        seen: list[int] = []

        def watch(epoch: int, count: int) -> None:
            if not seen and epoch:
                progress.reset(task, completed=epoch * samples)
            seen.append(epoch)
            progress.update(task, advance=count, epoch=epoch + 1)

        yield watch
        progress.update(task, completed=epochs * samples, epoch=epochs)
