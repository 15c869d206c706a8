"""The shape of a sample, which files tell with a batch in front, or not at all; then what reads the input may tell it."""

from typing import Any

import numpy as np

from neurodeploy.errors import UserError
from neurodeploy.graph.nodes import Shape
from neurodeploy_exporters.nir.content import NEURONS, Primitive, Value
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
    shape = _sizes(node.fields["shape"])
    if shape is None or 0 in shape:
        found = np.ravel(np.asarray(node.fields["shape"]))[:_MOST_AXES].tolist()
        raise UserError(f"node {name}: shape: {found} found, 1 to {_MOST_AXES} sizes of at least 1 expected")
    return shape


def _of_reader(node: Primitive) -> Shape | None:
    """What a node that reads the input says of it; 0 where it leaves a size open. What is absurd is refused by its own rule."""
    weight = np.shape(node.fields.get("weight", 0))
    match node.kind:
        case "Affine" | "Linear" if len(weight) == 2:
            return (weight[1],)
        case "Conv1d" | "Conv2d" if len(weight) == int(node.kind[4]) + 2:
            groups, spatial = _sizes(node.fields["groups"]), _sizes(node.fields.get("input_shape"))
            axes = len(weight) - 2
            channels = weight[1] * (groups[0] if groups else 1)
            return (channels, *(spatial if spatial and len(spatial) == axes else (0,) * axes))
        case "AvgPool2d" | "SumPool2d":
            return (0, 0, 0)
        case "Flatten":
            return _sizes(node.fields.get("input_type"))
        case kind if kind in NEURONS:
            return np.shape(node.fields["r"]) or None
    return None


def _sizes(value: Value | None) -> Shape | None:
    """Numbers of a file as sizes; None if they are none."""
    if not isinstance(value, np.ndarray) or not 0 < value.size <= _MOST_AXES or value.ndim > 1:
        return None
    flat: list[Any] = np.ravel(value).tolist()
    if not all(0 <= size <= _LARGEST and size == int(size) for size in flat):
        return None
    return tuple(int(size) for size in flat)
