"""Two small spiking networks on real digits, whose weights are binary fractions, so that their counts are the same anywhere."""

import pytest
import torch
from torch import Tensor, nn

from neurodeploy.data import Digits
from neurodeploy.dynamics.encodings import DirectEncoding
from neurodeploy.dynamics.layers import AvgPool2d, Conv2d, Flatten, Neuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy_energy import Report, account


class Small(nn.Module):
    """Analog first layer, direct coding, a pool of spikes, two spiking layers and a classifier; `[B, 1, 8, 8]` → `[B, 3]`."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        neuron = NeuronParameters(0.5, threshold)
        self.conv1, self.encode, self.act1 = Conv2d(1, 3, 3, padding=1), DirectEncoding(4), Neuron(neuron)
        self.conv2, self.act2, self.pool = Conv2d(3, 4, 3, stride=2, padding=1), Neuron(neuron), AvgPool2d(2)
        self.flatten, self.classifier, self.mean = Flatten(), nn.Linear(16, 3), TimeMean()
        for layer in (self.conv1, self.conv2, self.classifier):
            with torch.no_grad():
                layer.weight.copy_((torch.arange(layer.weight.numel()) * 7 % 11 - 4).reshape(layer.weight.shape) / 8)
                layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.act1(self.encode(self.conv1(x[None])))
        spikes = self.pool(self.act2(self.conv2(spikes)))
        return self.mean(self.classifier(self.flatten(spikes)))


@pytest.fixture(scope="session")
def digits() -> Tensor:
    """40 handwritten digits `[40, 1, 8, 8]`."""
    return Digits().load().test_samples[:40]


@pytest.fixture(scope="session")
def model() -> Small:
    return Small(threshold=1.0)


@pytest.fixture(scope="session")
def report(digits) -> Report:
    """A model that fires less, against a baseline that fires more."""
    baseline = account(Small(threshold=0.5), [digits], name="eager")
    return account(Small(threshold=1.0), [digits], name="calm", baseline=baseline)
