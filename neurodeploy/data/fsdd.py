"""Free Spoken Digit Dataset: 3,000 real recordings of ten digits by six speakers at 8 kHz (Jakobovski et al., CC BY-SA 4.0).

Files are named `digit_speaker_index.wav`. Official split: index 0 to 4 test, 5 to 49 training.
Source: https://github.com/Jakobovski/free-spoken-digit-dataset (release v1.0.10). Its publisher gives no checksum, and its
archive is packed anew for every download: the recordings themselves are compared with those of the release.
"""

import re
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator

from neurodeploy.data.audio import Spectrum
from neurodeploy.data.cache import prepared
from neurodeploy.data.dataset import DataSet
from neurodeploy.data.download import Archive
from neurodeploy.data.limits import first_of_each_class
from neurodeploy.data.recordings import Features, Layout, features_of, laid_out
from neurodeploy.data.stored import StoredDataSet
from neurodeploy.errors import UserError

_ORIGIN = "https://github.com/Jakobovski/free-spoken-digit-dataset/releases/tag/v1.0.10"
_RELEASE = "free-spoken-digit-dataset-1.0.10"
_ARCHIVE = Archive(
    url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
    checksum=None,
    name=f"{_RELEASE}.tar.gz",
    folder="recordings",
    top=f"{_RELEASE}/recordings",
    marker="0_george_0.wav",
    at_most=60_000_000,
    content="1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959",
)
_NAME = re.compile(r"([0-9])_([a-z]+)_([0-9]{1,2})\.wav")
_RATE = 8000
_TEST_INDICES, _INDICES = 5, 50


class Fsdd(StoredDataSet):
    """`kind = "fsdd"`: 2,700 training and 300 test recordings of 10 digits.

    Samples are `[N, 1, frames, M]`, or `[N, M, frames]` with `layout = "sequence"`; M is the number of bands or coefficients.

    Attributes:
        features: "log-mel" (values from 0 to 1) or "mfcc" (−1 to 1), see `neurodeploy.data.audio`.
        frames: windows of 40 ms, one every 20 ms; 49 cover one second. Longer recordings are cut, shorter end in silence.
        bands: mel filters.
        coefficients: MFCC that are used.
        layout: "image" for two-dimensional networks, "sequence" for one-dimensional ones such as `resnet1d`.
    """

    kind: Literal["fsdd"] = "fsdd"
    features: Features = "log-mel"
    frames: int = Field(default=49, ge=1, le=500)
    bands: int = Field(default=40, ge=1, le=64)
    coefficients: int = Field(default=13, ge=1, le=64)
    layout: Layout = "image"

    @model_validator(mode="after")
    def _no_more_coefficients_than_bands(self) -> "Fsdd":
        if self.features == "mfcc" and self.coefficients > self.bands:
            raise ValueError(f"{self.coefficients} coefficients of {self.bands} bands found, at most as many as bands expected")
        return self

    def load(self) -> DataSet:
        """Read the recordings, or their features from the cache.

        Raises:
            UserError: no recordings, a name that is not of the official form, or a file that is damaged or of another rate.
            Failure: the download failed.
        """
        folder = self.located(("[0-9]_*_[0-9]*.wav",), ("recordings", ".", f"{_RELEASE}/recordings"), (_ARCHIVE,), _ORIGIN)
        train, test = _by_split(folder)
        train_files, train_labels = _limited(train, self.train_limit, folder)
        test_files, test_labels = _limited(test, self.test_limit, folder)
        spectrum = Spectrum(_RATE, self.frames, self.bands)
        files = [*train_files, *test_files]
        kept = {"kind", "features", "frames", "bands"} | ({"coefficients"} if self.features == "mfcc" else set())
        tensors = prepared(
            folder,
            self.model_dump(include=kept),
            files,
            lambda: {"samples": features_of(files, spectrum, self.features, self.coefficients)},
        )
        samples, count = laid_out(tensors["samples"], self.layout), len(train_files)
        note = f"Free Spoken Digit Dataset, {self.features} in {self.frames} frames; official split by index{self.used()}"
        labels = torch.tensor(train_labels), torch.tensor(test_labels)
        return DataSet("fsdd", samples[:count], labels[0], samples[count:], labels[1], 10, note)


def _by_split(folder: Path) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
    """Training and test recordings with their digits, ordered by digit, speaker and index."""
    found = []
    for path in folder.glob("*.wav"):
        parts = _NAME.fullmatch(path.name)
        if parts is None or int(parts[3]) >= _INDICES:
            raise UserError(f"{path}: digit_speaker_index.wav with an index below {_INDICES} expected; remove or rename it")
        found.append((int(parts[1]), parts[2], int(parts[3]), path))
    found.sort()
    train = [(path, digit) for digit, _, index, path in found if index >= _TEST_INDICES]
    return train, [(path, digit) for digit, _, index, path in found if index < _TEST_INDICES]


def _limited(recordings: list[tuple[Path, int]], limit: int | None, folder: Path) -> tuple[list[Path], list[int]]:
    chosen = [recordings[place] for place in first_of_each_class([digit for _, digit in recordings], limit, 10, folder)]
    return [path for path, _ in chosen], [digit for _, digit in chosen]
