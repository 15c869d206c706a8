"""Reading and writing `.net` files, the HDF5 format of lava-dl (written by SLAYER, read by `lava.lib.dl.netx`).

Source: lava-dl, `lava.lib.dl.netx.hdf5.Network` and the files in its repository.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy.io.files import atomic_file
from neurodeploy.io.hdf5 import Folder, LocatedError, opened
from neurodeploy_exporters.lava.connection import Integers, Shape
from neurodeploy_exporters.lava.layers import (
    MAX_NEURONS,
    ConvLayer,
    CubaConstants,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    Layer,
)
from neurodeploy_exporters.lava.network import Network, check_hardware

_INTEGRATOR = CubaConstants(0, 4096, 1 << 17)  # what netx gives a dense layer without neurons; it never spikes


def read(path: Path) -> Network:
    """Read a `.net` file.

    Values that a chip could not hold but Lava's CPU simulation computes with are accepted; see `check_hardware`.

    Raises:
        UserError: not such a file, a layer of an unsupported type, a missing or wrong value; the message names the file, the
            place in it and the value.
    """
    with opened(path) as root:
        layers = tuple(_read_layer(folder) for folder in read_numbered(root.folder("layer")))
    try:
        return Network(layers)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def write(network: Network, path: Path) -> None:
    """Write a `.net` file, atomically; `read` and lava-dl's netx get the same network back.

    Raises:
        UserError: a value does not fit the chip (`check_hardware`).
    """
    check_hardware(network)
    with written(path) as file:
        for position, layer in enumerate(network.layers):
            _WRITERS[type(layer)](file.create_group(f"layer/{position}"), layer)
        file["simulation/Ts"] = np.int64(1)
        file["simulation/tSample"] = np.int64(1)


def _read_layer(folder: Folder) -> Layer:
    kind = folder.text("type")
    if kind not in _READERS:
        known = ", ".join(_READERS)
        raise folder.error(f"type: {kind!r} found; {known} expected (Lava drops or refuses others)")
    with located(folder):
        return _READERS[kind](folder)


def _refuse(folder: Folder, name: str, reason: str) -> None:
    if name in folder:
        raise folder.error(f"{name}: found {reason}; remove it")


def _read_input(folder: Folder) -> InputLayer:
    _refuse(folder, "delay", "on an input entry, where Lava ignores it")
    neuron = read_neuron(folder) if "neuron" in folder else None
    weight = read_number(folder, "weight") if "weight" in folder else 64
    bias = read_number(folder, "bias") if "bias" in folder else 0
    return InputLayer(shape=read_shape(folder), neuron=neuron, weight=weight, bias=bias)


def _read_conv(folder: Folder) -> ConvLayer:
    _refuse(folder, "delay", "on a convolution, where Lava ignores it")
    shape, weight = read_shape(folder), folder.integers("weight")
    if weight.ndim > 4 and set(weight.shape[4:]) == {1}:  # lava-dl's own weights have a fifth axis
        weight = weight.reshape(weight.shape[:4])
    bias = folder.integers("bias") if "bias" in folder else None
    if bias is not None and bias.ndim == 3:
        bias = bias.transpose(2, 1, 0)  # stored (W, H, C)
    return ConvLayer(shape=shape, weight=weight, bias=bias, neuron=read_neuron(folder), **read_geometry(folder))


def _read_dense(folder: Folder) -> DenseLayer:
    _refuse(folder, "weight_rec", 'on a layer of type "dense", where Lava ignores it')
    delay = folder.integers("delay") if "delay" in folder else np.zeros((), np.int64)
    return _dense(folder, None, int(delay.flat[0]) if delay.size == 1 else delay)


def _read_dense_rec(folder: Folder) -> DenseLayer:
    _refuse(folder, "delay", "on a recurrent layer, where netx rescales the sums (by delays of 0 too)")
    return _dense(folder, folder.integers("weight_rec"), 0)


def _dense(folder: Folder, weight_rec: Integers | None, delay: int | Integers) -> DenseLayer:
    outputs, weight = checked_product(folder, folder.integers("shape")), folder.integers("weight")
    if weight.ndim == 1 and weight.size % outputs == 0:
        weight = weight.reshape(outputs, -1)
        if weight_rec is not None and weight_rec.size == outputs**2:
            weight_rec = weight_rec.reshape(outputs, outputs)
    bias = folder.integers("bias") if "bias" in folder else None
    return DenseLayer(
        shape=(outputs,),
        weight=weight,
        bias=np.full(outputs, bias.flat[0]) if bias is not None and bias.shape in ((), (1,)) else bias,
        delay=delay,
        weight_rec=weight_rec,
        neuron=read_neuron(folder) if "neuron" in folder else _INTEGRATOR,
    )


_READERS: dict[str, Callable[[Folder], Layer]] = {
    "input": _read_input,
    "conv": _read_conv,
    "dense": _read_dense,
    "dense_rec": _read_dense_rec,
    "flatten": lambda _: FlattenLayer(),
}


def _write_input(group: Any, layer: InputLayer) -> None:
    _write_head(group, "input", layer.shape)
    if layer.neuron is not None:
        group["weight"] = np.float32(layer.weight)
        group["bias"] = np.float32(layer.bias)
        write_neuron(group, layer.neuron)


def _write_conv(group: Any, layer: ConvLayer) -> None:
    _write_head(group, "conv", layer.shape)
    group["inChannels"] = np.int64(layer.in_channels)
    group["outChannels"] = np.int64(layer.shape[0])
    group["kernelSize"] = np.array(layer.weight.shape[2:], np.int64)
    for name, size in layer.geometry.items():
        group[name] = np.array(size, np.int64)
    group["weight"] = layer.weight.astype(np.float32)
    if layer.bias is not None:
        group["bias"] = layer.bias.transpose().astype(np.float32)  # per neuron: stored (W, H, C)
    write_neuron(group, layer.neuron)


def _write_dense(group: Any, layer: DenseLayer) -> None:
    _write_head(group, "dense" if layer.weight_rec is None else "dense_rec", layer.shape)
    group["inFeatures"] = np.int64(layer.weight.shape[1])
    group["outFeatures"] = np.int64(layer.shape[0])
    group["weight"] = layer.weight.astype(np.float32)
    if layer.weight_rec is not None:
        group["weight_rec"] = layer.weight_rec.astype(np.float32)
    if np.any(layer.delay):
        group["delay"] = np.asarray(layer.delay, np.float64)
    if layer.bias is not None:
        group["bias"] = layer.bias.astype(np.float32)
    write_neuron(group, layer.neuron)


_WRITERS: dict[type, Callable[[Any, Any], None]] = {
    InputLayer: _write_input,
    ConvLayer: _write_conv,
    DenseLayer: _write_dense,
    FlattenLayer: lambda group, _: write_text(group, "type", "flatten"),
}


def _write_head(group: Any, kind: str, shape: Shape) -> None:
    write_text(group, "type", kind)
    group["shape"] = np.array(shape, np.int64)


_NEURON_TYPES = ("CUBA", "LOIHI")
_DROPPED = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0}  # netx computes as if they had these values


@contextmanager
def located(folder: Folder) -> Iterator[None]:
    """Puts file and group in front of an error's message that does not name them yet."""
    try:
        yield
    except LocatedError:
        raise
    except UserError as error:
        raise folder.error(str(error)) from None


@contextmanager
def written(path: Path) -> Iterator[Any]:
    """An HDF5 file to be filled, written whole or not at all."""
    memory = io.BytesIO()  # HDF5 itself does not survive a disk that fills up while it writes
    with h5py.File(memory, "w") as file:
        yield file
    with atomic_file(path) as temporary:
        temporary.write_bytes(memory.getvalue())


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
    with located(folder):
        i_decay, v_decay = (read_one_or_many(folder, name) for name in ("iDecay", "vDecay"))
        return CubaConstants(i_decay, v_decay, read_number(folder, "vThMant"))


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


def write_text(group: Any, name: str, text: str) -> None:
    """An ASCII string as lava-dl stores it: an array of one, at most 10 characters."""
    group.create_dataset(name, (1,), "S10", np.array([text.encode("ascii")], "S10"))
