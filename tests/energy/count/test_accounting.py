"""Accounting: hooks come and go, nothing is skipped in silence, and the counts do not depend on the batches."""

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.dynamics.kernels import reference
from neurodeploy.dynamics.layers import Add, Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.io.errors import UserError
from neurodeploy_energy import account, register_neuron


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_spikes_and_updates_equal_those_of_the_update_equation(model, digits):
    report = account(model, [digits])
    with torch.no_grad():
        current = model.encode(model.conv1(digits[None]))
        spikes, _ = reference.multi_step(current, torch.zeros_like(current[0]), model.act1.constants, model.act1.surrogate)
    row = report.layer("act1")
    assert row.neurons == 3 * 8 * 8
    assert row.steps == report.steps == 4
    assert row.spikes == spikes.sum().item() / 40
    assert row.rate == spikes.mean(dtype=torch.float64).item()
    active = ((spikes != 0) | (current != 0)).sum().item()
    assert row.updates_active == active / 40
    assert row.updates_idle == (spikes.numel() - active) / 40


def test_a_direct_coded_first_layer_is_counted_once_per_sample(model, digits):
    row = account(model, [digits]).layer("conv1")
    assert (row.steps, row.macs, row.sops) == (1, 3 * 22 * 22, 0)
    assert row.effective_macs < row.macs
    assert "every step would cost 4 times as much" in row.note


@pytest.mark.parametrize("size", [1, 7, 40])
def test_the_counts_do_not_depend_on_how_the_data_are_cut_into_batches(model, digits, size):
    whole = account(model, [digits])
    assert account(model, digits.split(size)) == whole
    assert account(model, [(batch, "labels") for batch in digits.split(size)]) == whole


class Branches(nn.Module):
    """A residual sum of what it is given; `[B, 2, 3]`."""

    def __init__(self):
        super().__init__()
        self.linear, self.add = nn.Linear(3, 3, bias=False), Add()

    def forward(self, x):
        return self.linear(self.add(x[:, 0], x[:, 1]))


def test_the_spikes_of_a_shortcut_are_accumulations_and_its_currents_are_none():
    spikes = torch.tensor([[[1.0, 1, 0], [1, 0, 0]], [[0.0, 0, 0], [0, 2, 1]]])
    row = account(Branches(), [spikes]).layer("add")
    assert row.adds == (2 + 1 + 3) / 2
    assert row.note == "each spike of the shortcut is one accumulation"
    currents = spikes + torch.tensor([0.5, 0.0])[:, None]
    for batches in ([currents], currents.split(1), [currents.flip(0)]):
        row = account(Branches(), batches).layer("add")
        assert row.adds == (1 + 3) / 2
        assert "currents meet in the neuron" in row.note


