"""Features against an independent computation in numpy, written from the formulas with plain sums."""

import numpy as np
import pytest
import torch

from neurodeploy.data.audio import LIFTER, RANGE_DB, Spectrum, log_mel, mel_filters, mfcc, on_grid


def mel(frequency):
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)


def numpy_log_mel(waveform: np.ndarray, spectrum: Spectrum) -> np.ndarray:
    n = np.arange(spectrum.window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / spectrum.window)
    k = np.arange(spectrum.fft // 2 + 1)
    fourier = np.exp(-2j * np.pi * np.outer(k, n) / spectrum.fft)
    edges = np.linspace(mel(spectrum.low), mel(spectrum.rate / 2), spectrum.bands + 2)
    bands = []
    for frame in range(spectrum.frames):
        part = waveform[frame * spectrum.hop :][: spectrum.window] * hann
        power = 4 * np.abs(fourier @ part) ** 2 / (spectrum.fft * (hann**2).sum())
        energies = []
        for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
            height = np.interp(mel(k * spectrum.rate / spectrum.fft), [left, centre, right], [0, 1, 0])
            energies.append((height * power).sum())
        bands.append(1 + 10 * np.log10(np.maximum(energies, 1e-30)) / RANGE_DB)
    return np.clip(bands, 0, 1)


def numpy_mfcc(waveform: np.ndarray, spectrum: Spectrum, count: int) -> np.ndarray:
    found = []
    for bands in numpy_log_mel(waveform, spectrum):
        frame = []
        for k in range(count):
            total = sum(value * np.cos(np.pi * k * (m + 0.5) / len(bands)) for m, value in enumerate(bands))
            scale = (1 if k == 0 else np.sqrt(2)) / len(bands)
            frame.append((1 + LIFTER / 2 * np.sin(np.pi * k / LIFTER)) * scale * total)
        found.append(frame)
    return np.clip(found, -1, 1)


@pytest.fixture(params=[8000, 16_000])
def spectrum(request):
    return Spectrum(request.param, frames=5, bands=24)


@pytest.fixture
def waveform(spectrum):
    time = np.arange(spectrum.length) / spectrum.rate
    sweep = 0.4 * np.sin(2 * np.pi * (300 + 2000 * time) * time)
    return sweep + np.random.default_rng(0).normal(0, 0.01, spectrum.length)


def test_log_mel_bands_equal_an_independent_computation(spectrum, waveform):
    found = log_mel(torch.from_numpy(waveform)[None], spectrum)[0].numpy()
    expected = numpy_log_mel(waveform, spectrum)
    assert found.shape == (5, 24)
    assert np.abs(found - expected).max() < 1e-9
    assert 0 < expected.mean() < 1


def test_mfcc_equal_an_independent_computation(spectrum, waveform):
    found = mfcc(torch.from_numpy(waveform)[None], spectrum, 13)[0].numpy()
    assert np.abs(found - numpy_mfcc(waveform, spectrum, 13)).max() < 1e-9


def test_one_second_makes_49_frames_and_its_filters_cover_the_spectrum():
    for rate in (8000, 16_000):
        spectrum = Spectrum(rate)
        assert (spectrum.length, spectrum.frames) == (rate, 49)
        filters = mel_filters(spectrum)
        assert filters.shape == (40, spectrum.fft // 2 + 1)
        assert (filters.sum(1) > 0).all()


def test_silence_is_nought_and_a_sine_of_full_scale_is_one():
    spectrum = Spectrum(8000)
    assert not log_mel(torch.zeros(1, 8000), spectrum).any()
    assert not mfcc(torch.zeros(1, 8000), spectrum, 13).any()
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(8000, dtype=torch.float64) / 8000)
    loud, quiet = log_mel(sine[None], spectrum), log_mel(sine[None] / 100, spectrum)
    assert loud.max() == pytest.approx(1, abs=0.02)
    assert loud.max() < 1
    assert (loud.max() - quiet.max()).item() == pytest.approx(40 / RANGE_DB, abs=1e-9)


def test_features_lie_on_the_grid_of_exact_export(spectrum, waveform):
    features = on_grid(mfcc(torch.from_numpy(waveform)[None], spectrum, 13))
    assert features.dtype == torch.float32
    assert torch.equal(features * 256, (features * 256).round())
    assert features.abs().max() <= 1
