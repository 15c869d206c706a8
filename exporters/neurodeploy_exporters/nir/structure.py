"""A graph's own nodes, as one JSON text in a file's metadata: what NIR has no place for, so that reading gives the graph again.

Weights are not in it; they are taken from the NIR nodes. NIR has no time of its own, so the text says too where a static sample
becomes a sequence, and that logits are a mean over time.
"""

import json
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from neurodeploy.graph import ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import Content, Primitive, grouped
from neurodeploy_exporters.nir.primitives import OPERATIONS
from neurodeploy_exporters.nir.recurrence import stored_back

KEY = "neurodeploy"
_ARRAYS = {"weight", "bias", "scale", "shift", "arrays", "recurrent", "recurrent_bias", "each"}


class Member(BaseModel):
    """One node of the graph.

    Attributes:
        kind, name, inputs: as in `neurodeploy.graph.ops`.
        written: the last of the NIR nodes that stand for it; None where it needs none.
        has_bias: of a Conv or Linear; NIR's convolutions always have one.
        constants: the other fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str
    name: str
    inputs: tuple[str, ...]
    written: str | None = None
    has_bias: bool = False
    constants: dict[str, Any] = Field(default_factory=dict)


class Structure(BaseModel):
    """The metadata.

    Attributes:
        version: 1 had terminals named after their tensors, and one dialect; 2 says which.
        created_by: toolkit and version.
        dialect: that the NIR nodes are written in; a name of `dialects.DIALECTS`.
        dt: one time step in the unit of the time constants.
        outputs: tensors that leave, beside the graph's own output.
        exponents: layer → k, of those whose weights are 8-bit integers times 2⁻ᵏ.
        members: the graph's nodes, in order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int = Field(default=1, ge=1, le=2)
    created_by: str
    dialect: str = "nir"
    dt: float = Field(gt=0, allow_inf_nan=False)
    outputs: tuple[str, ...] = ()
    exponents: dict[str, int] = Field(default_factory=dict)
    members: tuple[Member, ...]


def member(node: ops.Node, written: str | None) -> Member:
    """What is to be told of one node."""
    told = {name: value for name, value in ops.content(node).items() if name not in ("name", "inputs", *_ARRAYS)}
    constants = json.loads(TypeAdapter(dict[str, Any]).dump_json(told))
    has_bias = getattr(node, "bias", None) is not None
    return Member(kind=node.kind, name=node.name, inputs=node.inputs, written=written, has_bias=has_bias, constants=constants)


def as_json(structure: Structure) -> str:
    """One line of text."""
    return structure.model_dump_json(exclude_defaults=True)


def parsed(text: str) -> Structure:
    """The structure in a text.

    Raises:
        UserError: it is none.
    """
    try:
        return Structure.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}") from None


def rebuilt(one: Member, content: Content) -> ops.Node:
    """The node that was told of, with its weights.

    Raises:
        UserError: it is no node that a graph can have, or has no weights.
    """
    kinds = {name: kind for name, kind in ops.operations().items() if kind in OPERATIONS}
    if one.kind not in kinds:
        raise UserError(f"node {one.name}: {one.kind!r} found, one of {', '.join(kinds)} expected")
    kind: Any = kinds[one.kind]
    values: dict[str, Any] = {"name": one.name, "inputs": one.inputs}
    hints = get_type_hints(kind)
    expected = {field.name for field in fields(kind)} - {"name", "inputs"} - _ARRAYS
    optional = {field.name for field in fields(kind) if field.default is not MISSING} & ops.ADDED.keys()
    if not expected - optional <= set(one.constants) <= expected:
        raise UserError(f"node {one.name}: constants {sorted(one.constants)} found, {sorted(expected)} expected")
    for name, value in one.constants.items():
        try:
            values[name] = TypeAdapter(hints[name]).validate_python(value)
        except (ValidationError, UserError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise UserError(f"node {one.name}: {name}: {reason}") from None
    node: ops.Node = kind(**values, **_arrays(one, content, {field.name for field in fields(kind)} & _ARRAYS))
    return node


def _arrays(one: Member, content: Content, wanted: set[str]) -> dict[str, Any]:
    if not wanted:
        return {}
    source = content.nodes.get(one.written or "")
    stored = dict(source.fields) if isinstance(source, Primitive) else {}
    found: dict[str, Any] = {}
    for name in wanted:
        if name == "arrays":
            found[name] = _constants(one, content)
            continue
        if name == "each":
            steps = content.metadata.get(delays_key(one.written or ""))
            found[name] = steps.astype(np.int64) if isinstance(steps, np.ndarray) else None
            continue
        array = stored.get({"scale": "weight", "shift": "bias"}.get(name, name))
        if name == "recurrent":
            found[name] = stored_back(content, one.written or "")
        elif name == "recurrent_bias" or (name == "bias" and not one.has_bias):
            found[name] = None
        elif not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise UserError(f"node {one.name}: its {name} is missing, or not float32")
        else:
            found[name] = _own(one, name, array)
    return found


def _constants(one: Member, content: Content) -> tuple[NDArray[np.float32], ...]:
    """The constants of a cell, of which NIR's nodes hold others that follow from them."""
    found: list[NDArray[np.float32]] = []
    while isinstance(array := content.metadata.get(constant_key(one.written or "", len(found))), np.ndarray):
        if array.dtype != np.float32:
            raise UserError(f"node {one.name}: a constant of type {array.dtype} found, float32 expected")
        found.append(array)
    return tuple(found)


def constant_key(written: str, number: int) -> str:
    """Where a file's metadata hold a constant of a cell."""
    return f"{written}.array{number}"


def delays_key(written: str) -> str:
    """Where a file's metadata hold the delays of neurons that differ, in the shape that they have in the graph."""
    return f"{written}.delays"


def _own(one: Member, name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """An array as the graph has it; in the file, the groups of a convolution are spread out."""
    if one.kind == "BatchNorm":
        return grouped(array, len(array)).reshape(-1) if name == "scale" else array
    if one.kind != "Conv" or name != "weight":
        return array
    groups = one.constants.get("groups")
    if not isinstance(groups, int) or groups < 1 or array.ndim < 3 or array.shape[0] % groups or array.shape[1] % groups:
        raise UserError(f"node {one.name}: {groups} groups found for weights of shape {array.shape}, a divisor expected")
    return grouped(array, groups)
