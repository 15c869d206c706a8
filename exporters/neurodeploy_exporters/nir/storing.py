"""Writing `Content` by the `nir` package, so that a file is what every other reader of NIR expects."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurodeploy.files import atomic_file
from neurodeploy_exporters.nir.content import Content, Primitive, Value

_SHAPES = {"Input": "input_type", "Output": "output_type"}


def store(content: Content, path: Path) -> None:
    """Write a file, whole or not at all."""
    memory = io.BytesIO()  # HDF5 would lock the file itself
    nir.write(memory, as_nir(content))
    with atomic_file(path) as temporary:
        temporary.write_bytes(memory.getvalue())


def as_nir(content: Content) -> Any:
    """The graph in the `nir` package's own classes; its types are not checked again, our graph has checked them."""
    nodes = {name: _node(node) if isinstance(node, Primitive) else as_nir(node) for name, node in content.nodes.items()}
    return _Graph(nodes, list(content.edges), metadata=_plain(content.metadata), type_check=False)


class _Graph(nir.NIRGraph):
    """Leaves out what the `nir` package fills in: its versions up to 1.0.4 do not know v_reset, and refuse it."""

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = super().to_dict()
        for node in told["nodes"].values():
            node.pop("v_reset", None)
        return told | {"type": "NIRGraph"}


def _node(node: Primitive) -> Any:
    kind: Any = getattr(nir, node.kind)
    fields: dict[str, Any] = _plain(node.fields)
    metadata: dict[str, Any] = {"metadata": _plain(node.metadata)}
    if node.kind in _SHAPES:
        return kind({"input" if node.kind == "Input" else "output": fields["shape"]}, **metadata)
    if node.kind == "Flatten":
        return kind({"input": fields.pop("input_type")}, **fields, **metadata)
    return kind(**fields, **metadata)


def _plain(values: Mapping[str, Value]) -> dict[str, Any]:
    """Single numbers as Python's own: the `nir` package would compress an array without axes, which HDF5 cannot."""
    return {name: value.item() if isinstance(value, np.ndarray) and not value.ndim else value for name, value in values.items()}
