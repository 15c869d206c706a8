"""Sound `.net` and circuit files to damage: between them they hold all that the two formats know."""

import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Population, Synapse
from neurodeploy_exporters.lava.circuitfile import write_circuit
from neurodeploy_exporters.lava.connection import Convolution, Integers, Matrix
from neurodeploy_exporters.lava.layers import (
    ConvLayer,
    CubaConstants,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    SigmaDeltaConstants,
)
from neurodeploy_exporters.lava.netfile import write
from neurodeploy_exporters.lava.network import Network

_NEURON = CubaConstants(4096, 1024, 60)


def seeds(work: Path, recordings: Path | None) -> list[bytes]:
    """Contents of sound files: made here, each in the older and the newer layout of HDF5, and recorded ones.

    Args:
        work: an existing folder for files on the way.
        recordings: searched for `.net` files, or None.
    """
    path, found = work / "seed.net", []
    for network in (*networks(), circuit()):
        if isinstance(network, Circuit):
            write_circuit(network, path)
        else:
            write(network, path)
        found += [path.read_bytes(), _in_new_layout(path)]
    found += [_foreign(path, kind) for kind in ("pool", "average", "recurrent")]
    path.unlink()
    recorded: Iterable[Path] = sorted(recordings.rglob("*.net")) if recordings else ()
    return found + [file.read_bytes() for file in recorded]


def networks() -> list[Network]:
    """A chain of convolutions behind input neurons, one of dense layers with delays, and a small mixed one."""
    random = np.random.default_rng(0)

    def even(*shape: int) -> Integers:
        return random.integers(-64, 64, shape) * 2

    convolutions = (
        InputLayer(shape=(2, 6, 5), neuron=_NEURON, weight=36, bias=-4),
        ConvLayer(
            shape=(4, 3, 5),
            weight=even(4, 1, 3, 2),
            bias=random.integers(-99, 99, 4),
            stride=(2, 1),
            padding=(1, 1),
            dilation=(1, 2),
            groups=2,
            neuron=CubaConstants(np.array([0, 1, 4095, 4096]), 7, 90),
        ),
        ConvLayer(shape=(2, 3, 5), weight=even(2, 4, 1, 1), bias=random.integers(-9, 9, (2, 3, 5)), neuron=_NEURON),
        FlattenLayer(),
        DenseLayer(shape=(3,), weight=even(3, 30), neuron=_NEURON),
    )
    matrices = (
        DenseLayer(shape=(7,), weight=even(7, 9), delay=random.integers(0, 63, 7), neuron=_NEURON),
        DenseLayer(shape=(5,), weight=even(5, 7), bias=random.integers(-9, 9, 5), weight_rec=even(5, 5), neuron=_NEURON),
        DenseLayer(
            shape=(3,), weight=even(3, 5), delay=random.integers(0, 63, (3, 5)), neuron=CubaConstants(0, np.arange(3), 0)
        ),
        DenseLayer(shape=(2,), weight=even(2, 3), delay=2, neuron=_NEURON),
    )
    mixed = (
        InputLayer(shape=(1, 4, 4)),
        ConvLayer(shape=(2, 2, 2), weight=even(2, 1, 2, 2), stride=(2, 2), neuron=_NEURON),
        FlattenLayer(),
        DenseLayer(shape=(2,), weight=even(2, 8), neuron=_NEURON),
    )
    graded = (
        InputLayer(shape=(2, 4, 4), neuron=SigmaDeltaConstants(2, "delta")),
        ConvLayer(
            shape=(3, 2, 2),
            weight=even(3, 2, 2, 2),
            bias=random.integers(-9, 9, 3),
            stride=(2, 2),
            neuron=SigmaDeltaConstants(5, "sigma-delta"),
        ),
        FlattenLayer(),
        DenseLayer(shape=(2,), weight=even(2, 12), neuron=SigmaDeltaConstants(0, "sigma")),
    )
    return [Network(convolutions), Network(matrices), Network(mixed), Network(graded)]


def _foreign(path: Path, kind: str) -> bytes:
    """A file with a layer that SLAYER or SpyTorch2Loihi writes and netx does not read."""
    random = np.random.default_rng(2)
    first = ConvLayer(
        shape=(2, 4, 4),
        weight=random.integers(-64, 64, (2, 1, 1, 1)) * 2 | 2,
        neuron=CubaConstants(4096, 1024, np.array([20, 40])),
    )
    last = DenseLayer(shape=(2,), weight=random.integers(-30, 30, (2, 4)) * 8, neuron=_NEURON)
    if kind == "recurrent":
        write(Network((replace(last, weight_rec=random.integers(-64, 64, (2, 2)) * 2),)), path)
    else:
        write(Network((InputLayer(shape=(1, 4, 4)), first)), path)
    with h5py.File(path, "r+") as file:
        if kind == "recurrent":
            file.move("layer/0/weight_rec", "layer/0/recWeight")
            del file["layer/0/type"]
            file["layer/0/type"] = b"recurrent"
        elif kind == "average":
            file["layer/2/type"], file["layer/2/shape"] = b"average", [8, 1, 1]
        else:
            values = {"shape": [2, 2, 2], "kernelSize": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1]}
            for name, value in {"type": b"pool", "weight": np.full((1, 1, 2, 2), 30.0), **values}.items():
                file[f"layer/2/{name}"] = value
            file.copy("layer/1/neuron", "layer/2/neuron")
    return path.read_bytes()


def circuit() -> Circuit:
    """A convolution, a second one beside it with a delay, a recurrent matrix of both."""
    random = np.random.default_rng(1)

    def even(*shape: int) -> Integers:
        return random.integers(-64, 64, shape) * 2

    return Circuit(
        input_shape=(1, 4, 4),
        populations=(
            Population(key="a", shape=(2, 4, 4), neuron=_NEURON, bias=random.integers(-9, 9, 2)),
            Population(key="b", shape=(2, 4, 4), neuron=CubaConstants(np.array([1, 4096]), 7, 90)),
            Population(key="c", shape=(3,), neuron=_NEURON, recurrent=even(3, 3)),
        ),
        synapses=(
            Synapse(source=INPUT, target=0, connection=Convolution(weight=even(2, 1, 3, 3), padding=(1, 1))),
            Synapse(source=0, target=1, connection=Convolution(weight=even(2, 1, 1, 1), groups=2)),
            Synapse(source=INPUT, target=1, connection=Convolution(weight=even(2, 1, 3, 3), padding=(1, 1)), delay=1),
            Synapse(source=1, target=2, connection=Matrix(weight=even(3, 32), delay=random.integers(0, 5, (3, 32)))),
        ),
    )


def _in_new_layout(path: Path) -> bytes:
    """The same data sets in the file structures of HDF5 1.10 and later."""
    memory = io.BytesIO()
    with h5py.File(path) as old, h5py.File(memory, "w", libver="latest") as new:
        for name in old:
            old.copy(name, new)
    return memory.getvalue()
