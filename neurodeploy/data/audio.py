"""Recordings: WAV files, and the spectrograms that networks hear."""

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, pi
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.data.stored import read_file
from neurodeploy.io.errors import UserError

_AT_MOST = 1 << 22  # bytes: four minutes at 8 kHz


def read_wav(path: Path, rate: int) -> NDArray[np.int16]:
    """The samples of a recording, `[S]`.

    Args:
        path: a WAV file.
        rate: samples per second that are expected.

    Raises:
        UserError: the file is missing, truncated, empty, no WAV file, or not 16-bit mono at `rate`.
    """
    content = read_file(path, at_most=_AT_MOST)
    try:
        with wave.open(io.BytesIO(content)) as file:
            kind, count = (file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()), file.getnframes()
            frames = file.readframes(count) if kind == (1, 16, rate) else b""
    except (wave.Error, EOFError, ValueError, OverflowError, ZeroDivisionError, RuntimeError) as error:
        reason = str(error) or "truncated"
        raise UserError(f"{path}: not a whole WAV file ({reason}); remove it and fetch the official file again") from None
    if kind != (1, 16, rate):
        channels, bits, hertz = kind
        raise UserError(
            f"{path}: {channels} channels of {bits} bits at {hertz:,} Hz found, one of 16 bits at {rate:,} Hz expected; "
            "put the official file there"
        )
    if len(frames) != 2 * count:
        raise UserError(f"{path}: {len(frames) // 2:,} of {count:,} samples found; it is truncated, fetch it again")
    if not count:
        raise UserError(f"{path}: no samples found; remove it and fetch the official file again")
    return np.frombuffer(frames, "<i2").astype(np.int16)


def read_clips(paths: list[Path], rate: int, length: int) -> NDArray[np.int16]:
    """Recordings of one length, `[N, length]`: longer ones are cut, shorter ones end in zeros.

    Raises:
        UserError: as `read_wav`.
    """
    clips = np.zeros((len(paths), length), np.int16)
    for clip, path in zip(clips, paths, strict=True):
        samples = read_wav(path, rate)[:length]
        clip[: len(samples)] = samples
    return clips


RANGE_DB = 100.0
"""Quietest level that differs from silence, in decibels below a sine of full scale."""
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


Features = Literal["log-mel", "mfcc"]
Layout = Literal["image", "sequence"]
"""Axes of a sample: `[1, frames, features]` for two-dimensional networks, `[features, frames]` for one-dimensional ones."""

_CHUNK = 256


def features_of(paths: Sequence[Path], spectrum: Spectrum, features: Features, coefficients: int) -> Tensor:
    """Features of recordings, cut or filled with silence to `spectrum.length` samples.

    Args:
        paths: 16-bit mono WAV files at `spectrum.rate`.
        spectrum: windows and filters.
        features: "log-mel" or "mfcc" (see `neurodeploy.data.audio`).
        coefficients: K of the MFCC.

    Returns:
        float32 `[N, 1, F, M]` (log-mel) or `[N, 1, F, K]` (MFCC), multiples of 1/256 between −1 and 1.

    Raises:
        UserError: a file is missing, damaged, or of another rate or format.
    """
    parts = []
    for start in range(0, len(paths), _CHUNK):
        clips = read_clips(list(paths[start : start + _CHUNK]), spectrum.rate, spectrum.length)
        waveforms = torch.from_numpy(clips).double() / 32768
        values = log_mel(waveforms, spectrum) if features == "log-mel" else mfcc(waveforms, spectrum, coefficients)
        parts.append(on_grid(values).unsqueeze(1))
    return torch.cat(parts)


def laid_out(samples: Tensor, layout: Layout) -> Tensor:
    """Features of recordings with the axes that a network reads.

    Args:
        samples: `[N, 1, F, M]`, F frames of M features.
        layout: "image" leaves them; "sequence" makes the features the channels and the frames the length.

    Returns:
        `[N, 1, F, M]` or `[N, M, F]`, the same values.
    """
    return samples if layout == "image" else samples.squeeze(1).transpose(1, 2).contiguous()
