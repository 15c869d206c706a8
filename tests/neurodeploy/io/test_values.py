"""Samples of a user's own: what is no finite float32 is refused by its sample and its place in it."""

import numpy as np
import pytest
import torch

from neurodeploy.io.errors import UserError
from neurodeploy.io.values import as_numbers, as_samples, check_values

LARGE = np.zeros((3, 2, 2), np.int64)
LARGE[1, 0, 1] = 2**53 + 1


def at(place, value, dtype=np.float64):
    values = np.zeros((3, 2, 2), dtype)
    values[place] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (at((2, 1, 0), np.nan), r"x: sample 2 holds values that are no finite float32 \(nan at \[1, 0\], of 3 samples\)"),
        (at((0, 0, 0), -np.inf, np.float32), r"x: sample 0 holds .* \(-inf at \[0, 0\]"),
        (at((1, 1, 1), 1e39), r"x: sample 1 holds .* no finite float32 \(1e\+39 at \[1, 1\]"),
        (torch.from_numpy(at((1, 1, 1), np.nan)), r"x: sample 1 holds .*nan at \[1, 1\]"),
        (LARGE, r"x: sample 1 holds whole numbers beyond ±16,777,216, which float32 rounds \(9007199254740993 at \[0, 1\]"),
        (LARGE.astype(np.uint64) * 2, r"x: sample 1 holds whole numbers beyond"),
        (-LARGE, r"x: sample 1 holds whole numbers beyond .*-9007199254740993"),
        (np.float32(1), r"x: a single number of shape \(\) found, \[N, …\] with at least one sample expected"),
        (np.zeros((0, 3)), r"x: an empty array of shape \(0, 3\) found"),
        (np.zeros((3, 0)), r"x: an empty array of shape \(3, 0\) found"),
        (np.zeros(3), r"x: an array of shape \(3,\) found"),
        (np.array([["a"]]), r"x: values of type <U1 found, numbers expected"),
        (np.array([[1j]]), r"x: values of type complex128 found"),
        (np.array([[None]]), r"x: values of type object found"),
        (np.array([["2020-01-01"]], "M8[D]"), r"x: values of type datetime64\[D\] found"),
        ([[1, 2], [3]], r"x: rows of different lengths found"),
        (torch.eye(3).to_sparse(), r"x: a sparse tensor found"),
        (torch.eye(3) * 1j, r"x: a complex tensor found"),
    ],
)
def test_values_that_are_no_sample_are_refused_by_sample_and_place(values, message):
    with pytest.raises(UserError, match=message):
        as_samples(values, "x", axes=2)


def test_samples_on_another_axis_are_named_by_that_axis():
    with pytest.raises(UserError, match=r"x: sample 1 holds .* \(nan at \[2, 0\], of 2 samples\)"):
        as_samples(at((2, 1, 0), np.nan), "x", axis=1)


def test_all_of_a_large_array_is_looked_at():
    values = np.zeros((5000, 1000), np.float32)
    values[4999, 999] = np.inf
    with pytest.raises(UserError, match=r"x: sample 4999 holds .* \(inf at \[999\]"):
        check_values(values, "x")


def test_good_numbers_of_every_type_arrive_as_they_are():
    for values in ([[1, 2]], np.array([[True, False]]), np.array([[2**24]]), torch.ones(1, 2, dtype=torch.bfloat16)):
        assert np.array_equal(as_samples(values, "x", axes=2), np.asarray(as_numbers(values, "x"), np.float32))
    assert as_samples(np.ones((1, 2), np.uint8), "x", keep=True).dtype == np.uint8
