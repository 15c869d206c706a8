"""Random crop after zero padding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from neurodeploy.augmentation import Crop


def windows(image, padding):
    """All crops of an image `[C, H, W]`: `[2p + 1, 2p + 1, C, H, W]`."""
    wide = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    places = range(2 * padding + 1)
    height, width = image.shape[1:]
    return np.stack([np.stack([wide[:, i : i + height, j : j + width] for j in places]) for i in places])


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_every_result_is_a_window_of_the_padded_image(batch, channels, height, width, padding, seed):
    x = torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))
    y = Crop(padding=padding)(x, torch.Generator().manual_seed(seed))
    for before, after in zip(x.numpy(), y.numpy(), strict=True):
        assert (windows(before, padding) == after).all((2, 3, 4)).any()


def test_all_81_windows_are_equally_likely():
    image = torch.arange(1.0, 401.0).reshape(1, 1, 20, 20)
    y = Crop()(image.expand(8100, -1, -1, -1), torch.Generator().manual_seed(0)).numpy()
    places = windows(image[0].numpy(), 4)[:, :, 0, 10, 10]  # one inner pixel tells the window
    counts = np.array([(y[:, 0, 10, 10] == place).sum() for place in places.flatten()])
    assert counts.sum() == 8100
    assert counts.min() > 100 - 5 * 10  # 100 expected of each, standard deviation 10
    assert counts.max() < 100 + 5 * 10


def test_images_of_a_batch_move_differently(images):
    y = Crop()(images[:1].expand(64, -1, -1, -1), torch.Generator().manual_seed(0))
    assert len(y.unique(dim=0)) > 30


def test_a_padding_of_zero_is_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Crop(padding=0)
