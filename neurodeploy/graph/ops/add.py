"""Sums of two branches: residual connections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Range, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class AddNode(Operation):
    """`y = a + b`, two inputs of one shape."""

    arity: ClassVar[int] = 2

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[0] != inputs[1]:
            raise UserError(f"node {self.name}: inputs of shapes {inputs[0]} and {inputs[1]} found, equal shapes expected")
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        return inputs[0] + inputs[1]

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Add()

    def exact_range(self, inputs: Sequence[Range]) -> Range:
        exponent = max(one.exponent for one in inputs)
        return Range(exponent, sum(one.largest << (exponent - one.exponent) for one in inputs))


@traced("neurodeploy.dynamics.layers.Add")
def _from_torch(_: "nn.Module", call: Call) -> Nodes:
    return [AddNode(name=call.name, inputs=call.inputs)]
