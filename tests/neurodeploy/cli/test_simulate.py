"""`neurodeploy simulate`: chains and circuits, whole or in part."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neurodeploy_exporters.lava import simulate, write, write_circuit
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer
from neurodeploy_exporters.lava.network import Network

NEURON = CubaConstants(4096, 1024, 3)
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


def listed(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def truncated(folder: Path) -> Path:
    (folder / "cut.net").write_bytes((folder / "a.net").read_bytes()[:900])
    return folder / "cut.net"


def unreadable(folder: Path) -> Path:
    (folder / "locked.net").write_bytes((folder / "a.net").read_bytes())
    (folder / "locked.net").chmod(0)
    return folder / "locked.net"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "cut.net: is not a readable HDF5 file"),
        (lambda folder: folder, ": not a file; a .net or circuit file expected"),
        (pipe, "pipe: not a file; a .net or circuit file expected"),
        pytest.param(
            unreadable,
            "locked.net: is not a readable HDF5 file",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="this user may read everything"),
        ),
    ],
)
def test_a_network_that_cannot_be_read_ends_in_one_line_and_nothing_is_written(
    cli, folder, make: Callable[[Path], Path], message
):
    network = make(folder)
    before = listed(folder) if network.name != "locked.net" else {}
    outcome = cli("simulate", network, "--input", folder / "x.npz", "--output", folder / "trace.npz")
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (folder / "trace.npz").exists()
    assert network.name == "locked.net" or listed(folder) == before


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(3), "x.npz: array `input` is a single number, samples [T, B, …] expected"),
        (np.array(["a"]), "input: <U1 found, whole numbers expected"),
        (np.zeros((0, 2, 1, 4, 4)), "steps: 0 found"),
        (np.zeros((6, 2, 1, 4, 4), complex), "input: complex128 found"),
        (np.full((6, 2, 1, 4, 4), np.nan), "input: nan at [0, 0, 0, 0, 0] found"),
        (np.full((6, 2, 1, 4, 4), 0.5), "input: 0.5 at [0, 0, 0, 0, 0] found"),
        (np.full((6, 2, 1, 4, 4), 2.0**40), "input: a number beyond 32 bits found"),
        (np.zeros((6, 2, 1, 4, 4), "V3"), "input: |V3 found"),
        (
            np.array([{}], object),
            "x.npz: not a readable .npz file: damaged, no array at all, or Python objects, which are never read",
        ),
        (np.zeros((6, 2, 1, 3, 4)), "/layer/0/shape: (2, 3, 3) found, but its input (1, 3, 4) makes it (2, 2, 3)"),
    ],
)
def test_an_input_that_is_none_ends_in_one_line(cli, folder, array, message):
    np.savez(folder / "x.npz", input=array)
    outcome = cli("simulate", folder / "a.net", "--input", folder / "x.npz", "--output", folder / "trace.npz")
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (folder / "trace.npz").exists()


@pytest.mark.parametrize("make", [lambda folder: folder, pipe])
def test_an_input_that_is_no_file_ends_in_one_line(cli, folder, make):
    outcome = cli("simulate", folder / "a.net", "--input", make(folder))
    assert outcome.code == 2
    assert "not a file, a .npz file expected" in outcome.err
    assert outcome.err.count("\n") == 1


def test_names_in_a_hostile_input_do_not_command_the_terminal(cli, folder):
    np.savez(folder / "x.npz", **{"\x1b[31mred": SPIKES})
    outcome = cli("simulate", folder / "a.net", "--input", folder / "x.npz")
    assert outcome.code == 2
    assert "it holds \\x1b[31mred; choose one" in outcome.err
    assert "\x1b" not in outcome.err


def test_more_steps_than_memory_holds_end_in_one_line(cli, folder):
    outcome = cli("simulate", folder / "a.net", "--input", folder / "x.npz", "--steps", 10**13)
    assert outcome.code == 1
    assert "error: more memory needed than there is" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("place", ["a.net/trace.npz", "."])
def test_an_output_that_cannot_be_written_ends_in_one_line_and_leaves_nothing(cli, folder, place):
    before = listed(folder)
    outcome = cli("simulate", folder / "a.net", "--input", folder / "x.npz", "--output", folder / place)
    assert outcome.code == 2
    assert "cannot be written" in outcome.err
    assert outcome.err.count("\n") == 1
    assert listed(folder) == before


def test_a_missing_output_folder_is_made(cli, folder):
    outcome = cli("simulate", folder / "a.net", "--input", folder / "x.npz", "--output", folder / "new" / "deep" / "t.npz")
    assert outcome.code == 0
    assert "L0_Conv_s" in trace(folder / "new" / "deep" / "t.npz")
    assert [path.name for path in (folder / "new" / "deep").iterdir()] == ["t.npz"]
