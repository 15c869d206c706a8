"""The heaps of an HDF5 file, which HDF5's own library trusts too much: it is kept from those that are damaged.

A local heap holds the names in a group and lists its free pieces: a list that leads back to itself makes the library ask for
memory until there is none. A global heap holds strings of variable length, and what virtual data sets are made of: an empty
piece of free space keeps the library in a loop for ever, and a wrong length of a string makes it ask for gigabytes. (HDF5 2.0;
see also issue 1707 of HDFGroup/hdf5.) So both are followed here before the library does, and strings are looked up without it.

Source: HDF5 File Format Specification, "Disk Format: Level 1D - Local Heaps" and "Level 1E - Global Heap".
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SUPERBLOCK = b"\x89HDF\r\n\x1a\n"
_LOCAL = struct.Struct("<4sB3xQQQ")  # signature, version, size of the content, first free piece in it, address of the content
_FREE = struct.Struct("<QQ")  # next free piece, size
_LAST = 1  # the number that ends the list
_REFERENCE = struct.Struct("<IQI")  # length, address of a collection, number of an object in it
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size
_OBJECT = struct.Struct("<HH4xQ")  # number, count of references, size
_OBJECTS = 1 << 16  # numbers have 16 bits
_COLLECTIONS = 256  # that the strings of one data set may be in; HDF5 makes one for some hundred short ones


class DamagedHeap(ValueError):
    """A heap is damaged, or what a reference leads to is no string."""


def check_heaps(path: Path) -> None:
    """Follow the lists of all heaps, wherever in the file they may be.

    Raises:
        DamagedHeap: one does not end.
    """
    if path.stat().st_size < _LOCAL.size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        base, seen = _base(content), set[int]()
        for start in _occurrences(content, b"HEAP"):
            if start + _LOCAL.size <= len(content):
                _, version, size, first, address = _LOCAL.unpack_from(content, start)
                if version == 0:
                    _follow(content, base + address, size, first, seen)
        seen.clear()
        for start in _occurrences(content, b"GCOL"):
            if start + _COLLECTION.size <= len(content):
                size = _COLLECTION.unpack_from(content, start)[2]
                _walk(content, start + _COLLECTION.size, min(start + size, len(content)), seen)


def read_variable_texts(path: Path, offset: int, count: int, base: int, longest: int) -> list[bytes]:
    """The strings that references stand for, one after the other.

    Args:
        path: the file.
        offset: where the first reference is, from the beginning of the file.
        count: number of references.
        base: where HDF5's addresses begin in it.
        longest: number of bytes that a string may have.

    Raises:
        DamagedHeap: one is longer, or there is none.
    """
    collections: dict[int, dict[int, tuple[int, int]]] = {}
    texts: list[bytes] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for reference in range(offset, offset + count * _REFERENCE.size, _REFERENCE.size):
            length, address, number = _unpacked(_REFERENCE, content, reference)
            if length > longest:
                raise DamagedHeap(f"{length} characters found, at most {longest} expected")
            if length and address not in collections:
                if len(collections) >= _COLLECTIONS:
                    raise DamagedHeap("its strings are in more heaps than there should be")
                collections[address] = _objects(content, base + address)
            if length and number not in collections[address]:
                raise DamagedHeap("no string where the reference leads")
            start, held = collections[address][number] if length else (0, 0)
            texts.append(content[start : start + min(held, length)])
    return texts


def _base(content: mmap.mmap) -> int:
    """Where HDF5's addresses begin: a file may have a block of 512, 1024, 2048 … bytes before them."""
    start = 0
    while start < len(content):
        if content[start : start + len(_SUPERBLOCK)] == _SUPERBLOCK:
            return start
        start = 2 * start or 512
    return 0


def _occurrences(content: mmap.mmap, signature: bytes) -> Iterator[int]:
    start = content.find(signature)
    while start >= 0:
        yield start
        start = content.find(signature, start + 1)


def _follow(content: mmap.mmap, start: int, size: int, free: int, seen: set[int]) -> None:
    """Follow one list; `seen` are the pieces of all lists, of which none belongs to two."""
    while free != _LAST and free + _FREE.size <= size and start + free + _FREE.size <= len(content):
        if start + free in seen:
            raise DamagedHeap("the names of a group have a list of free pieces that does not end")
        seen.add(start + free)
        free, _ = _FREE.unpack_from(content, start + free)


def _walk(content: mmap.mmap, place: int, end: int, seen: set[int]) -> None:
    """Walk through one collection; `seen` are the objects of all of them, after which nothing is new."""
    while place + _OBJECT.size <= end and place not in seen:
        seen.add(place)
        number, _, held = _OBJECT.unpack_from(content, place)
        if not number and not held:
            raise DamagedHeap("a heap of strings has free space of no size")
        place += _OBJECT.size + -(-held // 8) * 8 if number else held


def _objects(content: mmap.mmap, start: int) -> dict[int, tuple[int, int]]:
    """Number of an object → where it is, and its size."""
    signature, version, size = _unpacked(_COLLECTION, content, start)
    if signature != b"GCOL" or version != 1:
        raise DamagedHeap("no heap of strings where the reference leads")
    objects: dict[int, tuple[int, int]] = {}
    place, end = start + _COLLECTION.size, min(start + size, len(content))
    for _ in range(_OBJECTS):
        if place + _OBJECT.size > end:
            break
        number, _references, held = _unpacked(_OBJECT, content, place)
        if number == 0 or place + _OBJECT.size + held > end:  # the rest is free, or damaged
            break
        objects.setdefault(number, (place + _OBJECT.size, held))
        place += _OBJECT.size + -(-held // 8) * 8
    return objects


def _unpacked(form: struct.Struct, content: mmap.mmap, offset: int) -> tuple[Any, ...]:
    if offset + form.size > len(content):
        raise DamagedHeap("a reference beyond the end of the file")
    return form.unpack_from(content, offset)
