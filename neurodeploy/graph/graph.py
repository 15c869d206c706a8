"""A network as data: nodes in the order of computation, with the shape and the kind of every tensor worked out."""

from collections.abc import Iterable
from typing import TypeVar

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.io.errors import UserError

Kind = TypeVar("Kind", bound=Node)


class Graph:
    """An immutable network with one input or more, and one answer or more.

    Tensors are named by the node that makes them. At run time a timed tensor has the shape `[T, B, *shape]`, a static one
    `[B, *shape]`.

    Args:
        members: the nodes, each after the nodes that it reads.

    Raises:
        UserError: a name occurs twice, an input is missing or comes later, shapes do not fit, a mean over time skips all
            steps, or there is no Input or no Output.
    """

    def __init__(self, members: Iterable[Node]) -> None:
        self.nodes: tuple[Node, ...] = tuple(members)
        self._by_name: dict[str, Node] = {}
        self._shapes: dict[str, Shape] = {}
        self._timed: dict[str, bool] = {}
        for node in self.nodes:
            self._admit(node)
        for kind in (ops.InputNode, ops.OutputNode):
            if not self.of(kind):
                raise UserError(f"graph: 0 {kind.__name__.removesuffix('Node')} nodes found, at least one expected")
        if self.steps is not None:  # else the mean looks when it is computed
            for mean in self.of(ops.TimeMeanNode):
                mean.check_steps(self.steps)

    def _admit(self, node: Node) -> None:
        if node.name in self._by_name:
            raise UserError(f"graph: two nodes are named {node.name}")
        for source in node.inputs:
            if source not in self._by_name:
                raise UserError(f"node {node.name}: reads {source}, which is no earlier node")
        self._shapes[node.name] = node.checked_shape([self._shapes[source] for source in node.inputs])
        self._timed[node.name] = node.is_timed([self._timed[source] for source in node.inputs])
        self._by_name[node.name] = node

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def of(self, kind: type[Kind]) -> tuple[Kind, ...]:
        """All nodes of one kind, in order."""
        return tuple(node for node in self.nodes if isinstance(node, kind))

    @property
    def inputs(self) -> tuple[ops.InputNode, ...]:
        """In the order in which the network takes them."""
        return self.of(ops.InputNode)

    @property
    def outputs(self) -> tuple[ops.OutputNode, ...]:
        """The answers, in the order in which the network gives them."""
        return self.of(ops.OutputNode)

    @property
    def input(self) -> ops.InputNode:
        """The one input.

        Raises:
            UserError: there are several, and whoever asks is made for one.
        """
        if len(self.inputs) > 1:
            names = ", ".join(node.name for node in self.inputs)
            raise UserError(
                f"graph: {len(self.inputs)} inputs found ({names}), one expected here; wrap the rest into the network"
            )
        return self.inputs[0]

    @property
    def output(self) -> ops.OutputNode:
        """The one answer.

        Raises:
            UserError: there are several, and whoever asks is made for one.
        """
        if len(self.outputs) > 1:
            names = ", ".join(node.name for node in self.outputs)
            raise UserError(
                f"graph: {len(self.outputs)} answers found ({names}), one expected here; choose it with "
                f"nd.deploy(…, answer={self.outputs[0].name!r}), or wrap the network in a module that answers it alone"
            )
        return self.outputs[0]

    @property
    def spiking(self) -> tuple[str, ...]:
        """Names of the spiking layers, in order."""
        return tuple(node.name for node in self.nodes if isinstance(node, ops.Spiking))

    @property
    def steps(self) -> int | None:
        """T that a statically fed network was trained with; None if the input itself is a sequence."""
        encoders = self.of(ops.EncodeNode)
        return encoders[0].steps if encoders else None

    @property
    def skipped(self) -> int:
        """Number of first time steps that the answer leaves out; negative, the number of last ones that it is of.

        Of several means over time that of the one which needs most steps.
        """
        return max((mean.skip for mean in self.of(ops.TimeMeanNode)), key=abs, default=0)

    def shape(self, name: str) -> Shape:
        """Per-sample shape of a tensor, without `[T, B]`."""
        return self._shapes[name]

    def timed(self, name: str) -> bool:
        """Whether a tensor is a sequence `[T, B, …]` rather than static `[B, …]`."""
        return self._timed[name]

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a tensor."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def ancestors(self, name: str) -> frozenset[str]:
        """Names of all nodes that `name` depends on, without itself."""
        found: set[str] = set()
        pending = list(self[name].inputs)
        while pending:
            source = pending.pop()
            if source not in found:
                found.add(source)
                pending.extend(self[source].inputs)
        return frozenset(found)
