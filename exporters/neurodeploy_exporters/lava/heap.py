"""Strings of variable length in an HDF5 file, looked up without HDF5's own library.

The library does not survive every damaged heap: one with an empty piece of free space holds it in a loop for ever, and a wrong
length makes it ask for gigabytes (HDF5 2.0; see also issue 1707 of HDFGroup/hdf5). Source: HDF5 File Format Specification,
"Disk Format: Level 1E - Global Heap".
"""

import struct
from pathlib import Path
from typing import BinaryIO

_REFERENCE = struct.Struct("<IQI")  # length, address of a collection, number of an object in it
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size
_OBJECT = struct.Struct("<HH4xQ")  # number, count of references, size
_OBJECTS = 1 << 16  # numbers have 16 bits


class DamagedHeap(ValueError):
    """What a reference leads to is no string."""


def read_variable_text(path: Path, offset: int, base: int, longest: int) -> bytes:
    """The string that a reference stands for.

    Args:
        path: the file.
        offset: where the reference is, from the beginning of the file.
        base: where HDF5's addresses begin in it.
        longest: number of bytes that the string may have.

    Raises:
        DamagedHeap: it is longer, or there is none.
    """
    with path.open("rb") as file:
        length, address, number = _REFERENCE.unpack(_bytes(file, offset, _REFERENCE.size))
        if length > longest:
            raise DamagedHeap(f"{length} characters found, at most {longest} expected")
        return _object(file, base + address, number)[:length] if length else b""


def _object(file: BinaryIO, start: int, wanted: int) -> bytes:
    signature, version, size = _COLLECTION.unpack(_bytes(file, start, _COLLECTION.size))
    if signature != b"GCOL" or version != 1:
        raise DamagedHeap("no heap of strings where the reference leads")
    place = start + _COLLECTION.size
    for _ in range(_OBJECTS):
        if place + _OBJECT.size > start + size:
            break
        number, _references, content = _OBJECT.unpack(_bytes(file, place, _OBJECT.size))
        if number == 0:  # the rest is free
            break
        if number == wanted and place + _OBJECT.size + content <= start + size:
            return _bytes(file, place + _OBJECT.size, min(content, 1 << 12))
        place += _OBJECT.size + -(-content // 8) * 8
    raise DamagedHeap("no string where the reference leads")


def _bytes(file: BinaryIO, offset: int, count: int) -> bytes:
    if offset + count >= 1 << 63:
        raise DamagedHeap("a reference beyond the end of the file")
    file.seek(offset)
    found = file.read(count)
    if len(found) < count:
        raise DamagedHeap("a reference beyond the end of the file")
    return found
