"""One thread per test process, as two share two cores; one seed for every test; a small one of every network that can spike."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.dynamics.surrogates import Rectangle
from neurodeploy.networks import (
    Activations,
    ConvLinearSpec,
    ConvNetSpec,
    ResNet1dSpec,
    ResNetSpec,
    SpikingActivations,
    SvggSpec,
    VggSpec,
)
from neurodeploy.networks.definition import Code

torch.set_num_threads(1)
os.environ.setdefault("NEURODEPLOY_CAGE", "off")  # the cage has tests of its own; most others look into this process
settings.register_profile("neurodeploy", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("neurodeploy")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Weights at random are the same whatever ran before, fixtures' included: this comes before they are set up."""
    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A test that leaves for another folder is named, and the next one starts where it expects to."""
    yield
    left, home = Path.cwd(), item.config.rootpath
    if left != home:
        os.chdir(home)
        pytest.fail(f"{item.nodeid} left the process in {left}; monkeypatch.chdir comes back by itself", pytrace=False)


@dataclass(frozen=True)
class Small:
    """A definition, and the shape of one of its samples."""

    spec: ConvNetSpec
    shape: tuple[int, ...]

    def build(self, activations: Activations, *, trained: bool = False) -> nn.Module:
        """Seeded; `trained` fills the batch norms with data."""
        torch.manual_seed(0)
        network = self.spec.build(self.shape[0], 10, activations)
        if not trained:
            return network
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = None  # the plain mean over all batches
        for _ in range(3):
            network(self.samples(16))
        return network.eval()

    def samples(self, count: int, steps: int | None = None) -> Tensor:
        """`[B, *shape]`, or binary event frames `[B, T, *shape]` where `steps` is given."""
        if steps is None:
            return torch.rand(count, *self.shape)
        return torch.randint(0, 2, (count, steps, *self.shape)).float()


_IMAGE = (2, 16, 16)
SMALL = {
    "conv": Small(ConvNetSpec(channels=(4, 6, 8), strides=(1, 2, 2)), (1, 8, 8)),
    "vgg plain": Small(VggSpec(layers=(8, "A", 12, 12, "A"), hidden=(32, 32), size=16), _IMAGE),
    "vgg batch-norm": Small(VggSpec(layers=(4, "A", 6, 8), hidden=(8,), size=16, form="batch-norm"), _IMAGE),
    "vgg without hidden layers": Small(VggSpec(layers=(4, "A", 6, 6), hidden=(), size=(16, 8), form="batch-norm"), (2, 16, 8)),
    "conv-linear": Small(ConvLinearSpec(channels=(8, 12, 12), hidden=16, size=16), _IMAGE),
    "svgg": Small(SvggSpec(channels=(4, 6, 8), strides=(2, 1, 2), hidden=(8, 8), size=16), _IMAGE),
    "resnet": Small(ResNetSpec(channels=(4, 8), blocks=(1, 2)), (1, 8, 8)),
    "resnet12": Small(ResNetSpec(preset="resnet12", channels=(4, 6), blocks=(1, 1)), _IMAGE),
    "resnet20-wide": Small(ResNetSpec(preset="resnet20-wide", channels=(4, 6), blocks=(1, 2)), _IMAGE),
    "resnet34": Small(ResNetSpec(preset="resnet34", channels=(4, 6), blocks=(1, 1)), _IMAGE),
    "resnet sew": Small(ResNetSpec(channels=(4, 8), blocks=(1, 2), residual="sew"), _IMAGE),
    "resnet ms": Small(ResNetSpec(channels=(4, 8), blocks=(1, 2), residual="ms", stem="three-conv"), _IMAGE),
    "resnet1d": Small(ResNet1dSpec(channels=(4, 4), blocks=(2,)), (3, 12)),
    "resnet1d standard": Small(
        ResNet1dSpec(channels=(4, 4, 6), kernels=(7, 3, 3), strides=(2, 1, 2), blocks=(1, 1), residual="standard", pool="avg"),
        (3, 12),
    ),
}


@pytest.fixture(params=SMALL)
def small(request) -> Small:
    """Each of the small networks in turn."""
    return SMALL[request.param]


@pytest.fixture(scope="session")
def small_named() -> Callable[[str], Small]:
    """Name → small network."""
    return SMALL.__getitem__


@pytest.fixture(scope="session")
def spiking() -> Callable[..., SpikingActivations]:
    """`(steps, code, repact, decay, threshold, reset)` → the activations of a student."""

    def make(
        steps: int = 3,
        code: Code = "direct",
        *,
        repact: bool = False,
        decay: float = 0.25,
        threshold: float = 0.5,
        reset: Reset = "hard",
    ) -> SpikingActivations:
        return SpikingActivations(partial(Neuron, NeuronParameters(decay, threshold, reset), Rectangle()), steps, repact, code)

    return make
