"""Inputs rounded to a grid, on which the sums after them are exact."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Range, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import encodings

LARGEST_EXPONENT = 100
"""Of 2ᵏ and 2⁻ᵏ, which are then float32 numbers with all their bits."""
_EXACT = 1 << 24


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizeNode(Operation):
    """`y = clip(round(x · 2ᵏ), −m, m) / 2ᵏ`, k being `exponent`, m `largest`; halves are rounded to the even neighbour.

    Each of the four operations is exact in float32, or rounds as IEEE 754 says, so every runtime makes the same of a value.
    """

    exponent: int
    largest: int

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        if not (abs(self.exponent) <= LARGEST_EXPONENT and 1 <= self.largest <= _EXACT):
            raise UserError(
                f"node {self.name}: a grid of integers up to {self.largest} times 2^{-self.exponent} found; 1 to 2^24, times "
                f"2^-{LARGEST_EXPONENT} to 2^{LARGEST_EXPONENT} expected"
            )
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        with np.errstate(over="ignore"):  # what leaves float32 is clipped as well
            whole = np.rint(inputs[0] * np.float32(2.0**self.exponent))
        return np.clip(whole, np.float32(-self.largest), np.float32(self.largest)) * np.float32(2.0**-self.exponent)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics.encodings import Quantize

        return Quantize(self.exponent, self.largest)

    def exact_range(self, inputs: Sequence[Range]) -> Range:  # noqa: ARG002 - whatever is read
        return Range(self.exponent, self.largest)


@traced("neurodeploy.dynamics.encodings.Quantize")
def _from_torch(layer: "encodings.Quantize", call: Call) -> Nodes:
    return [QuantizeNode(name=call.name, inputs=call.inputs, exponent=layer.exponent, largest=layer.largest)]
