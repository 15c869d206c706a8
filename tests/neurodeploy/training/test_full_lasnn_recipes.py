"""The recipes with LaSNN's published settings, at two time steps: a random batch goes through every network and every loss."""

from dataclasses import replace

import pytest
import torch

from neurodeploy.conversion import Method, initialise
from neurodeploy.recipe import load
from neurodeploy.training import ask, freeze

SIDES, CLASSES = {"tiny-imagenet": 64}, {"cifar100": 100, "tiny-imagenet": 200}
STEPS = 2


@pytest.mark.parametrize(
    "name",
    [
        "label-3c2l-cifar10",
        "lasnn-vgg5-cifar10",
        "lasnn-vgg9-cifar10",
        "lasnn-resnet12-cifar10",
        "lasnn-vgg16-cifar10",
        "lasnn-vgg7-cifar100",
        "lasnn-vgg16-tiny-imagenet",
        "lasnn-densenet121-cifar10",
    ],
)
def test_students_start_as_the_converted_source_and_every_loss_has_gradients(name):
    torch.manual_seed(0)
    recipe = load(name)
    classes, side = CLASSES.get(recipe.data.kind, 10), SIDES.get(recipe.data.kind, 32)
    x, y = 2 * torch.rand(2, 3, side, side) - 1, torch.arange(2)
    teacher = freeze(recipe.build("teacher", 3, classes))
    source = recipe.build("source", 3, classes)
    answer = ask(teacher, x, y, gradients=True)
    seen = set()
    for settings in recipe.student:
        activations = replace(recipe.activations(settings.name), steps=STEPS)
        neuron = (settings.neuron or recipe.neuron).build()
        way = (type(neuron), str(activations.code))
        if way not in seen:  # a network for each kind of student
            seen.add(way)
            student = recipe.network_of(settings.name).build(3, classes, activations)
            # thresholds so low that spikes reach the classifier within two steps, of weights that nobody trained
            initialise(student, source, x, method=Method("one", scale=0.05))
        student.train()
        output = student(x)
        assert output.logits.shape == (2, classes)
        for term in settings.loss if settings.training.epochs else ():
            student.zero_grad()
            term(output, answer, y).backward(retain_graph=True)
            gradients = [weight.grad for weight in student.parameters() if weight.grad is not None]
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert any(gradient.any() for gradient in gradients), (settings.name, term.kind)


def test_the_conversions_of_the_table_are_made_as_each_paper_has_them():
    recipe = load("conversion-3c2l-cifar10")
    assert [recipe.steps_of(name) for name in ("cao", "hunsberger", "sengupta")] == [400, 6000, 2500]
    twin = recipe.student_named("cao").spiking
    assert (twin.reset, twin.method(400, "hard").thresholds) == ("hard", "one")
    source, x = recipe.build("teacher", 3, 10), torch.rand(2, 3, 32, 32)
    for name in ("hunsberger", "sengupta"):
        student = recipe.network_of(name).build(3, 10, replace(recipe.activations(name), steps=20))
        initialise(student, source, x, method=recipe.student_named(name).conversion.method())
        assert student(x).taps["act1"].any()