class Meeting(nn.Module):
    """The currents of two synapses with integer weights and, with those, a spike; `[B, 2, 3]`."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.currents, self.shortcut = Add(), Add()
        for layer in (self.one, self.other):
            nn.init.constant_(layer.weight, 100)

    def forward(self, x):
        return self.shortcut(self.currents(self.one(x[:, 0]), self.other(x[:, 1])), x[:, 1])


def test_currents_of_integer_weights_are_no_spikes():
    spikes = torch.tensor([[[1.0, 1, 0], [1, 0, 0]], [[0.0, 0, 0], [0, 1, 1]]])
    for batches in ([spikes], spikes.split(1)):
        report = account(Meeting(), batches)
        assert (report.layer("currents").adds, report.layer("shortcut").adds) == (0, 3 / 2)
        assert report.layer("currents").note == "currents meet in the neuron: no operation of their own"


def test_a_sum_whose_operand_is_a_current_in_one_batch_alone_is_the_same_in_any_order():
    x = torch.tensor([[[1.0, 0, 0], [1, 1, 0]], [[0.5, 0, 0], [0, 1, 0]]])
    forwards, backwards = account(Branches(), x.split(1)), account(Branches(), x.flip(0).split(1))
    assert forwards == backwards == account(Branches(), [x])
    assert forwards.layer("add").adds == 3 / 2


def test_a_pool_is_folded_in_every_sample_without_analog_values_whatever_the_others_have():
    x = torch.randint(0, 2, (4, 2, 4, 4), generator=torch.Generator().manual_seed(0)).float()
    x[2, 0, 0, 0] = 0.25
    model = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(2, 3, 1))
    whole = account(model, [x], inputs="events")
    assert whole.layer("0").analog_adds == 32 / 4
    spikes, means = x[[0, 1, 3]], model[0](x[2])
    assert whole.layer("1").sops == (3 * spikes.sum() + 3 * (means == 1).sum()) / 4
    assert whole.layer("1").macs == 3 * ((means != 0) & (means != 1)).sum() / 4
    for batches in (x.split(1), x.flip(0).split(3)):
        assert account(model, batches, inputs="events") == whole


def test_the_model_is_left_as_it_was(digits):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3))
    for training in (True, False):
        model.train(training)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        account(model, [digits])
        assert hooks(model) == 0
        assert model.training is training
        assert model[1].training is training
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())


class Interrupted(nn.Linear):
    def forward(self, _x):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("last", "error"), [(nn.Linear(7, 1), UserError), (Interrupted(3, 1), KeyboardInterrupt)])
def test_no_hook_stays_behind_when_the_forward_pass_fails(digits, last, error):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), last).train()
    with pytest.raises(error):
        account(model, [digits])
    assert hooks(model) == 0
    assert model.training


def test_a_model_that_does_not_run_on_the_samples_is_reported_with_their_shape(digits):
    with pytest.raises(UserError, match=r"^mine: does not run on an input of shape \(40, 1, 8, 8\): .*mat1 and mat2 shapes"):
        account(nn.Linear(9, 3), [digits], name="mine")


class Squashing(nn.Module):
    def forward(self, x):
        return torch.tanh(x)


class Numpy(nn.Module):
    """What it computes is seen by nobody."""

    def forward(self, x):
        return torch.from_numpy(np.sign(x.numpy()) + 1)


class Scaled(nn.Module):
    """A module with a weight outside of any layer."""

    def __init__(self):
        super().__init__()
        self.scale, self.linear, self.unused = nn.Parameter(torch.ones(())), nn.Linear(64, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.scale * self.linear(x.flatten(1))


def test_activations_are_known_and_cost_nothing(digits):
    known = [nn.GELU(), nn.SiLU(), nn.LayerNorm(4), nn.Softmax(-1), nn.PReLU(), Squashing()]
    report = account(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), *known, nn.Linear(4, 1)), [digits])
    assert report.uncounted == {}
    assert [row.macs for row in report.layers] == [256, 4]
    report = account(Scaled(), [digits])
    assert (report.total.macs, report.uncounted) == (192, {"unused": "was never called"})


def test_what_is_not_counted_is_listed_by_name_with_the_reason(digits):
    report = account(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), Numpy(), nn.Linear(4, 1)), [digits])
    assert report.uncounted == {"3": "reads whole numbers that nobody knows: of neurons that are not known, or data"}


def test_subclasses_are_counted_as_what_they_derive_from(digits):
    class Mine(nn.Linear):
        pass

    class Firing(Neuron):
        pass

    report = account(nn.Sequential(nn.Flatten(), nn.Unflatten(0, (1, 40)), Mine(64, 2), Firing(NeuronParameters())), [digits])
    assert [row.kind for row in report.layers] == ["synapse", "neuron"]
    assert not report.uncounted


class Foreign(nn.Module):
    """A neuron of another framework, which returns its spikes and its state."""

    def forward(self, current):
        return (current > 0.5).float(), current


def test_neurons_of_other_frameworks_are_counted_once_they_are_registered(digits):
    model = nn.Sequential(nn.Flatten(), nn.Unflatten(0, (1, 40)), nn.Linear(64, 5), Foreign())
    inline = account(model, [digits])
    assert [row.name for row in inline.layers] == ["2", "3: neurons of 2"]
    register_neuron(f"{Foreign.__module__}.Foreign")
    row = account(model, [digits]).layer("3")
    with torch.no_grad():
        assert row.spikes == (model[2](digits.flatten(1)) > 0.5).sum().item() / 40
    assert (row.kind, row.neurons) == ("neuron", 5)
    other = inline.layer("3: neurons of 2")
    assert (row.spikes, row.updates_active, row.steps) == (other.spikes, other.updates_active, other.steps)


def test_no_data_and_nothing_to_count_are_refused(digits):
    with pytest.raises(UserError, match="m: no samples given"):
        account(nn.Linear(3, 3), [], name="m")
    with pytest.raises(UserError, match="no layer that can be counted was called"):
        account(nn.Sequential(nn.ReLU()), [digits])


def test_one_tensor_is_one_batch_whatever_its_rows_look_like(model, digits):
    assert account(model, digits) == account(model, [digits])
    plain, pictures = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)), torch.rand(16, 3, 8, 8)
    assert account(plain, pictures).samples == 16
    assert account(plain, pictures) == account(plain, [pictures])
    assert account(nn.Linear(20, 2), torch.rand(32, 20)).samples == 32


@pytest.mark.parametrize(
    ("batch", "kind"), [({"x": torch.ones(2, 3)}, "dict"), ("samples", "str"), (torch.tensor(1.0), "number")]
)
def test_a_batch_that_is_none_is_refused_by_its_kind(batch, kind):
    with pytest.raises(UserError, match=f"^m: a batch is a {kind}, a tensor or a tuple that begins with one expected"):
        account(nn.Linear(3, 2), [batch], name="m")


def test_samples_may_lie_on_any_axis():
    x = torch.ones(5, 2, 3)
    assert account(nn.Linear(3, 4), [x], batch_axis=1).samples == 2
    assert account(nn.Linear(3, 4), [x]).samples == 5


def test_more_synaptic_operations_than_a_double_can_hold_are_an_error_and_not_a_wrong_number():
    with pytest.raises(OverflowError, match=r"2\^53"):
        account(nn.Sequential(nn.Linear(4, 2)), [torch.full((1, 4), 2.0**52)], inputs="events")


def test_a_model_of_one_layer_is_counted_under_its_class_or_no_name():
    report = account(nn.Linear(3, 2), [torch.ones(1, 3)])
    assert report.total.sops == 6
