"""CIFAR10-DVS: CIFAR-10 seen by an event camera (Li et al. 2017), and the AEDAT 2.0 files that it comes in."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.data.dataset import DataSet
from neurodeploy.data.download import Archive
from neurodeploy.data.event_frames import Events, Values, downsampled, event_counts, frame_bytes, frames_of, in_order
from neurodeploy.data.stored import Labelled, StoredDataSet, read_file
from neurodeploy.io.errors import UserError

SIDE = 128
_VERSION = b"#!AER-DAT2.0"
_EVENT = np.dtype([("address", ">i4"), ("time", ">i4")])
_EXTERNAL = 1 << 15
_LARGEST_FILE = 8 * 5_000_000  # recordings of a second have some 200,000 events


def read_dvs128(path: Path) -> Events:
    """The events of a recording, x from left to right and y from top to bottom, in the file's order.

    Rows and columns are those of dat2mat.m, and so of the loaders that follow it: `x = 127 − (bits 8 to 14)` and
    `y = 127 − (bits 1 to 7)`. External events are left out. Times count from the earliest event.

    Raises:
        UserError: the file is missing, of another version or another sensor, truncated, or holds no event of a pixel.
    """
    content = read_file(path, at_most=_LARGEST_FILE)
    start = _end_of_header(path, content)
    size = len(content) - start
    if size % _EVENT.itemsize:
        raise UserError(
            f"{path}: {size:,} bytes of events found, a multiple of {_EVENT.itemsize} expected; it is truncated, fetch it again"
        )
    events = np.frombuffer(content, _EVENT, offset=start)
    address, time = events["address"].astype(np.int64), events["time"].astype(np.int64)
    wrong = np.flatnonzero(address >> 16)
    if wrong.size:
        unsigned = int(address[wrong[0]]) % (1 << 32)
        raise UserError(
            f"{path}: event {wrong[0]} with address {unsigned:#010x} found, at most 0x0000ffff expected of a DVS128; "
            "it is damaged, or of another sensor; fetch the official file again"
        )
    pixels = (address & _EXTERNAL) == 0
    address, time = address[pixels], time[pixels]
    if not address.size:
        raise UserError(f"{path}: no events found; remove it and fetch the official file again")
    x, y = SIDE - 1 - (address >> 8 & SIDE - 1), SIDE - 1 - (address >> 1 & SIDE - 1)
    return Events(x, y, 1 - (address & 1), time - time.min())


def _end_of_header(path: Path, content: bytes) -> int:
    """Where the events begin. An address never begins with `#`, which would be a pixel far outside the sensor."""
    first = content[:80].partition(b"\n")[0].rstrip(b"\r")
    if first != _VERSION:
        raise UserError(f"{path}: first line {_shown(first)} found, {_VERSION.decode()} expected; put the official file there")
    start = 0
    while content[start : start + 1] == b"#":
        end = content.find(b"\n", start)
        if end < 0:
            raise UserError(f"{path}: it ends in its header; it is truncated, fetch it again")
        start = end + 1
    return start


def _shown(line: bytes) -> str:
    """What may be any bytes, made harmless to print."""
    return ascii(line[:24].decode("latin-1"))


_RECORDINGS, _HELD_OUT = 1000, 100  # of every class
_PAGE = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
_FILES = "https://ndownloader.figshare.com/files"
_CHECKSUMS = {
    "airplane": (7712788, "0afd5c4bf9ae06af762a77b180354fdd"),
    "automobile": (7712791, "8438dfeba3bc970c94962d995b1b9bdd"),
    "bird": (7712794, "a9c207c91c55b9dc2002dc21c684d785"),
    "cat": (7712812, "52c63c677c2b15fa5146a8daf4d56687"),
    "deer": (7712815, "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
    "dog": (7712818, "f379ebdf6703d16e0a690782e62639c3"),
    "frog": (7712842, "cad6ed91214b1c7388a5f6ee56d08803"),
    "horse": (7712851, "e7cbbf77bec584ffbf913f00e682782a"),
    "ship": (7712836, "41c7bd7d6b251be82557c6cce9a7d5c9"),
    "truck": (7712839, "89f3922fd147d9aeff89e76a2b0b70a7"),
}
_SOURCES = tuple(
    Archive(f"{_FILES}/{number}", f"md5:{md5}", f"{name}.zip", name, name, f"cifar10_{name}_0.aedat", at_most=8_000_000_000)
    for name, (number, md5) in _CHECKSUMS.items()
)
CLASSES = tuple(_CHECKSUMS)
"""In the order of their labels."""


class Cifar10Dvs(StoredDataSet):
    """`kind = "cifar10-dvs"`: 9,000 training and 1,000 test recordings of 10 classes, `[N, bins, 2, size, size]`.

    Channel 0 holds the OFF events, channel 1 the ON events. At 48×48 all samples take 184 MB of memory per bin.

    Attributes:
        bins: T.
        parts: what the bins have in equal parts: the recording's "events", or its "time" from the first to the last event.
        size: of a frame's sides; 128 is the sensor's own. Pixels of the sensor are summed (see `event_frames.downsampled`).
        values: see `event_frames.Values`.
        held_out: which 100 recordings of every class are the test set: the "last" ones (900 to 999; 900 of 1,000 for training
            is what older loaders of SpikingJelly do), or the "first" ones (0 to 99, as in TEBN, Duan et al. 2022). Accuracies
            on different splits are not comparable.
    """

    kind: Literal["cifar10-dvs"] = "cifar10-dvs"
    bins: int = Field(default=10, ge=1, le=300)
    parts: Literal["events", "time"] = "events"
    size: int = Field(default=48, ge=1, le=SIDE)
    values: Values = "spikes"
    held_out: Literal["last", "first"] = "last"

    @property
    def event_frames(self) -> int:
        return self.bins

    def load(self) -> DataSet:
        """Read the recordings (minutes for all of them), or their frames from the cache.

        Raises:
            UserError: a class has no recordings, a name is not of the official form, a recording is truncated, empty, of
                another format or sensor, or holds more than 255 events of one pixel in one bin (counts).
            Failure: the download failed.
        """
        missing = tuple(source for source in _SOURCES if not (self.root / source.folder).exists())
        folder = self.located(CLASSES, (".", "extract"), missing, _PAGE)
        train, test = self._by_split(folder)
        note = (
            f"CIFAR10-DVS, {self.values} in {self.bins} bins of equal {self.parts}, {self.size}×{self.size}; no official "
            f"split, the {self.held_out} {_HELD_OUT} recordings of every class are the test set"
        )
        settings, convert = {"bins", "parts", "size", "values"}, frames_of(self.values)
        split = (train, folder), (test, folder)
        return self.of_files(folder, *split, self._frames, classes=len(CLASSES), note=note, settings=settings, convert=convert)

    def _by_split(self, folder: Path) -> tuple[Labelled, Labelled]:
        """Training and test recordings with their labels, ordered by class and number."""
        first = 0 if self.held_out == "first" else _RECORDINGS - _HELD_OUT
        held_out = range(first, first + _HELD_OUT)
        train, test = list[tuple[Path, int]](), list[tuple[Path, int]]()
        for label, name in enumerate(CLASSES):
            recordings = _recordings(folder / name)
            parts = [number in held_out for number, _ in recordings]
            for part, expected in ((True, "test"), (False, "training")):
                if part not in parts:
                    raise UserError(
                        f"{folder / name}: {len(parts)} recordings cifar10_{name}_<number>.aedat found, none of them for the "
                        f"{expected} set; all {_RECORDINGS:,} expected, unpack the official archive again (AEDAT 2.0, {_PAGE})"
                    )
            for (_, path), part in zip(recordings, parts, strict=True):
                (test if part else train).append((path, label))
        return train, test

    def _frames(self, files: Sequence[Path]) -> Tensor:
        """uint8 `[N, bins, 2, size, size]`."""
        frames = np.zeros((len(files), self.bins, 2, self.size, self.size), np.uint8)
        for frame, path in zip(frames, files, strict=True):
            events = downsampled(read_dvs128(path), SIDE, self.size)
            events, duration = in_order(events) if self.parts == "events" else (events, int(events.time.max()) + 1)
            frame[:] = frame_bytes(event_counts(events, self.bins, duration, self.size, self.size), self.values, path)
        return torch.from_numpy(frames)


def _recordings(folder: Path) -> list[tuple[int, Path]]:
    """Numbers and files of a class, in the order of the numbers."""
    official = re.compile(rf"cifar10_{folder.name}_(0|[1-9][0-9]{{0,2}})\.aedat")
    recordings = []
    for path in folder.glob("*.aedat"):
        parts = official.fullmatch(path.name)
        if parts is None:
            raise UserError(
                f"{path}: cifar10_{folder.name}_<number>.aedat, numbers 0 to {_RECORDINGS - 1}, expected; remove or rename it"
            )
        recordings.append((int(parts[1]), path))
    return sorted(recordings)
