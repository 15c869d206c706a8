"""The rectifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.graph.ops.operation import Array, Operation, Range, Shape
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class ReluNode(Operation):
    """`y = max(x, 0)`, or `min(max(x, 0), ceiling)`, as ReLU6 is.

    Attributes:
        ceiling: the largest value that it makes; None if there is none.

    Raises:
        UserError: a ceiling that is no positive number.
    """

    ceiling: float | None = None

    def __post_init__(self) -> None:
        if self.ceiling is not None and not (isfinite(self.ceiling) and self.ceiling > 0):
            raise UserError(f"node {self.name}: a ceiling of {self.ceiling} found, a positive number expected")

    @property
    def keeps_values(self) -> bool:
        return self.ceiling is None

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        rectified: Array = np.maximum(inputs[0], 0)
        return rectified if self.ceiling is None else np.minimum(rectified, np.float32(self.ceiling))

    def layer(self) -> "nn.Module":
        from torch import nn

        if self.ceiling is None:
            return nn.ReLU()
        return nn.ReLU6() if self.ceiling == 6 else nn.Hardtanh(0.0, self.ceiling)

    def exact_range(self, inputs: Sequence[Range]) -> Range:
        """With a ceiling, on the finer one of two grids: that of the input, and the coarsest that the ceiling is on."""
        (values,) = inputs
        if self.ceiling is None:
            return values
        multiple, unit = float(np.float32(self.ceiling)).as_integer_ratio()  # the unit is a power of two
        exponent = max(values.exponent, unit.bit_length() - 1)
        largest = min(values.largest << (exponent - values.exponent), multiple * ((1 << exponent) // unit))
        return Range(exponent, largest)
