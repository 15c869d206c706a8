"""The mean over time: from the answers of all steps to one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Shape, traced

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class TimeMeanNode(Operation):
    """`y = (1/T) Σ_t x[t]`. Makes a sequence a static value."""

    sequential: ClassVar[bool] = True

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        mean: Array = inputs[0].mean(0, dtype=np.float32)
        return mean

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.TimeMean()

    def is_timed(self, inputs: Sequence[bool]) -> bool:
        self._must_read(inputs, timed=True)
        return False


@traced("neurodeploy.dynamics.layers.TimeMean")
def _from_torch(_: "nn.Module", call: Call) -> Nodes:
    if not call.timed[0]:
        return []  # the mean over one step, as in a teacher
    return [TimeMeanNode(name=call.name, inputs=call.inputs)]
