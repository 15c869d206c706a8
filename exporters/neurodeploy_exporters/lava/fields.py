"""The groups that `.net` files and circuit files have in common, and their numbers, pairs, shapes and texts."""

from typing import Any

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy.io.hdf5 import Folder, LocatedError
from neurodeploy_exporters.lava.connection import Convolution, Integers, Shape
from neurodeploy_exporters.lava.layers import MAX_NEURONS, CubaConstants

_NEURON_TYPES = ("CUBA", "LOIHI")
_DROPPED = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0}  # netx computes as if they had these values


def read_numbered(folder: Folder, *, least: int = 1) -> list[Folder]:
    """The groups "0", "1", … in a group, at least `least` of them and nothing else."""
    names = folder.names()
    if set(names) != {str(i) for i in range(len(names))} or len(names) < least:
        shown = ", ".join(names[:8]) or "nothing"
        raise LocatedError(f"{folder.file}: {folder.path}: {shown} found; 0 to n-1 expected, one group each")
    return [folder.folder(str(i)) for i in range(len(names))]


def read_neuron(layer: Folder) -> CubaConstants:
    """The group `neuron` of a layer or population."""
    folder = layer.folder("neuron")
    kind = folder.text("type")
    if kind not in _NEURON_TYPES:
        raise folder.error(f"type: {kind!r} found, {' or '.join(_NEURON_TYPES)} expected")
    for name, plain in _DROPPED.items():
        if name in folder and (found := read_number(folder, name)) != plain:
            raise folder.error(f"{name}: {found} found, {plain} expected; Lava ignores any other value")
    if folder.unsigned("iDecay") and not folder.integers("iDecay").all():
        raise folder.error("iDecay: 0 stored without a sign found, of which netx makes 65535; store signed integers")
    try:
        return CubaConstants(
            read_one_or_many(folder, "iDecay"), read_one_or_many(folder, "vDecay"), read_number(folder, "vThMant")
        )
    except LocatedError:
        raise
    except UserError as error:
        raise folder.error(str(error)) from None


def read_one_or_many(folder: Folder, name: str) -> int | Integers:
    """A number, or an array of more than one."""
    values = folder.integers(name)
    return int(values.flat[0]) if values.size == 1 else values


def read_number(folder: Folder, name: str) -> int:
    """A number, also where it is stored as an array of one."""
    values = folder.integers(name)
    if values.size != 1:
        raise folder.error(f"{name}: shape {values.shape} found, one number expected")
    return int(values.flat[0])


def read_geometry(folder: Folder) -> dict[str, Any]:
    """Stride, padding, dilation and groups of a convolution."""
    pairs: dict[str, Any] = {name: read_pair(folder, name) for name in ("stride", "padding", "dilation")}
    return pairs | {"groups": read_number(folder, "groups")}


def read_pair(folder: Folder, name: str) -> Shape:
    """`(y, x)`, also where one number stands for both."""
    values = folder.integers(name)
    if values.shape not in ((), (2,)):
        raise folder.error(f"{name}: shape {values.shape} found, one number or (y, x) expected")
    y, x = np.broadcast_to(values, (2,)).tolist()
    return (y, x)


def read_shape(folder: Folder) -> Shape:
    """The array `shape`: of one axis, without absurd sizes."""
    values = folder.integers("shape")
    if values.ndim != 1:
        raise folder.error(f"shape: an array of shape {values.shape} found, (C, H, W) expected")
    checked_product(folder, values)
    return tuple(values.tolist())


def checked_product(folder: Folder, shape: Integers) -> int:
    """Number of neurons of a layer of this shape."""
    if shape.size > 3:
        raise folder.error(f"shape: {shape.size} sizes found, (C, H, W) or (N,) expected")
    product = 1
    for size in shape.ravel().tolist():
        product *= size
        if size < 1 or product > MAX_NEURONS:
            raise folder.error(f"shape: {shape.tolist()} found, sizes of at least 1 and {MAX_NEURONS} neurons at most expected")
    return product


def write_neuron(group: Any, neuron: CubaConstants) -> None:
    """The group `neuron` inside `group`."""
    folder = group.create_group("neuron")
    write_text(folder, "type", "CUBA")
    folder["iDecay"] = np.asarray(neuron.i_decay, np.int64)
    folder["vDecay"] = np.asarray(neuron.v_decay, np.int64)
    folder["vThMant"] = np.int64(neuron.threshold)
    folder["refDelay"] = np.int64(1)
    folder["gradedSpike"] = np.bool_(False)


def write_geometry(group: Any, convolution: Convolution) -> None:
    """Stride, padding, dilation as `(y, x)`, and groups."""
    for name in ("stride", "padding", "dilation"):
        group[name] = np.array(getattr(convolution, name), np.int64)
    group["groups"] = np.int64(convolution.groups)


def write_text(group: Any, name: str, text: str) -> None:
    """An ASCII string as lava-dl stores it: an array of one, at most 10 characters."""
    group.create_dataset(name, (1,), "S10", np.array([text.encode("ascii")], "S10"))
