"""What a NIR file holds, as plain data: nodes with their fields, edges, metadata. Both the writer and the reader speak it.

NIR (Pedersen et al. 2024, "Neuromorphic intermediate representation", neuroir.org) describes neurons by differential equations;
`Content` says nothing of how they are stepped through time. See `conventions`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = NDArray[Any] | str
Edges: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Primitive:
    """One node.

    Attributes:
        kind: NIR's name of it, such as "LIF".
        fields: name → numbers of any shape, or a text.
        metadata: name → a number or a text, free for all; no reader needs it.
    """

    kind: str
    fields: Mapping[str, Value]
    metadata: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Content:
    """A NIRGraph.

    Attributes:
        nodes: name → node, or a graph inside this one.
        edges: from → to; several edges into one node add up.
        metadata: of the graph.
    """

    nodes: Mapping[str, "Primitive | Content"]
    edges: Edges
    metadata: Mapping[str, Value] = field(default_factory=dict)


# kind → fields that it must have, fields that it may have; Input and Output call theirs `shape` in a file
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": ((), ("shape",)),
    "Output": ((), ("shape",)),
    "Affine": (("weight", "bias"), ()),
    "Linear": (("weight",), ()),
    "Scale": (("scale",), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups"), ("bias", "input_shape")),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups"), ("bias", "input_shape")),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "Flatten": (("start_dim", "end_dim"), ("input_type",)),
    "Delay": (("delay",), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak", "w_in"), ()),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "w_in"), ("v_reset",)),
}
NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
TEXTS = {"padding"}  # fields that may hold a text


def unequal(one: Content, other: Content) -> str | None:
    """The first place where two graphs differ in nodes, fields or edges, bit for bit; metadata and order do not count."""
    for name in (*one.nodes, *other.nodes):
        a, b = one.nodes.get(name), other.nodes.get(name)
        if not isinstance(a, Primitive) or not isinstance(b, Primitive) or a.kind != b.kind:
            return f"node {name}"
        for key in (*a.fields, *b.fields):
            if not _same(a.fields.get(key), b.fields.get(key)):
                return f"node {name}, field {key}"
    if sorted(one.edges) != sorted(other.edges):
        odd = sorted(set(one.edges) ^ set(other.edges))
        return f"edge {odd[0][0]} to {odd[0][1]}" if odd else "the edges"
    return None


def _same(a: Value | None, b: Value | None) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return isinstance(a, str) and a == b


def dense(weight: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """`[C_out, C_in / groups, *kernel]` → `[C_out, C_in, *kernel]`."""
    if groups == 1:
        return weight
    outputs, inputs, *kernel = weight.shape
    spread = np.zeros((groups, outputs // groups, groups, inputs, prod(kernel)), np.float32)
    number = np.arange(groups)
    spread[number, :, number] = weight.reshape(groups, outputs // groups, inputs, -1)
    return spread.reshape(outputs, groups * inputs, *kernel)


def grouped(weight: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """The inverse of `dense`; what is between the groups is left out."""
    if groups == 1:
        return weight
    outputs, inputs, *kernel = weight.shape
    number = np.arange(groups)
    spread = weight.reshape(groups, outputs // groups, groups, inputs // groups, -1)
    return np.ascontiguousarray(spread[number, :, number]).reshape(outputs, inputs // groups, *kernel)
