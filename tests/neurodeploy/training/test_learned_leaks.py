"""DIET-SNN in a recipe: conversion, then leaks and thresholds that training learns, all the way to files and joules."""

import pytest
import torch

import neurodeploy as nd
from neurodeploy.graph import ops
from neurodeploy.recipe import parse
from neurodeploy.training import checkpoint
from neurodeploy.training.experiment import checkpoint_of, train_all

RECIPE = parse(
    """
name = "diet"
steps = 4
baseline = "hybrid"
deployed = "diet"
data = { kind = "digits" }
network = { kind = "conv", channels = [6, 8], strides = [1, 2] }
neuron = { kind = "threshold", decay = 1.0, reset = "soft", surrogate = { kind = "triangle", gamma = 0.3 } }
teacher = { epochs = 4 }

[[student]]
name = "hybrid"
conversion = { thresholds = "spiking", percentile = 99.7, scale = 0.4 }
training = { epochs = 2, optimizer = "adam", learning_rate = 1e-3 }

[[student]]
name = "diet"
conversion = { thresholds = "spiking", percentile = 99.7, scale = 0.4 }
training = { epochs = 2, optimizer = "adam", learning_rate = 1e-3 }
[student.neuron]
kind = "threshold"
decay = 1.0
reset = "soft"
learn_threshold = true
learn_decay = true
surrogate = { kind = "triangle", gamma = 0.3 }
""",
    origin="diet",
)
DATA = RECIPE.data.load()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diet")
    list(train_all(RECIPE, folder, DATA))
    return folder


def constants(root, role):
    network = checkpoint.load(checkpoint_of(root, 0, role)).network
    return [network.get_submodule(name).constants for name in ("act1", "act2")]


def test_after_a_conversion_training_learns_leak_and_threshold_of_each_layer(root):
    hybrid, diet = constants(root, "hybrid"), constants(root, "diet")
    assert all(neuron.decay == 1 for neuron in hybrid)
    assert all(0 < neuron.decay <= 1 for neuron in diet)
    assert any(neuron.decay < 0.999 for neuron in diet)
    assert all(was.threshold != now.threshold for was, now in zip(hybrid, diet, strict=True))


@pytest.mark.parametrize("target", ["onnx", "nir", "c"])
def test_what_is_exported_has_the_learned_constants_and_fires_the_same_spikes(root, tmp_path, target):
    model = nd.load(checkpoint_of(root, 0, "diet"))
    nodes = nd.deploy(model.module, DATA.test_samples[:20]).graph.of(ops.NeuronNode)
    assert [node.parameters for node in nodes] == constants(root, "diet")
    check = nd.verify(nd.export(model, target, tmp_path / target))
    assert check.passed
    assert check.spikes_compared > 0


def test_its_energy_report_counts_the_spikes_of_the_learned_constants(root):
    model, samples = nd.load(checkpoint_of(root, 0, "diet")), DATA.test_samples[:50]
    report = nd.energy(model, samples)
    with torch.no_grad():
        taps = model.module(samples).taps
    for name in ("act1", "act2"):
        assert report.layer(name).spikes == pytest.approx(taps[name].sum().item() / len(samples))
    assert report.energy(report.profiles[0].name).total_uj > 0


def test_a_resumed_training_of_leaks_ends_with_the_same_bits(root, tmp_path):
    source = checkpoint.load(checkpoint_of(root, 0, "teacher")).network
    whole = checkpoint.load(checkpoint_of(root, 0, "diet")).network

    class Stopped(Exception):
        pass

    def stop(epoch, _count):
        if epoch == 1:
            raise Stopped

    with pytest.raises(Stopped):
        nd.training.train(RECIPE, "diet", 0, tmp_path, data=DATA, source=source, watch=stop)
    resumed = nd.training.train(RECIPE, "diet", 0, tmp_path, data=DATA, source=source, resume=True)
    assert all(torch.equal(resumed.state_dict()[name], value) for name, value in whole.state_dict().items())
