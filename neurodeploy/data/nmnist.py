"""N-MNIST: MNIST digits seen by a moving event camera, 34×34 pixels, about 300 ms (Orchard et al. 2015, CC BY-SA 4.0).

A recording is a file of 40-bit events: x (8 bits), y (8 bits), polarity (1 bit, 1 = ON), time in microseconds (23 bits). An
event with y = 240 is none: it marks that the sensor's clock has passed another 2¹³ µs. Layout: `Train/<digit>/<number>.bin` and
`Test/…`. Source: https://www.garrickorchard.com/datasets/n-mnist, archives at https://data.mendeley.com/datasets/468j46mzdv/1;
the MD5 are those that Tonic and SpikingJelly publish.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.data.dataset import DataSet
from neurodeploy.data.download import Archive
from neurodeploy.data.event_frames import Events, Values, event_counts, frame_bytes, frames_of
from neurodeploy.data.stored import Labelled, StoredDataSet, read_file
from neurodeploy.io.errors import UserError

_SIDE = 34
_CLOCK_MARK, _CLOCK_PERIOD = 240, 1 << 13
_LARGEST_FILE = 5 * 1_000_000  # official recordings have some 4,000 events
_PAGE = "https://data.mendeley.com/datasets/468j46mzdv/1"
_FILES = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
_SOURCES = tuple(
    Archive(f"{_FILES}/{file}/file_downloaded", f"md5:{md5}", f"{split}.zip", split, split, f"0/{marker}.bin", at_most)
    for split, file, md5, marker, at_most in (
        ("Train", "39c25547-014b-4137-a934-9d29fa53c7a0", "20959b8e626244a1b502305a9e6e2031", "00002", 4_000_000_000),
        ("Test", "05a4d654-7e03-4c15-bdfa-9bb2bcbea494", "69ca8762b2fe404d9b9bad1103e97832", "00004", 1_000_000_000),
    )
)


class Nmnist(StoredDataSet):
    """`kind = "nmnist"`: 60,000 training and 10,000 test recordings of 10 digits as event frames, `[N, bins, 2, 34, 34]`.

    Channel 0 holds the OFF events, channel 1 the ON events. All samples take 650 MB of memory per bin.

    Attributes:
        bins: T, equal parts of `duration_ms`.
        duration_ms: events at this time or later are left out; the three saccades take 300 ms.
        values: "spikes": 1 where at least one event fell, else 0. "counts": number of events / 256.
    """

    kind: Literal["nmnist"] = "nmnist"
    bins: int = Field(default=10, ge=1, le=300)
    duration_ms: int = Field(default=300, ge=1, le=8388)
    values: Values = "spikes"

    @property
    def event_frames(self) -> int:
        return self.bins

    def load(self) -> DataSet:
        """Read the recordings (minutes for all of them), or their frames from the cache.

        Raises:
            UserError: a recording is missing, truncated, empty, or holds an event outside the sensor, or more than 255 events
                of one pixel in one bin (counts).
            Failure: the download failed.
        """
        missing = tuple(source for source in _SOURCES if not (self.root / source.folder).exists())
        folder = self.located(("Train", "Test"), (".",), missing, _PAGE)
        train, test = ((_recordings(folder / split), folder / split) for split in ("Train", "Test"))
        note = f"N-MNIST, {self.values} in {self.bins} bins over {self.duration_ms} ms; official split"
        settings = {"bins", "duration_ms", "values"}
        convert = frames_of(self.values)
        return self.of_files(folder, train, test, self._frames, classes=10, note=note, settings=settings, convert=convert)

    def _frames(self, files: Sequence[Path]) -> Tensor:
        """uint8 `[N, bins, 2, 34, 34]`."""
        frames = np.zeros((len(files), self.bins, 2, _SIDE, _SIDE), np.uint8)
        for frame, path in zip(frames, files, strict=True):
            counts = event_counts(read_events(path), self.bins, 1000 * self.duration_ms, _SIDE, _SIDE)
            frame[:] = frame_bytes(counts, self.values, path)
        return torch.from_numpy(frames)


def _recordings(folder: Path) -> Labelled:
    """Files and their digits, ordered by digit and number."""
    return [(path, digit) for digit in range(10) for path in sorted((folder / str(digit)).glob("*.bin"))]


def read_events(path: Path) -> Events:
    """The events of a recording.

    Raises:
        UserError: the file is missing, empty, no whole number of events, or an event is outside the sensor.
    """
    content = read_file(path, at_most=_LARGEST_FILE)
    if len(content) % 5:
        raise UserError(f"{path}: {len(content):,} bytes found, a multiple of 5 expected; it is truncated, fetch it again")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64)
    marks = rows[:, 1] == _CLOCK_MARK
    time = ((rows[:, 2] & 127) << 16 | rows[:, 3] << 8 | rows[:, 4]) + _CLOCK_PERIOD * np.cumsum(marks)
    outside = np.flatnonzero(((rows[:, 0] >= _SIDE) | (rows[:, 1] >= _SIDE)) & ~marks)
    if outside.size:
        x, y = rows[outside[0], :2]
        raise UserError(f"{path}: event {outside[0]} at x = {x}, y = {y} found, 0 to {_SIDE - 1} expected; fetch it again")
    events = ~marks
    return Events(rows[events, 0], rows[events, 1], rows[events, 2] >> 7, time[events])
