"""Hybrid training: conversion, then surrogate gradients on the same network, for few steps and few epochs."""

from functools import partial

import pytest
import torch

from neurodeploy.conversion import Method, convert
from neurodeploy.dynamics.layers import ThresholdNeuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.surrogates import ArcTangent
from neurodeploy.graph import ops
from neurodeploy.graph.tracing import trace
from neurodeploy.networks import SpikingActivations

STEPS, EPOCHS = 2, 3
CALIBRATED = Method("error", shift=True, calibrate=True)


@pytest.mark.parametrize("learn_threshold", [False, True])
def test_a_converted_network_trains_on_and_beats_both_itself_and_a_fresh_one(
    teachers, spec, samples, train, accuracy, learn_threshold
):
    converted, hybrid, fresh = [], [], []
    for seed, teacher in enumerate(teachers):
        start = partial(convert, teacher, spec, samples, steps=STEPS, method=CALIBRATED, surrogate=ArcTangent())
        converted.append(start())
        torch.manual_seed(seed)
        hybrid.append(train(start(learn_threshold=learn_threshold), EPOCHS, 0.01))
        neuron = partial(ThresholdNeuron, NeuronParameters(1.0, 1.0, "soft"), ArcTangent(), learn_threshold=learn_threshold)
        fresh.append(train(spec.build(1, 10, SpikingActivations(neuron, STEPS)), EPOCHS, 0.05))
    assert accuracy(*hybrid).interval[0] > accuracy(*converted).interval[1]
    assert accuracy(*hybrid).interval[0] > accuracy(*fresh).interval[1]
    for before, after in zip(converted, hybrid, strict=True):
        moved = [before.get_submodule(f"act{i}").constants != after.get_submodule(f"act{i}").constants for i in (1, 2, 3)]
        assert moved == [learn_threshold] * 3
    graph = trace(hybrid[0], (1, 8, 8))
    assert [node.parameters for node in graph.of(ops.NeuronNode)] == [
        hybrid[0].get_submodule(f"act{i}").constants for i in (1, 2, 3)
    ]
