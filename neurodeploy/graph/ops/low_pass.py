"""Synaptic currents with a leak, and integrators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurodeploy.dynamics.neurons import synapse_step
from neurodeploy.graph.ops.operation import Array, Call, Nodes, Range, Recurrent, over_steps, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class LowPassNode(Recurrent):
    """A synaptic current with a leak, `i[t] = α i[t−1] + x[t]` (`neurodeploy.dynamics.neurons.synapse_step`), starting from 0.

    Before a Neuron it makes a current-based (CUBA) one; with α = 1 it is an output that integrates without leak.

    Attributes:
        decay: α, 0 ≤ α ≤ 1.

    Raises:
        UserError: α is outside its range.
    """

    decay: float

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise UserError(f"node {self.name}: a decay of {self.decay} found, a number from 0 to 1 expected")

    def compute(self, *inputs: Array) -> Array:
        return over_steps(lambda x, i: (synapse_step(i, x, self.decay),) * 2, inputs[0], states=1)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Integrator() if self.decay == 1 else layers.LowPass(self.decay)

    def exact_range(self, inputs: Sequence[Range]) -> None:
        """None: each step multiplies by α, which takes more digits every time."""


@traced("neurodeploy.dynamics.layers.LowPass")
def _from_torch(layer: "layers.LowPass", call: Call) -> Nodes:
    return [LowPassNode(name=call.name, inputs=call.inputs, decay=layer.decay)]
