"""Cross-entropy, response distillation and LAF: terms that judge the whole answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import CrossEntropy, Laf, Response

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(-1).mean()


@given(CASES)
def test_cross_entropy_is_taken_on_the_mean_over_time(drawn, labels, case):
    student, _ = drawn(*case)
    y = labels(case[2], case[6])
    expected = -np.log(softmax(student.step_logits.detach().numpy().mean(0))[np.arange(case[2]), y]).mean()
    assert CrossEntropy()(student, None, y).item() == pytest.approx(expected)


@given(CASES)
def test_response_is_the_tempered_divergence_from_teacher_to_student(drawn, case):
    student, teacher = drawn(*case)
    p, q = (softmax(z.detach().numpy() / 3) for z in (teacher.output.logits, student.logits))
    assert Response(temperature=3)(student, teacher, None).item() == pytest.approx(9 * divergence(p, q))


@given(CASES)
def test_laf_judges_the_mean_student_feature_by_the_teachers_classifier(drawn, case):
    student, teacher = drawn(*case)
    weight, bias = (parameter.numpy() for parameter in teacher.classify.parameters())
    seen, wanted = (f.detach().numpy().mean(0) @ weight.T + bias for f in (student.features, teacher.output.features))
    expected = 400 * divergence(softmax(wanted / 20), softmax(seen / 20))
    assert Laf()(student, teacher, None).item() == pytest.approx(expected, abs=1e-12)
