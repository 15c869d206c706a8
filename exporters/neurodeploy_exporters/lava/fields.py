"""The fields that `.net` and circuit files have in common, and the guards around them.

Source: lava-dl, `lava.lib.dl.netx.hdf5.Network` and `lava.lib.dl.slayer.block`, which write and read them.
"""

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy.io.files import atomic_file
from neurodeploy.io.hdf5 import Folder, LocatedError
from neurodeploy_exporters.lava.connection import Integers, Shape
from neurodeploy_exporters.lava.layers import MAX_NEURONS, CubaConstants, Neuron, Role, SigmaDeltaConstants

_NEURON_TYPES, _SIGMA_DELTA = ("CUBA", "LOIHI"), "SDNN"
_OTHERS = {
    "RF": "resonate-and-fire neurons",
    "ADRF": "adaptive resonate-and-fire neurons",
    "ALIF": "adaptive LIF neurons",
}
"""What SLAYER writes too, by the beginning of the type."""
_PLAIN = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0, "weight_exp": 0, "messageBits": 0}
"""What netx computes as if it had these values, or fails at, whatever the file says."""
_TRAINING = {"scaleRho", "tauRho", "theta"}
"""What SLAYER trained with; the neurons that are run do not depend on it."""


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


def only(folder: Folder, known: Collection[str], why: str = "") -> None:
    """Refuse members of other names.

    Args:
        folder: to look into.
        known: names that may be there.
        why: goes on after "only … expected".
    """
    if unknown := sorted(set(folder.names()) - set(known)):
        raise folder.error(f"{unknown[0]}: found; only {', '.join(sorted(known))} expected{why}")


def read_layer_neuron(layer: Folder, *, entry: bool = False) -> Neuron:
    """The group `neuron` of a layer of a `.net` file.

    Args:
        layer: its group.
        entry: of the input.
    """
    folder = layer.folder("neuron")
    return _read_sigma_delta(folder, entry=entry) if folder.text("type") == _SIGMA_DELTA else read_neuron(layer)


def check_kind(neuron: Folder) -> None:
    """Refuse the group of neurons that are neither CUBA-LIF nor sigma-delta ones, and say what they are."""
    kind = neuron.text("type")
    if kind in (*_NEURON_TYPES, _SIGMA_DELTA):
        return
    what = next((f"; these are {words}, which are not read" for start, words in _OTHERS.items() if kind.startswith(start)), "")
    raise neuron.error(f"type: {kind!r} found, {', '.join(_NEURON_TYPES)} or {_SIGMA_DELTA} expected{what}")


def _read_sigma_delta(folder: Folder, *, entry: bool) -> SigmaDeltaConstants:
    only(folder, {"type", "activation", "vThMant", "sigma_output", "messageBits", "weight_exp"}, UNREAD)
    _check_plain(folder, "weight_exp")
    if "activation" in folder and (found := folder.text("activation")) != "relu":
        raise folder.error(f"activation: {found!r} found, 'relu' expected; netx computes that for any other")
    if "messageBits" in folder and (bits := read_number(folder, "messageBits")) != MESSAGE_BITS:
        raise folder.error(f"messageBits: {bits} found, {MESSAGE_BITS} expected; netx fails at any other")
    if "sigma_output" in folder and not read_number(folder, "sigma_output"):
        raise folder.error("sigma_output: 0 found, which netx takes for 1; remove it")
    role: Role = "delta" if entry else "sigma" if "sigma_output" in folder else "sigma-delta"
    with located(folder):
        return SigmaDeltaConstants(read_number(folder, "vThMant"), role)


MESSAGE_BITS = 16
"""Of the graded messages that sigma-delta neurons send."""


def read_neuron(layer: Folder) -> CubaConstants:
    """The group `neuron` of a population that fires."""
    folder = layer.folder("neuron")
    kind = folder.text("type")
    if kind not in _NEURON_TYPES:
        raise folder.error(f"type: {kind!r} found, {' or '.join(_NEURON_TYPES)} expected")
    only(folder, {"type", "iDecay", "vDecay", "vThMant", *_PLAIN, *_TRAINING}, UNREAD)
    for name in _PLAIN:
        _check_plain(folder, name)
    if folder.unsigned("iDecay") and not folder.integers("iDecay").all():
        raise folder.error("iDecay: 0 stored without a sign found, of which netx makes 65535; store signed integers")
    with located(folder):
        return CubaConstants(*(read_one_or_many(folder, name) for name in ("iDecay", "vDecay", "vThMant")))


def _check_plain(folder: Folder, name: str) -> None:
    plain = _PLAIN[name]
    values = folder.integers(name) if name in folder else np.asarray(plain)
    if (wrong := values[values != plain]).size:
        raise folder.error(f"{name}: {wrong.flat[0]} found, {plain} expected; Lava ignores any other value")


UNREAD = " (Lava reads no other, and what it means to the network is unknown; remove it if that is nothing)"


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
    return read_pairs(folder) | {"groups": read_number(folder, "groups")}


def read_pairs(folder: Folder) -> dict[str, Any]:
    """Stride, padding and dilation."""
    return {name: read_pair(folder, name) for name in ("stride", "padding", "dilation")}


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


def write_neuron(group: Any, neuron: Neuron) -> None:
    """The group `neuron` inside `group`."""
    folder = group.create_group("neuron")
    if isinstance(neuron, SigmaDeltaConstants):
        write_text(folder, "type", "SDNN")
        write_text(folder, "activation", "relu")
        folder["vThMant"] = np.int64(neuron.threshold)
        if neuron.role == "sigma":
            folder["sigma_output"] = np.bool_(True)
        return
    write_text(folder, "type", "CUBA")
    folder["iDecay"] = np.asarray(neuron.i_decay, np.int64)
    folder["vDecay"] = np.asarray(neuron.v_decay, np.int64)
    folder["vThMant"] = np.asarray(neuron.threshold, np.int64)
    folder["refDelay"] = np.int64(1)
    folder["gradedSpike"] = np.bool_(False)


def write_text(group: Any, name: str, text: str) -> None:
    """An ASCII string as lava-dl stores it: an array of one, at most 10 characters."""
    group.create_dataset(name, (1,), "S10", np.array([text.encode("ascii")], "S10"))
