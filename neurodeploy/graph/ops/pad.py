"""Zeros around a tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Moving, Nodes, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class PadNode(Moving):
    """Zeros before and after along every axis, as a shortcut to more channels has, or a convolution with "same" padding.

    Attributes:
        pads: one (before, after) for each axis of a sample, the channels' among them; none is negative.

    Raises:
        UserError: a negative number of zeros.
    """

    pads: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if any(number < 0 for pair in self.pads for number in pair):
            raise UserError(f"node {self.name}: padding of {self.pads} found, numbers of at least 0 expected; slice instead")

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        if len(inputs[0]) != len(self.pads):
            raise UserError(f"node {self.name}: input of shape {inputs[0]} found, {len(self.pads)} axes expected")
        return tuple(before + size + after for size, (before, after) in zip(inputs[0], self.pads, strict=True))

    def compute(self, *inputs: Array) -> Array:
        return np.pad(inputs[0], [(0, 0), *self.pads])

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Pad(self.pads)


@traced("neurodeploy.dynamics.layers.Pad")
def _from_torch(layer: "layers.Pad", call: Call) -> Nodes:
    return [PadNode(name=call.name, inputs=call.inputs, pads=layer.pads)]
