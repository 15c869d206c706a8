"""Temporal efficient training: every step's cross-entropy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import neurodeploy as nd
from neurodeploy.distillation import CrossEntropy, Tet

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@given(CASES, st.floats(0, 0.99), st.floats(-2, 2))
def test_every_step_learns_from_the_labels_and_is_held_near_the_target(drawn, labels, case, share, target):
    student, _ = drawn(*case)
    z, y = student.step_logits.detach().numpy(), labels(case[2], case[6])
    hard = np.mean([-np.log(softmax(step)[np.arange(case[2]), y]).mean() for step in z])
    distance = np.mean([np.square(step - target).mean() for step in z])
    value = Tet(regularisation=share, target=target)(student, None, y)
    assert value.item() == pytest.approx((1 - share) * hard + share * distance)


def test_the_gradient_of_each_step_is_that_of_its_own_answer(drawn, labels):
    student, _ = drawn(0, 4, 2, 3, 4, 4, 5)
    y = labels(2, 5)
    Tet(regularisation=0.05)(student, None, y).backward()
    z = student.step_logits.detach().numpy()
    hard, distance = (softmax(z) - np.eye(5)[y.numpy()]) / (4 * 2), 2 * (z - 1) / z.size
    np.testing.assert_allclose(student.step_logits.grad.numpy(), 0.95 * hard + 0.05 * distance, atol=1e-12)


def test_with_one_step_and_no_target_it_is_the_cross_entropy(drawn, labels):
    student, _ = drawn(0, 1, 2, 3, 4, 4, 5)
    y = labels(2, 5)
    assert Tet(regularisation=0)(student, None, y).item() == pytest.approx(CrossEntropy()(student, None, y).item())


def test_it_is_among_the_losses_of_the_front_door():
    assert (nd.losses.Tet().regularisation, nd.losses.Tet().target) == (1e-3, 1.0)


def test_a_regularisation_that_leaves_nothing_of_the_labels_is_refused():
    with pytest.raises(ValidationError, match="less than 1"):
        Tet(regularisation=1)
