"""Reading and writing `.net` files, the HDF5 format of lava-dl (written by SLAYER, read by `lava.lib.dl.netx`).

Sources: lava-dl, `lava.lib.dl.netx.hdf5.Network` and the files in its repository; for the layers that SLAYER writes and netx
does not read, `lava.lib.dl.slayer.block.base` and `synapse.layer.Pool`; for `recurrent`, SpyTorch2Loihi's export.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy.io.hdf5 import Folder, opened
from neurodeploy_exporters.lava.connection import Integers, Shape
from neurodeploy_exporters.lava.fields import (
    UNREAD,
    check_kind,
    checked_product,
    located,
    only,
    read_geometry,
    read_layer_neuron,
    read_number,
    read_numbered,
    read_pairs,
    read_shape,
    write_neuron,
    write_text,
    written,
)
from neurodeploy_exporters.lava.layers import (
    AverageLayer,
    ConvLayer,
    CubaConstants,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    Layer,
)
from neurodeploy_exporters.lava.network import Network, check_hardware
from neurodeploy_exporters.lava.slayer import folded, pooling

_INTEGRATOR = CubaConstants(0, 4096, 1 << 17)  # what netx gives a dense layer without neurons; it never spikes


def read(path: Path, *, num_layers: int | None = None) -> Network:
    """Read a `.net` file.

    Values that a chip could not hold but Lava's CPU simulation computes with are accepted; see `check_hardware`. A pooling
    layer of SLAYER is read as the convolution that it is, an average over groups of neurons is folded into the dense layer
    after it, and a `recurrent` layer of SpyTorch2Loihi is one of type `dense_rec` under other names: netx refuses or drops
    them.

    Args:
        path: the file.
        num_layers: read the first so many layers alone, as netx does; what comes after them may be anything.

    Raises:
        UserError: not such a file, a layer of an unsupported type, a missing, unknown or wrong value; the message names the
            file, the place in it and the value.
    """
    layers: list[Layer] = []
    with opened(path) as root:
        shape: Shape | None = None
        for folder in read_numbered(root.folder("layer"))[:num_layers]:
            layers.append(_read_layer(folder, shape))
            with located(folder):
                shape = _shape_after(layers[-1], shape)
    try:
        return Network(folded(layers))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def write(network: Network, path: Path) -> None:
    """Write a `.net` file, atomically; `read` and lava-dl's netx get the same network back.

    A flatten layer that has nothing to flatten is left out: netx cannot turn the axes of neurons that have one.

    Raises:
        UserError: a value does not fit the chip (`check_hardware`), or a layer has no form that netx reads.
    """
    check_hardware(network)
    kept = [layer for position, layer in enumerate(network.layers) if not _is_idle(network, position)]
    with written(path) as file:
        for position, layer in enumerate(kept):
            _WRITERS[type(layer)](file.create_group(f"layer/{position}"), layer)
        file["simulation/Ts"] = np.int64(1)
        file["simulation/tSample"] = np.int64(1)


def _is_idle(network: Network, position: int) -> bool:
    shape = network.shape_after(position)
    return isinstance(network.layers[position], FlattenLayer) and shape is not None and len(shape) == 1


def _shape_after(layer: Layer, shape: Shape | None) -> Shape | None:
    """Shape that a layer makes of one, as far as it is known; `Network` checks that they fit."""
    if isinstance(layer, FlattenLayer | AverageLayer):
        return None if shape is None else layer.output_shape(shape)
    return layer.shape


_COMMON = {"type", "shape"}
_FIELDS = {
    "input": {"neuron", "weight", "bias"},
    "conv": {"inChannels", "outChannels", "kernelSize", "stride", "padding", "dilation", "groups", "weight", "bias", "neuron"},
    "dense": {"inFeatures", "outFeatures", "weight", "bias", "delay", "neuron"},
    "dense_rec": {"inFeatures", "outFeatures", "weight", "weight_rec", "bias", "neuron"},
    "recurrent": {"inFeatures", "outFeatures", "weight", "recWeight", "neuron"},
    "pool": {"kernelSize", "stride", "padding", "dilation", "weight", "neuron"},
    "average": set[str](),
    "flatten": set[str](),
}
_REFUSED = {
    ("input", "delay"): "on an input entry, where Lava ignores it",
    ("conv", "delay"): "on a convolution, where Lava ignores it",
    ("pool", "delay"): "on a pooling layer, which has none on a chip",
    ("dense", "weight_rec"): 'on a layer of type "dense", where Lava ignores it',
    ("dense_rec", "delay"): "on a recurrent layer, where netx rescales the sums (by delays of 0 too)",
}


def _read_layer(folder: Folder, shape: Shape | None) -> Layer:
    """One layer, behind others that make neurons of `shape`."""
    kind = folder.text("type")
    if kind not in _READERS:
        known = ", ".join(_READERS)
        raise folder.error(f"type: {kind!r} found; {known} expected (Lava drops or refuses others)")
    for name in folder.names():
        if (kind, name) in _REFUSED:
            raise folder.error(f"{name}: found {_REFUSED[kind, name]}; remove it")
    if "neuron" in folder:
        check_kind(folder.folder("neuron"))  # others have other weights too
    only(folder, _COMMON | _FIELDS[kind], UNREAD)
    with located(folder):
        return _READERS[kind](folder, shape)


def _read_input(folder: Folder, _: Shape | None) -> InputLayer:
    neuron = read_layer_neuron(folder, entry=True) if "neuron" in folder else None
    weight = read_number(folder, "weight") if "weight" in folder else 64
    bias = read_number(folder, "bias") if "bias" in folder else 0
    return InputLayer(shape=read_shape(folder), neuron=neuron, weight=weight, bias=bias)


def _read_conv(folder: Folder, _: Shape | None) -> ConvLayer:
    shape, weight = read_shape(folder), _kernel(folder)
    bias = folder.integers("bias") if "bias" in folder else None
    if bias is not None and bias.ndim == 3:
        bias = bias.transpose(2, 1, 0)  # stored (W, H, C)
    layer = ConvLayer(shape=shape, weight=weight, bias=bias, neuron=read_layer_neuron(folder), **read_geometry(folder))
    _check_stated(folder, inChannels=layer.in_channels, outChannels=shape[0], kernelSize=weight.shape[2:])
    return layer


def _read_pool(folder: Folder, shape: Shape | None) -> ConvLayer:
    kernel = _kernel(folder)
    if kernel.ndim != 4 or kernel.shape[:2] != (1, 1):
        raise folder.error(f"weight: shape {kernel.shape} found, one kernel (1, 1, kH, kW) for all channels expected")
    _check_stated(folder, kernelSize=kernel.shape[2:])
    return pooling(read_shape(folder), kernel[0, 0], before=shape, neuron=read_layer_neuron(folder), **read_pairs(folder))


def _kernel(folder: Folder) -> Integers:
    weight = folder.integers("weight")
    if weight.ndim > 4 and set(weight.shape[4:]) == {1}:  # lava-dl's own weights have a fifth axis
        return weight.reshape(weight.shape[:4])
    return weight


def _check_stated(folder: Folder, **sizes: int | Shape) -> None:
    """Refuse sizes that a file tells twice, and differently; Lava looks at the weight alone."""
    for name, size in sizes.items():
        if name not in folder:
            continue
        stated, expected = folder.integers(name), np.atleast_1d(size)
        if (stated.size != 1 and stated.shape != expected.shape) or (stated != expected).any():
            raise folder.error(f"{name}: {stated.tolist()!s:.40} found, but the weight says {size}")


def _read_dense(folder: Folder, _: Shape | None) -> DenseLayer:
    delay = folder.integers("delay") if "delay" in folder else np.zeros((), np.int64)
    return _dense(folder, None, int(delay.flat[0]) if delay.size == 1 else delay)


def _read_dense_rec(folder: Folder, _: Shape | None) -> DenseLayer:
    return _dense(folder, folder.integers("weight_rec"), 0)


def _read_recurrent(folder: Folder, _: Shape | None) -> DenseLayer:
    return _dense(folder, folder.integers("recWeight"), 0)


def _dense(folder: Folder, weight_rec: Integers | None, delay: int | Integers) -> DenseLayer:
    outputs, weight = checked_product(folder, folder.integers("shape")), folder.integers("weight")
    if weight.ndim == 1 and weight.size % outputs == 0:
        weight = weight.reshape(outputs, -1)
        if weight_rec is not None and weight_rec.size == outputs**2:
            weight_rec = weight_rec.reshape(outputs, outputs)
    bias = folder.integers("bias") if "bias" in folder else None
    layer = DenseLayer(
        shape=(outputs,),
        weight=weight,
        bias=np.full(outputs, bias.flat[0]) if bias is not None and bias.shape in ((), (1,)) else bias,
        delay=delay,
        weight_rec=weight_rec,
        neuron=read_layer_neuron(folder) if "neuron" in folder else _INTEGRATOR,
    )
    _check_stated(folder, inFeatures=weight.shape[1], outFeatures=outputs)
    return layer


def _read_average(folder: Folder, _: Shape | None) -> AverageLayer:
    if "shape" not in folder:
        raise folder.error(
            "shape: missing, the number of groups expected (lava-dl's export breaks off here); read the layers before it alone "
            "(--num-layers), and average their spikes on the host"
        )
    return AverageLayer(checked_product(folder, folder.integers("shape")))


_READERS: dict[str, Callable[[Folder, Shape | None], Layer]] = {
    "input": _read_input,
    "conv": _read_conv,
    "dense": _read_dense,
    "dense_rec": _read_dense_rec,
    "flatten": lambda _, __: FlattenLayer(),
    "pool": _read_pool,
    "average": _read_average,
    "recurrent": _read_recurrent,
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
