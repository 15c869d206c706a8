"""Reading a NIR file of anyone: one of ours exactly, another's under a convention that is stated."""

from dataclasses import dataclass
from pathlib import Path

from neurodeploy.graph import Graph
from neurodeploy.graph.ops import Shape
from neurodeploy.io.errors import UserError
from neurodeploy.io.hdf5 import LocatedError, printable
from neurodeploy_exporters.nir.content import Content, Primitive, unequal
from neurodeploy_exporters.nir.conventions import Convention, Reset, chosen, recognised
from neurodeploy_exporters.nir.files import load
from neurodeploy_exporters.nir.flattening import flat
from neurodeploy_exporters.nir.importing import imported
from neurodeploy_exporters.nir.structure import KEY, parsed, rebuilt
from neurodeploy_exporters.nir.writing import content_of


@dataclass(frozen=True)
class Reading:
    """What came of a file.

    Attributes:
        graph: the network.
        convention: under which its equations were stepped; None for a file of ours, which tells its updates.
        statements: what was recognised and assumed, a sentence each.
        outputs: spiking layers with an Output of their own.
    """

    graph: Graph
    convention: Convention | None
    statements: tuple[str, ...]
    outputs: tuple[str, ...] = ()


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
        convention: how its equations are stepped, by its name in `CONVENTIONS` or as it is; recognised by its numbers if None.
        dt: one time step in the unit of its time constants, instead of the convention's.
        reset: "hard" or "soft", instead of the convention's: NIR knows the hard one alone, frameworks mean either.
        input_shape: of a sample, where the file does not tell it.

    Raises:
        UserError: the file is damaged, recurrent, or holds what has no form in a graph; one line, which names file and node.
    """
    try:
        return _understood(path, convention, dt, reset, input_shape)
    except UserError as error:
        raise LocatedError(str(error)) from None  # with what it quotes made printable


def _understood(
    path: Path, convention: str | Convention | None, dt: float | None, reset: Reset | None, input_shape: Shape | None
) -> Reading:
    content = load(path)
    told = content.metadata.get(KEY)
    if isinstance(told, str) and convention is None and dt is None and reset is None and input_shape is None:
        return _ours(content, told, path)
    one = flat(content, path)
    name, look = (convention, "convention as asked for") if convention is not None else recognised(list(one.nodes.values()))
    stepping = chosen(name, dt=dt, reset=reset)
    graph, notes = imported(one, stepping, path, shape=input_shape)
    statements = (
        f"convention {stepping.name}: {look}",
        *stepping.statements({node.kind for node in one.nodes.values()}),
        *one.notes,
        *notes,
    )
    return Reading(graph, stepping, tuple(map(printable, (*statements, "answer: the mean of the output over time"))))


def _ours(content: Content, told: str, path: Path) -> Reading:
    """The graph that the metadata tell of, if the NIR nodes are those that would be written for it."""
    try:
        structure = parsed(told)
        graph = Graph(rebuilt(one, content) for one in structure.members)
        for tensor in structure.outputs:
            if tensor not in graph:
                raise UserError(f"outputs: {tensor}: no such node")
        again = content_of(graph, dt=structure.dt, outputs=structure.outputs, exponents=structure.exponents)
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
    flat_nodes = [node for node in content.nodes.values() if isinstance(node, Primitive)]
    statement = f"written by {structure.created_by}, whose metadata tell every update ({len(flat_nodes)} NIR nodes agree)"
    return Reading(graph, None, (printable(statement),), structure.outputs)
