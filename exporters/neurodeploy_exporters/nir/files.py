"""NIR files: a graph written so that it comes back exactly, and a file of anyone read under a convention that is stated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.grid import grid_node
from neurodeploy.graph.ops import Shape
from neurodeploy.io.errors import UserError
from neurodeploy.io.hdf5 import LocatedError, printable
from neurodeploy.io.version import VERSION
from neurodeploy_exporters.nir.content import Content, Primitive, Value, load, store, unequal
from neurodeploy_exporters.nir.conventions import Convention, Reset, chosen
from neurodeploy_exporters.nir.dialects import FIRST, Dialect, dialect_named
from neurodeploy_exporters.nir.flattening import flat
from neurodeploy_exporters.nir.importing import imported
from neurodeploy_exporters.nir.primitives import OPERATIONS, Context, output
from neurodeploy_exporters.nir.recognition import recognised
from neurodeploy_exporters.nir.recurrence import SUFFIX, written_back
from neurodeploy_exporters.nir.structure import KEY, Structure, as_json, constant_key, delays_key, member, parsed, rebuilt


def write(
    graph: Graph,
    path: Path,
    *,
    dialect: str = "nir",
    dt: float | None = None,
    outputs: Sequence[str] = (),
    exponents: Mapping[str, int] | None = None,
) -> None:
    """Write a graph as a NIR file, which `read` turns into the same graph again.

    A static input is fed again at every time step, and the mean over time, of all steps or the later ones, is left to the
    reader; the metadata say both. A sum is several edges into one node. The soft reset has no form in NIR and is in the
    metadata alone: others reset to 0.

    Args:
        graph: batch norm folded, or at least with something else than neurons before it.
        path: of the file.
        dialect: of the reader, by its name in `dialects.DIALECTS`.
        dt: one time step in the unit of the time constants, instead of the dialect's.
        outputs: spiking layers that get an Output of their own, beside the graph's: `output_1`, `output_2` and so on.
        exponents: layer → k, of those whose weights are 8-bit integers times 2⁻ᵏ, for the metadata.

    Raises:
        NoNirForm: a node cannot be expressed (see `primitives.OPERATIONS`); the message names it.
        UserError: there is no such dialect, or the file cannot be written.
    """
    store(content_of(graph, dialect=dialect, dt=dt, outputs=outputs, exponents=exponents), path)


def content_of(
    graph: Graph,
    *,
    dialect: str | Dialect = "nir",
    dt: float | None = None,
    outputs: Sequence[str] = (),
    exponents: Mapping[str, int] | None = None,
) -> Content:
    """What `write` writes."""
    chosen_dialect = dialect if isinstance(dialect, Dialect) else dialect_named(dialect)
    dt = chosen_dialect.dt if dt is None else dt
    if not 0 < dt < float("inf"):
        raise UserError(f"dt: {dt} found, a positive number of seconds, or steps, expected")
    currents = _currents(graph)
    merged = {graph[neuron].inputs[0] for neuron in currents}
    context = Context(graph, dt, chosen_dialect, currents, _binary(graph))
    writer = _Writer(graph, len(outputs) if chosen_dialect.terminals else None)
    for node in graph.nodes:
        if node.name in merged:
            continue
        inputs = graph[node.inputs[0]].inputs if node.name in currents else node.inputs
        writer.add(node, inputs, OPERATIONS[node](context, node))
        if isinstance(node, ops.CellNode) and node.recurrent is not None:
            writer.loop(f"{node.name}{SUFFIX}", node.name, written_back(node))
    for number, tensor in enumerate(outputs, 1):
        writer.leave(f"output_{number}" if chosen_dialect.terminals else f"{tensor}.output", tensor)
    structure = Structure(
        version=2 if chosen_dialect.terminals else 1,
        dialect=chosen_dialect.name if chosen_dialect.terminals else "nir",
        created_by=f"neurodeploy {VERSION}",
        dt=dt,
        outputs=tuple(outputs),
        exponents=dict(exponents or {}),
        members=tuple(member(node, writer.last.get(node.name)) for node in graph.nodes),
    )
    metadata: dict[str, Value] = {
        "created_by": structure.created_by,
        "dt": np.array(dt),
        "logits": _logits(graph),
        KEY: as_json(structure),
    }
    if chosen_dialect.terminals:
        metadata["dialect"] = chosen_dialect.name
        metadata |= {f"output_{number}.tensor": tensor for number, tensor in enumerate(outputs, 1)}
    if graph.skipped:
        metadata["logits_skip"] = np.array(graph.skipped)
    if graph.steps is not None:
        metadata |= {"steps": np.array(graph.steps), "input": "the same static sample at every step"}
    grid = grid_node(graph)
    if grid is not None:
        metadata |= {"input_step": np.array(2.0**-grid.exponent), "input_largest": np.array(grid.largest * 2.0**-grid.exponent)}
    for node in graph.of(ops.Updated):
        metadata |= {constant_key(writer.last[node.name], number): array for number, array in enumerate(node.arrays)}
    metadata |= {delays_key(writer.last[node.name]): node.each for node in graph.of(ops.DelayNode) if node.each is not None}
    for layer, k in structure.exponents.items():
        scales = {"weight_bits": np.array(8), "weight_scale": np.array(2.0**-k), "bias_scale": np.array(2.0 ** -(k + 1))}
        metadata |= {f"{writer.last.get(layer, layer)}.{name}": value for name, value in scales.items()}
    return Content(writer.nodes, tuple(writer.edges), metadata)


def _logits(graph: Graph) -> str:
    """What a reader has to make of the output, in words: NIR has no mean over time."""
    if graph.skipped == -1:
        return "the output in the last time step"
    if graph.skipped < 0:
        return f"the mean of the output over the last {-graph.skipped} time steps"
    if graph.skipped:
        return f"the mean of the output over the time steps after the first {graph.skipped}, which it leaves out"
    return "the mean of the output over time" if graph.of(ops.TimeMeanNode) else "the output"


class _Writer:
    """A file in the making.

    Args:
        graph: that is written.
        further: how many Outputs there are beside the graph's own; the terminals have names that no other node takes. None for
            terminals named after their tensors.
    """

    def __init__(self, graph: Graph, further: int | None) -> None:
        self.graph = graph
        self.named = further is not None
        self.terminals = {"input", "output", *(f"output_{n + 1}" for n in range(further or 0))} if self.named else set()
        self.nodes: dict[str, Primitive] = {}
        self.edges: list[tuple[str, str]] = []
        self.last: dict[str, str] = {}

    def add(self, node: ops.Node, inputs: Sequence[str], primitives: list[Primitive]) -> None:
        """The NIR nodes of one node: a chain, of which the last bears its name."""
        if not primitives:
            return
        parts = [self._key(f"{node.name}.part{number}") for number in range(1, len(primitives))]
        chain = [*parts, self._terminal(primitives[-1]) or self._key(node.name)]
        self.nodes |= zip(chain, primitives, strict=True)
        if not isinstance(node, ops.OutputNode):  # which nobody reads
            self.last[node.name] = chain[-1]
        self._connect(inputs, chain[0])
        self.edges += pairwise(chain)

    def loop(self, name: str, neuron: str, synapse: Primitive) -> None:
        """A synapse from a neuron to itself."""
        key, own = self._key(name), self.last[neuron]
        self.nodes[key] = synapse
        self.edges += [(own, key), (key, own)]

    def leave(self, name: str, tensor: str) -> None:
        """A further Output."""
        key = name if self.named else self._key(name)
        self.nodes[key] = output(self.graph.shape(tensor))
        self._connect([tensor], key)

    def _connect(self, inputs: Sequence[str], key: str) -> None:
        for source, times in Counter(end for name in inputs for end in self._sources(name)).items():
            if times == 1:
                self.edges.append((source, key))
            else:  # NIR has no parallel edges
                scale = self._key(f"{key}.{times}x")
                shape = self.graph.shape(next(name for name, last in self.last.items() if last == source))
                self.nodes[scale] = Primitive("Scale", {"scale": np.full(shape, times, np.float32)})
                self.edges += [(source, scale), (scale, key)]

    def _sources(self, name: str) -> list[str]:
        """The NIR nodes whose sum a tensor is."""
        if name in self.last:
            return [self.last[name]]
        return [end for source in self.graph[name].inputs for end in self._sources(source)]

    def _terminal(self, primitive: Primitive) -> str | None:
        """What compilers look for; they know one input and one output."""
        return {"Input": "input", "Output": "output"}.get(primitive.kind) if self.named else None

    def _key(self, name: str) -> str:
        """A name that HDF5 can hold, of no other node."""
        plain = name.replace("/", "_").replace("\0", "_")
        key = plain if plain.strip(".") else f"_{plain}"
        while key in self.nodes or key in self.terminals:
            key += "_"
        return key


def _currents(graph: Graph) -> dict[str, float]:
    """Neuron → decay of its synaptic current, where both can be one CubaLIF: it alone reads the current, and both leak."""
    decays = {}
    for node in graph.of(ops.NeuronNode):
        source = graph[node.inputs[0]]
        alone = len(graph.consumers(source.name)) == 1
        if isinstance(source, ops.LowPassNode) and alone and source.decay < 1 and node.parameters.decay < 1:
            decays[node.name] = source.decay
    return decays


def _binary(graph: Graph) -> frozenset[str]:
    binary: set[str] = set()
    for node in graph.nodes:
        if (isinstance(node, ops.Spiking) and node.largest == 1) or (node.keeps_values and binary.issuperset(node.inputs)):
            binary.add(node.name)
    return frozenset(binary)


@dataclass(frozen=True)
class Reading:
    """What came of a file.

    Attributes:
        graph: the network.
        convention: under which its equations were stepped; None for a file of ours, which tells its updates.
        statements: what was recognised and assumed, a sentence each.
        outputs: spiking layers with an Output of their own.
        warnings: those of the assumptions on which spikes depend and that neither the file nor the caller made, each with how
            to make it.
    """

    graph: Graph
    convention: Convention | None
    statements: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read(
    path: Path,
    *,
    convention: str | Convention | None = None,
    dt: float | None = None,
    reset: Reset | None = None,
    input_shape: Shape | None = None,
) -> Graph:
    """The graph in a NIR file; see `read_with_conventions`."""
    return read_with_conventions(path, convention=convention, dt=dt, reset=reset, input_shape=input_shape).graph


def read_with_conventions(
    path: Path,
    *,
    convention: str | Convention | None = None,
    dt: float | None = None,
    reset: Reset | None = None,
    input_shape: Shape | None = None,
) -> Reading:
    """The graph in a NIR file, and how it was understood.

    A file that `write` wrote gives back its graph bit for bit. Of any other, the input is a sequence `[T, B, …]`, and the
    answer the mean over time of its output.

    Args:
        path: of the file.
        convention: how its equations are stepped, by its name in `CONVENTIONS`, with settings (`conventions.SETTINGS`) such as
            "sinabs:norm_input=false,min_v_mem=-1", or as it is; recognised by its numbers if None.
        dt: one time step in the unit of its time constants, instead of the convention's.
        reset: "hard" or "soft", instead of the convention's: NIR knows the hard one alone, frameworks mean either.
        input_shape: of a sample, where the file does not tell it.

    Raises:
        UserError: the file is damaged, recurrent through several layers, or holds what has no form in a graph; one line, which
            names file and node.
    """
    try:
        return understood(load(path), path, convention=convention, dt=dt, reset=reset, input_shape=input_shape)
    except UserError as error:
        raise LocatedError(str(error)) from None  # with what it quotes made printable


def understood(
    content: Content,
    path: Path,
    *,
    convention: str | Convention | None = None,
    dt: float | None = None,
    reset: Reset | None = None,
    input_shape: Shape | None = None,
) -> Reading:
    """What `read_with_conventions` makes of a file that was loaded already; its messages may quote what no terminal bears."""
    ours, asked = content.metadata.get(KEY), (convention, dt, reset, input_shape)
    if isinstance(ours, str) and asked == (None,) * len(asked):
        return _ours(content, ours, path)
    network = flat(content, path)
    nodes = list(network.nodes.values())
    name, look = (convention, "convention as asked for") if convention is not None else recognised(nodes)
    if convention is None and name == "spikingjelly" and network.returning:
        name, look = (
            "snntorch",
            "neurons as SpikingJelly and snnTorch write them, and of these snnTorch alone writes recurrence",
        )
    stepping = chosen(name, dt=dt, reset=reset)
    graph, notes = imported(network, stepping, path, shape=input_shape)
    kinds = {node.kind for node in nodes}
    statements = [f"convention {stepping.name}: {look}", *stepping.statements(kinds)]
    statements += [*network.notes, *notes, "answer: the mean of the output over time"]
    warnings = stepping.warnings(kinds, known=convention is not None)
    return Reading(graph, stepping, tuple(map(printable, statements)), warnings=tuple(map(printable, warnings)))


def _ours(content: Content, metadata: str, path: Path) -> Reading:
    """The graph that the metadata tell of, if the NIR nodes are those that would be written for it."""
    try:
        structure = parsed(metadata)
        graph = Graph(rebuilt(entry, content) for entry in structure.members)
        for tensor in structure.outputs:
            if tensor not in graph:
                raise UserError(f"outputs: {tensor}: no such node")
        # written once more and compared: metadata beside other NIR nodes would be a network that only we read in the file
        dialect = FIRST if structure.version == 1 else dialect_named(structure.dialect)
        again = content_of(graph, dialect=dialect, dt=structure.dt, outputs=structure.outputs, exponents=structure.exponents)
    except UserError as error:
        raise UserError(f"{path}: metadata of neurodeploy: {error}") from None
    except (OverflowError, RecursionError, ValueError, IndexError, KeyError) as error:  # what no sound metadata would lead to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: metadata of neurodeploy: damaged ({type(error).__name__}: {reason})") from None
    odd = unequal(content, again)
    if odd is not None:
        raise UserError(
            f"{path}: {odd} is not what the metadata of neurodeploy tell; the file was changed by another program: read it "
            "under a convention, such as nir, which leaves those metadata alone"
        )
    count = sum(isinstance(node, Primitive) for node in content.nodes.values())
    statement = f"written by {structure.created_by}, whose metadata tell every update ({count} NIR nodes agree)"
    return Reading(graph, None, (printable(statement),), structure.outputs)
