"""Where a deployed spiking network is cut: dense host encoder, spiking body, dense off-chip head."""

from dataclasses import dataclass

from neurodeploy.errors import UserError
from neurodeploy.graph import nodes
from neurodeploy.graph.graph import Graph


@dataclass(frozen=True)
class Part:
    """One piece of a graph.

    Attributes:
        name: "encoder", "body" or "head".
        members: names of its nodes, in order of computation.
        inputs: tensors that enter, made by the network's Input or by an earlier part.
        outputs: tensors that leave, read by a later part; for the head the network's answer.
    """

    name: str
    members: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """The three parts of a deployed network.

    - **encoder**: all that has no spiking layer before it, up to and including the first spiking layers. Absent where the
      input is itself a sequence of events.
    - **head**: everything after the last spiking layers, down to the mean over time. With RepAct that begins with the last
      synapse, because its ReLU is not spiking. In a residual net it may read several spike tensors.
    - **body**: the rest, spikes in and spikes out. Absent where the first spiking layers are also the last.
    """

    encoder: Part | None
    body: Part | None
    head: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that exist, in order of computation."""
        return tuple(part for part in (self.encoder, self.body, self.head) if part is not None)


def partition(graph: Graph) -> Partition:
    """Cut `graph` at its first and last spiking layers.

    Raises:
        UserError: there is no spiking layer, or a tensor that is not made of spikes crosses a cut.
    """
    spiking = set(graph.spiking)
    if not spiking:
        raise UserError("graph: no spiking layer found; a ReLU network has no body to deploy on a neuromorphic chip")
    upstream = {node.name: graph.ancestors(node.name) for node in graph.nodes}
    before_last = {name for neuron in spiking for name in upstream[neuron]} | spiking
    where = {}
    for node in graph.nodes:
        if isinstance(node, nodes.Input):
            continue
        if not graph.input.timed and not upstream[node.name] & spiking:
            where[node.name] = "encoder"
        elif node.name in before_last:
            where[node.name] = "body"
        else:
            where[node.name] = "head"
    encoder, body = (_part(graph, name, where, spiking) for name in ("encoder", "body"))
    return Partition(encoder, body, _head(graph, where, spiking))


def _head(graph: Graph, where: dict[str, str], spiking: set[str]) -> Part:
    head = _part(graph, "head", where, spiking)
    if head is None or graph.output.name not in head.members:
        raise UserError("graph: nothing comes after the last spiking layer; end the network with a mean over time")
    return head


def _part(graph: Graph, name: str, where: dict[str, str], spiking: set[str]) -> Part | None:
    members = tuple(node.name for node in graph.nodes if where.get(node.name) == name)
    if not members:
        return None
    read = {source for member in members for source in graph[member].inputs}
    inputs = tuple(node.name for node in graph.nodes if node.name in read and node.name not in members)
    outputs = tuple(m for m in members if any(where[c.name] != name for c in graph.consumers(m)))
    for tensor in outputs:
        if tensor not in spiking:
            reader = next(c.name for c in graph.consumers(tensor) if where[c.name] != name)
            raise UserError(
                f"node {tensor}: its values are not spikes and leave the {name} for {reader}; "
                "put a spiking layer between them, so that only spikes cross"
            )
    return Part(name, members, inputs, outputs or ((graph.output.name,) if name == "head" else ()))
