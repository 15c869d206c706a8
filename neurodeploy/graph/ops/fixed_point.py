"""The neurons of a Loihi chip, in integers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.dynamics.neurons import CubaParameters, NeuronParameters, Whole, cuba_step
from neurodeploy.graph.ops.operation import Array, Call, Nodes, Shape, Spiking, over_steps, traced
from neurodeploy.graph.ops.synapse import array
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedPointNeuronNode(Spiking):
    """A layer of a Loihi chip's CUBA-LIF neurons (`neurodeploy.dynamics.neurons.cuba_step`), starting from u = v = 0.

    Its input is the integer sum of the synapses, in units of the threshold, and of their bias where no current is kept. Each
    constant is a number, or an array `[C]` of one per channel.

    Attributes:
        v_decay: 0 … 4096, share of the membrane potential lost per step in 1/4096; λ = 1 − v_decay / 4096.
        threshold: `vThMant`, at most 2¹⁷ − 1.
        i_decay: the same for the synaptic current; 4096 is no synaptic memory, the plain LIF neuron.
        bias: added to the membrane potential in every step, in units of the threshold, past the synaptic current; one per
            channel `[C]`, or one per neuron.
        recurrent: `[N, N]`, in units of the threshold: the spikes of the step before, flattened, come back through these
            weights and add to the sum; None if there are none.

    Raises:
        UserError: the recurrent weights do not fit the layer.
    """

    v_decay: int | Whole
    threshold: int | Whole
    i_decay: int | Whole = 4096
    bias: int | Whole = 0
    recurrent: Whole | None = None

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        size = prod(inputs[0])
        if self.recurrent is not None and self.recurrent.shape != (size, size):
            raise UserError(f"node {self.name}: recurrent weights {self.recurrent.shape} found, {(size, size)} expected")
        return inputs[0]

    @property
    def constants(self) -> NeuronParameters:
        """Of neurons that differ by channel: the means."""
        return NeuronParameters(1 - float(np.mean(self.v_decay)) / 4096, float(np.mean(self.threshold)), "hard")

    def compute(self, *inputs: Array) -> Array:
        axes = inputs[0].ndim - 2
        spread = [over_places(value, axes) for value in (self.i_decay, self.v_decay, self.threshold, self.bias)]
        parameters = CubaParameters(*spread)

        def step(sums: Array, u: Any, v: Any) -> tuple[Any, ...]:
            return cuba_step(u, v, sums.astype(np.int64), parameters)

        weight = self.recurrent

        def returning(sums: Array, u: Any, v: Any, s: Any) -> tuple[Any, ...]:
            assert weight is not None
            back = s.reshape(len(s), -1) @ weight.T
            s, u, v = cuba_step(u, v, sums.astype(np.int64) + back.reshape(s.shape), parameters)
            return s, u, v, s.astype(np.int64)

        if weight is not None:
            return over_steps(returning, inputs[0], states=3, dtype=np.int64)
        return over_steps(step, inputs[0], states=2, dtype=np.int64)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.FixedPointNeuron(self.v_decay, self.threshold, self.i_decay, bias=self.bias, recurrent=self.recurrent)


def over_places(value: Any, axes: int) -> Any:
    """One value per channel so that it broadcasts against `[B, C, …]`, whose sample has so many axes."""
    return value if np.ndim(value) != 1 else np.reshape(value, (-1, *(1,) * (axes - 1)))


@traced("neurodeploy.dynamics.layers.FixedPointNeuron")
def _from_torch(layer: "layers.FixedPointNeuron", call: Call) -> Nodes:
    c = layer.cuba
    constants = {"v_decay": c.v_decay, "threshold": c.threshold, "i_decay": c.i_decay, "bias": c.bias}
    weight = None if layer.recurrent is None else array(layer.recurrent).astype(np.int64)
    return [FixedPointNeuronNode(name=call.name, inputs=call.inputs, recurrent=weight, **constants)]
