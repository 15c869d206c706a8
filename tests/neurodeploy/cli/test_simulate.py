"""`neurodeploy simulate`: chains and circuits, whole or in part."""

import numpy as np
import pytest

from neurodeploy_exporters.lava import simulate, write, write_circuit
from neurodeploy_exporters.lava.layers import ConvLayer, CubaNeuron, DenseLayer, FlattenLayer
from neurodeploy_exporters.lava.network import Network

NEURON = CubaNeuron(4096, 1024, 3)
RNG = np.random.default_rng(0)
CONV = ConvLayer(shape=(2, 3, 3), weight=2 * RNG.integers(-9, 9, (2, 1, 2, 2)), neuron=NEURON)
CHAIN = Network((CONV, FlattenLayer(), DenseLayer(shape=(5,), weight=2 * RNG.integers(-9, 9, (5, 18)), neuron=NEURON)))
SKIP = {"from_layer": -1, "to_layer": 1, "weight": 2 * RNG.integers(-9, 9, (5, 16)), "delay": 1}
SPIKES = RNG.integers(0, 2, (6, 2, 1, 4, 4))


@pytest.fixture
def folder(tmp_path):
    write(CHAIN, tmp_path / "a.net")
    write_circuit(CHAIN.circuit([SKIP], (1, 4, 4)), tmp_path / "a.circuit")
    np.savez(tmp_path / "x.npz", input=SPIKES, flat=SPIKES.reshape(6, 2, 16), hidden=RNG.integers(0, 2, (6, 2, 2, 3, 3)))
    return tmp_path


def trace(path):
    with np.load(path) as file:
        return dict(file)


def test_a_circuit_file_runs_with_its_branches(cli, folder):
    outcome = cli("simulate", folder / "a.circuit", "--input", folder / "x.npz", "--output", folder / "trace.npz")
    assert outcome.code == 0
    assert "L1_Dense" in outcome.out
    found = trace(folder / "trace.npz")
    for key, values in simulate(CHAIN, SPIKES, 6, skips=[SKIP]).items():
        np.testing.assert_array_equal(found[key], values, err_msg=key)
    assert (found["L1_Dense_u"] != simulate(CHAIN, SPIKES, 6)["L1_Dense_u"]).any()


@pytest.mark.parametrize(
    ("options", "array", "keys"),
    [
        (("--num-layers", 1), "input", {"L0_Conv"}),
        (("--skip-layers", 1, "--input-shape", "2,3,3"), "hidden", {"L0_Dense"}),
        (("--input-shape", "1,4,4"), "input", {"L0_Conv", "L1_Dense"}),
    ],
)
def test_a_part_of_a_chain_runs_alone(cli, folder, options, array, keys):
    files = ("--input", folder / "x.npz", "--array", array, "--output", folder / "trace.npz")
    outcome = cli("simulate", folder / "a.net", *files, *options)
    assert outcome.code == 0, outcome.err
    assert {key[:-2] for key in trace(folder / "trace.npz")} == keys


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("a.circuit", ("--skip-layers", 1), "a.circuit: a circuit, which tells its shape and runs whole"),
        ("a.circuit", ("--array", "flat"), "input: samples of shape (16,) found, (1, 4, 4) expected"),
        ("a.net", ("--input-shape", "1x4x4"), "--input-shape: 1x4x4 found, numbers such as 3,32,32 expected"),
        ("a.net", ("--input-shape", "1,5,5"), "/layer/0/shape: (2, 3, 3) found, but its input (1, 5, 5)"),
        ("a.net", ("--num-layers", 4, "--skip-layers", 4), "layers 4 to 4 asked for, but the network has 3"),
        ("x.npz", (), "x.npz: is not a readable HDF5 file"),
        ("absent", (), "absent: cannot be read (No such file or directory); a .net or circuit file expected"),
    ],
)
def test_what_does_not_fit_ends_in_one_line(cli, folder, file, options, message):
    outcome = cli("simulate", folder / file, "--input", folder / "x.npz", *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
