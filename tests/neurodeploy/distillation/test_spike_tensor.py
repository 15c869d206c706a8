"""Spike-tensor distillation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import SpikeTensor
from neurodeploy.io.errors import UserError

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def counts(spikes, window):
    return np.array([spikes[k : k + window].sum(0) for k in range(len(spikes) - window + 1)])


@given(CASES, st.integers(1, 4))
def test_the_counts_of_all_windows_are_compared_with_those_of_a_spiking_teacher(drawn, case, window):
    student, teacher = drawn(*case[:1], case[1] + 1, *case[2:], teacher_steps=case[1] + 1)
    length, expected = min(window, case[1] + 1), 0
    for name in student.taps:
        s, t = (counts(taps[name].detach().numpy(), length) for taps in (student.taps, teacher.output.taps))
        expected += ((s - t) ** 2).mean()
    assert SpikeTensor(window=window)(student, teacher, None).item() == pytest.approx(expected)


@given(CASES)
def test_a_relu_teacher_counts_as_one_that_fires_at_a_constant_rate(drawn, case):
    student, teacher = drawn(*case)
    length, expected = min(2, case[1]), 0
    for name in student.taps:
        s, a = student.taps[name].detach().numpy(), teacher.output.taps[name].detach().numpy()[0]
        expected += ((counts(s, length) - length * (a / a.max() if a.any() else a)) ** 2).mean()
    assert SpikeTensor()(student, teacher, None).item() == pytest.approx(expected)


def test_a_relu_teacher_of_many_steps_is_scaled_by_its_maximum_over_time(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5, teacher_steps=4)
    plain = SpikeTensor()(student, teacher, None).item()
    teacher.output.taps.update({name: 7 * tap for name, tap in teacher.output.taps.items()})
    assert SpikeTensor()(student, teacher, None).item() == pytest.approx(plain)


def test_it_is_zero_where_student_and_teacher_fire_alike(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5, teacher_steps=4)
    teacher.output.taps.update({name: tap.detach() for name, tap in student.taps.items()})
    assert SpikeTensor(window=3)(student, teacher, None).item() == 0


def test_other_numbers_of_steps_are_refused_with_advice(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5, teacher_steps=3)
    with pytest.raises(
        UserError, match="spike-tensor: tap low has 4 time steps in the student and 3 in the teacher; give both"
    ):
        SpikeTensor()(student, teacher, None)
