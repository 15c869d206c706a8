"""A recipe's teacher that is no ReLU network of its definition: a module of the user's, trained already, or a spiking student.

Both are checked before anything is trained, and observed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from neurodeploy.data import DataSet
from neurodeploy.io.weights import read_weights
from neurodeploy.recipe import QuantizedSettings, Recipe, StudentSettings
from neurodeploy.recipe.sections import SourceSettings
from neurodeploy.training.examination import Names, observed
from neurodeploy.training.observed import Observed
from neurodeploy.training.pairing import check_pair, check_weights
from neurodeploy.training.teacher import as_observed, freeze
from neurodeploy.training.twins import traced_teacher, untrained

_SAMPLES = 3


def check_own_teacher(recipe: Recipe, data: DataSet) -> None:
    """Refuse trained networks that cannot teach the recipe's networks, or that those cannot be made of.

    Nothing is done where teacher and source are networks of the recipe, trained from the start, no network is made of another's
    graph, and none is taught by a student.

    Raises:
        UserError: one cannot be made, its weights do not fit, it does not take the samples, answers for other classes, has no
            spiking twin, or a loss term of a network cannot compare it with the teacher.
    """
    given = [role for role in recipe.relu_roles if (own := recipe.relu(role)) and own.weights is not None]
    derived = {role for role in recipe.roles if recipe.taught(role) is not None and recipe.network_of(role) is None}
    by_students = {role for role in recipe.roles if recipe.teacher_of(role) not in (None, "teacher")}
    taught = [one for one in recipe.with_terms if recipe.teacher.module is not None or one.name in derived | by_students]
    if not taught and not given:
        return
    with torch.random.fork_rng(devices=[]):
        networks = {role: _checked(recipe, role, data) for role in recipe.relu_roles}
        numbers = torch.arange(_SAMPLES) % len(data.train_labels)
        samples, labels = data.train_samples[numbers], data.train_labels[numbers]
        for one in taught:
            network = untrained(recipe, one.name, data)
            what = f"{'student' if recipe.spikes(one.name) else 'quantized'} {one.name}"
            teaching = recipe.teacher_of(one.name) or "teacher"
            if teaching not in networks:
                networks[teaching] = freeze(untrained(recipe, teaching, data))
            with (
                as_taught_by(recipe, one.name, networks[teaching], data) as master,
                observed(network, samples, what=what) as learner,
            ):
                assert master is not None
                check_pair(learner, as_observed(master), one.loss, samples, labels, data.classes)


def _checked(recipe: Recipe, role: str, data: DataSet) -> nn.Module:
    """Teacher or source, with the weights of its file if there is one."""
    settings, network = recipe.relu(role), freeze(recipe.build(role, data.sample_shape[0], data.classes))
    if settings is not None and settings.weights is not None:
        read_weights(settings.weights).put_into(network, name=settings.module or "the recipe's network")
    check_weights(network, role)
    return network


@contextmanager
def as_taught_by(recipe: Recipe, role: str, teacher: nn.Module | None, data: DataSet) -> Iterator[nn.Module | Observed | None]:
    """The teacher as loss terms of a network ask it: a module of the user's with hooks on it, another as it is.

    A student that teaches has the taps of its spiking layers.

    Where a term compares taps with those of a network that is made of the teacher, it is the teacher as its graph has it.
    """
    settings, taught = recipe.teacher, recipe.taught(role)
    if teacher is None or taught is None:
        yield teacher
        return
    named = Names(settings.classifier, settings.features, settings.taps)
    device = next((weight.device for weight in teacher.parameters()), torch.device("cpu"))
    samples = data.train_samples[torch.arange(_SAMPLES) % len(data.train_labels)].to(device)
    if (own := recipe.teacher_of(role)) not in (None, "teacher"):
        with observed(teacher, samples, what=f"teacher {own}") as seen:
            yield seen
    elif (
        recipe.network_of(role) is None
        and not named.layers
        and recipe.source is None
        and any(term.needs_teacher and term.needs_taps for term in taught.loss)
    ):
        yield traced_teacher(teacher, samples, classes=data.classes, classifier=_classifier_of(recipe, taught))
    elif settings.module is None:
        yield teacher
    else:
        with observed(teacher, samples, what="teacher", names=named) as seen:
            yield seen


def _classifier_of(recipe: Recipe, settings: QuantizedSettings | StudentSettings) -> str | None:
    """The layer that makes logits of features in the network that another is made of."""
    if isinstance(settings, QuantizedSettings):
        return settings.classifier
    assert settings.spiking is not None
    quantized = recipe.taught(settings.spiking.of or "")
    return quantized.classifier if isinstance(quantized, QuantizedSettings) else settings.spiking.classifier


def teacher_facts(recipe: Recipe) -> tuple[str, ...]:
    """What a reader of a run must know of teacher and source where they were not trained in it, a sentence each.

    Raises:
        UserError: a file of weights cannot be read.
    """
    return tuple(fact for role in recipe.relu_roles for fact in _facts(role, recipe.relu(role)))


def _facts(role: str, settings: SourceSettings | None) -> tuple[str, ...]:
    if settings is None or settings.epochs:
        return ()
    made = settings.module or "the recipe's network"
    if settings.weights is None:
        return (f"{role}: {made}, not trained here",)
    weights = read_weights(settings.weights)
    statements = (f"{role}: {made}, not trained here; weights {weights.path}, SHA-256 {weights.sha256}", *weights.statements)
    return (statements[0], *(f"{weights.path}: {text}" for text in statements[1:]))
