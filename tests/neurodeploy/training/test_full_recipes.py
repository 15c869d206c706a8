"""Recipes at full size, whose trainings take days: each starts, and makes one update of its deployed student's weights."""

import pytest
import torch

from neurodeploy.data import DataSet
from neurodeploy.recipe import Recipe, load
from neurodeploy.training import checkpoint
from neurodeploy.training.experiment import checkpoint_of, train_all

SAMPLES = 2
SHAPES = {"cifar10": (3, 32, 32), "cifar10-dvs": (10, 2, 48, 48)}


def random_data(recipe: Recipe) -> DataSet:
    """Two samples of the shape that the recipe's data have."""
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(SAMPLES, *SHAPES[recipe.data.kind], generator=generator)
    timed = recipe.data.event_frames is not None
    samples = (samples > 0.9).float() if timed else samples
    labels = torch.arange(SAMPLES)
    return DataSet("random", samples, labels, samples, labels, classes=10, note="random", timed=timed)


def begun(recipe: Recipe) -> Recipe:
    """One update of the deployed student and of the networks that it needs, by plain SGD, which leaves small checkpoints."""
    short = {"epochs": 1, "batch_size": SAMPLES, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01, "warmup_epochs": 0}
    needed = {recipe.deployed, recipe.teacher_of(recipe.deployed)}
    students = tuple(
        student.model_copy(update={"training": student.training.model_copy(update=short)})
        for student in recipe.student
        if student.name in needed
    )
    teacher = recipe.teacher.model_copy(update=short)
    changed = {"seeds": (0,), "student": students, "teacher": teacher, "baseline": recipe.deployed}
    return recipe.model_copy(update=changed)


@pytest.mark.parametrize(
    "name",
    [
        "diet-vgg16-cifar10",
        "enof-resnet19-cifar10",
        "enof-resnet20-cifar10-dvs",
        "kushawaha-vgg-cifar10",
        "tet-resnet19-cifar10",
    ],
)
def test_a_recipe_at_full_size_starts(name, tmp_path):
    recipe = begun(load(name))
    networks = {role: network for _, role, network in train_all(recipe, tmp_path, random_data(recipe))}
    assert list(networks) == list(recipe.roles)
    kept = checkpoint.load(checkpoint_of(tmp_path, 0, recipe.deployed))
    assert kept.progress.complete
    assert all(torch.isfinite(weight).all() for weight in kept.network.parameters())
