"""AEDAT 2.0, the format in which jAER records event cameras, for the sensor DVS128 of 128×128 pixels.

A file begins with the line `#!AER-DAT2.0` and any other lines that begin with `#`. Events follow, 8 bytes each: an address and
a time in microseconds, both big-endian integers of 32 bits. Of a DVS128's address, bit 0 is the polarity (1 = OFF), bits 1 to 7
and 8 to 14 are the sensor's two axes, and bit 15 marks an external event, which has no pixel.
Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html (and aedat-1.0 for the address);
jAER's DVS128 reads bit 0 so, and so does dat2mat.m, the tool that the publisher of CIFAR10-DVS names.
"""

from pathlib import Path

import numpy as np

from neurodeploy.data.event_frames import Events
from neurodeploy.data.reading import read_file
from neurodeploy.errors import UserError

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
        found = int(address[wrong[0]]) % (1 << 32)
        raise UserError(
            f"{path}: event {wrong[0]} with address {found:#010x} found, at most 0x0000ffff expected of a DVS128; "
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
