"""Audio features: log-mel bands and MFCC of a recording, on the grid of 1/256 that exact export needs.

Sources: S. Davis, P. Mermelstein, "Comparison of parametric representations for monosyllabic word recognition", IEEE TASSP
28(4), 1980 (MFCC); S. Young et al., The HTK Book 3.4, section 5.6 (mel scale, filters, cepstral liftering); Y. Zhang et al.,
"Hello Edge", arXiv:1711.07128 (windows of 40 ms every 20 ms: 49 frames a second).
"""

from dataclasses import dataclass
from math import ceil, log2, pi

import torch
from torch import Tensor

RANGE_DB = 100.0
"""Quietest level that is told from silence, in decibels below a sine of full scale."""
LIFTER = 22
"""L of the liftering, as HTK's default."""


@dataclass(frozen=True)
class Spectrum:
    """How a waveform becomes mel bands.

    Attributes:
        rate: samples per second.
        frames: F, number of analysis windows.
        bands: M, number of mel filters.
        window_ms, hop_ms: length of one analysis window, and from one to the next, in milliseconds.
        low: Hz, lower edge of the first filter; the last one ends at rate / 2.
    """

    rate: int
    frames: int = 49
    bands: int = 40
    window_ms: int = 40
    hop_ms: int = 20
    low: float = 20.0

    @property
    def window(self) -> int:
        return self.rate * self.window_ms // 1000

    @property
    def hop(self) -> int:
        return self.rate * self.hop_ms // 1000

    @property
    def length(self) -> int:
        """Samples that `frames` windows cover."""
        return self.window + (self.frames - 1) * self.hop

    @property
    def fft(self) -> int:
        """Points of the Fourier transform: the next power of two."""
        return 1 << ceil(log2(self.window))


def log_mel(waveforms: Tensor, spectrum: Spectrum) -> Tensor:
    """Loudness of mel bands over time, between 0 (100 dB below full scale, or less) and 1 (a sine of full scale).

    With frames `x_f[n] = x[f·hop + n]`, the Hann window `w[n] = sin²(π n / window)` and the mel filters `H`:

        P_f[k] = 4 |Σ_n w[n] x_f[n] e^(−2πi k n / fft)|² / (fft Σ_n w[n]²)
        L_f[m] = clip(1 + 10 log₁₀(Σ_k H[m, k] P_f[k]) / 100, 0, 1)

    So the powers of a sine of amplitude 1 add up to 1.

    Args:
        waveforms: float64 `[B, spectrum.length]`, full scale ±1.
        spectrum: windows and filters.

    Returns:
        float64 `[B, F, M]`.
    """
    n = torch.arange(spectrum.window, dtype=torch.float64)
    window = torch.sin(pi * n / spectrum.window) ** 2
    frames = waveforms.double().unfold(-1, spectrum.window, spectrum.hop) * window
    transform = torch.fft.rfft(frames, n=spectrum.fft)
    power = (transform.real.square() + transform.imag.square()) * (4 / (spectrum.fft * window.square().sum()))
    energy = power @ mel_filters(spectrum).T
    return (1 + 10 * energy.clamp_min(1e-30).log10() / RANGE_DB).clamp(0, 1)


def mfcc(waveforms: Tensor, spectrum: Spectrum, coefficients: int) -> Tensor:
    """Mel-frequency cepstral coefficients of `L = log_mel(…)`, liftered, between −1 and 1.

        d_f[k] = s_k / M · Σ_m L_f[m] cos(π k (m + ½) / M),   s_0 = 1, s_k = √2
        c_f[k] = clip((1 + L/2 · sin(π k / L)) d_f[k], −1, 1),   L = 22

    `√M d` is the orthonormal discrete cosine transform (DCT-II) of L; the lifter brings high coefficients, which are small,
    to a size that a grid of 1/256 resolves.

    Args:
        waveforms: float64 `[B, spectrum.length]`, full scale ±1.
        spectrum: windows and filters.
        coefficients: K, at most M; the first is k = 0, the mean loudness.

    Returns:
        float64 `[B, F, K]`.
    """
    k = torch.arange(coefficients, dtype=torch.float64)
    m = torch.arange(spectrum.bands, dtype=torch.float64)
    scale = torch.where(k == 0, 1, 2).to(torch.float64).sqrt() / spectrum.bands
    lifter = 1 + LIFTER / 2 * torch.sin(pi * k / LIFTER)
    basis = (scale * lifter)[:, None] * torch.cos(pi * k[:, None] * (m + 0.5) / spectrum.bands)
    return (log_mel(waveforms, spectrum) @ basis.T).clamp(-1, 1)


def mel_filters(spectrum: Spectrum) -> Tensor:
    """Triangular filters `H`, float64 `[M, fft/2 + 1]`, on the mel scale `mel(f) = 2595 log₁₀(1 + f / 700)`.

    With M + 2 edges `e_0 … e_(M+1)` equally spaced in mel from `low` to rate / 2, filter m rises in mel from 0 at `e_m` to 1 at
    `e_(m+1)` and falls to 0 at `e_(m+2)`.
    """
    frequencies = torch.arange(spectrum.fft // 2 + 1, dtype=torch.float64) * spectrum.rate / spectrum.fft
    mels = 2595 * torch.log10(1 + frequencies / 700)
    ends = 2595 * torch.log10(1 + torch.tensor([spectrum.low, spectrum.rate / 2], dtype=torch.float64) / 700)
    edges = torch.linspace(float(ends[0]), float(ends[1]), spectrum.bands + 2, dtype=torch.float64)
    step = edges[1] - edges[0]
    return (1 - (mels - edges[1:-1, None]).abs() / step).clamp_min(0)


def on_grid(features: Tensor) -> Tensor:
    """Rounded to the nearest multiple of 1/256 (ties to even), float32."""
    return ((features * 256).round() / 256).float()
