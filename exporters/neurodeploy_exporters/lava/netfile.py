"""Reading and writing `.net` files, the HDF5 format of lava-dl (written by SLAYER, read by `lava.lib.dl.netx`).

Source: lava-dl, `lava.lib.dl.netx.hdf5.Network` and the files in its repository.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodeploy.errors import UserError
from neurodeploy.files import atomic_file
from neurodeploy_exporters.lava.hardware import check_hardware
from neurodeploy_exporters.lava.hdf5 import Folder, LocatedError, opened
from neurodeploy_exporters.lava.layers import (
    ConvLayer,
    CubaNeuron,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    Integers,
    Layer,
    Shape,
)
from neurodeploy_exporters.lava.network import Network

_NEURON_TYPES = ("CUBA", "LOIHI")
_INTEGRATOR = CubaNeuron(0, 4096, 1 << 17)  # what netx gives a dense layer without neurons; it never spikes


def read(path: Path) -> Network:
    """Read a `.net` file.

    Values that a chip could not hold but Lava's CPU simulation computes with are accepted; see `check_hardware`.

    Raises:
        UserError: not such a file, a layer of an unsupported type, a missing or wrong value; the message names the file, the
            place in it and the value.
    """
    with opened(path) as root:
        folder = root.folder("layer")
        names = folder.names()
        if set(names) != {str(i) for i in range(len(names))} or not names:
            shown = ", ".join(names[:8]) or "nothing"
            raise UserError(f"{path}: /layer: {shown} found; 0 to n-1 expected, one group per layer")
        layers = tuple(_read_layer(folder.folder(str(i))) for i in range(len(names)))
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
    memory = io.BytesIO()  # HDF5 itself does not survive a disk that fills up while it writes
    with h5py.File(memory, "w") as file:
        for position, layer in enumerate(network.layers):
            _WRITERS[type(layer)](file.create_group(f"layer/{position}"), layer)
        file["simulation/Ts"] = np.int64(1)
        file["simulation/tSample"] = np.int64(1)
    with atomic_file(path) as temporary:
        temporary.write_bytes(memory.getvalue())


def _read_layer(folder: Folder) -> Layer:
    kind = folder.text("type")
    if kind not in _READERS:
        known = ", ".join(_READERS)
        raise folder.error(f"type: {kind!r} found; {known} expected (Lava drops or refuses others)")
    try:
        return _READERS[kind](folder)
    except LocatedError:
        raise
    except UserError as error:
        raise folder.error(str(error)) from None


def _read_input(folder: Folder) -> InputLayer:
    neuron = _read_neuron(folder) if "neuron" in folder else None
    weight = _number(folder, "weight") if "weight" in folder else 64
    bias = _number(folder, "bias") if "bias" in folder else 0
    return InputLayer(shape=_shape(folder), neuron=neuron, weight=weight, bias=bias)


def _read_conv(folder: Folder) -> ConvLayer:
    if "delay" in folder:
        raise UserError("delay: found on a convolution, where Lava ignores it; remove it")
    shape, weight = _shape(folder), folder.integers("weight")
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    bias = folder.integers("bias") if "bias" in folder else None
    if bias is not None and bias.ndim == 3:
        bias = bias.transpose(2, 1, 0)  # stored (W, H, C)
    return ConvLayer(
        shape=shape,
        weight=weight,
        bias=bias,
        stride=_pair(folder, "stride"),
        padding=_pair(folder, "padding"),
        dilation=_pair(folder, "dilation"),
        groups=_number(folder, "groups"),
        neuron=_read_neuron(folder),
    )


def _read_dense(folder: Folder) -> DenseLayer:
    return _dense(folder, None)


def _read_dense_rec(folder: Folder) -> DenseLayer:
    return _dense(folder, folder.integers("weight_rec"))


def _dense(folder: Folder, weight_rec: Integers | None) -> DenseLayer:
    shape = folder.integers("shape")
    outputs, weight = _product(folder, shape), folder.integers("weight")
    if weight.ndim == 1 and weight.size % outputs == 0:
        weight = weight.reshape(outputs, -1)
    delay = folder.integers("delay") if "delay" in folder else np.zeros((), np.int64)
    return DenseLayer(
        shape=(outputs,),
        weight=weight,
        bias=folder.integers("bias") if "bias" in folder else None,
        delay=int(delay.flat[0]) if delay.size == 1 else delay,
        weight_rec=weight_rec,
        neuron=_read_neuron(folder) if "neuron" in folder else _INTEGRATOR,
    )


def _read_flatten(_: Folder) -> FlattenLayer:
    return FlattenLayer()


_READERS: dict[str, Callable[[Folder], Layer]] = {
    "input": _read_input,
    "conv": _read_conv,
    "dense": _read_dense,
    "dense_rec": _read_dense_rec,
    "flatten": _read_flatten,
}


def _read_neuron(layer: Folder) -> CubaNeuron:
    folder = layer.folder("neuron")
    kind = folder.text("type")
    if kind not in _NEURON_TYPES:
        raise folder.error(f"type: {kind!r} found, {' or '.join(_NEURON_TYPES)} expected")
    try:
        return CubaNeuron(_one_or_many(folder, "iDecay"), _one_or_many(folder, "vDecay"), _number(folder, "vThMant"))
    except LocatedError:
        raise
    except UserError as error:
        raise folder.error(str(error)) from None


def _one_or_many(folder: Folder, name: str) -> int | Integers:
    values = folder.integers(name)
    return int(values.flat[0]) if values.size == 1 else values


def _number(folder: Folder, name: str) -> int:
    values = folder.integers(name)
    if values.size != 1:
        raise folder.error(f"{name}: shape {values.shape} found, one number expected")
    return int(values.flat[0])


def _pair(folder: Folder, name: str) -> Shape:
    values = folder.integers(name)
    if values.shape not in ((), (2,)):
        raise folder.error(f"{name}: shape {values.shape} found, one number or (y, x) expected")
    y, x = np.broadcast_to(values, (2,)).tolist()
    return (y, x)


def _shape(folder: Folder) -> Shape:
    values = folder.integers("shape")
    if values.ndim != 1:
        raise folder.error(f"shape: an array of shape {values.shape} found, (C, H, W) expected")
    _product(folder, values)
    return tuple(values.tolist())


def _product(folder: Folder, shape: Integers) -> int:
    product = 1
    for size in shape.ravel().tolist():
        product *= size
        if size < 1 or product > 1 << 31:
            raise folder.error(f"shape: {shape.tolist()} found, the shape of a layer expected")
    return product


def _write_input(group: Any, layer: InputLayer) -> None:
    _write_head(group, "input", layer.shape)
    if layer.neuron is not None:
        group["weight"] = np.float32(layer.weight)
        group["bias"] = np.float32(layer.bias)
        _write_neuron(group, layer.neuron)


def _write_conv(group: Any, layer: ConvLayer) -> None:
    _write_head(group, "conv", layer.shape)
    group["inChannels"] = np.int64(layer.in_channels)
    group["outChannels"] = np.int64(layer.shape[0])
    group["kernelSize"] = np.array(layer.weight.shape[2:], np.int64)
    for name in ("stride", "padding", "dilation"):
        group[name] = np.array(getattr(layer, name), np.int64)
    group["groups"] = np.int64(layer.groups)
    group["weight"] = layer.weight.astype(np.float32)
    if layer.bias is not None:
        group["bias"] = layer.bias.transpose().astype(np.float32)  # per neuron: stored (W, H, C)
    _write_neuron(group, layer.neuron)


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
    _write_neuron(group, layer.neuron)


def _write_flatten(group: Any, _: FlattenLayer) -> None:
    _write_text(group, "type", "flatten")


_WRITERS: dict[type, Callable[[Any, Any], None]] = {
    InputLayer: _write_input,
    ConvLayer: _write_conv,
    DenseLayer: _write_dense,
    FlattenLayer: _write_flatten,
}


def _write_head(group: Any, kind: str, shape: Shape) -> None:
    _write_text(group, "type", kind)
    group["shape"] = np.array(shape, np.int64)


def _write_neuron(group: Any, neuron: CubaNeuron) -> None:
    folder = group.create_group("neuron")
    _write_text(folder, "type", "CUBA")
    folder["iDecay"] = np.asarray(neuron.i_decay, np.int64)
    folder["vDecay"] = np.asarray(neuron.v_decay, np.int64)
    folder["vThMant"] = np.int64(neuron.threshold)
    folder["refDelay"] = np.int64(1)
    folder["gradedSpike"] = np.bool_(False)


def _write_text(group: Any, name: str, text: str) -> None:
    group.create_dataset(name, (1,), "S10", np.array([text.encode("ascii")], "S10"))
