"""Activation attention."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import Attention
from neurodeploy.io.errors import UserError

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""

LEVELS = ("low", "middle", "high")  # the first, the second and the last of the four spatial taps


def attention(tap):
    return (tap.detach().numpy().mean(0) ** 2).sum(1)


def unit(v):
    size = np.sqrt((v**2).sum(-1, keepdims=True))
    return np.where(size > 0, v / np.where(size > 0, size, 1), 0)


def resized(maps, height, width):
    """Bilinear interpolation of `[B, H, W]` between pixel centres, clamped at the border."""

    def weights(old, new):
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old)[None, :]))

    return np.einsum("yh,bhw,xw->byx", weights(maps.shape[1], height), maps, weights(maps.shape[2], width))


@given(CASES)
def test_maps_of_three_levels_are_compared_after_normalisation(drawn, case):
    student, teacher = drawn(*case)
    expected = 0
    for name in LEVELS:
        s, t = (unit(attention(taps[name]).reshape(case[2], -1)) for taps in (student.taps, teacher.output.taps))
        expected += np.sqrt(((s - t) ** 2).sum(-1)).mean()
    assert Attention()(student, teacher, None).item() == pytest.approx(expected)


@given(CASES)
def test_the_scalar_variant_compares_one_number_per_sample_normalised_over_the_batch(drawn, case):
    student, teacher = drawn(*case)
    expected = 0
    for name in LEVELS:
        s, t = (unit(attention(taps[name]).sum((1, 2))) for taps in (student.taps, teacher.output.taps))
        expected += np.sqrt(((s - t) ** 2).sum())
    assert Attention(variant="scalar")(student, teacher, None).item() == pytest.approx(expected)


@given(CASES)
def test_the_printed_equation_compares_mean_squares_over_channels_and_pixels_without_normalising(drawn, case):
    student, teacher = drawn(*case)
    expected = 0
    for name in LEVELS:
        s, t = ((taps[name].detach().numpy().mean(0) ** 2).mean((1, 2, 3)) for taps in (student.taps, teacher.output.taps))
        expected += np.abs(s - t).mean()
    assert Attention(variant="mean-square")(student, teacher, None).item() == pytest.approx(expected)


@pytest.mark.parametrize("variant", ["map", "scalar", "mean-square"])
def test_a_table_of_taps_pairs_levels_that_the_networks_call_otherwise(drawn, variant):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    same = Attention(variant=variant, taps=("low", "high"))(student, teacher, None)
    renamed = replace(
        teacher, output=teacher.output._replace(taps={f"block.{name}": tap for name, tap in teacher.output.taps.items()})
    )
    term = Attention(variant=variant, taps={"low": "block.low", "high": "block.high"})
    assert term(student, renamed, None).item() == same.item()


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        (
            {"lower": "low"},
            r"attention: 'lower' is none of the student's taps of more than one pixel: low, middle, upper, high",
        ),
        ({"low": "flat"}, r"attention: 'flat' is none of the teacher's taps of more than one pixel: low, middle, upper, high"),
    ],
)
def test_a_pair_of_taps_that_is_not_there_is_refused(drawn, taps, message):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    with pytest.raises(UserError, match=message):
        Attention(taps=taps)(student, teacher, None)


@given(CASES, st.integers(1, 6), st.integers(2, 6))
def test_the_teachers_map_is_interpolated_to_the_students_resolution(drawn, case, height, width):
    student, _ = drawn(*case)
    _, teacher = drawn(*case[:4], height, width, case[6])
    s, t = (attention(taps["low"]) for taps in (student.taps, teacher.output.taps))
    s, t = (unit(maps.reshape(case[2], -1)) for maps in (s, resized(t, *s.shape[1:])))
    expected = np.sqrt(((s - t) ** 2).sum(-1)).mean()
    assert Attention(taps=("low",))(student, teacher, None).item() == pytest.approx(expected)


@pytest.mark.parametrize("variant", ["map", "scalar"])
def test_it_is_zero_where_the_teacher_is_a_multiple_of_the_students_rates(drawn, variant):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    teacher.output.taps.update({name: 9 * tap.detach().mean(0, keepdim=True) for name, tap in student.taps.items()})
    assert Attention(variant=variant)(student, teacher, None).item() == pytest.approx(0, abs=1e-7)


def test_a_silent_student_gives_finite_gradients(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    silent = {name: (tap.detach() * 0).requires_grad_() for name, tap in student.taps.items()}
    Attention()(student._replace(taps=silent), teacher, None).backward()
    assert all(tap.grad is None or tap.grad.isfinite().all() for tap in silent.values())


def test_its_default_weight_is_half_of_the_papers_alpha():
    assert Attention().weight == 0.9 / 2


def test_a_tap_without_pixels_is_refused(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    with pytest.raises(
        UserError, match=r"attention: 'flat' is none of the taps of more than one pixel .*: low, middle, upper, high"
    ):
        Attention(taps=("low", "flat"))(student, teacher, None)


def test_with_two_spatial_taps_there_are_two_levels(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    fewer = student._replace(taps={name: student.taps[name] for name in ("low", "high")})
    named = Attention(taps=("low", "high"))(student, teacher, None)
    assert Attention()(fewer, teacher, None).item() == named.item()
