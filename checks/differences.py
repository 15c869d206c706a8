"""In what two folders of the same training differ, but for the time it took. Tensors are compared bit by bit."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c
from torch import Tensor

_TIMES = {"seconds"}


def differences(expected: Path, found: Path) -> list[str]:
    """A line for each difference; none if the folders hold the same files and these the same content."""
    names, others = ({str(path.relative_to(root)) for path in root.rglob("*")} for root in (expected, found))
    lines = [f"{name}: missing" for name in sorted(names - others)] + [f"{name}: left over" for name in sorted(others - names)]
    for name in sorted(names & others):
        one, other = expected / name, found / name
        if one.is_file():
            lines += [f"{name}: {fault}" for fault in _of_files(one, other)]
    return lines


def _of_files(one: Path, other: Path) -> list[str]:
    if one.suffix == ".safetensors":
        return _of_checkpoints(one, other)
    if one.suffix == ".jsonl":
        return _of_values(_lines(one), _lines(other))
    if "tfevents" in one.name:
        return _of_values(_curves(one), _curves(other))
    return [] if one.read_bytes() == other.read_bytes() else ["other content"]


def _of_checkpoints(one: Path, other: Path) -> list[str]:
    (head, tensors), (other_head, other_tensors) = _checkpoint(one), _checkpoint(other)
    faults = [] if head == other_head else ["another header"]
    if tensors.keys() != other_tensors.keys():
        return [*faults, "other tensors"]
    return faults + [
        f"tensor {name} differs" for name, tensor in tensors.items() if _bits(tensor) != _bits(other_tensors[name])
    ]


def _checkpoint(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict


def _bits(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _of_values(one: list[dict[str, object]], other: list[dict[str, object]]) -> list[str]:
    faults = [] if len(one) == len(other) else [f"{len(other)} records, {len(one)} expected"]
    pairs = enumerate(zip(one, other, strict=False), start=1)
    return faults + [f"record {number} differs" for number, (a, b) in pairs if a != b]


def _lines(path: Path) -> list[dict[str, object]]:
    """The epochs of `metrics.jsonl`, without their times."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name not in _TIMES} for line in lines]


def _curves(path: Path) -> list[dict[str, object]]:
    """The records of a file for TensorBoard, without their times; one that is cut off or damaged is marked so."""
    return [
        {"step": event.step, **{value.tag: value.simple_value for value in event.summary.value if value.tag not in _TIMES}}
        for event in _events(path.read_bytes())
    ]


def _events(content: bytes) -> Iterator[Event]:
    while content:
        (size,) = struct.unpack("<Q", content[:8].ljust(8, b"\0"))
        record, checks = content[12 : 12 + size], content[8:12] + content[12 + size : 16 + size]
        sound = checks == struct.pack("<II", masked_crc32c(content[:8]), masked_crc32c(record))
        yield Event.FromString(record) if sound else Event(step=-1)
        content = content[16 + size :] if sound else b""
