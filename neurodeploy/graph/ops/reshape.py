"""Other shapes, and other orders of axes, of the same values."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Moving, Nodes, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class ReshapeNode(Moving):
    """The same values in C order, as a sample of another shape.

    Attributes:
        shape: of a sample; to one axis, a `FlattenNode` does the same.
    """

    shape: Shape

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        if prod(inputs[0]) != prod(self.shape) or min(self.shape, default=1) < 1:
            raise UserError(
                f"node {self.name}: input of shape {inputs[0]} found, which has not as many values as {self.shape} has"
            )
        return self.shape

    def compute(self, *inputs: Array) -> Array:
        return inputs[0].reshape(len(inputs[0]), *self.shape)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Reshape(self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class PermuteNode(Moving):
    """The axes of a sample in another order: axis i of the output is axis `order[i]` of the input.

    Attributes:
        order: each axis of a sample once; 0 is that of the channels.

    Raises:
        UserError: an axis is missing or occurs twice.
    """

    order: Shape

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(len(self.order))):
            raise UserError(f"node {self.name}: order {self.order} found, each axis of a sample from 0 on once expected")

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        if len(inputs[0]) != len(self.order):
            raise UserError(f"node {self.name}: input of shape {inputs[0]} found, {len(self.order)} axes expected")
        return tuple(inputs[0][axis] for axis in self.order)

    def compute(self, *inputs: Array) -> Array:
        return np.ascontiguousarray(inputs[0].transpose(0, *(1 + axis for axis in self.order)))

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Permute(self.order)


@traced("neurodeploy.dynamics.layers.Reshape")
def _reshape(layer: "layers.Reshape", call: Call) -> Nodes:
    return [ReshapeNode(name=call.name, inputs=call.inputs, shape=layer.shape)]


@traced("neurodeploy.dynamics.layers.Permute")
def _permute(layer: "layers.Permute", call: Call) -> Nodes:
    return [PermuteNode(name=call.name, inputs=call.inputs, order=layer.order)]
