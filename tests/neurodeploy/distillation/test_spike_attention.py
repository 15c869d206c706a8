"""Gradient attention, and the teacher's gradients that it asks for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from neurodeploy import training
from neurodeploy.distillation import SpikeAttention
from neurodeploy.io.errors import UserError
from neurodeploy.networks import ConvNet, Relu

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def unit(v):
    size = np.sqrt((v**2).sum(-1, keepdims=True))
    return np.where(size > 0, v / np.where(size > 0, size, 1), 0)


def spike_activation(spikes):
    """The printed sum, written as loops over the pairs of steps."""
    steps = len(spikes)
    maps = [sum(np.exp(-abs(t - other)) * spikes[other] * spikes[t] for other in range(steps)).sum(1) for t in range(steps)]
    return np.mean(maps, axis=0)


@given(CASES)
def test_the_spike_activation_map_is_compared_with_the_size_of_the_teachers_gradient(drawn, case):
    student, teacher = drawn(*case)
    expected = 0
    for name in ("low", "middle", "high"):
        s = unit(spike_activation(student.taps[name].detach().numpy()).reshape(case[2], -1))
        t = unit(np.abs(teacher.tap_gradients[name].numpy()[0]).sum(1).reshape(case[2], -1))
        expected += np.sqrt(((s - t) ** 2).sum(-1)).mean()
    assert SpikeAttention()(student, teacher, None).item() == pytest.approx(expected)


def previous_activation(spikes):
    """The same over the firing times before each spike, written as loops over the pairs of steps."""
    steps = len(spikes)
    maps = [
        sum((np.exp(other - t) * spikes[other] * spikes[t] for other in range(t)), 0 * spikes[0]).sum(1) for t in range(steps)
    ]
    return np.mean(maps, axis=0)


@given(CASES.filter(lambda case: case[1] > 1))
def test_over_previous_times_a_spike_counts_those_before_it_alone(drawn, case):
    student, teacher = drawn(*case)
    expected = 0
    for name in ("low", "middle", "high"):
        s = unit(previous_activation(student.taps[name].detach().numpy()).reshape(case[2], -1))
        t = unit(np.abs(teacher.tap_gradients[name].numpy()[0]).sum(1).reshape(case[2], -1))
        expected += np.sqrt(((s - t) ** 2).sum(-1)).mean()
    assert SpikeAttention(times="previous")(student, teacher, None).item() == pytest.approx(expected)


def test_a_single_step_has_no_previous_times(drawn):
    student, teacher = drawn(0, 1, 2, 3, 4, 4, 5)
    with pytest.raises(UserError, match='spike-attention: one time step found, at least 2 expected with times = "previous"'):
        SpikeAttention(times="previous")(student, teacher, None)


def test_it_is_zero_where_the_gradient_is_a_multiple_of_the_spike_activation_map(drawn):
    student, teacher = drawn(0, 1, 2, 3, 4, 4, 5)
    teacher.tap_gradients.update({name: -1e-30 * tap.detach() for name, tap in student.taps.items()})
    assert SpikeAttention()(student, teacher, None).item() == pytest.approx(0, abs=1e-7)


def relu_teacher() -> nn.Module:
    torch.manual_seed(3)
    return training.freeze(ConvNet(1, 4, channels=[3, 5], strides=[1, 2], activations=Relu()).double())


def test_the_teachers_gradients_are_those_of_its_cross_entropy_by_finite_differences():
    teacher, x, y = relu_teacher(), torch.rand(2, 1, 6, 6).double(), torch.tensor([1, 3])
    answer = training.ask(teacher, x, y, gradients=True)
    assert list(answer.tap_gradients) == ["act1", "act2"]

    def loss(changed: torch.Tensor) -> float:
        features = changed.mean((-2, -1))
        return nn.functional.cross_entropy(answer.classify(features)[0], y, reduction="sum").item()

    tap = answer.output.taps["act2"]
    for place in ((0, 0, 0, 0, 0), (0, 1, 4, 2, 1)):
        step = torch.zeros_like(tap)
        step[place] = 1e-4
        slope = (loss(tap + step) - loss(tap - step)) / 2e-4
        assert answer.tap_gradients["act2"][place].item() == pytest.approx(slope, rel=1e-6)


def test_the_answer_with_gradients_is_the_answer_without_and_carries_no_graph():
    teacher, x, y = relu_teacher(), torch.rand(2, 1, 6, 6).double(), torch.tensor([1, 3])
    plain, rich = (training.ask(teacher, x, y, gradients=gradients) for gradients in (False, True))
    assert plain.tap_gradients is None
    for answer in (plain, rich):
        tensors = [answer.output.logits, answer.output.step_logits, answer.output.features, *answer.output.taps.values()]
        assert not any(tensor.requires_grad for tensor in tensors)
    assert torch.equal(plain.output.logits, rich.output.logits)
    assert all(torch.equal(plain.output.taps[name], tap) for name, tap in rich.output.taps.items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not x.requires_grad
