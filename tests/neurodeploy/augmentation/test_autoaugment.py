"""AutoAugment: the whole policy against Pillow, image by image, and how often each operation is done."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from pydantic import ValidationError

from neurodeploy.augmentation import AutoAugment, autoaugment
from neurodeploy.augmentation.augmentation import integers, uniform
from neurodeploy.augmentation.autoaugment import CIFAR10_POLICY
from neurodeploy.io.errors import UserError

GREY = (128, 128, 128)


def moved(*row):
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, row, Image.Resampling.NEAREST, fillcolor=GREY)


def enhanced(enhancer, m):
    return lambda image: enhancer(image).enhance(1 + 0.1 * m)


PILLOWS = {
    "shear-y": lambda m: moved(1, 0, 0, 0.3 * m / 9, 1, 0),
    "translate-x": lambda m: moved(1, 0, int(m * 150 / 331 * 32 / 9), 0, 1, 0),
    "translate-y": lambda m: moved(1, 0, 0, 0, 1, int(m * 150 / 331 * 32 / 9)),
    "rotate": lambda m: lambda image: image.rotate(30 * m / 9, fillcolor=GREY),
    "color": lambda m: enhanced(ImageEnhance.Color, m),
    "contrast": lambda m: enhanced(ImageEnhance.Contrast, m),
    "sharpness": lambda m: enhanced(ImageEnhance.Sharpness, m),
    "brightness": lambda m: enhanced(ImageEnhance.Brightness, m),
    "posterize": lambda m: lambda image: ImageOps.posterize(image, round(8 - 4 * abs(m) / 9)),
    "solarize": lambda m: lambda image: ImageOps.solarize(image, 256 * (1 - abs(m) / 9)),
    "autocontrast": lambda _: ImageOps.autocontrast,
    "equalize": lambda _: ImageOps.equalize,
    "invert": lambda _: ImageOps.invert,
}


def test_every_photograph_comes_out_as_pillow_makes_it_from_the_same_draws(photographs):
    levels = photographs[:300]
    y = AutoAugment()(levels.float() / 256, torch.Generator().manual_seed(1))
    replayed = torch.Generator().manual_seed(1)
    policy = integers(0, 24, (300,), levels, replayed).tolist()
    chance = uniform((2, 300), levels, replayed).tolist()
    sign = integers(0, 1, (2, 300), levels, replayed).mul(2).sub(1).tolist()
    done = Counter()
    for number, array in enumerate(levels.permute(0, 2, 3, 1).numpy()):
        image = Image.fromarray(array)
        for step, (operation, probability, magnitude) in enumerate(CIFAR10_POLICY[policy[number]]):
            if chance[step][number] < probability:
                image = PILLOWS[operation](sign[step][number] * magnitude)(image)
                done[operation] += 1
        assert np.array_equal(y[number].permute(1, 2, 0) * 256, np.asarray(image)), CIFAR10_POLICY[policy[number]]
    assert set(done) == set(PILLOWS)


def test_every_operation_is_done_as_often_as_the_table_says(monkeypatch):
    done, batch = Counter(), 20_000

    def counting(name):
        def keep(levels, _magnitude, _fill):
            done[name] += len(levels)
            return levels

        return keep

    monkeypatch.setattr(autoaugment, "_OPERATIONS", {name: counting(name) for name in PILLOWS})
    AutoAugment()(torch.zeros(batch, 1, 1, 1), torch.Generator().manual_seed(0))
    expected = Counter()
    for name, probability, _ in (step for pair in CIFAR10_POLICY for step in pair):
        expected[name] += batch * probability / 25
    for name, wanted in expected.items():
        assert abs(done[name] - wanted) < 5 * wanted**0.5, name


def test_both_signs_of_a_magnitude_are_drawn_equally_often(monkeypatch):
    seen = []
    noted = {name: lambda levels, magnitude, _: (seen.append(magnitude), levels)[1] for name in PILLOWS}
    monkeypatch.setattr(autoaugment, "_OPERATIONS", noted)
    AutoAugment()(torch.zeros(4000, 1, 1, 1), torch.Generator().manual_seed(0))
    magnitudes = torch.cat(seen)
    positive, negative = (magnitudes > 0).sum().item(), (magnitudes < 0).sum().item()
    assert abs(positive - negative) < 5 * (positive + negative) ** 0.5
    assert magnitudes.abs().max() == 9


def test_the_table_has_25_pairs_with_probabilities_in_tenths_and_magnitudes_of_one_digit():
    assert len(CIFAR10_POLICY) == 25
    for _, probability, magnitude in (step for pair in CIFAR10_POLICY for step in pair):
        assert round(10 * probability) / 10 == probability
        assert 0 <= magnitude <= 9


def test_an_image_that_nothing_is_done_to_keeps_its_ones(monkeypatch):
    monkeypatch.setattr(autoaugment, "CIFAR10_POLICY", CIFAR10_POLICY[14:15])  # solarize with 0.5, else nothing
    monkeypatch.setattr(autoaugment, "_tables", autoaugment._tables.__wrapped__)
    x = torch.ones(64, 1, 4, 4)
    y = AutoAugment()(x, torch.Generator().manual_seed(0))
    assert set(y.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("scale", [255, 256])
def test_bytes_stay_on_their_scale(photographs, scale):
    x = photographs[:50].float() / scale
    y = AutoAugment()(x, torch.Generator().manual_seed(1))
    levels = AutoAugment()(photographs[:50].float() / 256, torch.Generator().manual_seed(1)) * 256
    assert (y != x).any((1, 2, 3)).sum() > 25
    assert torch.equal(y, levels / scale)


def test_what_comes_from_outside_has_the_fill_value(monkeypatch):
    monkeypatch.setattr(autoaugment, "CIFAR10_POLICY", CIFAR10_POLICY[21:22])  # vertical translation, twice
    monkeypatch.setattr(autoaugment, "_tables", autoaugment._tables.__wrapped__)
    y = AutoAugment(fill=0.25)(torch.ones(64, 3, 32, 32) / 2, torch.Generator().manual_seed(0))
    assert set(y.unique().tolist()) == {0.25, 0.5}


def test_grey_images_are_augmented_too(images):
    y = AutoAugment()(images[:, :1], torch.Generator().manual_seed(0))
    assert y.shape == (len(images), 1, 32, 32)
    assert (y != images[:, :1]).flatten(1).any(1).sum() > len(images) / 2


def test_event_frames_and_other_channels_are_refused_in_one_line(frames, images):
    with pytest.raises(UserError, match=r"^autoaugment: event frames found, static images expected; .*$"):
        AutoAugment()(frames)
    with pytest.raises(UserError, match=r"^autoaugment: 2 channels found, 1 \(grey\) or 3 \(colour\) expected; .*$"):
        AutoAugment()(images[:, :2])


def test_a_fill_beyond_white_is_refused():
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        AutoAugment(fill=128)


@pytest.mark.parametrize("factor", [255, -1])
def test_pixels_on_another_scale_are_refused(images, factor):
    with pytest.raises(UserError, match=r"^autoaugment: pixels from .* to .* found, 0 to 1 expected"):
        AutoAugment()(images * factor)
