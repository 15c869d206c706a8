"""Constants in flash, and which of them hold an array of a node."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops import Shape
from neurodeploy_exporters.c.names import rows


@dataclass(frozen=True, eq=False)
class ConstTable:
    """Constants in flash.

    Attributes:
        name: in C.
        type: of its elements.
        values: flat.
    """

    name: str
    type: str
    values: NDArray[Any]

    @property
    def text(self) -> str:
        return f"static const {self.type} {self.name}[{self.values.size}] = {{\n{rows(self.values)}\n}};\n"


@dataclass(frozen=True, eq=False)
class Stored:
    """Where an array of a node is in the tables, so that it can be read back: `values = q.reshape(split).transpose(axes)`.

    Attributes:
        table: name in C.
        shape: of the node's array.
        columns, rows: order of the last axis before the rest, and of the first one; None for that of the array.
        split, axes: see above.
        result: shape of the array in the node, where that is another one.
        exponent: an element n stands for n 2^-exponent.
    """

    table: str
    shape: Shape
    split: Shape
    axes: Shape
    exponent: int
    columns: tuple[int, ...] | None = None
    rows: tuple[int, ...] | None = None
    result: Shape | None = None

    def values(self, array: NDArray[Any]) -> NDArray[Any]:
        """The table of an array of the node."""
        whole = array.reshape(self.shape)
        if self.columns is not None:
            whole = whole[..., list(self.columns)]
        if self.rows is not None:
            whole = whole[list(self.rows)]
        return np.ascontiguousarray(whole.reshape(self.split).transpose(self.axes)).reshape(-1)

    def array(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The array of a table."""
        whole = values.reshape([self.split[axis] for axis in self.axes]).transpose(np.argsort(self.axes)).reshape(self.shape)
        if self.columns is not None:
            back = np.empty_like(whole)
            back[..., list(self.columns)] = whole
            whole = back
        if self.rows is not None:
            whole = whole[np.argsort(self.rows)]
        whole = whole if self.result is None else whole.reshape(self.result)
        return np.ascontiguousarray((whole * 2.0**-self.exponent).astype(np.float32))
