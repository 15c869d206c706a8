"""Modules that take sequences with time as the last axis, `[B, …, T]`: what becomes a graph, and what is refused by name."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import neurodeploy as nd
from neurodeploy.dynamics.delays import delayed
from neurodeploy.graph import interpreter, ops
from neurodeploy.io.errors import UserError

STEPS = 9


class Fires(nn.Module):
    """A loop over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        potential, spikes = torch.zeros_like(x[..., 0]), []
        for t in range(x.shape[-1]):
            potential = 0.75 * potential + x[..., t]
            fired = (potential >= 0.25).float()
            potential = potential * (1 - fired)
            spikes.append(fired)
        return torch.stack(spikes, -1)


class Written(nn.Module):
    """Steps are written into a tensor that was there before; each is selected."""

    def forward(self, x: Tensor) -> Tensor:
        potential, spikes = torch.zeros_like(x[..., 0]), torch.zeros_like(x)
        for t in range(x.shape[-1]):
            potential = 0.75 * potential + x.select(-1, t)
            fired = (potential >= 0.25).float()
            potential = potential * (1 - fired)
            spikes[..., t] = fired
        return spikes


class Unbound(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        potential, spikes = torch.zeros_like(x[..., 0]), []
        for step in x.unbind(-1):
            potential = 0.75 * potential + step
            fired = (potential >= 0.25).float()
            potential = potential * (1 - fired)
            spikes.append(fired)
        return torch.stack(spikes, dim=2)


class Function(nn.Module):
    """What a test wants to see followed."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def spikes(*shape: int) -> Tensor:
    return (torch.rand(4, *shape, STEPS, generator=torch.Generator().manual_seed(0)) < 0.4).float()


def agrees(module: nn.Module, x: Tensor) -> nd.Model:
    """Deployed; its graph answers the mean over time of what the module answers."""
    model = nd.deploy(module, x, time_axis=-1)
    assert model.graph is not None
    with torch.no_grad():
        expected = module(x)
    expected = expected.mean(-1) if expected.ndim == 3 else expected
    found = interpreter.run(model.graph, x.movedim(-1, 0).numpy())[model.graph.output.name]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    return model


@pytest.mark.parametrize("neurons", [Fires, Written, Unbound])
def test_a_loop_over_the_last_axis_is_a_layer_of_neurons(neurons):
    torch.manual_seed(0)
    model = agrees(nn.Sequential(nn.Conv1d(6, 5, 1), neurons(), nn.Conv1d(5, 3, 1), neurons()), spikes(6))
    assert [node.kind for node in model.graph.nodes[1:-2]] == ["Linear", "Cell", "Linear", "Cell"]


class Last(nn.Module):
    """Convolutions and a whole window over [B, C, H, W, T], time at the end as SLAYER has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 3, (3, 3, 1), padding=(1, 1, 0), stride=(2, 2, 1))
        self.norm = nn.BatchNorm3d(3)
        self.norm.running_mean.copy_(torch.tensor([0.1, 0.0, -0.1]))
        self.up = nn.ConvTranspose3d(3, 2, (2, 2, 1), stride=(2, 2, 1))
        self.neurons = Fires()
        self.whole = nn.Conv3d(2, 4, (6, 6, 1), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.neurons(self.norm(self.conv(x)))
        x = self.neurons(functional.pad(self.up(x), (0, 0, 1, 1))[:, :, :, 1:-1])
        return self.whole(x).reshape(len(x), 4, -1)


def test_convolutions_of_one_step_keep_the_steps_apart():
    torch.manual_seed(1)
    model = agrees(Last().eval(), spikes(2, 6, 6))
    assert model.graph["conv"].weight.shape == (3, 2, 3, 3)
    assert model.graph["up"].weight.shape == (3, 2, 2, 2)
    assert isinstance(model.graph["whole"], ops.LinearNode)  # a kernel as large as the sample


FOLLOWED = {
    "time to the front": lambda x: x.movedim(-1, 0).mean(0),
    "time behind the batch, and back": lambda x: x.permute(0, 2, 1).transpose(1, 2),
    "its mean": lambda x: x.mean(-1),
    "its mean without the first steps": lambda x: x[..., 3:].mean(-1),
    "its sum": lambda x: x.sum(-1),
    "arithmetic": lambda x: 2 * x - torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).reshape(1, 6, 1) + x.relu() / 4,
    "another shape": lambda x: x.reshape(len(x), 2, 3, -1).flatten(1, 2),
    "a mean of groups": lambda x: x.reshape(len(x), 2, 3, -1).mean(2),
    "a part of the channels": lambda x: torch.cat([x[:, 1:3], x[:, :2]], 1),
    "channels in two parts": lambda x: x.chunk(2, 1)[1] + x.narrow(1, 0, 3),
    "zeros around": lambda x: functional.pad(x, (0, 0, 1, 2)),
    "a delay": lambda x: delayed(x, 2, axis=-1),
    "a delay of no step": lambda x: delayed(x, 0, axis=-1),
    "a delay for each neuron": lambda x: delayed(x, np.array([0, 3, 1, 1, 12, 2]), axis=-1),
    "a linear layer of the front": lambda x: functional.linear(x.transpose(1, 2), torch.ones(2, 6)).transpose(1, 2),
}


