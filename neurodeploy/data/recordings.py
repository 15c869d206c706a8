"""A data set of recordings as audio features: read in chunks, so that memory holds few waveforms at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from neurodeploy.data.audio import Spectrum, log_mel, mfcc, on_grid
from neurodeploy.data.wav import read_clips

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
        found = log_mel(waveforms, spectrum) if features == "log-mel" else mfcc(waveforms, spectrum, coefficients)
        parts.append(on_grid(found).unsqueeze(1))
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
