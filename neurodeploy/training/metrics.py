"""The metrics of a training: one JSON line per epoch, and the same numbers as curves for TensorBoard."""

import json
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.io.files import atomic_file, write_text, writing

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event

METRICS = "metrics.jsonl"
CURVES = "events.out.tfevents.neurodeploy"


class Metrics:
    """Appends to `metrics.jsonl` and `events.out.tfevents.neurodeploy`, without a thread of its own.

    Args:
        folder: of one network's training.
        epochs: that the checkpoint knows; lines of later ones are dropped, they are computed again.

    Raises:
        UserError, Failure: the folder cannot be written (see `neurodeploy.io.files.writing`).
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._lines, self._curves = folder / METRICS, folder / CURVES
        known = self._lines.read_text("utf-8").splitlines()[:epochs] if self._lines.exists() else []
        write_text(self._lines, "".join(f"{line}\n" for line in known))
        with atomic_file(self._curves) as temporary:
            start = _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
            temporary.write_bytes(start + b"".join(_curves(json.loads(line)) for line in known))

    def write(self, epoch: int, values: dict[str, object]) -> None:
        """Metrics of the epoch of this number, counted from 1; a table inside becomes one curve per entry."""
        line = {"epoch": epoch, **values}
        for path, content in ((self._lines, f"{json.dumps(line)}\n".encode()), (self._curves, _curves(line))):
            with writing(path), path.open("ab") as file:
                file.write(content)


def _curves(line: dict[str, object]) -> bytes:
    """One event of TensorBoard's record format with all numbers of an epoch."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    flat: dict[str, object] = {}
    for name, value in line.items():
        flat |= {f"{name}/{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
    epoch = flat.pop("epoch")
    numbers = [Summary.Value(tag=name, simple_value=value) for name, value in flat.items() if isinstance(value, int | float)]
    return _record(Event(wall_time=time.time(), step=epoch, summary=Summary(value=numbers)))


def _record(event: "Event") -> bytes:
    """Length, its checksum, content, its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked_crc32c(length)) + content + struct.pack("<I", masked_crc32c(content))