@pytest.mark.parametrize("function", FOLLOWED.values(), ids=FOLLOWED)
def test_functions_that_keep_time_last_or_bring_it_to_the_front_are_followed(function):
    agrees(nn.Sequential(Fires(), Function(function)), spikes(6))


def test_a_delay_for_each_neuron_is_one_node():
    each = np.array([0, 2, 1, 0, 0, 4])
    model = agrees(nn.Sequential(Fires(), Function(lambda x: delayed(x, each, axis=-1))), spikes(6))
    (node,) = model.graph.of(ops.DelayNode)
    assert node.steps == 4
    assert np.array_equal(node.each, each)


REFUSED = {
    "linear": (lambda x: functional.linear(x, torch.ones(4, STEPS)), r"operation linear .*last axis is time"),
    "pool": (lambda x: functional.avg_pool1d(x, 3), r"operation avg_pool1d .*last axis is time.*movedim\(-1, 0\)"),
    "kernel": (
        lambda x: functional.conv1d(x, torch.ones(2, 6, 3), padding=1),
        r"operation conv1d .*convolves over time, its last axis, with a kernel of 3 steps; a kernel of one step",
    ),
    "stride": (
        lambda x: functional.conv1d(x, torch.ones(2, 6, 1), stride=2),
        r"operation conv1d .*convolves over time, its last axis, with stride 2",
    ),
    "time among the channels": (lambda x: x.reshape(len(x), -1), r"operation reshape .*samples or steps must not be mixed"),
    "time in the middle": (
        lambda x: x.reshape(len(x), 2, 3, -1).transpose(2, 3),
        r"operation transpose .*moves the batch or time among the axes of the sample; they stay first, or time last",
    ),
    "padding of time": (lambda x: functional.pad(x, (1, 0)), r"operation pad .*pads the batch or time"),
    "a part of time": (lambda x: x[..., :3].relu(), r"operation __getitem__ .*takes a part of the time steps"),
    "later steps": (lambda x: x[..., 3:].relu(), r"operation relu .*reads a part of the time steps"),
    "a delay along channels": (lambda x: delayed(x.movedim(-1, 0), 1, axis=-1), r"delays along an axis that is not time"),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_functions_that_take_time_for_an_axis_of_the_sample_are_refused_by_name(function, message):
    with pytest.raises(UserError, match=message):
        nd.deploy(nn.Sequential(Fires(), Function(function)), spikes(6), time_axis=-1)


class InAnotherOrder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        potential, answers = torch.zeros_like(x[..., 0]), []
        for t in range(x.shape[-1]):
            potential = 0.5 * potential + x[..., x.shape[-1] - 1 - t]
            answers.append((potential > 0.3).float())
        return torch.stack(answers, -1)


class AlongChannels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        potential, answers = torch.zeros_like(x[:, 0]), []
        for channel in range(x.shape[1]):
            potential = 0.5 * potential + x[:, channel]
            answers.append((potential > 0.3).float())
        return torch.stack(answers, 1)


@pytest.mark.parametrize(
    ("module", "message"),
    [(InAnotherOrder, r"takes the steps \[8, 7, 6, 5\]…"), (AlongChannels, r"a loop of 6 steps found, 9 expected")],
)
def test_a_loop_that_goes_another_way_through_the_samples_is_refused(module, message):
    with pytest.raises(UserError, match=message):
        nd.deploy(module(), spikes(6), time_axis=-1)
