"""How samples become sequences: probabilities, times and repeatability."""

from math import floor, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurodeploy as nd
from neurodeploy.data import Digits
from neurodeploy.dynamics.encodings import DirectEncoding, LatencyEncoding, PoissonEncoding
from neurodeploy.dynamics.layers import Conv2d, Flatten, TimeMean
from neurodeploy.io.errors import UserError


@pytest.mark.parametrize("encoding", [DirectEncoding, PoissonEncoding, LatencyEncoding])
def test_a_sequence_without_steps_is_refused(encoding):
    with pytest.raises(UserError, match="steps: 0 found, at least 1 expected"):
        encoding(0)


def test_direct_coding_repeats_a_static_sample_without_copying_it():
    x = torch.rand(1, 2, 3)
    sequence = DirectEncoding(5)(x)
    assert sequence.shape == (5, 2, 3)
    assert all(torch.equal(step, x[0]) for step in sequence)
    assert sequence.untyped_storage().nbytes() == x.untyped_storage().nbytes()
    with pytest.raises(UserError, match="2 time steps found"):
        DirectEncoding(5)(torch.rand(2, 2, 3))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 0.9, 1.0, -0.5, 1.5])
def test_poisson_rates_lie_within_their_confidence_bounds(value, training):
    torch.manual_seed(3)
    n = 40_000
    encoding = PoissonEncoding(40, seed=7).train(training)
    rate = encoding(torch.full((1, n // 40), value)).mean(dtype=torch.float64).item()
    p = min(1.0, max(0.0, value))
    assert abs(rate - p) <= 4 * sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", [-1.5, -1.0, -0.4, 0.0, 0.4, 1.0])
def test_signed_poisson_rates_stand_for_negative_values_too(value, training):
    torch.manual_seed(3)
    n = 40_000
    spikes = PoissonEncoding(40, seed=7, signed=True).train(training)(torch.full((1, n // 40), value))
    p = min(1.0, abs(value))
    assert set(spikes.unique().tolist()) <= {0.0, 1.0 if value > 0 else -1.0}
    assert abs(spikes.mean(dtype=torch.float64).item() - max(-1.0, min(1.0, value))) <= 4 * sqrt(p * (1 - p) / n)


def test_where_no_value_is_negative_signed_spikes_are_the_others():
    images = Digits().load().test_samples[:5]
    assert torch.equal(PoissonEncoding(6, 1, signed=True).eval()(images), PoissonEncoding(6, 1).eval()(images))


def test_a_negative_spike_costs_as_much_as_a_positive_one():
    values = 2 * Digits().load().test_samples[:4] - 1
    rows = []
    for encoding, samples in ((PoissonEncoding(5, signed=True), values), (PoissonEncoding(5), values.abs())):
        torch.manual_seed(0)
        network = nn.Sequential(encoding, Conv2d(1, 2, 3, bias=False), nd.IF(threshold=100.0), Flatten(), TimeMean()).eval()
        rows.append(nd.energy(network, samples).layer("1"))
    assert rows[0].sops == rows[1].sops > 0
    assert rows[0].macs == 0


def test_poisson_spikes_of_different_steps_and_values_are_independent():
    torch.manual_seed(0)
    spikes = PoissonEncoding(200).train()(torch.full((100, 2), 0.5)).double()
    pairs = (
        torch.stack([spikes[:-1].flatten(), spikes[1:].flatten()]),
        torch.stack([spikes[..., 0].flatten(), spikes[..., 1].flatten()]),
    )
    for pair in pairs:
        assert abs(torch.corrcoef(pair)[0, 1]) < 4 / sqrt(pair.shape[1])


def test_poisson_coding_is_repeatable_and_in_evaluation_the_same_in_any_batch():
    images = Digits().load().test_samples[:20]
    encoding = PoissonEncoding(6, seed=1).eval()
    whole = encoding(images)
    assert torch.equal(whole, torch.cat([encoding(batch) for batch in images.split(7)], dim=1))
    assert not torch.equal(whole, PoissonEncoding(6, seed=2).eval()(images))
    encoding.train()
    draws = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        draws.append(encoding(images))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@given(value=st.floats(-1, 2, width=32), steps=st.integers(1, 20))
def test_latency_coding_fires_once_and_the_larger_the_earlier(value, steps):
    spikes = LatencyEncoding(steps)(torch.tensor([[value]]))[:, 0, 0]
    if value <= 0:
        assert not spikes.any()
        return
    exact = (1 - min(1.0, value)) * steps
    assert spikes.sum() == 1
    assert spikes.argmax().item() in {min(steps - 1, floor(exact + nudge)) for nudge in (-1e-5, 0, 1e-5) if exact + nudge >= 0}


def test_latency_orders_the_values_of_real_images():
    images = Digits().load().test_samples[:50]
    spikes = LatencyEncoding(8)(images)
    assert torch.equal(spikes.sum(0), (images > 0).float())
    times = spikes.argmax(0)[images > 0]
    assert torch.equal(times, (8 * (1 - images[images > 0])).floor().clamp_max(7).long())
