"""Untrained networks fire in every layer, however deep, with or without batch norm: gradients find their way."""

import pytest
import torch

from neurodeploy.networks import ConvLinearSpec, Relu, ResNetSpec, SvggSpec, VggSpec

DEEP = {
    "vgg9 plain": VggSpec(layers=(16, "A", 32, 48, "A", 48, 64, "A", 64, "A", 64), hidden=(128, 128)),
    "vgg16 plain": VggSpec(layers=(16, 16, "A", 32, 32, "A", 48, 48, 48, "A", 64, 64, 64, "A", 64, 64, 64), hidden=(128, 128)),
    "vgg9 batch-norm": VggSpec(layers=(16, "A", 32, 48, "A", 48, 64, "A", 64, "A", 64), hidden=(128, 128), form="batch-norm"),
    "conv-linear": ConvLinearSpec(channels=(8, 16, 32), hidden=64),
    "svgg": SvggSpec(channels=(16, 32, 48, 48, 64, 64, 64, 64), hidden=(64, 64)),
    "resnet12": ResNetSpec(preset="resnet12", channels=(8, 16, 24, 32)),
    "resnet20-wide": ResNetSpec(preset="resnet20-wide", channels=(8, 16, 24, 32)),
    "resnet20-wide sew": ResNetSpec(preset="resnet20-wide", channels=(8, 16, 24, 32), residual="sew"),
    "resnet20-wide ms": ResNetSpec(preset="resnet20-wide", channels=(8, 16, 24, 32), residual="ms"),
    "resnet12 ms": ResNetSpec(preset="resnet12", channels=(8, 16, 24, 32), residual="ms"),
}
NEURONS = {
    "lif of EnOF-SNN": {"steps": 4, "decay": 0.25, "threshold": 0.5},
    "lif, threshold 1, one step": {"steps": 1, "decay": 0.5, "threshold": 1.0},
    "if, Poisson": {"steps": 8, "decay": 1.0, "threshold": 1.0, "reset": "soft", "code": "poisson"},
    "lif, latency": {"steps": 4, "decay": 0.25, "threshold": 0.5, "code": "latency"},
}


@pytest.mark.parametrize("neurons", NEURONS)
@pytest.mark.parametrize("name", DEEP)
@torch.no_grad()
def test_untrained_students_fire_in_every_layer_and_never_all_the_time(name, neurons, spiking):
    torch.manual_seed(0)
    network = DEEP[name].build(3, 10, spiking(**NEURONS[neurons]))
    rates = {tap: float(spikes.mean()) for tap, spikes in network(torch.rand(4, 3, 32, 32)).taps.items()}
    assert min(rates.values()) > 0.01, rates
    assert max(rates.values()) < 0.7, rates


@pytest.mark.parametrize("name", DEEP)
@torch.no_grad()
def test_activations_of_untrained_teachers_neither_vanish_nor_explode(name):
    torch.manual_seed(0)
    output = DEEP[name].build(3, 10, Relu())(torch.rand(4, 3, 32, 32))
    deviations = {tap: float(values.std()) for tap, values in output.taps.items()}
    assert min(deviations.values()) > 0.1, deviations
    assert max(deviations.values()) < 3, deviations
