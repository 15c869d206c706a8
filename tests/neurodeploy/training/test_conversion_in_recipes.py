"""Recipes that start students from a converted ReLU network: conversion alone, hybrid training, and LaSNN's three stages."""

import pytest
import torch

from neurodeploy.io.errors import UserError
from neurodeploy.recipe import parse
from neurodeploy.training import checkpoint, train
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.experiment import checkpoint_of, train_all

NEURON = 'neuron = { kind = "threshold", decay = 1.0, threshold = 1.0, reset = "soft", surrogate = { kind = "arctangent" } }'
CONVERSION = 'conversion = { thresholds = "error", shift = true, calibrate = true }'
STAGES = f"""
name = "stages"
steps = 4
baseline = "converted"
deployed = "distilled"
data = {{ kind = "digits" }}
network = {{ kind = "conv", channels = [6, 8, 10], strides = [1, 2, 2] }}
{NEURON}

[teacher]
epochs = 4
network = {{ kind = "conv", channels = [16, 16, 16], strides = [1, 2, 2] }}

[source]
epochs = 6

[[student]]
name = "converted"
{CONVERSION}
training = {{ epochs = 0 }}

[[student]]
name = "distilled"
{CONVERSION}
training = {{ epochs = 6, learning_rate = 0.02 }}
loss = [{{ kind = "cross-entropy" }}, {{ kind = "attention" }}, {{ kind = "response" }}]
"""
RECIPE = parse(STAGES, origin="stages")
DATA = RECIPE.data.load()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("stages")
    networks = {role: network for _, role, network in train_all(RECIPE, root, DATA)}
    return root, networks


def accuracy(network) -> float:
    return evaluate(network, DATA.test_samples, DATA.test_labels).accuracy.percent


def test_teacher_and_source_are_trained_before_the_students_that_need_them(finished):
    root, networks = finished
    assert list(networks) == ["teacher", "source", "converted", "distilled"]
    for role, network in networks.items():
        kept = checkpoint.load(checkpoint_of(root, 0, role))
        assert kept.progress.complete
        assert all(torch.equal(kept.network.state_dict()[name], value) for name, value in network.state_dict().items())


def test_a_converted_student_has_the_sources_weights_and_nearly_its_accuracy(finished):
    _, networks = finished
    for name, weight in networks["source"].named_parameters():
        if "conv" in name:
            assert torch.equal(networks["converted"].get_parameter(name), weight)
    assert accuracy(networks["converted"]) > accuracy(networks["source"]) - 12


def test_training_after_conversion_starts_where_conversion_ended_and_gains(finished):
    _, networks = finished
    assert accuracy(networks["distilled"]) > accuracy(networks["converted"])
    assert not torch.equal(networks["distilled"].conv2.weight, networks["converted"].conv2.weight)
    assert torch.equal(networks["distilled"].act1.log_threshold, networks["converted"].act1.log_threshold)


@pytest.mark.parametrize("kind", ["threshold", "late-reset"])
def test_a_student_that_leaks_is_trained_from_the_thresholds_of_one_that_does_not(finished, tmp_path, kind):
    _, networks = finished
    leaking = f'name = "distilled"\nneuron = {{ kind = "{kind}", decay = 0.9, reset = "soft" }}'
    recipe = parse(STAGES.replace('name = "distilled"', leaking), origin="leaking")
    teachers = {"teacher": networks["teacher"], "source": networks["source"]}
    student = train(recipe, "distilled", 0, tmp_path, data=DATA, **teachers)
    assert student.act1.constants.decay == 0.9
    assert student.act1.log_threshold.item() == pytest.approx(networks["converted"].act1.log_threshold.item())
    assert accuracy(student) > 50
    again = checkpoint.load(tmp_path / "checkpoint.safetensors").network
    assert type(again.act1) is type(student.act1)
    assert torch.equal(again(DATA.test_samples[:9]).logits, student(DATA.test_samples[:9]).logits)


class Stopped(Exception):
    pass


def test_a_resumed_hybrid_training_does_not_convert_again(finished, tmp_path):
    _, networks = finished

    def stop(epoch, _count):
        if epoch == 2:
            raise Stopped

    settings = {"data": DATA, "teacher": networks["teacher"], "source": networks["source"]}
    with pytest.raises(Stopped):
        train(RECIPE, "distilled", 0, tmp_path, watch=stop, **settings)
    resumed = train(RECIPE, "distilled", 0, tmp_path, resume=True, **settings)
    for name, value in networks["distilled"].state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_a_student_that_is_to_be_converted_asks_for_its_source(tmp_path):
    with pytest.raises(UserError, match="student converted: is made of the trained network source, none was given"):
        train(RECIPE, "converted", 0, tmp_path, data=DATA)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (NEURON, "", 'student converted: conversion needs neuron = { kind = "threshold", decay = 1, reset = "soft" }'),
        (
            "decay = 1.0",
            "decay = 0.9",
            "student converted: decay: 0.9 found, 1 expected for a student that is converted and not",
        ),
        ("[source]\nepochs = 6", "", "student converted: conversion needs a ReLU network of its own definition; add [source]"),
        (CONVERSION, "", "0 found, at least 1 expected for a student without conversion"),
        ('thresholds = "error"', 'thresholds = "guess"', "conversion.thresholds: 'guess' found"),
        ('thresholds = "error"', 'thresholds = "error", percentile = 99', "conversion percentile: belongs to thresholds"),
        ("epochs = 6", "epochs = 0", "epochs: 0 found, at least 1 expected for a ReLU network"),
        ('name = "converted"', 'name = "source"', "each needs a name of its own"),
        (f"{CONVERSION}\ntraining = {{ epochs = 0 }}", "training = { epochs = 1 }", None),
    ],
)
def test_settings_of_a_conversion_that_do_not_fit_are_refused(old, new, message):
    text = STAGES.replace(old, new, 1)
    assert text != STAGES
    if message is None:
        assert parse(text, origin="x").source is not None
        with pytest.raises(UserError, match="source: no student is made of it"):
            parse(text.replace(CONVERSION, ""), origin="x")
        return
    with pytest.raises(UserError) as caught:
        parse(text, origin="x")
    assert message in str(caught.value)
