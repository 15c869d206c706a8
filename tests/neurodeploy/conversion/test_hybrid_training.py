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


@pytest.mark.parametrize("learning", [{}, {"learn_threshold": True}, {"learn_threshold": True, "learn_decay": True}])
def test_a_converted_network_trains_on_and_beats_both_itself_and_a_fresh_one(
    teachers, spec, samples, train, accuracy, learning
):
    converted, hybrid, fresh = [], [], []
    for seed, teacher in enumerate(teachers):
        start = partial(convert, teacher, spec, samples, steps=STEPS, method=CALIBRATED, surrogate=ArcTangent())
        converted.append(start())
        torch.manual_seed(seed)
        hybrid.append(train(start(**learning), EPOCHS, 0.01))
        neuron = partial(ThresholdNeuron, NeuronParameters(1.0, 1.0, "soft"), ArcTangent(), **learning)
        fresh.append(train(spec.build(1, 10, SpikingActivations(neuron, STEPS)), EPOCHS, 0.05))
    assert accuracy(*hybrid).interval[0] > accuracy(*converted).interval[1]
    assert accuracy(*hybrid).interval[0] > accuracy(*fresh).interval[1]
    for before, after in zip(converted, hybrid, strict=True):
        pairs = [(before.get_submodule(f"act{i}").constants, after.get_submodule(f"act{i}").constants) for i in (1, 2, 3)]
        assert [was.threshold != now.threshold for was, now in pairs] == [learning.get("learn_threshold", False)] * 3
        assert all(was.decay == 1 and now.decay <= 1 for was, now in pairs)
        assert any(now.decay < 1 for _, now in pairs) is learning.get("learn_decay", False)
    graph = trace(hybrid[0], (1, 8, 8))
    assert [node.parameters for node in graph.of(ops.NeuronNode)] == [
        hybrid[0].get_submodule(f"act{i}").constants for i in (1, 2, 3)
    ]
