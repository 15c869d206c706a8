"""The mean over time: from the answers of all steps, or of the later ones, to one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class TimeMeanNode(Operation):
    """`y = 1/(T − skip) Σ_{t ≥ skip} x[t]`. Makes a sequence a static value.

    Attributes:
        skip: number of first steps that the mean leaves out, less than T; negative, the number of last steps that it is of, as
            in `x[skip:]`: −1 is the last step alone.
    """

    sequential: ClassVar[bool] = True

    skip: int = 0

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        self.check_steps(len(inputs[0]))
        mean: Array = inputs[0][self.skip :].mean(0, dtype=np.float32)
        return mean

    def check_steps(self, steps: int) -> None:
        """Refuse a sequence of which nothing would be left.

        Raises:
            UserError: all its steps are skipped; the message names the node.
        """
        if not -steps <= self.skip < steps:
            what = f"skips the first {self.skip}" if self.skip > 0 else f"is of the last {-self.skip}"
            raise UserError(
                f"node {self.name} (TimeMean): {what} time steps, and {steps} found; run the network for more steps, or skip "
                "fewer"
            )

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.TimeMean(self.skip, name=self.name)

    def is_timed(self, inputs: Sequence[bool]) -> bool:
        self._must_read(inputs, timed=True)
        return False


@traced("neurodeploy.dynamics.layers.TimeMean")
def _from_torch(layer: "layers.TimeMean", call: Call) -> Nodes:
    if not call.timed[0]:
        return []  # the mean over one step, as in a teacher
    return [TimeMeanNode(name=call.name, inputs=call.inputs, skip=layer.skip)]
