"""Real photographs, cut into small images."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images


@pytest.fixture(scope="session")
def photographs():
    """Bytes `[N, 3, 32, 32]`, N above 300: patches of two photographs at full size and at a quarter of it."""
    patches = []
    for picture in load_sample_images().images:
        for step in (1, 4):
            small = picture[::step, ::step]
            high, wide = (length // 32 for length in small.shape[:2])
            grid = small[: 32 * high, : 32 * wide].reshape(high, 32, wide, 32, 3)
            patches.append(grid.transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32))
    return torch.from_numpy(np.concatenate(patches))


@pytest.fixture(scope="session")
def images(photographs):
    """A batch of 128 photographs as a data set holds them: float32, byte / 256."""
    return photographs[:: len(photographs) // 128][:128].float() / 256


@pytest.fixture(scope="session")
def frames(images):
    """Event frames `[32, 4, 2, 32, 32]` of real images: 1 where a channel of a neighbouring patch is brighter, else 0."""
    planes = images.reshape(32, 12, 32, 32)[:, :8]
    return (planes > planes.flatten(2).median(2).values[..., None, None]).float().reshape(32, 4, 2, 32, 32)
