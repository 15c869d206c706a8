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
from neurodeploy.training.teacher import as_observed, freeze
from neurodeploy.training.twins import traced_teacher, untrained

_SAMPLES = 3


def check_own_teacher(recipe: Recipe, data: DataSet) -> None:
    """Refuse a teacher that cannot teach the recipe's students, or be their ReLU network.

    Nothing is done where the teacher is one of the recipe's networks, trained from the start, and no student is its twin.

    Raises:
        UserError: it cannot be made, its weights do not fit, it does not take the samples, answers for other classes, has no
            spiking twin, or a loss term of a student cannot compare the two.
    """
    settings, channels = recipe.teacher, data.sample_shape[0]
    students = [one for one in recipe.student if settings.module is not None or one.spiking is not None]
    if not students and settings.weights is None:
        return
    with torch.random.fork_rng(devices=[]):
        teacher = freeze(recipe.build("teacher", channels, data.classes))
        if settings.weights is not None:
            read_weights(settings.weights).put_into(teacher, name=settings.module or "the recipe's network")
        check_weights(teacher, "teacher")
        numbers = torch.arange(_SAMPLES) % len(data.train_labels)
        samples, labels = data.train_samples[numbers], data.train_labels[numbers]
        for student in students:
            network = untrained(recipe, student.name, data)
            with (
                as_taught_by(recipe, student.name, teacher, data) as master,
                observed(network, samples, what=f"student {student.name}") as learner,
            ):
                assert master is not None
                check_pair(learner, as_observed(master), student.loss, samples, labels, data.classes)


@contextmanager
def as_taught_by(recipe: Recipe, role: str, teacher: nn.Module | None, data: DataSet) -> Iterator[nn.Module | Observed | None]:
    """The teacher as loss terms of a student ask it: a module of the user's with hooks on it, another as it is.

    Where a term compares taps with those of the teacher's spiking twin, it is the teacher as its graph has it.
    """
    settings = recipe.teacher
    if teacher is None or role in recipe.relu_roles:
        yield teacher
        return
    student = recipe.student_named(role)
    named = Names(settings.classifier, settings.features, settings.taps)
    device = next((weight.device for weight in teacher.parameters()), torch.device("cpu"))
    samples = data.train_samples[torch.arange(_SAMPLES) % len(data.train_labels)].to(device)
    if (
        student.spiking is not None
        and not named.layers
        and any(term.needs_teacher and term.needs_taps for term in student.loss)
    ):
        yield traced_teacher(teacher, samples, classes=data.classes, classifier=student.spiking.classifier)
    elif settings.module is None:
        yield teacher
    else:
        with observed(teacher, samples, what="teacher", names=named) as seen:
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
