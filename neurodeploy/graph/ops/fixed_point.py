"""The neurons of a Loihi chip, in integers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.dynamics.neurons import CubaParameters, NeuronParameters, cuba_step
from neurodeploy.graph.ops.operation import Array, Call, Nodes, Spiking, over_steps, traced

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedPointNeuronNode(Spiking):
    """A layer of a Loihi chip's CUBA-LIF neurons (`neurodeploy.dynamics.neurons.cuba_step`), starting from u = v = 0.

    Its input is the integer sum of the synapses and the bias, in units of the threshold.

    Attributes:
        v_decay: 0 … 4096, share of the membrane potential lost per step in 1/4096; λ = 1 − v_decay / 4096.
        threshold: `vThMant`, at most 2¹⁷ − 1.
        i_decay: the same for the synaptic current; 4096 is no synaptic memory, the plain LIF neuron.
    """

    v_decay: int
    threshold: int
    i_decay: int = 4096

    @property
    def constants(self) -> NeuronParameters:
        return NeuronParameters(1 - self.v_decay / 4096, self.threshold, "hard")

    def compute(self, *inputs: Array) -> Array:
        parameters = CubaParameters(self.i_decay, self.v_decay, self.threshold)

        def step(sums: Array, u: Any, v: Any) -> tuple[Any, ...]:
            return cuba_step(u, v, sums.astype(np.int64), parameters)

        return over_steps(step, inputs[0], states=2, dtype=np.int64)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.FixedPointNeuron(self.v_decay, self.threshold, self.i_decay)


@traced("neurodeploy.dynamics.layers.FixedPointNeuron")
def _from_torch(layer: "layers.FixedPointNeuron", call: Call) -> Nodes:
    c = layer.cuba
    constants = {"v_decay": c.v_decay, "threshold": c.threshold, "i_decay": c.i_decay}
    return [FixedPointNeuronNode(name=call.name, inputs=call.inputs, **constants)]
