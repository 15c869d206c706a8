"""What tensors of a network are in C: their type, their unit and the order of their values in memory."""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops import Range, Shape

CType: TypeAlias = Literal["bits", "int8_t", "uint8_t", "int16_t", "int32_t", "float"]
Order: TypeAlias = NDArray[np.int64]

WORD = 32
SIZES: dict[CType, int] = {"bits": 4, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "int32_t": 4, "float": 4}
"""Bytes of an element, of a word of 32 values for bits."""
BYTES: dict[str, int] = {"uint32_t": 4, **{str(kind): size for kind, size in SIZES.items()}}
"""The same by C's own names."""


def element(type: CType) -> str:
    """The C type of an element: spikes are kept 32 to a word."""
    return "uint32_t" if type == "bits" else type


def channels_last(shape: Shape) -> Order:
    """Position in memory → index of the value in C order of its logical shape `(C, …)`: positions first, channels last.

    So the channels of a position are neighbours, and the inner loop of a convolution walks over them.
    """
    index = np.arange(prod(shape), dtype=np.int64).reshape(shape)
    return np.moveaxis(index, 0, -1).reshape(-1) if len(shape) > 1 else index.reshape(-1)


@dataclass(frozen=True, eq=False)
class CTensor:
    """One tensor of a network, of one sample and step.

    Attributes:
        name: of the node that makes it.
        shape: logical, as in the graph.
        type: of its elements.
        grid: an element n stands for n 2^-exponent, up to `largest` in size; of floats, for itself times 2^-exponent.
        order: position in memory → index in C order of `shape`.
        buffer: name of the memory that holds it: several tensors that differ in shape alone share one.
        always: whether it keeps its value from step to step, as what is computed once per sample does.
    """

    name: str
    shape: Shape
    type: CType
    grid: Range
    order: Order
    buffer: str
    always: bool = False

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def elements(self) -> int:
        """Number of C elements: words of bits."""
        return -(-self.size // WORD) if self.type == "bits" else self.size

    @property
    def integer(self) -> bool:
        return self.type != "float"

    @property
    def is_channels_last(self) -> bool:
        return bool(np.array_equal(self.order, channels_last(self.shape)))

    def read(self, pointer: str, index: str) -> str:
        """The expression of a value, an int32_t or a float."""
        if self.type == "bits":
            return f"(int32_t)(({pointer}[({index}) >> 5] >> (({index}) & 31)) & 1u)"
        value = f"{pointer}[{index}]"
        return value if self.type in ("int32_t", "float") else f"(int32_t){value}"

    def write(self, pointer: str, index: str, value: str) -> str:
        """The statement that stores a value; words of bits must have been cleared."""
        if self.type == "bits":
            return f"{pointer}[({index}) >> 5] |= (uint32_t)({value}) << (({index}) & 31);"
        cast = "" if self.type in ("int32_t", "float") else f"({self.type})"
        return f"{pointer}[{index}] = {cast}({value});" if cast else f"{pointer}[{index}] = {value};"

    def decoded(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """`[N, elements]` as C has them → float32 `[N, *shape]`."""
        values: NDArray[Any] = raw
        if self.type == "bits":
            bits = np.unpackbits(np.ascontiguousarray(raw, "<u4").view(np.uint8), axis=1, bitorder="little")
            values = bits[:, : self.size]
        made = np.empty(values.shape, np.float32)
        made[:, self.order] = values
        return (made * np.float32(2.0**-self.grid.exponent)).reshape(len(raw), *self.shape)

    def encoded(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """The other way round: `[N, *shape]` → `[N, elements]`."""
        rows = values.reshape(len(values), -1)[:, self.order] * np.float32(2.0**self.grid.exponent)
        if self.type == "bits":
            padded = np.zeros((len(rows), self.elements * WORD), np.uint8)
            padded[:, : self.size] = rows
            return np.packbits(padded, axis=1, bitorder="little").view("<u4")
        return rows.astype({"float": "<f4"}.get(self.type, np.dtype(self.type.removesuffix("_t"))))


def integer_type(largest: int, *, signed: bool = True) -> CType:
    """The narrowest type that holds integers up to a size."""
    if not signed and largest <= 255:
        return "uint8_t"
    return "int8_t" if largest <= 127 else "int16_t" if largest <= 32767 else "int32_t"
