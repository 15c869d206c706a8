"""Linear layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurodeploy.graph.ops.operation import Array, Shape
from neurodeploy.graph.ops.synapse import Weighted
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearNode(Weighted):
    """`y = W x + b`, with `weight` `[N_out, N_in]` and `bias` `[N_out]` or None."""

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        outputs, expected = self.weight.shape
        if inputs[0] != (expected,):
            raise UserError(f"node {self.name}: input of shape {inputs[0]} found, ({expected},) expected")
        return (outputs,)

    def compute(self, *inputs: Array) -> Array:
        y = inputs[0] @ self.weight.T
        return y if self.bias is None else y + self.bias

    def layer(self) -> "nn.Module":
        from torch import nn

        outputs, inputs = self.weight.shape
        return self._in_torch(nn.Linear(inputs, outputs, bias=self.bias is not None))
