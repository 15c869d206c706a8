"""Several tensors side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Moving, Nodes, Range, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class ConcatNode(Moving):
    """Two inputs or more, one after the other along an axis, as the branches of an inception or dense block are.

    Attributes:
        axis: of a sample; 0 is that of the channels.

    Raises:
        UserError: a negative axis.
    """

    arity: ClassVar[int] = 2
    variadic: ClassVar[bool] = True
    axis: int

    def __post_init__(self) -> None:
        if self.axis < 0:
            raise UserError(f"node {self.name}: axis {self.axis} found, a number from 0 (the channels) expected")

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        first = inputs[0]
        if self.axis >= len(first) or len({self._others(shape) for shape in inputs}) > 1:
            shapes = ", ".join(map(str, inputs))
            raise UserError(
                f"node {self.name}: inputs of shapes {shapes} found, shapes that are equal but along axis {self.axis} expected"
            )
        return (*first[: self.axis], sum(shape[self.axis] for shape in inputs), *first[self.axis + 1 :])

    def _others(self, shape: Shape) -> tuple[Shape, Shape]:
        return shape[: self.axis], shape[self.axis + 1 :]

    def compute(self, *inputs: Array) -> Array:
        return np.concatenate(inputs, 1 + self.axis)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Concat(self.axis)

    def exact_range(self, inputs: Sequence[Range]) -> Range:
        exponent = max(one.exponent for one in inputs)
        return Range(exponent, max(one.largest << (exponent - one.exponent) for one in inputs))


@traced("neurodeploy.dynamics.layers.Concat")
def _from_torch(layer: "layers.Concat", call: Call) -> Nodes:
    return [ConcatNode(name=call.name, inputs=call.inputs, axis=layer.axis)]
