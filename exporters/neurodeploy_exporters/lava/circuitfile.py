"""Reading and writing circuit files: HDF5 with the groups of `.net` files, for what a chain of layers cannot say.

    /format, /version         "neurodeploy circuit", 1
    /input/shape              of a sample and step
    /population/i             key, shape, neuron; bias and recurrent where there are any
    /synapse/k                type ("conv" or "dense"), source (−1: the input), target, delay, weight;
                              conv: stride, padding, dilation, groups; dense: synapse_delay where there is any

There is no `/layer`, which lava-dl's netx reads first: it refuses such a file instead of dropping what it does not know.
"""

from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy.io.hdf5 import Folder, opened
from neurodeploy_exporters.lava.circuit import Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.fields import (
    located,
    only,
    read_geometry,
    read_neuron,
    read_number,
    read_numbered,
    read_one_or_many,
    read_shape,
    write_neuron,
    written,
)
from neurodeploy_exporters.lava.network import check_hardware

FORMAT, VERSION = "neurodeploy circuit", 1
_GEOMETRY = {"stride", "padding", "dilation", "groups"}
_SYNAPSE = {"type", "source", "target", "delay", "weight"}


def is_circuit(path: Path) -> bool:
    """Whether an HDF5 file says that it is a circuit, of whatever version.

    Raises:
        UserError: there is no such file, or it is not HDF5.
    """
    with opened(path, expected="a .net or circuit file") as root:
        return "format" in root


def read_circuit(path: Path) -> Circuit:
    """Read a circuit file.

    Values that a chip could not hold but Lava's CPU simulation computes with are accepted; see `check_hardware`.

    Raises:
        UserError: not such a file, or a missing, unknown or wrong value; the message names the file, the place in it and the
            value.
    """
    with opened(path, expected="a circuit file") as root:
        if (found := root.text("format")) != FORMAT:
            raise root.error(f"format: {found!r} found, {FORMAT!r} expected")
        if (version := read_number(root, "version")) != VERSION:
            raise root.error(f"version: {version} found, {VERSION} expected; read the file with the version that wrote it")
        only(root, {"format", "version", "input", "population", "synapse"})
        only(root.folder("input"), {"shape"})
        shape = read_shape(root.folder("input"))
        populations = tuple(_read_population(each) for each in read_numbered(root.folder("population")))
        synapses = tuple(_read_synapse(each) for each in read_numbered(root.folder("synapse"), least=0))
    try:
        return Circuit(input_shape=shape, populations=populations, synapses=synapses)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def write_circuit(circuit: Circuit, path: Path) -> None:
    """Write a circuit file, atomically; `read_circuit` gets the same circuit back.

    Raises:
        UserError: a value does not fit the chip (`check_hardware`).
    """
    check_hardware(circuit)
    with written(path) as file:
        file["format"], file["version"] = np.bytes_(FORMAT), np.int64(VERSION)
        file["input/shape"] = np.array(circuit.input_shape, np.int64)
        file.create_group("synapse")
        for index, population in enumerate(circuit.populations):
            _write_population(file.create_group(f"population/{index}"), population)
        for number, synapse in enumerate(circuit.synapses):
            _write_synapse(file.create_group(f"synapse/{number}"), synapse)


def _read_population(folder: Folder) -> Population:
    only(folder, {"key", "shape", "neuron", "bias", "recurrent"})
    with located(folder):
        arrays = {name: folder.integers(name) for name in ("bias", "recurrent") if name in folder}
        return Population(key=folder.text("key"), shape=read_shape(folder), neuron=read_neuron(folder), **arrays)


def _read_synapse(folder: Folder) -> Synapse:
    kind = folder.text("type")
    if kind not in ("conv", "dense"):
        raise folder.error(f"type: {kind!r} found; conv or dense expected")
    only(folder, _SYNAPSE | (_GEOMETRY if kind == "conv" else {"synapse_delay"}))
    connection: Convolution | Matrix
    with located(folder):
        if kind == "conv":
            connection = Convolution(weight=folder.integers("weight"), **read_geometry(folder))
        else:
            delay = read_one_or_many(folder, "synapse_delay") if "synapse_delay" in folder else 0
            connection = Matrix(weight=folder.integers("weight"), delay=delay)
        ends = {name: read_number(folder, name) for name in ("source", "target", "delay")}
        return Synapse(connection=connection, **ends)


def _write_population(group: Any, population: Population) -> None:
    group["key"] = np.bytes_(population.key)
    group["shape"] = np.array(population.shape, np.int64)
    write_neuron(group, population.cuba)
    for name in ("bias", "recurrent"):
        if (values := getattr(population, name)) is not None:
            group[name] = values


def _write_synapse(group: Any, synapse: Synapse) -> None:
    for name in ("source", "target", "delay"):
        group[name] = np.int64(getattr(synapse, name))
    connection = synapse.connection
    # as `.net` files do; the integers are small, and stored exactly
    group["weight"] = connection.weight.astype(np.float32)
    if isinstance(connection, Convolution):
        group["type"] = np.bytes_("conv")
        for name, size in connection.geometry.items():
            group[name] = np.array(size, np.int64)
        return
    group["type"] = np.bytes_("dense")
    if np.any(connection.delay):
        group["synapse_delay"] = np.asarray(connection.delay, np.int64)
