"""Values that have no place in a `.net` file: every type that HDF5 knows, odd shapes, numbers at and beyond all limits."""

from random import Random
from typing import Any

import h5py
import numpy as np

_NUMBERS: tuple[Any, ...] = (
    np.nan,
    np.inf,
    -np.inf,
    0.5,
    -0.0,
    1e300,
    5e-324,
    -1,
    0,
    1,
    2,
    3,
    -256,
    254,
    255,
    256,
    4096,
    4097,
    1 << 15,
    1 << 17,
    1 << 24,
    1 << 31,
    (1 << 53) + 1,
    (1 << 63) - 1,
    -(1 << 63),
)
_SHAPES = ((), (1,), (1, 1), (2,), (3,), (0,), (3, 0), (7, 9), (1, 2, 2), (1,) * 32)
_DTYPES = ("i1", "u1", "i8", "u8", ">i4", "f2", "f4", ">f8", "f8", "g", "?", "c8", "c16")


def odd_value(random: Random) -> Any:
    """Something that h5py can store."""
    return random.choice((_numbers, _numbers, _numbers, _texts, _compounds, _rare))(random)


def _numbers(random: Random) -> Any:
    with np.errstate(all="ignore"):
        return np.full(random.choice(_SHAPES), random.choice(_NUMBERS)).astype(random.choice(_DTYPES))


def _texts(random: Random) -> Any:
    text = random.choice(("dense", "conv", "", "Ω", "a\nb\n", "\x1b]0;x\x07", "x" * 100, "x" * 100_000))
    raw = text.encode()
    return random.choice(
        (
            text,
            np.array([raw]),
            np.array([raw, raw]),
            np.array(raw + b"\xff"),
            np.array([text], dtype=h5py.string_dtype()),
            np.array([raw], dtype=h5py.string_dtype("ascii", 65536 if len(raw) < 65536 else None)),
        )
    )


def _compounds(random: Random) -> Any:
    fields = random.choice((2, 300))
    dtype = np.dtype([(f"field {n}\n", random.choice(_DTYPES[:8])) for n in range(fields)])
    return random.choice((np.zeros((), dtype), np.zeros(3, dtype), np.array([(1, 2)], [("r", "f4"), ("i", "f4")])))


def _rare(random: Random) -> Any:
    enum = h5py.enum_dtype({"A": 0, "B\n": 1}, basetype="i1")
    rows = np.empty(2, object)
    rows[:] = [np.arange(3, dtype=np.int32), np.arange(2, dtype=np.int32)]
    return random.choice(
        (
            h5py.Empty("f8"),
            h5py.Empty("S3"),
            np.zeros(2, enum),
            np.array(rows, h5py.vlen_dtype(np.int32)),
            np.zeros(2, "V7"),
            np.array(["2020-01-01"], "M8[s]").astype(h5py.opaque_dtype(np.dtype("M8[s]"))),
            np.zeros(2, np.dtype([("a", "f4", (3,))])),
            np.array([h5py.Reference()], h5py.ref_dtype),
            h5py.h5t.STD_REF_OBJ.dtype,
            np.dtype("f4"),
        )
    )
