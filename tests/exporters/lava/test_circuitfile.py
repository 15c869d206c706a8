"""Circuit files: what is written is read back, netx refuses them, and what is damaged is refused by its place."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.circuitfile import is_circuit, read_circuit, write_circuit
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network


def same(a: Any, b: Any, where: str = "circuit") -> None:
    """Compare two circuits, or parts of them, field by field."""
    if isinstance(a, Circuit | Population | Synapse | Convolution | Matrix | CubaConstants):
        assert type(a) is type(b), where
        for name in type(a).__dataclass_fields__:
            same(getattr(a, name), getattr(b, name), f"{where}.{name}")
    elif isinstance(a, tuple) and a and not isinstance(a[0], int):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b, strict=True)):
            same(*pair, f"{where}[{index}]")
    elif a is None or b is None:
        assert a is b, where
    else:
        np.testing.assert_array_equal(a, b, err_msg=where)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_a_written_circuit_is_read_back_as_it_was(tmp_path_factory, random_circuit, seed):
    path = tmp_path_factory.mktemp("circuits") / "a.circuit"
    circuit = random_circuit(seed)
    write_circuit(circuit, path)
    same(read_circuit(path), circuit)
    path.unlink()


NEURON = CubaConstants(4096, np.array([1024, 7]), 100)


def example() -> Circuit:
    """A convolution, a shortcut with a delay, and a matrix with a delay for each synapse and feedback of its own."""
    rng = np.random.default_rng(0)

    def even(*shape: int) -> Any:
        return rng.integers(-128, 128, shape) * 2

    connection = Convolution(weight=even(2, 2, 3, 3), padding=(1, 1))
    shortcut = Convolution(weight=even(2, 1, 1, 1), groups=2)
    matrix = Matrix(weight=even(3, 24), delay=rng.integers(1, 4, (3, 24)))
    last = Population(key="c", shape=(3,), neuron=CubaConstants(0, 0, 9), bias=np.array([1, 2, -3]), recurrent=even(3, 3))
    return Circuit(
        input_shape=(2, 4, 3),
        populations=(
            Population(key="a", shape=(2, 4, 3), neuron=NEURON),
            Population(key="b", shape=(2, 4, 3), neuron=NEURON, bias=rng.integers(-9, 9, (2, 4, 3))),
            last,
        ),
        synapses=(
            Synapse(source=INPUT, target=0, connection=connection),
            Synapse(source=0, target=1, connection=connection),
            Synapse(source=INPUT, target=1, connection=shortcut, delay=1),
            Synapse(source=1, target=2, connection=matrix),
        ),
    )


@pytest.fixture
def path(tmp_path) -> Path:
    write_circuit(example(), tmp_path / "a.circuit")
    return tmp_path / "a.circuit"


def test_the_same_circuit_gives_the_same_bytes(path, tmp_path):
    write_circuit(example(), tmp_path / "b.circuit")
    assert path.read_bytes() == (tmp_path / "b.circuit").read_bytes()


def test_netx_finds_no_layers_in_it_so_that_it_stops_rather_than_drops_a_branch(path):
    with h5py.File(path) as file, pytest.raises(KeyError):
        _ = file["layer"]  # what netx begins with
    with pytest.raises(UserError, match="/layer: missing"):
        read(path)


def test_a_file_tells_whether_it_is_a_circuit(path, tmp_path):
    chain = Network((DenseLayer(shape=(2,), weight=np.eye(2, dtype=int) * 2, neuron=CubaConstants(0, 0, 1)),))
    write(chain, tmp_path / "a.net")
    assert is_circuit(path)
    assert not is_circuit(tmp_path / "a.net")
    (tmp_path / "text").write_text("no")
    with pytest.raises(UserError, match=r"is not a readable HDF5 file .* a .net or circuit file expected"):
        is_circuit(tmp_path / "text")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.full((2, 2, 1, 1), 3)}, "/synapse/0/weight: odd value 3 found"),
        ({"weight": np.full((2, 2, 1, 1), 256)}, "/synapse/0/weight: 256 found, -256 to 254 expected on Loihi"),
        ({"bias": np.array([0, 4096])}, "/population/0/bias: 4096 found, -4096 to 4095"),
        ({"threshold": 1 << 17}, "/population/0/neuron/vThMant: 131072 found, 0 to 131071"),
    ],
)
def test_what_a_chip_cannot_hold_is_not_written(tmp_path, change, message):
    values: dict[str, Any] = {"weight": np.full((2, 2, 1, 1), 2), "bias": None, "threshold": 1} | change
    layer = ConvLayer(
        shape=(2, 3, 3), weight=values["weight"], bias=values["bias"], neuron=CubaConstants(0, 0, values["threshold"])
    )
    with pytest.raises(UserError, match=message):
        write_circuit(Network((layer,)).circuit(input_shape=(2, 3, 3)), tmp_path / "a.circuit")
    assert not any(tmp_path.iterdir())


def test_odd_recurrent_weights_are_not_written(tmp_path):
    circuit = example()
    odd = replace(circuit.populations[2], recurrent=np.eye(3, dtype=int))
    with pytest.raises(UserError, match="/population/2/recurrent: odd value 1 found"):
        write_circuit(replace(circuit, populations=(*circuit.populations[:2], odd)), tmp_path / "a.circuit")


def replaced(key: str, value: Any) -> Any:
    def change(file: h5py.File) -> None:
        if key in file:
            del file[key]
        if value is not None:
            file[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("format", None), "/format: missing"),
        (replaced("format", "net"), "/format: 'net' found, 'neurodeploy circuit' expected"),
        (replaced("version", 2), "/version: 2 found, 1 expected"),
        (replaced("layer", 1), "/layer: found; only format, input, .* expected"),
        (replaced("input/shape", [2, 4]), r"shape: \(2, 4\) found"),
        (replaced("input/weight", 64), "/input/weight: found; only shape expected"),
        (replaced("population", None), "/population: missing"),
        (replaced("population/1", None), "/population: 0, 2 found; 0 to n-1 expected"),
        (replaced("population/1/key", "a"), "population 1: key: a found twice"),
        (replaced("population/1/key", "a/b"), "/population/1/key: 'a/b' found"),
        (replaced("population/1/delay", 3), "/population/1/delay: found; only bias, key, neuron, recurrent, shape expected"),
        (replaced("population/1/neuron/vThMant", -1), "/population/1/neuron/vThMant: -1 found"),
        (replaced("population/1/bias", [1, 2, 3]), r"/population/1/bias: shape \(3,\)"),
        (replaced("population/1/shape", [2, 0, 3]), r"/population/1/shape: \[2, 0, 3\]"),
        (replaced("population/2/recurrent", [[300, 0, 0]] * 3), "/population/2/recurrent: 300 found, -256 to 255"),
        (replaced("synapse", None), "/synapse: missing"),
        (replaced("synapse/3", None), "population 2: no synapse found"),
        (replaced("synapse/4", 3), "/synapse/4: Dataset found, a group expected"),
        (replaced("synapse/0/type", "pool"), "/synapse/0/type: 'pool' found; conv or dense expected"),
        (replaced("synapse/0/type", "dense"), "/synapse/0/dilation: found; only"),
        (replaced("synapse/0/source", 1), "synapse 0: from 1 to 0 found"),
        (replaced("synapse/0/target", None), "/synapse/0/target: missing"),
        (replaced("synapse/0/delay", [1, 2]), r"/synapse/0/delay: shape \(2,\) found, one number"),
        (replaced("synapse/0/delay", 63), "synapse 0: delay: 63 found"),
        (replaced("synapse/0/stride", [0, 1]), r"/synapse/0/stride: \(0, 1\)"),
        (replaced("synapse/0/groups", None), "/synapse/0/groups: missing"),
        (replaced("synapse/0/weight", np.full((2, 2, 3, 3), 0.5)), "/synapse/0/weight: 0.5 found, whole numbers"),
        (replaced("synapse/0/weight", np.ones((2, 3))), r"/synapse/0/weight: shape \(2, 3\)"),
        (replaced("synapse/3/synapse_delay", np.ones((3, 2))), r"/synapse/3/delay: shape \(3, 2\)"),
        (replaced("synapse/3/weight", np.ones((3, 23))), r"/synapse/3/delay: shape \(3, 24\) found"),
        (replaced("synapse/2/weight", h5py.SoftLink("/synapse/0/weight")), "/synapse/2/weight: a link to elsewhere"),
    ],
)
def test_a_file_with_a_wrong_value_is_refused_by_its_place(path, change, message):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message) as error:
        read_circuit(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_damaged_files_end_in_a_message_never_in_a_crash(path, tmp_path):
    good, rng, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(100):
        data = bytearray(good)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.choice((1, 8, 64))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.circuit").write_bytes(data)
        try:
            read_circuit(tmp_path / "bad.circuit")
        except UserError as error:
            assert str(error).startswith(str(tmp_path))  # noqa: PT017
            refused += 1
    assert refused > 30
