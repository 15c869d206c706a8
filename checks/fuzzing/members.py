"""Damage to what an HDF5 file holds: other values, types, shapes and links, sizes that are only claimed, hostile storage."""

import io
from collections.abc import Callable
from random import Random
from typing import Any

import h5py
import numpy as np

from checks.fuzzing.values import odd_value

_LAYER_TYPES = (
    "recurrent",
    "input",
    "conv",
    "dense",
    "dense_rec",
    "flatten",
    "add",
    "pool",
    "average",
    "concat",
    "CONV",
    "dense_comp",
)
_NEURON_TYPES = ("CUBA", "LOIHI", "SDNN", "RF", "RF_PHASE", "ALIF", "cuba", "")
_GEOMETRY = ("stride", "padding", "dilation", "groups", "shape", "delay", "source", "target", "version")
_SIZES = (0, 1, 2, 3, 63, 64, 255, 1 << 12, 1 << 16, 1 << 20, 1 << 26, 1 << 31, 1 << 40)
_FIELDS = (
    "weight_exp",
    "refDelay",
    "messageBits",
    "sigma_output",
    "activation",
    "vThMant",
    "iDecay",
    "recWeight",
    "kernelSize",
)
_NAMES = (*_FIELDS, "9", "00", "-1", "weight ", "a\nb", "\x1b[31m", "é", b"\xff\xfe", "x" * 3000, "delay", "weight_rec", "imag")
_ELSEWHERE = ("pipe", "/dev/zero", "absent.net", "seed.net", ".")


def damage_members(data: bytes, random: Random) -> tuple[bytes, str]:
    """The file with other members, and a name of the damage.

    Args:
        data: of a sound HDF5 file.
        random: decides.
    """
    memory, names = io.BytesIO(data), []
    with h5py.File(memory, "r+") as file:
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            rule = random.choice(_RULES)
            try:
                rule(file, random)
            except Exception:  # h5py answers an earlier damage that is in the way of this one with nearly any type
                continue
            names.append(rule.__name__.removeprefix("_"))
    return memory.getvalue(), " + ".join(names) or "none"


def _members(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _any(file: h5py.File, random: Random, ending: str = "") -> str:
    """Name of a member; of one with this ending where there is one."""
    names = _members(file)
    return random.choice([name for name in names if name.endswith(ending)] or names)


def _dataset(file: h5py.File, random: Random) -> str:
    return random.choice([name for name in _members(file) if isinstance(file[name], h5py.Dataset)])


def _group(file: h5py.File, random: Random) -> str:
    return random.choice([name for name in _members(file) if isinstance(file[name], h5py.Group)])


def _put(file: h5py.File, name: str, value: Any) -> None:
    if name in file:
        del file[name]
    file[name] = value


def _removed(file: h5py.File, random: Random) -> None:
    del file[_any(file, random)]


def _value_replaced(file: h5py.File, random: Random) -> None:
    _put(file, _dataset(file, random), odd_value(random))


def _one_element_replaced(file: h5py.File, random: Random) -> None:
    name = _dataset(file, random)
    values = np.array(file[name][()])
    if values.dtype.kind in "iufb" and values.size:
        numbers = (
            0.5,
            np.nan,
            np.inf,
            -1,
            0,
            1,
            3,
            62,
            63,
            255,
            256,
            -257,
            4096,
            4097,
            1 << 15,
            1 << 17,
            1 << 24,
            1 << 31,
            1e18,
        )
        with np.errstate(all="ignore"):
            values = values.astype(random.choice((np.float64, np.float32, np.int64, values.dtype)))
            values.flat[random.randrange(values.size)] = np.asarray(random.choice(numbers)).astype(values.dtype)
        _put(file, name, values)


def _type_replaced(file: h5py.File, random: Random) -> None:
    name = _any(file, random, "type")
    text = random.choice(_NEURON_TYPES if "neuron" in name else _LAYER_TYPES)
    _put(file, name, random.choice((text, np.array([text.encode()], "S10"), np.bytes_(text.encode()))))


def _geometry_replaced(file: h5py.File, random: Random) -> None:
    name = _any(file, random, random.choice(_GEOMETRY))
    count = random.choice((1, 2, 3))
    _put(file, name, np.array([random.choice(_SIZES) for _ in range(count)], np.int64))


def _reshaped(file: h5py.File, random: Random) -> None:
    name = _dataset(file, random)
    values = np.array(file[name][()])
    shapes = (values.T, values.ravel(), values[None], values[..., None], np.atleast_1d(values)[..., :0], values.reshape(-1, 1))
    dtypes = (values.dtype, ">f8", "f2", "i2", "u8") if values.dtype.kind in "iufb" else (values.dtype,)
    _put(file, name, random.choice(shapes).astype(random.choice(dtypes)))


def _moved(file: h5py.File, random: Random) -> None:
    source, target = _any(file, random), _any(file, random)
    if source != target and not target.startswith(source):
        del file[target]
        file.move(source, target)


def _copied(file: h5py.File, random: Random) -> None:
    """A member under another name, beside where it has a place or not."""
    target = f"{_group(file, random)}/{random.choice(('7', '3', 'weight', 'weight_rec', 'neuron', 'bias', 'delay', 'shape'))}"
    source = _any(file, random)
    if target in file and not f"{source}/".startswith(f"{target}/"):
        del file[target]
    file.copy(source, file, target)


def _added(file: h5py.File, random: Random) -> None:
    file[_group(file, random)][random.choice(_NAMES)] = odd_value(random)


def _linked(file: h5py.File, random: Random) -> None:
    name, other = _any(file, random), _any(file, random)
    links = (
        h5py.SoftLink(f"/{other}"),
        h5py.SoftLink(f"/{name}"),
        h5py.SoftLink("/absent"),
        h5py.ExternalLink(random.choice(_ELSEWHERE), f"/{other}"),
        file["/"],
        file[other],
    )
    _put(file, name, random.choice(links))


def _layers_of_one_group(file: h5py.File, random: Random) -> None:
    """Many layers that are all the same group: what is stored once is read many times."""
    group = file[random.choice([name for name in ("layer", "population", "synapse") if name in file])]
    count, source = random.choice((10, 10, 10, 300, 1024, 2000)), group[random.choice(list(group))]
    for number in range(len(group), count):
        group[str(number)] = source


def _claimed(file: h5py.File, random: Random) -> None:
    """A data set of any size without a stored chunk."""
    name, axes = _dataset(file, random), random.choice((1, 1, 2, 2, 4))
    shape = tuple(random.choice(_SIZES[1:]) for _ in range(axes))
    chunks = tuple(min(size, 64) for size in shape)
    del file[name]
    dtype, filling = random.choice((np.float32, np.int8, np.float64)), random.choice((0, 2, 3, -2, 255))
    file.create_dataset(name, shape, dtype, chunks=chunks, fillvalue=dtype(min(filling, 127)))


def _huge_but_consistent(file: h5py.File, random: Random) -> None:
    """A convolution whose fields agree with each other, over any sizes; its weights are claimed only."""
    entry, layer = file["layer"].create_group("new0"), file["layer"].create_group("new1")
    size, kernel, stride, padding = (
        tuple(int(2 ** random.uniform(0, limit)) for _ in range(2)) for limit in (random.choice((4, 12, 20)), 8, 10, 16)
    )
    inputs, outputs = int(2 ** random.uniform(0, 10)), int(2 ** random.uniform(0, 10))
    shape = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True)]
    neuron = next(iter(file[f"layer/{name}/neuron"] for name in file["layer"] if f"layer/{name}/neuron" in file))
    _put(entry, "type", np.array([b"input"]))
    _put(entry, "shape", [inputs, *size])
    for name, value in (("type", np.array([b"conv"])), ("shape", [outputs, *shape]), ("stride", stride), ("padding", padding)):
        _put(layer, name, value)
    _put(layer, "dilation", [1, 1])
    _put(layer, "groups", 1)
    _put(layer, "neuron", neuron)
    layer.create_dataset("weight", (outputs, inputs, *kernel), np.float32, chunks=(1, 1, *kernel), fillvalue=2.0)
    for name in list(file["layer"]):
        if not name.startswith("new"):
            del file[f"layer/{name}"]
    file["layer"].move("new0", "0")
    file["layer"].move("new1", "1")


