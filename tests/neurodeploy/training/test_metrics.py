"""The metrics of a training as JSON lines and as TensorBoard's event records."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from neurodeploy.training.metrics import CURVES, METRICS, Metrics

VALUES = {"loss": 0.5, "terms": {"cross-entropy": 0.4, "laf": 1.0}, "seconds": 1}


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def curves(folder) -> dict[str, dict[int, float]]:
    """Every record of the event file, its checksums compared."""
    content, found = (folder / CURVES).read_bytes(), {}
    while content:
        (length,), (check,) = struct.unpack("<Q", content[:8]), struct.unpack("<I", content[8:12])
        assert check == masked(content[:8])
        record, (check,) = content[12 : 12 + length], struct.unpack("<I", content[12 + length : 16 + length])
        assert check == masked(record)
        event = Event.FromString(record)
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
        content = content[16 + length :]
    return found


def test_every_number_is_a_line_and_a_point_of_a_curve(tmp_path):
    metrics = Metrics(tmp_path, 0)
    for epoch in (1, 2):
        metrics.write(epoch, VALUES | {"loss": epoch / 4})
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert lines == [{"epoch": 1, **VALUES, "loss": 0.25}, {"epoch": 2, **VALUES, "loss": 0.5}]
    found = curves(tmp_path)
    assert set(found) == {"loss", "terms/cross-entropy", "terms/laf", "seconds"}
    assert found["loss"] == {1: 0.25, 2: 0.5}
    assert found["terms/cross-entropy"][1] == pytest.approx(0.4)


def test_epochs_that_the_checkpoint_does_not_know_are_dropped_from_both(tmp_path):
    first = Metrics(tmp_path, 0)
    for epoch in (1, 2, 3):
        first.write(epoch, VALUES)
    (tmp_path / CURVES).write_bytes((tmp_path / CURVES).read_bytes()[:-5])
    again = Metrics(tmp_path, 2)
    again.write(3, VALUES | {"loss": 9.0})
    assert [json.loads(line)["epoch"] for line in (tmp_path / METRICS).read_text().splitlines()] == [1, 2, 3]
    assert curves(tmp_path)["loss"] == {1: 0.5, 2: 0.5, 3: 9.0}
