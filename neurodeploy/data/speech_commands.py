"""Google Speech Commands v2: 105,829 real recordings of 35 words at 16 kHz (Warden 2018, arXiv:1804.03209, CC BY 4.0).

Layout: a folder per word, and the lists `validation_list.txt` and `testing_list.txt` (lines `word/file.wav`). Recordings of
neither list are training data (84,843); those of the validation list (9,981) are used for nothing here, and those of the
testing list (11,005) are the test set. Source: https://www.tensorflow.org/datasets/catalog/speech_commands; the SHA-256 is the
one that TensorFlow Datasets and torchaudio publish.
"""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from neurodeploy.data.audio import Spectrum
from neurodeploy.data.cache import prepared
from neurodeploy.data.dataset import DataSet
from neurodeploy.data.download import Archive
from neurodeploy.data.limits import first_of_each_class
from neurodeploy.data.reading import read_lines
from neurodeploy.data.recordings import Layout, features_of, laid_out
from neurodeploy.data.stored import StoredDataSet
from neurodeploy.errors import UserError

WORDS = (
    *("backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go"),
    *("happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven"),
    *("sheila", "six", "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero"),
)
"""The 35 classes in the order of their labels."""

_ARCHIVE = Archive(
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
        folder = self.located((*_LISTS, WORDS[0]), (_ARCHIVE.folder, "."), (_ARCHIVE,), _ARCHIVE.url)
        train, test = _by_split(folder)
        train_files, train_labels = _limited(train, self.train_limit, folder)
        test_files, test_labels = _limited(test, self.test_limit, folder)
        files = [*train_files, *test_files]
        tensors = prepared(
            folder,
            self.model_dump(include={"kind", "coefficients"}),
            files,
            lambda: {"samples": features_of(files, _SPECTRUM, "mfcc", self.coefficients)},
        )
        samples, count = laid_out(tensors["samples"], self.layout), len(train_files)
        note = (
            f"Google Speech Commands v2, 35 words, {self.coefficients} MFCC in 49 frames; official split, "
            f"validation list left out{self.used()}"
        )
        labels = torch.tensor(train_labels), torch.tensor(test_labels)
        return DataSet("speech-commands", samples[:count], labels[0], samples[count:], labels[1], len(WORDS), note)


def _by_split(folder: Path) -> tuple[list[str], list[str]]:
    """Names `word/file.wav` of the training and of the test recordings, sorted."""
    test, validation = (_listed(folder / name) for name in _LISTS)
    both = test & validation
    if both:
        raise UserError(f"{folder / _LISTS[0]}: {min(both)} is listed in {_LISTS[1]} too; put the official lists there")
    found: set[str] = set()
    for word in WORDS:
        if not (folder / word).is_dir():
            raise UserError(
                f"{folder / word}: no such folder, one for each of the {len(WORDS)} words expected; unpack the archive again"
            )
        found.update(f"{word}/{path.name}" for path in (folder / word).glob("*.wav"))
    missing = (test | validation) - found
    if missing:
        lost = min(missing)
        list_name = _LISTS[0] if lost in test else _LISTS[1]
        raise UserError(f"{folder / lost}: no such file, but {list_name} lists it; unpack the official archive again")
    return sorted(found - test - validation), sorted(test)


def _listed(path: Path) -> set[str]:
    names = read_lines(path)
    for name in names:
        word, _, file = name.partition("/")
        if word not in WORDS or "/" in file or not file.endswith(".wav"):
            raise UserError(
                f"{path}: {name[:80]!r} found, word/file.wav with one of the 35 words expected; put the official list there"
            )
    return set(names)


def _limited(names: list[str], limit: int | None, folder: Path) -> tuple[list[Path], list[int]]:
    labels = [WORDS.index(name.partition("/")[0]) for name in names]
    chosen = first_of_each_class(labels, limit, len(WORDS), folder)
    return [folder / names[place] for place in chosen], [labels[place] for place in chosen]
