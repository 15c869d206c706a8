"""The picture of the front: how far distillation and regularisation bring spikes down, and at what accuracy."""

from pathlib import Path

from neurodeploy.files import atomic_file
from neurodeploy.resultfigures import front
from neurodeploy.results import Results

FRONT = "front.png"
_PANELS = {"louis-cifar10-front": "CIFAR-10", "louis-fsdd-front": "Spoken digits"}


def draw(folder: Path, found: dict[str, Results]) -> None:
    """Write the picture into a folder, if its runs are there.

    Args:
        folder: for it.
        found: recipe name → results.
    """
    if not _PANELS.keys() <= found.keys():
        return
    runs = [found[name] for name in _PANELS]
    figure = front(runs, [[student.name for student in run.recipe.student] for run in runs], list(_PANELS.values()))
    with atomic_file(folder / FRONT) as path:
        figure.savefig(path, dpi=110, format="png")
