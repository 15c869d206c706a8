"""Self-distillation between time steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import SelfDistillation
from neurodeploy.io.errors import UserError

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(-1).mean()


@given(CASES)
def test_the_steps_of_highest_and_lowest_mean_confidence_are_compared(drawn, case):
    student, _ = drawn(case[0], case[1] + 1, *case[2:])
    z = student.step_logits.detach().numpy()
    confidence = [softmax(step).max(-1).mean() for step in z]
    strong, weak = (softmax(z[pick(confidence)] / 2) for pick in (np.argmax, np.argmin))
    assert SelfDistillation()(student, None, None).item() == pytest.approx(divergence(strong, weak))
    reverse = SelfDistillation(direction="weak-to-strong")(student, None, None)
    assert reverse.item() == pytest.approx(divergence(weak, strong))


def test_only_the_taught_step_receives_a_gradient(drawn):
    student, _ = drawn(0, 4, 2, 3, 4, 4, 5)
    confidence = student.step_logits.detach().softmax(-1).amax(-1).mean(-1)
    SelfDistillation()(student, None, None).backward()
    moved = student.step_logits.grad.abs().sum((1, 2)) > 0
    assert moved.nonzero().flatten().tolist() == [int(confidence.argmin())]


def test_it_is_zero_where_all_steps_answer_alike(drawn):
    student, _ = drawn(0, 1, 2, 3, 4, 4, 5)
    alike = student._replace(step_logits=student.step_logits.expand(3, -1, -1))
    assert SelfDistillation()(alike, None, None).item() == 0


def test_a_single_step_is_refused_with_the_reason(drawn):
    student, _ = drawn(0, 1, 2, 3, 4, 4, 5)
    with pytest.raises(UserError, match="self-distillation: one time step found, at least 2 expected"):
        SelfDistillation()(student, None, None)
