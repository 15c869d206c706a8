"""The spiking body of a graph as stages: populations of neurons, and the synapses whose currents meet in each of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import nodes
from neurodeploy.graph.nodes import Shape


@dataclass(frozen=True, eq=False)
class Afferent:
    """One synapse on a population, before quantisation.

    Attributes:
        source: name of the spiking layer that it reads, or of the tensor that enters the body.
        node: Conv or Linear with a float64 weight, pooling before it folded in, no bias. A shortcut that passes spikes on as
            they are is a 1×1 convolution of one group per channel, with weights of 1.
        flatten: the source is flattened first.
        input_shape: of the source, per sample and step.
    """

    source: str
    node: nodes.Conv | nodes.Linear
    flatten: bool
    input_shape: Shape


@dataclass(frozen=True, eq=False)
class Stage:
    """A population and what flows into it.

    Attributes:
        neuron: its node in the graph.
        afferents: one in a chain, more where branches meet.
        bias: float64 `[C_out]`, the sum over its synapses, or None.
        shape: of its spikes, per sample and step.
    """

    neuron: nodes.Neuron
    afferents: tuple[Afferent, ...]
    bias: NDArray[np.float64] | None
    shape: Shape
