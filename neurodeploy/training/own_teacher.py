"""A recipe's teacher that is a module of the user's, trained already: checked before anything is trained, and observed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from neurodeploy.data import DataSet
from neurodeploy.io.weights import read_weights
from neurodeploy.recipe import Recipe
from neurodeploy.training.examination import Names, observed
from neurodeploy.training.observed import Observed
from neurodeploy.training.pairing import check_pair, check_weights
from neurodeploy.training.teacher import freeze

_SAMPLES = 3


def check_own_teacher(recipe: Recipe, data: DataSet) -> None:
    """Refuse a teacher that cannot teach the recipe's students; nothing is done for one that is trained from the start.

    Raises:
        UserError: it cannot be made, its weights do not fit, it does not take the samples, answers for other classes, or a loss
            term of a student cannot compare the two.
    """
    settings, channels = recipe.teacher, data.sample_shape[0]
    if settings.module is None and settings.weights is None:
        return
    with torch.random.fork_rng(devices=[]):
        teacher = freeze(recipe.build("teacher", channels, data.classes))
        if settings.weights is not None:
            read_weights(settings.weights).put_into(teacher, name=settings.module or "the recipe's network")
        if settings.module is None:
            return
        check_weights(teacher, "teacher")
        numbers = torch.arange(_SAMPLES) % len(data.train_labels)
        samples, labels = data.train_samples[numbers], data.train_labels[numbers]
        with as_taught_by(recipe, teacher, data) as master:
            assert isinstance(master, Observed)
            for student in recipe.student:
                network = recipe.build(student.name, channels, data.classes)
                with observed(network, samples, what=f"student {student.name}") as learner:
                    check_pair(learner, master, student.loss, samples, labels, data.classes)


@contextmanager
def as_taught_by(recipe: Recipe, teacher: nn.Module | None, data: DataSet) -> Iterator[nn.Module | Observed | None]:
    """The teacher as loss terms ask it: a module of the user's with hooks on it, another as it is."""
    settings = recipe.teacher
    if teacher is None or settings.module is None:
        yield teacher
        return
    device = next((weight.device for weight in teacher.parameters()), torch.device("cpu"))
    numbers = torch.arange(_SAMPLES) % len(data.train_labels)
    names = Names(settings.classifier, settings.features, settings.taps)
    with observed(teacher, data.train_samples[numbers].to(device), what="teacher", names=names) as seen:
        yield seen


def teacher_facts(recipe: Recipe) -> tuple[str, ...]:
    """What a reader of a run must know of a teacher that was not trained in it, a sentence each.

    Raises:
        UserError: its file of weights cannot be read.
    """
    settings = recipe.teacher
    if settings.epochs:
        return ()
    made = settings.module or "the recipe's network"
    if settings.weights is None:
        return (f"teacher: {made}, not trained here",)
    weights = read_weights(settings.weights)
    statements = (f"teacher: {made}, not trained here; weights {weights.path}, SHA-256 {weights.sha256}", *weights.statements)
    return (statements[0], *(f"{weights.path}: {text}" for text in statements[1:]))
