"""The shape of a sample, which files tell with a batch in front, or not at all; then what reads the input may tell it."""

from typing import Any

import numpy as np

from neurodeploy.errors import UserError
from neurodeploy.graph.nodes import Shape
from neurodeploy_exporters.nir.content import NEURONS, Primitive
from neurodeploy_exporters.nir.flattening import Flat

_MOST_AXES = 8
_LARGEST = 1 << 26


def input_shape(content: Flat, name: str, node: Primitive, given: Shape | None) -> tuple[Shape, list[str]]:
    """The shape per sample and step, and what was assumed about it.

    Raises:
        UserError: nothing tells it, or what tells it is no shape.
    """
    if given is not None:
        return given, []
    told = _told(name, node) if node.kind == "Input" else None
    read = [name] if node.kind != "Input" else [other for other, sources in content.sources.items() if name in sources]
    known = next((shape for shape in (_of_reader(content.nodes[other]) for other in read) if shape is not None), None)
    if told is None and (known is None or 0 in known):
        raise UserError(f"node {name}: the shape of a sample is not told; give it (input_shape, or --input-shape C,H,W)")
    if told is None:
        assert known is not None
        return known, [f"shape of a sample taken from what reads it: {known}"]
    axes = len(known) if known is not None else len(told)
    if axes < len(told):
        shape = told[len(told) - axes :]
        return shape, [
            f"input of shape {told}: the first {len(told) - axes} of its axes taken for a batch; a sample is {shape}"
        ]
    return told, []


def _told(name: str, node: Primitive) -> Shape | None:
    if "shape" not in node.fields:
        return None
    values: Any = np.atleast_1d(np.asarray(node.fields["shape"]))
    fine = values.ndim == 1 and 0 < values.size <= _MOST_AXES and values.dtype.kind in "iuf"
    if not fine or (values < 1).any() or (values > _LARGEST).any() or (values != np.rint(values)).any():
        raise UserError(f"node {name}: shape: {values.ravel()[:8].tolist()} found, sizes of at least 1 expected")
    return tuple(int(value) for value in values)


def _of_reader(node: Primitive) -> Shape | None:
    """What a node that reads the input says of it; 0 where it leaves a size open."""
    weight: Any = node.fields.get("weight")
    spatial: Any = node.fields.get("input_shape")
    match node.kind:
        case "Affine" | "Linear" if weight.ndim == 2:
            return (weight.shape[1],)
        case "Conv1d" | "Conv2d" if weight.ndim == int(node.kind[4]) + 2:
            channels = weight.shape[1] * int(np.ravel(node.fields["groups"])[0])
            sizes = np.ravel(spatial).tolist() if spatial is not None else []
            return (
                (channels, *(int(size) for size in sizes))
                if len(sizes) == weight.ndim - 2
                else (channels,) + (0,) * (weight.ndim - 2)
            )
        case "AvgPool2d" | "SumPool2d":
            return (0, 0, 0)
        case "Flatten" if "input_type" in node.fields:
            return tuple(int(size) for size in np.ravel(node.fields["input_type"]))
        case kind if kind in NEURONS:
            shape = np.shape(node.fields["r"])
            return shape if shape else None
    return None
