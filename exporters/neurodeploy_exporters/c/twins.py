"""The ReLU network of a spiking one, for the same exporter: what the same layers cost on the same core without spikes."""

from dataclasses import replace

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.ops import Node
from neurodeploy.io.errors import UserError

INT8_BITS = 7
"""Of activations beside their sign, in an int8 network."""


def relu_twin(graph: Graph) -> Graph:
    """A ReLU in the place of every layer of neurons, computed once instead of T times.

    Weights and shapes are the network's, so its cost is that of the ReLU network which a spiking one is the twin of; its
    answers are that network's only where the spiking one was converted from it.

    Raises:
        UserError: the network takes sequences, or spikes come back or wait: there is no such ReLU network.
    """
    if graph.input.timed:
        raise UserError(
            f"node {graph.input.name}: a sequence over time enters, of which a ReLU network of the same layers has none"
        )
    names: dict[str, str] = {}
    made: list[Node] = []
    for node in graph.nodes:
        read = tuple(names.get(source, source) for source in node.inputs)
        if isinstance(node, ops.EncodeNode | ops.TimeMeanNode | ops.LowPassNode):
            names[node.name] = read[0]
        elif isinstance(node, ops.NeuronNode):
            made.append(ops.ReluNode(name=node.name, inputs=read))
        elif isinstance(node, ops.Recurrent):
            raise UserError(f"node {node.name} ({node.kind}): goes through time, and a ReLU network does not")
        else:
            made.append(replace(node, inputs=read))
    return Graph(made)
