"""Parts of a tensor."""

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
class SliceNode(Moving):
    """`x[start:stop:step]` along every axis of a sample, the channels' among them.

    Attributes:
        starts, stops: within the input, `0 ≤ start < stop ≤ size`.
        steps: at least 1.

    Raises:
        UserError: not one of each for every axis, or one outside its range.
    """

    starts: Shape
    stops: Shape
    steps: Shape

    def __post_init__(self) -> None:
        if not len(self.starts) == len(self.stops) == len(self.steps):
            raise UserError(f"node {self.name}: as many starts as stops and steps expected, one for each axis of a sample")
        for start, stop, step in zip(self.starts, self.stops, self.steps, strict=True):
            if not 0 <= start < stop or step < 1:
                raise UserError(
                    f"node {self.name}: slice {start}:{stop}:{step} found, 0 <= start < stop and 1 <= step expected"
                )

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        if len(shape) != len(self.stops) or any(stop > size for stop, size in zip(self.stops, shape, strict=True)):
            raise UserError(f"node {self.name}: input of shape {shape} found, too small for slices up to {self.stops}")
        return tuple(len(range(*bounds)) for bounds in zip(self.starts, self.stops, self.steps, strict=True))

    def compute(self, *inputs: Array) -> Array:
        part: Array = np.ascontiguousarray(inputs[0][(slice(None), *self.slices)])
        return part

    @property
    def slices(self) -> tuple[slice, ...]:
        """Python's own, one for each axis of a sample."""
        return tuple(slice(*bounds) for bounds in zip(self.starts, self.stops, self.steps, strict=True))

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Slice(self.starts, self.stops, self.steps)


@traced("neurodeploy.dynamics.layers.Slice")
def _from_torch(layer: "layers.Slice", call: Call) -> Nodes:
    return [SliceNode(name=call.name, inputs=call.inputs, starts=layer.starts, stops=layer.stops, steps=layer.steps)]
