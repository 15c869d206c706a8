"""Flattening before a linear layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from neurodeploy.graph.ops.operation import Array, Call, Moving, Nodes, Shape, traced

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class FlattenNode(Moving):
    """`(C, H, W)` → `(C·H·W,)` in C order."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return (prod(inputs[0]),)

    def compute(self, *inputs: Array) -> Array:
        return inputs[0].reshape(len(inputs[0]), -1)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Flatten()


@traced("neurodeploy.dynamics.layers.Flatten")
def _from_torch(_: "nn.Module", call: Call) -> Nodes:
    return [FlattenNode(name=call.name, inputs=call.inputs)]
