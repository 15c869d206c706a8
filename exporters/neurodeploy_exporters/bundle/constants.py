"""The constants in a bundle's files, as its target reads them back, summed so that any one that is changed is seen and named.

A weight may be damaged by less than any answer shows: by the last bit of a float, or behind a neuron that never fires. A sum
with odd factors modulo 2^64 shows each single change, whatever its size: an odd number has an inverse, so its product with a
change is never 0.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops import Node
from neurodeploy_exporters.bundle.bundle import Bundle
from neurodeploy_exporters.bundle.manifest import Piece, StepModel
from neurodeploy_exporters.bundle.sample import Sample


class ReadsFiles(Protocol):
    """What a target knows of its files."""

    def constants(self, bundle: Bundle, piece: Piece | StepModel) -> Mapping[str, NDArray[np.uint64]] | None: ...

    def members(self, bundle: Bundle, piece: Piece, before: Mapping[str, Node]) -> tuple[Node, ...]: ...


_EXACT = 1 << 53
_STEP = ".step"
READ_OUT = " (never fires)"
"""In the names of constants of neurons that never fire: bundles of before they were summed have none of them."""


def sums_of(target: ReadsFiles, bundle: Bundle) -> dict[str, NDArray[np.uint64]]:
    """`PIECE/NAME` → sums `[C]`, one for each part of a constant along its first axis.

    Of a format that says so these are all constants in the file, else the fields of the nodes in it, by `NODE.FIELD`.

    Raises:
        UserError: a file cannot be read, or is of another network than the manifest says.
    """
    found: dict[str, NDArray[np.uint64]] = {}
    for piece in bundle.manifest.pieces:
        read = target.constants(bundle, piece)
        found |= _of_nodes(target, bundle, piece) if read is None else _named(piece.name, read)
    for model in bundle.manifest.steps_alone:
        found |= _named(f"{model.name}{_STEP}", target.constants(bundle, model) or {})
    return found


def _of_nodes(target: ReadsFiles, bundle: Bundle, piece: Piece) -> dict[str, NDArray[np.uint64]]:
    nodes = target.members(bundle, piece, {})
    return _named(piece.name, {key: weighted_sums(value) for node in nodes for key, value in constants_of(node)})


def _named(name: str, sums: Mapping[str, NDArray[np.uint64]]) -> dict[str, NDArray[np.uint64]]:
    return {f"{name}/{key}": value for key, value in sums.items()}


def constants_of(node: Node) -> Iterator[tuple[str, NDArray[Any]]]:
    """`NODE.FIELD` → value, of every field of a node; what is no number as its letters."""
    for one in fields(node):
        if one.name != "name":
            yield from numbers_in(f"{node.name}.{one.name}", getattr(node, one.name))


def numbers_in(key: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """`KEY.FIELD` → value, of a dataclass and of those in it; what is no number as its letters, and nothing of None."""
    if value is None:
        return
    if is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from numbers_in(f"{key}.{one.name}", getattr(value, one.name))
    elif isinstance(value, tuple) and any(isinstance(one, np.ndarray) for one in value):
        for number, one in enumerate(value):
            yield from numbers_in(f"{key}.{number}", one)
    else:
        numbers = np.asarray(value) if isinstance(value, np.ndarray | int | float | tuple) else np.empty(0, object)
        letters = numbers.dtype.kind not in "fiub"
        yield key, np.frombuffer(repr(value).encode(), np.uint8) if letters else numbers


def weighted_sums(values: NDArray[Any]) -> NDArray[np.uint64]:
    """The sum of each part along the first axis, `[C]`: each number's bits as a float of 64 bits, times an odd factor."""
    rows = np.atleast_1d(values)
    rows = rows.reshape(len(rows), -1) if rows.ndim > 1 else rows.reshape(-1, 1)
    if rows.dtype.kind in "iu" and rows.size and max(abs(int(rows.max())), abs(int(rows.min()))) > _EXACT:
        bits = rows.astype(np.uint64)
    else:
        bits = (rows.astype(np.float64) + 0.0).view(np.uint64)  # one bit pattern for both zeros
    return np.asarray((bits * _odd(rows.shape[1])).sum(1, dtype=np.uint64))


def _odd(count: int) -> NDArray[np.uint64]:
    """Odd numbers without a pattern: SplitMix64 of 0, 1, 2 …"""
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)


def changed(target: ReadsFiles, bundle: Bundle, sample: Sample) -> Iterator[str]:
    """Where the constants in the files are not those that the sample has the sums of, a sentence each.

    Raises:
        UserError: see `sums_of`.
    """
    if not sample.constants:
        return
    found = sums_of(target, bundle)
    files: Mapping[str, Piece | StepModel] = {
        **{piece.name: piece for piece in bundle.manifest.pieces},
        **{f"{model.name}{_STEP}": model for model in bundle.manifest.steps_alone},
    }
    older = not any(READ_OUT in key for key in sample.constants)
    for key in sorted(sample.constants | found):
        if older and READ_OUT in key:
            continue
        here, there = found.get(key), sample.constants.get(key)
        if here is not None and there is not None and np.array_equal(here, there):
            continue
        part, _, name = key.partition("/")
        where = f"{bundle.path(files[part].file)}: {name}" if part in files else f"{bundle.manifest.sample.file}: {key}"
        if here is None or there is None:
            yield f"{where}: " + ("not in the sample's constants" if there is None else "in the sample's constants alone")
        elif here.shape != there.shape:
            yield f"{where}: {here.size:,} values along the first axis found, {there.size:,} as in the sample expected"
        else:
            odd = np.flatnonzero(here != there)
            yield f"{where}: changed, in {odd.size:,} of {here.size:,} parts, first in part {odd[0]}"
