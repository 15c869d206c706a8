import numpy as np
import torch
from sklearn.datasets import load_digits

from neurodeploy.data import Digits


def test_digits_are_split_once_and_stratified_without_loss_or_overlap():
    data = Digits().load()
    assert data.train_samples.shape == (1297, 1, 8, 8)
    assert data.test_samples.shape == (500, 1, 8, 8)
    assert data.sample_shape == (1, 8, 8)
    together = torch.cat([data.train_samples, data.test_samples]).reshape(-1, 64).numpy() * 16
    original = load_digits().data
    assert np.array_equal(np.sort(together.astype(int), axis=0), np.sort(original.astype(int), axis=0))
    shares = torch.bincount(data.test_labels) / torch.bincount(data.train_labels)
    assert shares.max() - shares.min() < 0.02
    assert torch.equal(data.test_samples, Digits().load().test_samples)


def test_pixels_lie_on_a_grid_that_binary_fractions_hold_exactly():
    pixels = Digits().load().train_samples * 16
    assert torch.equal(pixels, pixels.round())
    assert 0 <= pixels.min() <= pixels.max() == 16
