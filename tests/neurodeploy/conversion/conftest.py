"""Real digits, and three small ReLU networks trained on them for twelve epochs, each in about a second."""

import functools

import pytest
import torch
from torch import nn

from neurodeploy.conversion import Method, convert
from neurodeploy.data.digits import Digits
from neurodeploy.distillation import CrossEntropy
from neurodeploy.networks import ConvNetSpec, Relu
from neurodeploy.training.evaluation import Accuracy, evaluate

SPEC = ConvNetSpec(channels=(8, 16, 16), strides=(1, 2, 1))
DATA = Digits().load()
SEEDS = (0, 1, 2)


def _train(network: nn.Module, epochs: int, rate: float, decay: float = 0.0) -> nn.Module:
    """SGD on the training digits, the rate falling to 0; the network itself, in evaluation mode."""
    term, optimizer = CrossEntropy(), torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=decay)
    network.train()
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - epoch / epochs)
        for index in torch.randperm(len(DATA.train_labels)).split(64):
            optimizer.zero_grad()
            term(network(DATA.train_samples[index]), None, DATA.train_labels[index]).backward()
            optimizer.step()
    return network.eval()


@pytest.fixture(scope="session")
def data():
    return DATA


@pytest.fixture(scope="session")
def spec():
    return SPEC


@pytest.fixture(scope="session")
def train():
    return _train


@pytest.fixture(scope="session")
def teachers():
    """One trained ReLU network per seed."""
    found = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        found.append(_train(SPEC.build(1, DATA.classes, Relu()), 12, 0.1, 1e-3))
    return found


@pytest.fixture(scope="session")
def teacher(teachers):
    return teachers[0]


@pytest.fixture(scope="session")
def samples():
    """Calibration samples: of the training data."""
    return DATA.train_samples[:256]


@pytest.fixture(scope="session")
def accuracy():
    """Networks → their accuracy on the test digits, right answers of all of them together."""

    def measure(*networks: nn.Module) -> Accuracy:
        answers = [evaluate(network, DATA.test_samples, DATA.test_labels).accuracy for network in networks]
        return Accuracy(sum(a.correct for a in answers), sum(a.samples for a in answers))

    return measure


@pytest.fixture(scope="session")
def converted(teachers, samples, accuracy):
    """T and method → accuracy of the three teachers converted so."""

    @functools.cache
    def measure(steps: int, method: Method) -> Accuracy:
        return accuracy(*(convert(teacher, SPEC, samples, steps=steps, method=method) for teacher in teachers))

    return measure
