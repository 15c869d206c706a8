"""All networks of a recipe: one teacher and one of each student for every seed, each in a folder of its own."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import nn

from neurodeploy.data import DataSet
from neurodeploy.io.errors import UserError
from neurodeploy.io.files import write_text
from neurodeploy.io.imports import looking_in
from neurodeploy.io.reading import text_of
from neurodeploy.recipe import Recipe, parse_json
from neurodeploy.training import CHECKPOINT, Watch, freeze, train
from neurodeploy.training.own_teacher import as_taught_by, check_own_teacher
from neurodeploy.training.parts import check_parts

if TYPE_CHECKING:
    from lightning_fabric import Fabric

RECIPE = "recipe.json"


class Watcher(Protocol):
    """Shows the progress of one network's training after another."""

    def __call__(self, title: str, epochs: int, samples: int) -> AbstractContextManager[Watch]:
        """A training of `epochs` over `samples` begins."""
        ...


def silent(title: str, epochs: int, samples: int) -> AbstractContextManager[Watch]:  # noqa: ARG001
    """The watcher that shows nothing."""
    return nullcontext(lambda _epoch, _count: None)


def folder_of(root: Path, seed: int, role: str) -> Path:
    """Where a run keeps one network: `root/seed-0/student`."""
    return root / f"seed-{seed}" / role


def checkpoint_of(root: Path, seed: int, role: str) -> Path:
    return folder_of(root, seed, role) / CHECKPOINT


def train_all(
    recipe: Recipe,
    root: Path,
    data: DataSet,
    *,
    fabric: "Fabric | None" = None,
    watcher: Watcher = silent,
    resume: bool = False,
) -> Iterator[tuple[int, str, nn.Module]]:
    """Train (or, with `resume`, complete) every network of a recipe.

    Args:
        recipe: the experiment.
        root: receives a folder per seed and network, and `recipe.json`.
        data: the recipe's data set.
        fabric: where to train; the CPU if None.
        watcher: shows the progress.
        resume: continue a run that was interrupted.

    Yields:
        `(seed, role, network)` as each one is done.

    Raises:
        UserError: `root` holds another experiment, or this one and `resume` is False; or a part of the user's does not do what
            the training needs (see `check_parts`).
    """
    check_parts(recipe, data)
    check_own_teacher(recipe, data)
    if fabric is None or fabric.is_global_zero:
        _claim(root, recipe, resume=resume)
    if fabric is not None:
        fabric.barrier()
    teachers = set(map(recipe.teacher_of, recipe.roles))
    for seed in recipe.seeds:
        trained: dict[str, nn.Module] = {}
        for role in recipe.roles:
            teaching, beginning = recipe.teacher_of(role), recipe.beginning_of(role)
            asked = None if teaching is None else trained[teaching]
            shown = watcher(f"seed {seed} · {role}", recipe.training(role).epochs, len(data.train_labels))
            with as_taught_by(recipe, role, asked, data) as teacher, shown as watch:
                network = train(
                    recipe,
                    role,
                    seed,
                    folder_of(root, seed, role),
                    data=data,
                    teacher=teacher,
                    source=None if beginning is None else trained[beginning],
                    resume=resume,
                    fabric=fabric,
                    watch=watch,
                )
            if not recipe.spikes(role) or role in teachers:
                trained[role] = freeze(network)
            yield seed, role, network


def _claim(root: Path, recipe: Recipe, *, resume: bool) -> None:
    """Mark `root` as belonging to this recipe."""
    mark, text = root / RECIPE, recipe.model_dump_json(indent=2) + "\n"
    if mark.exists():
        if not resume:
            raise UserError(f"{root}: holds a run already; add --resume to continue it, or choose another --output")
        with looking_in(root.resolve()):
            kept = parse_json(text_of(mark, f"the {RECIPE} of a run"), origin=str(mark))
        for role in kept.roles:
            trained = any(folder_of(root, seed, role).joinpath(CHECKPOINT).exists() for seed in kept.seeds)
            if trained and role in recipe.roles and not kept.trains_like(recipe, role):
                raise UserError(
                    f"{root}: holds a run of another recipe, in which {role} is trained otherwise; choose another --output, or "
                    f"remove the folders of {role}"
                )
    write_text(mark, text)
