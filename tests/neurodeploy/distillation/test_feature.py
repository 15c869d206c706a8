"""Feature distillation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import Feature
from neurodeploy.io.errors import UserError

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


@given(CASES)
def test_rates_are_compared_with_activations_divided_by_their_maximum(drawn, case):
    student, teacher = drawn(*case)
    expected = 0
    for name in student.taps:
        r, a = student.taps[name].detach().numpy().mean(0), teacher.output.taps[name].detach().numpy()[0]
        expected += ((r - (a / a.max() if a.any() else a)) ** 2).mean()
    assert Feature()(student, teacher, None).item() == pytest.approx(expected)


def test_only_the_taps_asked_for_count(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    both = Feature(taps=("low", "flat"))(student, teacher, None)
    assert both.item() == pytest.approx(sum(Feature(taps=(n,))(student, teacher, None).item() for n in ("low", "flat")))


def test_it_is_zero_where_rates_equal_scaled_activations(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    rates = {name: 7 * tap.detach().mean(0, keepdim=True) / tap.mean(0).max().detach() for name, tap in student.taps.items()}
    scaled = {name: tap.detach() / tap.mean(0).max().detach() for name, tap in student.taps.items()}
    teacher.output.taps.update(rates)
    assert Feature()(student._replace(taps=scaled), teacher, None).item() == pytest.approx(0, abs=1e-15)


def test_a_silent_layer_of_the_teacher_asks_for_silence(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    teacher.output.taps["low"] = teacher.output.taps["low"] * 0
    expected = (student.taps["low"].detach().numpy().mean(0) ** 2).mean()
    assert Feature(taps=("low",))(student, teacher, None).item() == pytest.approx(expected)
    assert np.isfinite(expected)


def test_taps_of_unequal_shapes_are_refused_with_both_shapes(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    teacher.output.taps["low"] = teacher.output.taps["low"][..., :2]
    with pytest.raises(UserError, match=r"feature: tap low has the shape \(3, 4, 4\) in the student and \(3, 4, 2\)"):
        Feature()(student, teacher, None)
