"""A graph as data that a file can hold: its nodes as JSON, and their arrays by name."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.io.errors import UserError


class StoredNode(BaseModel):
    """A node without its arrays.

    Attributes:
        kind, name, inputs: as in `neurodeploy.graph.ops`.
        constants: its other fields.
        arrays: those of its fields that are arrays.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str
    name: str
    inputs: tuple[str, ...]
    constants: dict[str, Any] = Field(default_factory=dict)
    arrays: tuple[str, ...] = ()


Arrays = dict[str, NDArray[Any]]
"""`node/field` → array."""


def stored(graph: Graph) -> tuple[tuple[StoredNode, ...], Arrays]:
    """A graph's nodes, and the arrays that they leave out."""
    nodes, arrays = [], Arrays()
    for node in graph.nodes:
        own = {name: getattr(node, name) for name in _own_fields(type(node))}
        held = _arrays(own)
        arrays |= {f"{node.name}/{name}": value for name, value in held.items()}
        constants = {
            name: TypeAdapter(hint).dump_python(own[name], mode="json")
            for name, hint in _own_fields(type(node)).items()
            if name not in held and not _are_arrays(hint) and not _goes_without_saying(type(node), name, own[name])
        }
        nodes.append(StoredNode(kind=node.kind, name=node.name, inputs=node.inputs, constants=constants, arrays=tuple(held)))
    return tuple(nodes), arrays


def _arrays(values: Mapping[str, Any]) -> Arrays:
    """Those fields that are arrays, or several, which are numbered."""
    held = Arrays()
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            held[name] = value
        elif isinstance(value, tuple) and all(isinstance(one, np.ndarray) for one in value):
            held |= {f"{name}.{number}": one for number, one in enumerate(value)}
    return held


def _are_arrays(hint: Any) -> bool:
    """Whether a field holds any number of arrays, such as none."""
    return get_origin(hint) is tuple and get_origin(get_args(hint)[0]) is np.ndarray


def restored(nodes: tuple[StoredNode, ...], arrays: Mapping[str, NDArray[Any]]) -> Graph:
    """The graph that `stored` took apart.

    Raises:
        UserError: a node is none that a graph can have, or an array is missing; the message names the node.
    """
    return Graph(_node(one, arrays) for one in nodes)


def _node(one: StoredNode, arrays: Mapping[str, NDArray[Any]]) -> ops.Node:
    kinds = ops.operations()
    if one.kind not in kinds:
        raise UserError(f"node {one.name}: {one.kind!r} found, one of {', '.join(kinds)} expected")
    kind: Any = kinds[one.kind]
    hints, values = _own_fields(kind), dict[str, Any]()
    for name in hints:
        if name in one.arrays:
            if f"{one.name}/{name}" not in arrays:
                raise UserError(f"node {one.name}: its {name} is missing")
            values[name] = arrays[f"{one.name}/{name}"]
        elif f"{name}.0" in one.arrays:
            several = [other for other in one.arrays if other.rpartition(".")[0] == name]
            missing = [other for other in several if f"{one.name}/{other}" not in arrays]
            if missing:
                raise UserError(f"node {one.name}: its {missing[0]} is missing")
            values[name] = tuple(arrays[f"{one.name}/{name}.{number}"] for number in range(len(several)))
        elif name in one.constants:
            try:
                values[name] = TypeAdapter(hints[name]).validate_python(one.constants[name])
            except ValidationError as error:
                raise UserError(f"node {one.name}: {name}: {error.errors()[0]['msg']}") from None
        elif _default(kind, name) is MISSING:
            values[name] = None
    try:
        node: ops.Node = kind(name=one.name, inputs=one.inputs, **values)
    except (TypeError, ValueError) as error:
        raise UserError(f"node {one.name}: {error}") from None
    return node


@cache
def _own_fields(kind: type[ops.Node]) -> dict[str, Any]:
    """Field → type, of those that not every node has."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.name not in ("name", "inputs")}


def _default(kind: type[ops.Node], name: str) -> Any:
    return next(field.default for field in fields(kind) if field.name == name)


def _goes_without_saying(kind: type[ops.Node], name: str, value: Any) -> bool:
    """Whether nothing is stored of a field: it holds nothing, as it does where nothing is said."""
    return value is None and _default(kind, name) in (None, MISSING)
