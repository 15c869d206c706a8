"""Activity and logits regularisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import Activity, Logits

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


@given(CASES)
def test_activity_sums_the_mean_spikes_or_squared_rates_of_the_layers(drawn, case):
    student, _ = drawn(*case)
    taps = [tap.detach().numpy() for tap in student.taps.values()]
    assert Activity()(student, None, None).item() == pytest.approx(sum(t.mean() for t in taps))
    assert Activity(norm="l2")(student, None, None).item() == pytest.approx(sum((t.mean(0) ** 2).mean() for t in taps))


@given(CASES)
def test_logits_is_the_mean_square_or_size_of_the_output(drawn, case):
    student, _ = drawn(*case)
    z = student.step_logits.detach().numpy().mean(0)
    assert Logits()(student, None, None).item() == pytest.approx((z**2).mean())
    assert Logits(norm="l1")(student, None, None).item() == pytest.approx(np.abs(z).mean())
