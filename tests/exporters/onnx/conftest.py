"""Every small network as a graph whose layers fire, for each kind of neuron."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import nn

from neurodeploy.dynamics.layers import CubaNeuron, Neuron, ParametricNeuron
from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.dynamics.surrogates import Rectangle
from neurodeploy.graph import Graph, fold_batch_norm
from neurodeploy.graph.tracing import trace
from neurodeploy.networks import SpikingActivations

NEURONS: dict[str, Callable[[Reset], Callable[[], Neuron]]] = {
    "IF": lambda reset: partial(Neuron, NeuronParameters(1.0, 0.5, reset), Rectangle()),
    "LIF": lambda reset: partial(Neuron, NeuronParameters(0.5, 0.5, reset), Rectangle()),
    "PLIF": lambda reset: partial(ParametricNeuron, NeuronParameters(0.3, 0.5, reset), Rectangle(), learn_threshold=True),
    "CUBA": lambda reset: partial(CubaNeuron, NeuronParameters(0.5, 0.5, reset), Rectangle(), current_decay=0.5),
}


def firing(small: Any, neuron: str = "LIF", reset: Reset = "hard", repact: bool = False) -> Graph:
    """A graph with T = 4, batch norm folded, of a network of `tests/conftest.py`: weights at random, but all layers fire."""
    network = small.build(SpikingActivations(NEURONS[neuron](reset), 4, repact))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.3)
            module.momentum = None
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.weight.data *= 2
    with torch.no_grad():
        network(small.samples(16))
    return fold_batch_norm(trace(network.eval(), small.shape))


@pytest.fixture(scope="session")
def zoo() -> Callable[..., Graph]:
    """`(small, neuron, reset, repact)` → a graph; see `firing`."""
    return cache(firing)
