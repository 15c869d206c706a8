"""The rectifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Shape, traced

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class ReluNode(Operation):
    """`y = max(x, 0)`."""

    keeps_values: ClassVar[bool] = True

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        return np.maximum(inputs[0], 0)

    def layer(self) -> "nn.Module":
        from torch import nn

        return nn.ReLU()


@traced("torch.nn.modules.activation.ReLU")
def _from_torch(_: "nn.ReLU", call: Call) -> Nodes:
    return [ReluNode(name=call.name, inputs=call.inputs)]
