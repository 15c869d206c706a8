"""Where a deployed spiking network is cut: dense host encoder, spiking body, dense off-chip head."""

from dataclasses import dataclass

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.io.errors import UserError


@dataclass(frozen=True)
class Part:
    """One piece of a graph.

    Attributes:
        name: "encoder", "body" or "head".
        members: names of its nodes, in order of computation. A sum of spikes, or what moves them to other places, that an
            earlier part computes for itself and this one needs too is a member of both, so that spikes cross, as they were
            fired.
        inputs: tensors that enter, made by the network's Input or by an earlier part.
        outputs: tensors that leave, read by a later part; for the head the network's answers.
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
      synapse, because its ReLU is not spiking. In a residual net it may read several spike tensors, and add them up.
    - **body**: the rest, spikes in and spikes out. Absent where the first spiking layers are also the last.
    """

    encoder: Part | None
    body: Part | None
    head: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that exist, in order of computation."""
        return tuple(part for part in (self.encoder, self.body, self.head) if part is not None)


def partition(graph: Graph, *, spikes_only: bool = True) -> Partition:
    """Cut `graph` at its first and last spiking layers.

    Args:
        graph: the network.
        spikes_only: the body runs on a chip, which takes and gives spikes; if False, other tensors may cross a cut too, such as
            the membrane shortcut of a last residual block with RepAct.

    Raises:
        UserError: there is no spiking layer, or a tensor that is not made of spikes crosses a cut and must not.
    """
    spiking = set(graph.spiking)
    if not spiking:
        raise UserError(
            "graph: no spiking layer found, and what is exported is spiking; make its twin with neurodeploy.spiking"
        )
    upstream = {node.name: graph.ancestors(node.name) for node in graph.nodes}
    sequences = {node.name for node in graph.inputs if node.timed}
    before_last = {name for neuron in spiking for name in upstream[neuron]} | spiking
    where = {}
    for node in graph.nodes:
        if isinstance(node, ops.InputNode):
            continue
        if not upstream[node.name] & (spiking | sequences):
            where[node.name] = "encoder"
        elif node.name in before_last:
            where[node.name] = "body"
        else:
            where[node.name] = "head"
    answers = tuple(node.name for node in graph.outputs)
    if len(answers) == 1 and where.get(answers[0]) != "head":
        raise UserError("graph: nothing comes after the last spiking layer; end the network with a mean over time")
    for answer in answers:
        if where[answer] == "encoder":
            raise UserError(f"node {answer}: an answer that no spiking layer has a part in; leave it out with answer=")
    members = {name: _members(graph, name, where, spiking) for name in ("encoder", "body", "head")}
    read = {name: {source for member in found for source in graph[member].inputs} for name, found in members.items()}
    parts: dict[str, Part | None] = {}
    for name, found in members.items():
        inputs = _in_order(graph, read[name] - found)
        elsewhere = {source for other, sources in read.items() if other != name for source in sources - members[other]}
        outputs = tuple(member for member in _in_order(graph, elsewhere) if where.get(member) == name)
        for tensor in outputs:
            if spikes_only and tensor not in spiking:
                reader = next(c.name for c in graph.consumers(tensor) if where[c.name] != name)
                raise UserError(
                    f"node {tensor}: its values are not spikes and leave the {name} for {reader}; "
                    "put a spiking layer between them, so that only spikes cross"
                )
        leaving = outputs or (answers if name == "head" else ())
        parts[name] = Part(name, _in_order(graph, found), inputs, leaving) if found else None
    head = parts["head"]
    assert head is not None
    return Partition(parts["encoder"], parts["body"], head)


def _members(graph: Graph, name: str, where: dict[str, str], spiking: set[str]) -> set[str]:
    """Nodes of a part: its own, and what it reads of an earlier part that is made of spikes, which it computes again."""
    found = {node for node, part in where.items() if part == name}
    pending = [source for node in found for source in graph[node].inputs]
    while pending:
        tensor = pending.pop()
        if tensor not in found and tensor not in spiking and _is_made_of_spikes(graph, tensor, spiking):
            found.add(tensor)
            pending += graph[tensor].inputs
    return found


def _is_made_of_spikes(graph: Graph, tensor: str, spiking: set[str]) -> bool:
    """Whether it is a sum of spikes, or spikes in other places."""
    pending = [tensor]
    while pending:
        name = pending.pop()
        if name in spiking:
            continue
        if not isinstance(graph[name], ops.AddNode | ops.Moving):
            return False
        pending += graph[name].inputs
    return True


def _in_order(graph: Graph, names: set[str]) -> tuple[str, ...]:
    return tuple(node.name for node in graph.nodes if node.name in names)
