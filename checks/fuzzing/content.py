"""Damage to a file's bytes, without regard to what they mean."""

from collections.abc import Callable
from random import Random

_SIGNATURES = (b"\x89HDF", b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF")
_NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 32,
    1 << 62,
    (1 << 64) - 1,
)


def damage_content(data: bytes, others: list[bytes], random: Random) -> tuple[bytes, str]:
    """Damaged bytes and a name of the damage.

    Args:
        data: of a sound file.
        others: contents of other files, to take pieces from.
    """
    changed, names = bytearray(data), []
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        rule = random.choice(_RULES)
        rule(changed, others, random)
        names.append(rule.__name__.removeprefix("_"))
    return bytes(changed), " + ".join(names)


def _place(data: bytearray, random: Random) -> int:
    """Anywhere, but mostly close behind one of the signatures with which HDF5's own structures begin."""
    if not data:
        return 0
    if random.random() < 0.3:
        return random.randrange(len(data))
    start = random.randrange(len(data))
    found = data.find(random.choice(_SIGNATURES), start)
    return min(len(data) - 1, (found if found >= 0 else 0) + random.randrange(160))


def _truncated(data: bytearray, _: list[bytes], random: Random) -> None:
    del data[_place(data, random) :]


def _extended(data: bytearray, _: list[bytes], random: Random) -> None:
    data += random.randbytes(random.choice((1, 8, 512, 1 << 16)))


def _bits_flipped(data: bytearray, _: list[bytes], random: Random) -> None:
    for _number in range(random.choice((1, 1, 4, 32)) if data else 0):
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _bytes_replaced(data: bytearray, _: list[bytes], random: Random) -> None:
    start, size = _place(data, random), random.choice((1, 2, 8, 64))
    filling = random.choice((bytes(size), b"\xff" * size, random.randbytes(size)))
    data[start : start + size] = filling[: len(data) - start]


def _number_replaced(data: bytearray, _: list[bytes], random: Random) -> None:
    start, size = _place(data, random), random.choice((1, 2, 4, 8))
    number = (random.choice(_NUMBERS) + random.choice((-1, 0, 0, 1))) % (1 << 8 * size)
    data[start : start + size] = number.to_bytes(size, "little")[: len(data) - start]


def _address_replaced(data: bytearray, _: list[bytes], random: Random) -> None:
    """An address of another structure of this file: loops, and structures of the wrong kind."""
    start, found = _place(data, random) & ~7, data.find(random.choice(_SIGNATURES), _place(data, random))
    data[start : start + 8] = max(found, 0).to_bytes(8, "little")[: len(data) - start]


def _blocks_swapped(data: bytearray, _: list[bytes], random: Random) -> None:
    size = random.choice((8, 64, 512))
    a, b = _place(data, random), _place(data, random)
    if abs(a - b) >= size and max(a, b) + size <= len(data):
        data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def _block_repeated(data: bytearray, _: list[bytes], random: Random) -> None:
    size, start, end = random.choice((1, 8, 64, 512)), _place(data, random), _place(data, random)
    data[end:end] = data[start : start + size]


def _block_removed(data: bytearray, _: list[bytes], random: Random) -> None:
    start = _place(data, random)
    del data[start : start + random.choice((1, 8, 64, 512))]


def _spliced(data: bytearray, others: list[bytes], random: Random) -> None:
    other = random.choice(others)
    start, size = random.randrange(len(other)), random.choice((64, 512, 4096))
    piece, place = other[start : start + size], _place(data, random)
    data[place : place + len(piece)] = piece


_RULES: tuple[Callable[[bytearray, list[bytes], Random], None], ...] = (
    _truncated,
    _extended,
    _bits_flipped,
    _bits_flipped,
    _bytes_replaced,
    _number_replaced,
    _number_replaced,
    _address_replaced,
    _blocks_swapped,
    _block_repeated,
    _block_removed,
    _spliced,
)
