"""Whether two graphs are the same network, and if not, where they differ."""

from dataclasses import fields
from typing import Any

import numpy as np

from neurodeploy.graph.graph import Graph


def differences(one: Graph, other: Graph) -> tuple[str, ...]:
    """What differs, one sentence per node and field; empty if both hold the same nodes in the same order, bit for bit."""
    found = []
    names = [node.name for node in one.nodes], [node.name for node in other.nodes]
    if names[0] != names[1]:
        lacking = [name for name in names[0] if name not in other] or [name for name in names[1] if name not in one]
        return (f"node {lacking[0]}: in one graph alone" if lacking else "the nodes come in another order",)
    for node in one.nodes:
        twin = other[node.name]
        if type(node) is not type(twin):
            found.append(f"node {node.name}: {type(node).__name__} and {type(twin).__name__}")
            continue
        for field in fields(node):
            if not _equal(getattr(node, field.name), getattr(twin, field.name)):
                found.append(f"node {node.name}: field {field.name} differs")
    return tuple(found)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and bool(a == b)
