"""Head-tail-aware divergence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import HeadTail, TeacherOutput

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(-1).mean()


def sample_value(p, q, share):
    """One sample, class by class: p of the teacher, q of the student."""
    head, reached = set(), 0.0
    for k in sorted(range(len(p)), key=lambda k: -p[k]):
        if reached >= share:
            break
        head.add(k)
        reached += p[k]
    g_head = sum(abs(p[k] - q[k]) for k in head)
    g_tail = sum(abs(p[k] - q[k]) for k in range(len(p)) if k not in head)
    return (g_head * divergence(p, q) + g_tail * divergence(q, p)) / (g_head + g_tail)


@given(CASES, st.sampled_from([0.3, 0.5, 0.8]))
def test_gaps_in_head_and_tail_weigh_forward_and_reverse_divergence(drawn, case, share):
    student, teacher = drawn(*case)
    p, q = (softmax(z.detach().numpy() / 2) for z in (teacher.output.logits, student.logits))
    expected = 4 * np.mean([sample_value(*pair, share) for pair in zip(p, q, strict=True)])
    assert HeadTail(temperature=2, head=share)(student, teacher, None).item() == pytest.approx(expected)


@given(CASES)
def test_the_weights_of_the_divergences_are_constants_for_the_gradient(drawn, case):
    student, teacher = drawn(*case)
    student.logits.retain_grad()
    HeadTail(temperature=1)(student, teacher, None).backward()
    p, q = (softmax(z.detach().numpy()) for z in (teacher.output.logits, student.logits))
    for sample, (wanted, seen) in enumerate(zip(p, q, strict=True)):
        forward, backward = divergence(wanted, seen), divergence(seen, wanted)
        share = (sample_value(wanted, seen, 0.5) - backward) / (forward - backward)
        slope = share * (seen - wanted) + (1 - share) * seen * (np.log(seen / wanted) - backward)
        np.testing.assert_allclose(student.logits.grad[sample].numpy() * case[2], slope, atol=1e-6)


def test_it_is_zero_without_gradient_where_student_and_teacher_agree(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    agreed = TeacherOutput(teacher.output._replace(logits=student.logits.detach()), teacher.classify)
    value = HeadTail()(student, agreed, None)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-15)
    assert student.step_logits.grad.abs().max() < 1e-15
