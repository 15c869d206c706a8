"""Delays."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Recurrent, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class DelayNode(Recurrent):
    """`y[t] = x[t − steps]`, and 0 in the first steps.

    Attributes:
        steps: at least 1.

    Raises:
        UserError: fewer steps than one.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"node {self.name}: a delay of {self.steps} steps found, at least 1 expected")

    @property
    def keeps_values(self) -> bool:
        return True

    def compute(self, *inputs: Array) -> Array:
        (x,), late = inputs, np.zeros_like(inputs[0])
        late[self.steps :] = x[: max(0, len(x) - self.steps)]
        return late

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Delay(self.steps)


@traced("neurodeploy.dynamics.layers.Delay")
def _from_torch(layer: "layers.Delay", call: Call) -> Nodes:
    return [DelayNode(name=call.name, inputs=call.inputs, steps=layer.steps)]
