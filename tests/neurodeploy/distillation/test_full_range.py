"""Time-wise distillation over the full range of steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import CrossEntropy, FullRange

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(-1).mean()


@given(CASES)
def test_every_step_learns_from_labels_teacher_and_ensemble(drawn, labels, case):
    student, teacher = drawn(*case)
    z, y = student.step_logits.detach().numpy(), labels(case[2], case[6])
    p_teacher, p_ensemble = softmax(teacher.output.logits.detach().numpy() / 3), softmax(z.mean(0) / 3)
    hard = np.mean([-np.log(softmax(step)[np.arange(case[2]), y]).mean() for step in z])
    taught = np.mean([9 * divergence(p_teacher, softmax(step / 3)) for step in z])
    ensemble = np.mean([9 * divergence(p_ensemble, softmax(step / 3)) for step in z])
    assert FullRange()(student, teacher, y).item() == pytest.approx(hard + 0.2 * taught + 0.5 * ensemble)
    other = FullRange(teacher_weight=2, ensemble_weight=0)
    assert other(student, teacher, y).item() == pytest.approx(hard + 2 * taught)


def test_with_one_step_and_no_teachers_share_it_is_the_cross_entropy(drawn, labels):
    student, teacher = drawn(0, 1, 2, 3, 4, 4, 5)
    y = labels(2, 5)
    value = FullRange(teacher_weight=0)(student, teacher, y).item()
    assert value == pytest.approx(CrossEntropy()(student, None, y).item())


def test_the_ensemble_is_a_constant_for_the_gradient(drawn, labels):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    y = labels(2, 5)
    FullRange(teacher_weight=0, ensemble_weight=1)(student, teacher, y).backward()
    z = student.step_logits.detach().numpy()
    hot = np.eye(5)[y.numpy()]
    expected = ((softmax(z) - hot) + 3 * (softmax(z / 3) - softmax(z.mean(0) / 3))) / (4 * 2)
    np.testing.assert_allclose(student.step_logits.grad.numpy(), expected, atol=1e-12)
