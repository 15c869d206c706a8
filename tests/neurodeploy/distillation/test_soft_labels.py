"""Labels as probabilities, as mixed samples have them, and label smoothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch.nn.functional import one_hot

from neurodeploy.distillation import AnyLossTerm, CrossEntropy, FullRange

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""

LABELLED = ["cross-entropy", "full-range", "tet"]


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def drawn_probabilities(seed, batch, classes):
    return torch.rand(batch, classes, generator=torch.Generator().manual_seed(seed)).softmax(-1)


@given(CASES)
def test_cross_entropy_weighs_classes_by_their_probability(drawn, case):
    student, _ = drawn(*case)
    y = drawn_probabilities(case[0], case[2], case[6])
    expected = -(y.numpy() * log_softmax(student.step_logits.detach().numpy().mean(0))).sum(-1).mean()
    assert CrossEntropy()(student, None, y).item() == pytest.approx(expected)


@given(CASES)
def test_cross_entropy_of_the_sum_over_time_is_as_many_times_as_steep_as_there_are_steps(drawn, labels, case):
    student, _ = drawn(*case)
    y = labels(case[2], case[6])
    expected = -log_softmax(student.step_logits.detach().numpy().sum(0))[np.arange(case[2]), y].mean()
    assert CrossEntropy(over_time="sum")(student, None, y).item() == pytest.approx(expected)


@given(CASES, st.floats(0, 0.99))
def test_smoothing_spreads_its_share_of_every_label_over_all_classes(drawn, labels, case, smoothing):
    student, _ = drawn(*case)
    y = labels(case[2], case[6])
    smooth = (1 - smoothing) * np.eye(case[6])[y] + smoothing / case[6]
    expected = -(smooth * log_softmax(student.step_logits.detach().numpy().mean(0))).sum(-1).mean()
    term = CrossEntropy(label_smoothing=smoothing)
    assert term(student, None, y).item() == pytest.approx(expected)
    assert term(student, None, one_hot(y, case[6]).float()).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", LABELLED)
@given(case=CASES)
def test_one_hot_probabilities_count_as_the_labels_themselves(drawn, labels, kind, case):
    student, teacher = drawn(*case)
    y = labels(case[2], case[6])
    term = TypeAdapter(AnyLossTerm).validate_python({"kind": kind})
    soft = term(student, teacher, one_hot(y, case[6]).float())
    assert soft.item() == pytest.approx(term(student, teacher, y).item())


def test_the_value_is_linear_in_the_labels_of_every_step(drawn, labels):
    student, teacher = drawn(0, 4, 3, 3, 4, 4, 5)
    y = labels(3, 5)
    first, second = one_hot(y, 5).float(), one_hot((y + 1) % 5, 5).float()
    values = [FullRange()(student, teacher, targets).item() for targets in (first, second, 0.3 * first + 0.7 * second)]
    assert values[2] == pytest.approx(0.3 * values[0] + 0.7 * values[1])


def test_smoothing_everything_away_is_refused():
    with pytest.raises(ValidationError, match="less than 1"):
        CrossEntropy(label_smoothing=1)