def _bomb(file: h5py.File, random: Random) -> None:
    """Values that compress to nearly nothing."""
    name, side = _dataset(file, random), random.choice((256, 1024, 2048))
    del file[name]
    file.create_dataset(name, data=np.full((side, side), 2, np.float32), chunks=(side, side), compression="gzip")


def _stored_elsewhere(file: h5py.File, random: Random) -> None:
    name, elsewhere = _dataset(file, random), random.choice(_ELSEWHERE)
    shape = file[name].shape or (1,)
    del file[name]
    if random.random() < 0.5:
        file.create_dataset(name, shape, np.float32, external=[(elsewhere, 0, h5py.h5f.UNLIMITED)])
    else:
        layout = h5py.VirtualLayout(shape, np.float32)
        layout[...] = h5py.VirtualSource(elsewhere, "weight", shape)
        file.create_virtual_dataset(name, layout)


def _unknown_filter(file: h5py.File, random: Random) -> None:
    name = _dataset(file, random)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((2,))
    plist.set_filter(random.choice((305, 32000, 32001, 32015, 65535)), h5py.h5z.FLAG_OPTIONAL, ())
    del file[name]
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_FLOAT, space, plist).write(space, space, np.full(4, 2, np.float32))


def _attributes(file: h5py.File, random: Random) -> None:
    member = file[_any(file, random)]
    for number in range(random.choice((1, 50))):
        member.attrs[f"a{number}"] = np.zeros(random.choice((1, 1000)))


def _nested(file: h5py.File, random: Random) -> None:
    name = _group(file, random)
    file.create_group(name + "/x" * random.choice((10, 200)))


def _many_members(file: h5py.File, random: Random) -> None:
    group = file[_group(file, random)]
    for number in range(random.choice((20, 20, 20, 20, 20, 2000))):
        group.create_group(f"m{number}")


def _part_replaced(file: h5py.File, random: Random) -> None:
    _put(file, random.choice(list(file)), odd_value(random))


_RULES: tuple[Callable[[h5py.File, Random], None], ...] = (
    _removed,
    _value_replaced,
    _value_replaced,
    _one_element_replaced,
    _one_element_replaced,
    _type_replaced,
    _geometry_replaced,
    _geometry_replaced,
    _reshaped,
    _reshaped,
    _moved,
    _copied,
    _added,
    _linked,
    _linked,
    _layers_of_one_group,
    _claimed,
    _claimed,
    _huge_but_consistent,
    _bomb,
    _stored_elsewhere,
    _unknown_filter,
    _attributes,
    _nested,
    _many_members,
    _part_replaced,
)
