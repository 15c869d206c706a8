"""IF and LIF neurons."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurodeploy.dynamics.neurons import NeuronParameters, neuron_step
from neurodeploy.graph.ops.low_pass import LowPassNode
from neurodeploy.graph.ops.operation import Array, Call, Nodes, Spiking, fires, over_steps, traced

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import layers


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronNode(Spiking):
    """A layer of IF or LIF neurons (`neurodeploy.dynamics.neurons.neuron_step`), starting from membrane potential 0."""

    parameters: NeuronParameters

    @property
    def constants(self) -> NeuronParameters:
        return self.parameters

    def compute(self, *inputs: Array) -> Array:
        return over_steps(lambda current, v: neuron_step(v, current, self.parameters, fires), inputs[0], states=1)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        return layers.Neuron(self.parameters)


@traced(*(f"neurodeploy.dynamics.layers.{kind}" for kind in ("Neuron", "ParametricNeuron", "ThresholdNeuron")))
def _from_torch(layer: "layers.Neuron", call: Call) -> Nodes:
    return [NeuronNode(name=call.name, inputs=call.inputs, parameters=layer.constants)]


@traced("neurodeploy.dynamics.layers.CubaNeuron")
def _current_based(layer: "layers.CubaNeuron", call: Call) -> Nodes:
    current = LowPassNode(name=f"{call.name}.current", inputs=call.inputs, decay=layer.current_decay)
    return [current, NeuronNode(name=call.name, inputs=(current.name,), parameters=layer.constants)]
