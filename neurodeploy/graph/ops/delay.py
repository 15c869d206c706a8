"""Delays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Recurrent, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class DelayNode(Recurrent):
    """`y[t] = x[t − steps]`, and 0 in the first steps.

    Attributes:
        steps: at least 1; the longest, if neurons differ.
        each: delays of its own for each neuron or channel, from 0 on: an array that broadcasts against one sample; None if all
            values are as late.

    Raises:
        UserError: fewer steps than one, or delays of the neurons that are negative, or none of which is as long as `steps`.
    """

    steps: int
    each: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"node {self.name}: a delay of {self.steps} steps found, at least 1 expected")
        if self.each is not None and not (self.each.size and self.each.min() >= 0 and self.each.max() == self.steps):
            found = ", ".join(map(str, np.unique(self.each)[:4].tolist())) or "none"
            raise UserError(f"node {self.name}: delays of {found} steps found, 0 or more up to {self.steps} expected")

    @property
    def keeps_values(self) -> bool:
        return True

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        own = () if self.each is None else self.each.shape
        if len(own) > len(shape) or any(size not in (1, whole) for size, whole in zip(own[::-1], shape[::-1], strict=False)):
            raise UserError(f"node {self.name}: delays {own} found, of a shape that fits {shape} expected")
        return shape

    def compute(self, *inputs: Array) -> Array:
        (x,), late = inputs, np.zeros_like(inputs[0])
        if self.each is None:
            late[self.steps :] = x[: max(0, len(x) - self.steps)]
            return late
        distances = np.broadcast_to(self.each, x.shape[2:])
        for place in np.ndindex(*distances.shape):
            distance = int(distances[place])
            late[(slice(distance, None), slice(None), *place)] = x[(slice(max(0, len(x) - distance)), slice(None), *place)]
        return late

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Delay(self.steps, self.each)


@traced("neurodeploy.dynamics.layers.Delay")
def _from_torch(layer: "layers.Delay", call: Call) -> Nodes:
    return [DelayNode(name=call.name, inputs=call.inputs, steps=layer.steps, each=layer.each)]
