"""Recordings: 16-bit mono WAV files, read with the standard library."""

import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurodeploy.data.reading import read_file
from neurodeploy.errors import UserError

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
    except (wave.Error, EOFError, ValueError, OverflowError, ZeroDivisionError) as error:
        reason = str(error) or "truncated"
        raise UserError(f"{path}: not a whole WAV file ({reason}); remove it and fetch the official file again") from None
    if kind != (1, 16, rate):
        channels, bits, found = kind
        raise UserError(
            f"{path}: {channels} channels of {bits} bits at {found:,} Hz found, one of 16 bits at {rate:,} Hz expected; "
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
