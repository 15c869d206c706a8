"""Mixed samples and labels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import kstest

from neurodeploy.augmentation import Mixup


def one_hot(batch):
    return torch.eye(batch, dtype=torch.float64)


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 5), st.floats(0.01, 100), st.integers(0, 99))
def test_samples_and_labels_are_mixed_with_the_same_partner_in_the_same_shares(batch, channels, side, alpha, seed):
    x = torch.randint(0, 257, (batch, channels, side, side), generator=torch.Generator().manual_seed(seed)) / 256
    y, targets = Mixup(alpha=alpha)(x, one_hot(batch), torch.Generator().manual_seed(seed))
    assert torch.allclose(targets.sum(1), torch.ones(batch, dtype=torch.float64))
    exact = (targets @ x.flatten(1).double()).reshape(x.shape)  # each row of targets holds the shares of the two samples
    assert (y - exact).abs().max() <= 0.5001 / 256
    assert ((targets > 0).sum(1) <= 2).all()
    assert torch.allclose(targets.sum(0), torch.ones(batch, dtype=torch.float64))  # a permutation


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_the_share_follows_a_beta_distribution(alpha):
    torch.manual_seed(0)
    x, mixup, shares = torch.zeros(2, 1, 1, 1), Mixup(alpha=alpha), []
    while len(shares) < 1000:
        targets = mixup(x, one_hot(2))[1]
        if targets[0, 1] > 0:  # not its own partner
            shares.append(targets[0, 0].item())
    assert kstest(shares, "beta", (alpha, alpha)).pvalue > 0.001


def test_photographs_keep_their_mean_over_the_batch(images):
    y, _ = Mixup()(images, one_hot(len(images)), torch.Generator().manual_seed(0))
    assert y.mean().item() == pytest.approx(images.mean().item(), abs=1e-3)
    assert not torch.equal(y, images)


def test_an_alpha_of_zero_is_refused():
    with pytest.raises(ValidationError, match=r"greater than or equal to 0.01"):
        Mixup(alpha=0)


def test_values_that_are_no_multiples_of_1_in_256_are_mixed_as_they_are():
    x = torch.rand(6, 3, 4, 4) * 1e-3
    mixed, _ = Mixup(alpha=1.0)(x, torch.eye(6), torch.Generator().manual_seed(0))
    assert mixed.abs().max() > 0
    assert not torch.equal(mixed, x)
    assert torch.allclose(mixed.sum(), x.sum(), rtol=1e-5)
