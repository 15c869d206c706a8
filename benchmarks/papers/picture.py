"""The pictures of the page: how far distillation and regularisation bring spikes down, and at what accuracy."""

from pathlib import Path

from neurodeploy.io.files import atomic_file
from neurodeploy.training.results import Results, front

FRONT, LOGITS = "front.png", "logits.png"
_PANELS = {
    FRONT: {"louis-cifar10-front": "CIFAR-10", "louis-fsdd-front": "Spoken digits"},
    LOGITS: {"louis-cifar10-logits": "CIFAR-10", "louis-fsdd-logits": "Spoken digits"},
}
"""File → recipes, each with the title of its panel."""


def draw(folder: Path, found: dict[str, Results]) -> None:
    """Write the pictures whose runs are there into a folder.

    Args:
        folder: for them.
        found: recipe name → results.
    """
    for name, panels in _PANELS.items():
        if panels.keys() <= found.keys():
            runs = [found[recipe] for recipe in panels]
            figure = front(runs, [[student.name for student in run.recipe.student] for run in runs], list(panels.values()))
            with atomic_file(folder / name) as path:
                figure.savefig(path, dpi=110, format="png")
