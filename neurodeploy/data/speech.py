"""Spoken words: the Free Spoken Digit Dataset and Google Speech Commands."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from neurodeploy.data.audio import Features, Layout, Spectrum, features_of, laid_out
from neurodeploy.data.dataset import DataSet
from neurodeploy.data.download import Archive
from neurodeploy.data.stored import Labelled, StoredDataSet, read_lines
from neurodeploy.io.errors import UserError

_ORIGIN = "https://github.com/Jakobovski/free-spoken-digit-dataset/releases/tag/v1.0.10"
_RELEASE = "free-spoken-digit-dataset-1.0.10"
_FSDD_ARCHIVE = Archive(
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
        folder = self.located(("[0-9]_*_[0-9]*.wav",), ("recordings", ".", f"{_RELEASE}/recordings"), (_FSDD_ARCHIVE,), _ORIGIN)
        train, test = _digits_by_split(folder)
        spectrum = Spectrum(_RATE, self.frames, self.bands)
        return self.of_files(
            folder,
            (train, folder),
            (test, folder),
            lambda files: features_of(files, spectrum, self.features, self.coefficients),
            classes=10,
            note=f"Free Spoken Digit Dataset, {self.features} in {self.frames} frames; official split by index",
            settings={"features", "frames", "bands"} | ({"coefficients"} if self.features == "mfcc" else set()),
            convert=lambda samples: laid_out(samples, self.layout),
        )


def _digits_by_split(folder: Path) -> tuple[Labelled, Labelled]:
    """Training and test recordings with their digits, ordered by digit, speaker and index."""
    recordings = []
    for path in folder.glob("*.wav"):
        parts = _NAME.fullmatch(path.name)
        if parts is None or int(parts[3]) >= _INDICES:
            raise UserError(f"{path}: digit_speaker_index.wav with an index below {_INDICES} expected; remove or rename it")
        recordings.append((int(parts[1]), parts[2], int(parts[3]), path))
    recordings.sort()
    train = [(path, digit) for digit, _, index, path in recordings if index >= _TEST_INDICES]
    return train, [(path, digit) for digit, _, index, path in recordings if index < _TEST_INDICES]


WORDS = (
    *("backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go"),
    *("happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven"),
    *("sheila", "six", "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero"),
)
"""The 35 classes in the order of their labels."""

_COMMANDS_ARCHIVE = Archive(
    url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    checksum="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    name="speech_commands_v0.02.tar.gz",
    folder="speech_commands_v0.02",
    top="",
    marker="testing_list.txt",
    at_most=5_000_000_000,
)
_LISTS = ("testing_list.txt", "validation_list.txt")
_SPECTRUM = Spectrum(rate=16_000, frames=49)


class SpeechCommands(StoredDataSet):
    """`kind = "speech-commands"`: MFCC of 35 words, values from −1 to 1.

    Samples are `[N, 1, 49, coefficients]`, or `[N, coefficients, 49]` with `layout = "sequence"`.

    Attributes:
        coefficients: MFCC per frame of 40 mel bands (see `neurodeploy.data.audio`), k = 0 being the first.
        layout: "image" for two-dimensional networks, "sequence" for one-dimensional ones such as `resnet1d`.
    """

    kind: Literal["speech-commands"] = "speech-commands"
    coefficients: int = Field(default=10, ge=1, le=40)
    layout: Layout = "image"

    def load(self) -> DataSet:
        """Read the recordings (minutes for all of them), or their features from the cache.

        Raises:
            UserError: a folder, a list or a listed recording is missing, or a file is damaged or of another rate.
            Failure: the download failed.
        """
        folder = self.located((*_LISTS, WORDS[0]), (_COMMANDS_ARCHIVE.folder, "."), (_COMMANDS_ARCHIVE,), _COMMANDS_ARCHIVE.url)
        train, test = _commands_by_split(folder)
        mfcc = f"{self.coefficients} MFCC in 49 frames"
        return self.of_files(
            folder,
            (train, folder),
            (test, folder),
            lambda files: features_of(files, _SPECTRUM, "mfcc", self.coefficients),
            classes=len(WORDS),
            note=f"Google Speech Commands v2, 35 words, {mfcc}; official split, validation list left out",
            settings={"coefficients"},
            convert=lambda samples: laid_out(samples, self.layout),
        )


def _commands_by_split(folder: Path) -> tuple[Labelled, Labelled]:
    """Training and test recordings with their words' labels, sorted by `word/file.wav`."""
    test, validation = (_listed(folder / name) for name in _LISTS)
    both = test & validation
    if both:
        raise UserError(f"{folder / _LISTS[0]}: {min(both)} is listed in {_LISTS[1]} too; put the official lists there")
    files: set[str] = set()
    for word in WORDS:
        if not (folder / word).is_dir():
            raise UserError(
                f"{folder / word}: no such folder, one for each of the {len(WORDS)} words expected; unpack the archive again"
            )
        files.update(f"{word}/{path.name}" for path in (folder / word).glob("*.wav"))
    missing = (test | validation) - files
    if missing:
        lost = min(missing)
        list_name = _LISTS[0] if lost in test else _LISTS[1]
        raise UserError(f"{folder / lost}: no such file, but {list_name} lists it; unpack the official archive again")
    return _labelled(folder, files - test - validation), _labelled(folder, test)


def _labelled(folder: Path, names: set[str]) -> Labelled:
    return [(folder / name, WORDS.index(name.partition("/")[0])) for name in sorted(names)]


def _listed(path: Path) -> set[str]:
    names = read_lines(path)
    for name in names:
        word, _, file = name.partition("/")
        if word not in WORDS or "/" in file or not file.endswith(".wav"):
            raise UserError(
                f"{path}: {name[:80]!r} found, word/file.wav with one of the 35 words expected; put the official list there"
            )
    return set(names)
