"""The image operations against Pillow's, on real photographs, level by level: the tolerance is zero."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from neurodeploy.augmentation import image_operations as operations

FILL = 128
COLOURS = (FILL,) * 3


def affine(image, *row):
    return image.transform(
        image.size, Image.Transform.AFFINE, row, Image.Resampling.NEAREST, fillcolor=COLOURS[: len(image.getbands())]
    )


GEOMETRIC = {
    "shear_x": ((-0.3, -0.2667, -0.0333, 0.0333, 0.1, 0.3), lambda i, v: affine(i, 1, v, 0, 0, 1, 0)),
    "shear_y": ((-0.3, -0.2333, -0.0333, 0.0333, 0.1, 0.3), lambda i, v: affine(i, 1, 0, 0, v, 1, 0)),
    "translate_x": ((-14, -1, 0, 1, 5, 13, 40), lambda i, v: affine(i, 1, 0, v, 0, 1, 0)),
    "translate_y": ((-14, -1, 0, 1, 5, 13, 40), lambda i, v: affine(i, 1, 0, 0, 0, 1, v)),
    "rotate": (
        (-30, -20 / 3, -3, 10 / 3, 17, 45, 30),
        lambda i, v: i.rotate(v, Image.Resampling.NEAREST, fillcolor=COLOURS[: len(i.getbands())]),
    ),
}
ENHANCING = {
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
    "brightness": ImageEnhance.Brightness,
}
FACTORS = (0.0, 0.1, 0.37, 0.8, 1.0, 1.2, 1.63, 1.9)
PLAIN = {"autocontrast": ImageOps.autocontrast, "equalize": ImageOps.equalize, "invert": ImageOps.invert}


def pictures(levels):
    """Pillow's images of `[N, C, H, W]`."""
    arrays = levels.to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array if array.shape[-1] == 3 else array[..., 0]) for array in arrays]


def levels_of(pictures):
    arrays = [np.asarray(picture).reshape(picture.height, picture.width, -1) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()


@pytest.fixture(scope="module", params=["colour", "grey", "wide"])
def levels(request, photographs):
    """Photographs, one plane of them, and a shape whose height and width differ; with some of low contrast."""
    some = photographs[::9].float()
    some[::3] = (some[::3] / 4 + 90).floor()
    if request.param == "wide":
        return some.reshape(-1, 3, 32, 32)[..., 3:22, :]
    return some if request.param == "colour" else some[:, :1]


def spread(values, levels):
    """One of the values per image, in turn."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return numbers.repeat(len(levels) // len(values) + 1)[: len(levels)]


@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometric_operations_take_pillows_nearest_pixel(levels, name):
    values, pillows = GEOMETRIC[name]
    amount = spread(values, levels)
    expected = levels_of([pillows(picture, value) for picture, value in zip(pictures(levels), amount.tolist(), strict=True)])
    assert torch.equal(getattr(operations, name)(levels, amount, FILL), expected)


@pytest.mark.parametrize("name", ENHANCING)
def test_enhancements_give_pillows_levels(levels, name):
    factors = spread(FACTORS, levels)
    pairs = zip(pictures(levels), factors.tolist(), strict=True)
    expected = levels_of([ENHANCING[name](picture).enhance(factor) for picture, factor in pairs])
    assert torch.equal(getattr(operations, name)(levels, factors), expected)


@pytest.mark.parametrize("name", PLAIN)
def test_operations_without_magnitude_give_pillows_levels(levels, name):
    assert torch.equal(getattr(operations, name)(levels), levels_of(map(PLAIN[name], pictures(levels))))


def test_posterize_keeps_pillows_bits(levels):
    bits = spread((1, 4, 5, 6, 7, 8), levels)
    pairs = zip(pictures(levels), bits.int().tolist(), strict=True)
    assert torch.equal(operations.posterize(levels, bits), levels_of([ImageOps.posterize(*pair) for pair in pairs]))


def test_solarize_inverts_from_pillows_threshold(levels):
    thresholds = spread((0, 28.4, 99.6, 128, 199.1, 255, 256), levels)
    pairs = zip(pictures(levels), thresholds.tolist(), strict=True)
    assert torch.equal(operations.solarize(levels, thresholds), levels_of([ImageOps.solarize(*pair) for pair in pairs]))


@given(
    st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99), st.integers(1, 9)
)
def test_random_images_of_any_size_and_few_levels_agree_with_pillow_too(count, channels, height, width, seed, levels):
    draws = np.random.default_rng(seed)
    palette = draws.integers(0, 256, levels)
    image = torch.from_numpy(palette[draws.integers(0, levels, (count, channels, height, width))]).float()
    for name, pillows in PLAIN.items():
        assert torch.equal(getattr(operations, name)(image), levels_of(map(pillows, pictures(image)))), name
    for name, enhancer in ENHANCING.items():
        expected = levels_of([enhancer(picture).enhance(1.45) for picture in pictures(image)])
        assert torch.equal(getattr(operations, name)(image, torch.full((count,), 1.45)), expected), name
    for name, (values, pillows) in GEOMETRIC.items():
        expected = levels_of([pillows(picture, values[1]) for picture in pictures(image)])
        assert torch.equal(getattr(operations, name)(image, spread(values[1:2], image), FILL), expected), name


def test_an_image_of_a_single_level_is_left_alone_by_histogram_operations():
    flat = torch.full((2, 3, 8, 8), 77.0)
    assert torch.equal(operations.equalize(flat), flat)
    assert torch.equal(operations.autocontrast(flat), flat)
