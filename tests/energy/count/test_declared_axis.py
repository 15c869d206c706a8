"""A network that says which axis holds its samples is run once; one that only inherits the word is looked at."""

from functools import partial

import pytest
import torch
from torch import nn

from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.networks import ConvNetSpec, LayeredNetwork, SpikingActivations
from neurodeploy_energy import account

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return (
        ConvNetSpec(channels=(4,), strides=(1,))
        .build(1, 3, SpikingActivations(partial(Neuron, NeuronParameters(0.5, 0.5)), 2))
        .eval()
    )


def batches_of(model):
    seen = []
    next(one for one in model.modules() if isinstance(one, nn.Conv2d)).register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0].shape[-4])
    )
    return seen


def test_a_network_of_the_toolkit_is_run_once():
    model = network()
    seen = batches_of(model)
    account(model, IMAGES)
    assert seen == [6]


@pytest.mark.parametrize("how", ["a subclass", "a forward of the instance", "a hook"])
def test_another_forward_under_that_class_is_tried_on_one_sample_alone(how):
    model = network()
    kind, run = type(model), model.forward
    if how == "a subclass":
        model.__class__ = type("Turned", (kind,), {"forward": lambda self, x: kind.forward(self, x.transpose(0, 1))})
    elif how == "a forward of the instance":
        model.forward = lambda x: run(x.transpose(0, 1))
    else:
        model.register_forward_pre_hook(lambda _module, inputs: (inputs[0].transpose(0, 1),))
    seen = batches_of(model)
    turned = account(model, IMAGES.transpose(0, 1).contiguous())
    assert len(seen) > 1
    assert turned.samples == 6
    assert turned.total.sops == account(network(), IMAGES).total.sops


class Turned(LayeredNetwork):
    """Inherits `forward`, and puts a layer first that takes the samples along axis 1."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.append("turn", Turn())
        self.append("conv", nn.Conv2d(2, 4, 3))
        self.append("relu", nn.ReLU())
        self.append("flat", nn.Flatten())
        self.append("time", Unsqueezed())
        self.classify(144, 3)


class Turn(nn.Module):
    def forward(self, x):
        return x.transpose(0, 1)


class Unsqueezed(nn.Module):
    def forward(self, x):
        return x.unsqueeze(0)


def test_a_subclass_with_layers_of_its_own_is_tried_too():
    channels_first = torch.rand(2, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    assert account(Turned().eval(), channels_first).samples == 6
