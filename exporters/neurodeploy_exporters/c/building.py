"""A network as a C program: which node is in which file, and what each of them emits."""

from collections.abc import Mapping
from dataclasses import replace

from neurodeploy.graph import Graph, ops, partition
from neurodeploy.graph.grid import DEFAULT
from neurodeploy.graph.ops import Node, Range
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.accumulating import accumulations
from neurodeploy_exporters.c.file import CFile, KernelChoice
from neurodeploy_exporters.c.names import CNames
from neurodeploy_exporters.c.program import CInput, CProgram
from neurodeploy_exporters.c.rules import OPERATIONS
from neurodeploy_exporters.c.tensors import CTensor, CType, channels_last, integer_type
from neurodeploy_exporters.c.writing import files_of

EVENTS = Range(0, 1)
"""The grid of inputs that are spikes."""


def program_of(
    graph: Graph,
    steps: int,
    choices: Mapping[str, KernelChoice] | None = None,
    *,
    events: bool = False,
    name: str = "model",
) -> CProgram:
    """The C program of a network.

    Args:
        graph: of `neurodeploy_exporters.c.deployed.in_integers`.
        steps: T.
        choices: synapse → kernel; dense ones if None.
        events: whether inputs are spikes, 0 or 1, and come 32 to a word.
        name: of the network, for comments.

    Raises:
        UserError: a node has no form in C, or no exact one; the message names it.
    """
    OPERATIONS.check(node for node in graph.nodes if not isinstance(node, ops.NormalizeNode))
    answer = graph.output
    names = CNames(node.name for node in graph.nodes)
    entrance = _entrance(graph, events=events)
    numbers = {layer: number for number, layer in enumerate(graph.spiking)}
    passed = {node.name for node in entrance.nodes}
    entering = {entrance.tensor.name: entrance.tensor}
    units = list[CFile]()
    made: dict[str, CTensor] = dict(entering)
    for part, members, leaving in _parts(graph, passed):
        read = {source for member in members for source in graph[member].inputs} - set(members)
        given = {source: made[source] for source in graph_order(graph, read)}
        caller = "" if units else entrance.tensor.name  # a head after a body reads what that hands on
        unit = CFile(graph, part, members, given, caller, leaving, steps, choices or {}, names, numbers)
        _emit(unit)
        joined = {
            name: one for one in accumulations(unit) for name in (one.neuron, *one.synapses, *one.sums)
        }  # known once the grids of all nodes are
        if joined:
            unit = replace(unit, accumulations=joined, **{name: type(getattr(unit, name))() for name in _MADE})
            _emit(unit)
        unit.finish()
        made |= {tensor: unit.tensors[tensor] for tensor in leaving}
        units.append(unit)
    last = units[-1]
    logits = last.tensors[answer.name]
    if logits.type not in ("int32_t", "float"):
        logits = _widened(logits)
    spiking = {layer: unit.tensors[layer] for unit in units for layer in graph.spiking if layer in unit.members}
    program = CProgram(graph, steps, entrance, tuple(units), spiking, logits, last.divisors.get(answer.name), {})
    return CProgram(**{**program.__dict__, "files": files_of(program, name)})


_MADE = ("tensors", "tables", "stored", "states", "remarks", "divisors")
"""What a file gets by the nodes that are emitted into it."""


def _emit(unit: CFile) -> None:
    for member in unit.members:
        node = unit.graph[member]
        unit.begin(node)
        accumulation = unit.accumulations.get(member)
        if accumulation is None or member not in accumulation.sums:
            OPERATIONS[node](node, unit)


def graph_order(graph: Graph, names: set[str]) -> tuple[str, ...]:
    return tuple(node.name for node in graph.nodes if node.name in names)


def _widened(logits: CTensor) -> CTensor:
    return CTensor(logits.name, logits.shape, "int32_t", logits.grid, logits.order, logits.buffer)


def _parts(graph: Graph, passed: set[str]) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Name, members and leaving tensors of each file; what is done to samples before is in none."""
    if not graph.spiking:
        return [("head", tuple(node.name for node in graph.nodes if node.name not in passed), ())]
    cut = partition(graph, spikes_only=False)
    head = cut.head
    before = {name for part in (cut.encoder, cut.body) if part for name in part.members} - passed
    inside = graph_order(graph, before)
    return [("body", inside, head.inputs), ("head", head.members, ())]


def _entrance(graph: Graph, *, events: bool) -> CInput:
    node: Node = graph.input
    nodes = [node]
    while True:
        readers = graph.consumers(node.name)
        if len(readers) != 1 or not isinstance(readers[0], ops.NormalizeNode | ops.QuantizeNode):
            break
        node = readers[0]
        nodes.append(node)
    grid = Range(node.exponent, node.largest) if isinstance(node, ops.QuantizeNode) else EVENTS if events else DEFAULT
    if isinstance(node, ops.NormalizeNode):
        raise UserError(f"node {node.name}: samples are normalised and not rounded; export with quantize exact")
    shape = graph.shape(node.name)
    kind: CType = "bits" if grid == EVENTS and events else integer_type(grid.largest)
    return CInput(tuple(nodes), CTensor(node.name, shape, kind, grid, channels_last(shape), node.name), graph.input.timed)
