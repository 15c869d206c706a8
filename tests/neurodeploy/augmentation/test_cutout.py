"""A square hole."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.augmentation import Cutout


def coverage(size, length):
    """Probability that a pixel of an axis is covered, its centre equally likely on each of `length` pixels."""
    starts = torch.arange(length) - size // 2
    offset = torch.arange(length).unsqueeze(1) - starts
    return ((offset >= 0) & (offset < size)).double().mean(1)


@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 12), st.integers(1, 16), st.integers(0, 99))
def test_the_hole_is_a_square_clipped_at_the_border(batch, height, width, size, seed):
    y = Cutout(size=size)(torch.ones(batch, 2, height, width), torch.Generator().manual_seed(seed))
    for hole in y == 0:
        assert torch.equal(hole[0], hole[1])
        rows, columns = hole[0].any(1), hole[0].any(0)
        assert torch.equal(hole[0], rows.unsqueeze(1) & columns)
        for covered in (rows, columns):
            places = covered.nonzero().flatten()
            length, number = len(covered), len(places)
            assert 1 <= number <= size
            assert places[-1] - places[0] == number - 1
            assert number == size or places[0] == 0 or places[-1] == length - 1


def test_the_centre_is_any_pixel_with_equal_probability():
    y = Cutout(size=16)(torch.ones(10_000, 1, 32, 32), torch.Generator().manual_seed(0))
    expected = coverage(16, 32).unsqueeze(1) * coverage(16, 32)
    deviation = (expected * (1 - expected) / 10_000).sqrt()
    assert ((1 - y.mean((0, 1))).sub(expected).abs() <= 5 * deviation).all()


def test_the_rest_of_a_photograph_stays(images):
    y = Cutout()(images, torch.Generator().manual_seed(0))
    assert torch.equal(y[y != 0], images[y != 0])
    assert (y == 0).all(1).flatten(1).sum(1).min() >= 64  # a quarter of the square at least
