"""What a core, a chip and a board hold: data files with a source for every number, never code."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Literal, get_args

from neurodeploy.io.errors import UserError

Resource = Literal["neurons", "input_axons", "output_axons", "synapse_bits", "delay_slots"]
RESOURCES: tuple[Resource, ...] = get_args(Resource)

_FILES = resources.files("neurodeploy_exporters.lava.mapping") / "chips"


@dataclass(frozen=True)
class Limit:
    """A number, and where it comes from."""

    value: int
    source: str


@dataclass(frozen=True)
class Board:
    """A board that is or was available, and how many chips it carries."""

    name: str
    chips: int


@dataclass(frozen=True)
class Encoding:
    """How a core stores the synapses of one input axon: in blocks, each rounded up to whole words.

    A list of n synapses takes `n · (weight_bits + delay bits + tag_bits [+ index bits]) + header_bits` bits. Without an index,
    the list holds a weight for every neuron of the core, zeros too; with one, only the others.

    Attributes:
        source: where this comes from.
        weight_bits, tag_bits: per synapse.
        index_bits: widths that an index may have, ascending.
        header_bits: per block.
        word_bits: of memory.
        synapses_per_block: at most.
        shared_kernels: whether a convolution is stored once for all places of its output, and takes one input axon.
    """

    source: str
    weight_bits: int
    tag_bits: int
    index_bits: tuple[int, ...]
    header_bits: int
    word_bits: int
    synapses_per_block: int
    shared_kernels: bool


@dataclass(frozen=True)
class Fitted:
    """What is not public of a chip, fitted to published output of its compiler (`compiler`).

    Attributes:
        source: of that output.
        matrix_bits, kernel_bits: of a synapse in a matrix or in a kernel, beside those of its weight.
        list_bits: of a list of synapses.
        word_bits: of memory.
        margin: by how much more cores, as a share, the compiler took at most than is computed here.
        worst: the network for which it did.
    """

    source: str
    matrix_bits: int
    kernel_bits: int
    list_bits: int
    word_bits: int
    margin: float
    worst: str


@dataclass(frozen=True)
class Chip:
    """A chip.

    Attributes:
        name: as options and reports name it.
        title: for people.
        approximate: whether the limits are known only in part.
        cores: for neurons, per chip.
        boards: from the smallest to the largest.
        limits: of a core; a resource that is not there is counted but not limited.
        encoding: of synapses.
        note: what a reader must know.
        fitted: how its compiler divides a network; None where that is public, and the fewest cores are looked for.
    """

    name: str
    title: str
    approximate: bool
    cores: Limit
    boards: tuple[Board, ...]
    limits: dict[Resource, Limit]
    encoding: Encoding
    note: str
    fitted: Fitted | None = None

    def smallest_board(self, chips: int) -> Board | None:
        """The first board with that many chips."""
        return next((board for board in self.boards if board.chips >= chips), None)


def names() -> tuple[str, ...]:
    """Of all chips."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _FILES.iterdir() if entry.name.endswith(".toml")))


def load(name: str) -> Chip:
    """A chip by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in names():
        raise UserError(f"chip {name!r}: not known; there are: {', '.join(names())}")
    data = tomllib.loads((_FILES / f"{name}.toml").read_text("utf-8"))
    encoding, fitted = data.pop("encoding"), data.pop("fitted", None)
    return Chip(
        name=name,
        cores=Limit(**data.pop("cores")),
        boards=tuple(Board(**board) for board in data.pop("boards")),
        limits={resource: Limit(**data["limits"][resource]) for resource in RESOURCES if resource in data["limits"]},
        encoding=Encoding(**{**encoding, "index_bits": tuple(encoding["index_bits"])}),
        fitted=None if fitted is None else Fitted(**fitted),
        **{key: data[key] for key in ("title", "approximate", "note")},
    )
