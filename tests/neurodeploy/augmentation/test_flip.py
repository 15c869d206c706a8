"""Random mirroring."""

import pytest
import torch
from PIL import Image, ImageOps

from neurodeploy.augmentation import Flip


def test_a_flipped_photograph_is_pillows_mirror_image(images):
    y = Flip(probability=1)(images)
    for before, after in zip(images[:8], y[:8], strict=True):
        picture = Image.fromarray((before * 256).byte().permute(1, 2, 0).numpy())
        mirrored = torch.tensor(list(ImageOps.mirror(picture).tobytes())).reshape(32, 32, 3).permute(2, 0, 1)
        assert torch.equal(after * 256, mirrored.float())


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 1.0])
def test_samples_are_flipped_as_often_as_asked_for(probability):
    x = torch.tensor([0.0, 1.0]).expand(4000, 1, 1, 2)
    y = Flip(probability=probability)(x, torch.Generator().manual_seed(0))
    deviation = (probability * (1 - probability) / 4000) ** 0.5
    assert abs(y[:, 0, 0, 0].mean().item() - probability) <= 5 * deviation


def test_a_sample_is_flipped_whole_or_not_at_all(images):
    y = Flip()(images, torch.Generator().manual_seed(0))
    same, mirrored = (y == images).flatten(1).all(1), (y == images.flip(-1)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 0 < mirrored.sum() < len(images)
