"""`neurodeploy nir`: what is in a file, what is assumed of it, whether it computes what its writer recorded."""

import gzip
import json
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest

FILES = Path(__file__).parents[2] / "exporters" / "nir" / "files"


@pytest.fixture
def given(tmp_path):
    """A file of sinabs, which does not say that neurons fire several times in a step; samples, and what they fired."""
    network, recorded = tmp_path / "net.nir", np.load(FILES / "sinabs-lif-multi.npz")
    network.write_bytes(gzip.decompress((FILES / "sinabs-lif-multi.nir.gz").read_bytes()))
    np.save(tmp_path / "x.npy", recorded["inputs"].swapaxes(0, 1))
    np.save(tmp_path / "y.npy", recorded["outputs"].swapaxes(0, 1))
    return network, tmp_path / "x.npy", tmp_path / "y.npy"


def test_a_file_is_shown_with_what_is_assumed_and_what_each_reader_makes_of_it(cli, given):
    outcome = cli("nir", given[0])
    assert outcome.code == 0, outcome.err
    for part in (
        "net.nir: 4 nodes, 1 of them neurons, 3 edges",
        "Affine     weight [16x20]",
        "warning: sinabs writes nothing of norm_input, spike_fn, min_v_mem, reset_fn: its defaults are assumed",
        "snn-mlir (snn-mlir 1.0.0, check, export and codegen): read as another network",
        "takes tau/R for the step",
    ):
        assert part in outcome.out
    document = json.loads(cli("nir", given[0], "--json").out)
    assert (document["written_by"], document["read"], len(document["warnings"])) == ("sinabs", True, 2)
    assert document["readers"]["snn-mlir"]["verdict"] == "read as another network"


def test_a_recording_of_the_writer_decides_what_was_meant(cli, given, tmp_path):
    network, x, y = given
    wrong = cli("nir", network, "--input", x, "--expected", y)
    assert wrong.code == 1
    assert "not as recorded: layer " in wrong.err
    assert "values differ, the first in step 0, sample 1, neuron [" in wrong.err
    right = cli("nir", network, "--written-by", "sinabs:norm_input=false", "--input", x, "--expected", y)
    assert right.code == 0, right.err
    assert "as recorded, value by value" in right.out
    np.savez(tmp_path / "layers.npz", **{"1": np.load(y)})
    right = cli("nir", network, "--written-by", "sinabs:norm_input=false", "--input", x, "--expected", tmp_path / "layers.npz")
    assert right.code == 0, right.err


def test_a_network_that_never_fires_says_so(cli, given):
    network, x, _ = given
    outcome = cli("nir", network, "--written-by", "nir", "--dt", "1", "--input", x)
    assert outcome.code == 0, outcome.err
    np.save(x, np.zeros_like(np.load(x)))
    outcome = cli("nir", network, "--written-by", "sinabs", "--input", x)
    assert "warning: no neuron fires on these samples" in outcome.out


def test_a_file_is_written_again_in_another_dialect(cli, tmp_path):
    lif = nir.LIF(*(np.full(3, value) for value in (10.0, 10.0, 0.0, 1.0)))
    path, made = tmp_path / "net.nir", tmp_path / "made.nir"
    nir.write(path, nir.NIRGraph.from_list(nir.Affine(np.eye(3, dtype=np.float32), np.zeros(3, np.float32)), lif))
    outcome = cli("nir", path, "--written-by", "nir", "--dt", "1", "--to", "norse", "--output", made)
    assert outcome.code == 0, outcome.err
    node = nir.read(made).nodes["lif"]
    np.testing.assert_allclose((node.tau, node.r, node.v_threshold), np.outer([1e-3, 1, 0.1], np.ones(3)))
    assert cli("nir", made).out.count("read here: written by neurodeploy") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "norse"), "--to, --output: one without the other"),
        (("--to", "brian", "--output", "y.nir"), "dialect 'brian': not known; there are: nir, norse"),
        (("--steps", "3"), "--steps: belongs to --input; leave it out"),
        (("--expected", "y.npy"), "--expected: belongs to --input; leave it out"),
        (("--written-by", "sinabs:tau=3"), "setting 'tau': not known; there are: norm_input"),
        (("--input", "nowhere.npy"), "nowhere.npy"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(cli, given, options, message):
    outcome = cli("nir", given[0], *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_a_damaged_file_is_one_line_and_names_cannot_command_a_terminal(cli, given, tmp_path):
    (tmp_path / "odd.nir").write_bytes(given[0].read_bytes()[:-500])
    outcome = cli("nir", tmp_path / "odd.nir")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {tmp_path / 'odd.nir'}: ")
    assert len(outcome.err.strip().splitlines()) == 1
    with h5py.File(given[0], "r+") as file:
        nodes = file["node/nodes"]
        nodes.move("0", "\x1b[2Jevil\n")
        edges = [["input", "\x1b[2Jevil\n"], ["\x1b[2Jevil\n", "1"], ["1", "output"]]
        del file["node/edges"]
        file["node/edges"] = np.array(edges, dtype=h5py.string_dtype())
    outcome = cli("nir", given[0])
    assert outcome.code == 0, outcome.err
    assert "\x1b" not in outcome.out + outcome.err
    assert "\\x1b[2Jevil\\n" in outcome.out
