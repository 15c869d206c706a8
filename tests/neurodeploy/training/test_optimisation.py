"""Settings of training, learning-rate schedules, optimizers and their state."""

from math import cos, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from neurodeploy.recipe.sections import TrainingSettings
from neurodeploy.training.optimisation import build_optimizer, learning_rate, restore, state_of


def test_the_rate_rises_linearly_and_falls_as_half_a_cosine():
    settings = TrainingSettings(epochs=5, learning_rate=0.4, warmup_epochs=1)
    rates = [learning_rate(settings, step, 10) for step in range(50)]
    assert rates[:10] == pytest.approx([0.04 * (i + 1) for i in range(10)])
    assert rates[10:] == pytest.approx([0.2 * (1 + cos(pi * i / 40)) for i in range(40)])


def test_steps_multiply_the_rate_and_a_constant_one_stays():
    settings = TrainingSettings(epochs=7, schedule="step", step_epochs=3, step_factor=0.1, warmup_epochs=0, learning_rate=1)
    assert [learning_rate(settings, 4 * epoch, 4) for epoch in range(7)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])
    constant = TrainingSettings(epochs=7, schedule="constant", warmup_epochs=2, learning_rate=1)
    assert [learning_rate(constant, step, 1) for step in range(7)] == pytest.approx([0.5, 1, 1, 1, 1, 1, 1])


@given(
    st.sampled_from(["cosine", "step", "constant"]),
    st.integers(1, 20),
    st.integers(0, 25),
    st.integers(1, 7),
    st.floats(1e-4, 1),
)
def test_no_rate_is_negative_or_above_the_one_that_was_set(schedule, epochs, warmup, per_epoch, rate):
    settings = TrainingSettings(epochs=epochs, schedule=schedule, warmup_epochs=warmup, learning_rate=rate)
    for step in range(epochs * per_epoch):
        assert 0 <= learning_rate(settings, step, per_epoch) <= rate * (1 + 1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 3}, "patience and validation_samples belong together"),
        ({"validation_samples": 3}, "patience and validation_samples belong together"),
        ({"accumulate": 9, "batch_size": 8}, "9 pieces found for batches of 8"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"average": 1.0}, "average"),
        ({"epochs": -1}, "epochs"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSettings(**({"epochs": 1} | settings))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_an_optimizer_with_its_state_restored_goes_on_as_if_never_stopped(optimizer):
    settings = TrainingSettings(epochs=1, optimizer=optimizer, learning_rate=0.05, weight_decay=0.1)

    def network():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    def update(model, its_optimizer, step):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        its_optimizer.zero_grad()
        model(x).square().sum().backward()
        its_optimizer.step()

    whole = network()
    throughout = build_optimizer(whole, settings)
    for step in range(6):
        update(whole, throughout, step)
    first = network()
    before = build_optimizer(first, settings)
    assert state_of(before, first) == {}
    for step in range(3):
        update(first, before, step)
    second = network()
    second.load_state_dict(first.state_dict())
    after = build_optimizer(second, settings)
    restore(after, second, {name: value.clone() for name, value in state_of(before, first).items()})
    for step in range(3, 6):
        update(second, after, step)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), second.parameters(), strict=True))


def test_weight_decay_spares_biases_and_batch_norm():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    groups = build_optimizer(network, TrainingSettings(epochs=1, weight_decay=0.3)).param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.3, 1), (0.0, 3)]
