"""NIR files on the command line: energy, export to every target, verification; what was assumed is printed."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

FILES = Path(__file__).parents[2] / "exporters" / "nir" / "files"


@pytest.fixture
def given(tmp_path):
    """A file that SpikingJelly wrote, its recorded sequences `[N, T, …]`, and static samples `[N, …]`."""
    network = tmp_path / "net.nir"
    network.write_bytes(gzip.decompress((FILES / "spikingjelly-conv.nir.gz").read_bytes()))
    inputs = np.load(FILES / "spikingjelly-conv.npz")["inputs"]
    np.save(tmp_path / "sequences.npy", inputs.swapaxes(0, 1))
    np.save(tmp_path / "static.npy", inputs[0])
    return network, tmp_path / "sequences.npy", tmp_path / "static.npy"


def test_energy_counts_the_spikes_that_the_framework_fired(cli, given):
    network, sequences, static = given
    outcome = cli("energy", network, "--input", sequences, "--json")
    assert outcome.code == 0, outcome.err
    assert f"{network}: convention spikingjelly: neurons as SpikingJelly writes them" in outcome.err
    recorded = np.load(FILES / "spikingjelly-conv.npz")["outputs"]
    layers = {layer["name"]: layer for layer in json.loads(outcome.out)["layers"]}
    assert layers["_7"]["spikes"] == pytest.approx(recorded.sum() / 4)
    assert cli("energy", network, "--input", static, "--steps", 8).code == 0


@pytest.mark.parametrize("target", ["onnx", "lava", "nir"])
def test_a_file_is_exported_to_every_target_and_verified(cli, given, tmp_path, target):
    network, sequences, _ = given
    outcome = cli("export", network, "--target", target, "--input", sequences, "--samples", 3, "--output", tmp_path / "b")
    assert outcome.code == 0, outcome.err
    assert "fires at v >= threshold" in outcome.err
    checked = cli("verify", tmp_path / "b" / target)
    assert checked.code == 0
    assert "verified" in checked.out
    manifest = json.loads((tmp_path / "b" / target / "manifest.json").read_text())
    assert (manifest["model"], manifest["sample"]["samples"], manifest["steps"]) == ("net", 3, 12)
    guessed = "its numbers look like those that spikingjelly writes, which is a guess"
    assert f"{network}: warning: {guessed}" in outcome.err
    assert any(note.startswith(f"Assumed of the NIR file: {guessed}") for note in manifest["notes"])


def test_static_samples_are_fed_as_often_as_asked_for(cli, given, tmp_path):
    network, _, static = given
    arguments = ("--input", static, "--steps", 5, "--quantize", "exact", "--output", tmp_path / "b")
    assert cli("export", network, "--target", "onnx", *arguments).code == 0
    assert json.loads((tmp_path / "b" / "onnx" / "manifest.json").read_text())["steps"] == 5


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("energy", (), "net: brings no data of its own; give samples with --input samples.npy"),
        ("energy", ("--input", "STATIC"), "samples of shape (4, 2, 8, 8) found, [N, T, 2, 8, 8], or [N, 2, 8, 8] with --steps"),
        ("energy", ("--input", "SEQUENCES", "--convention", "loihi"), "convention 'loihi': not known; there are: nir, "),
        ("energy", ("--input", "SEQUENCES", "--dt", "1"), "shorter than dt = 1; give another dt, or another convention"),
        (
            "energy",
            ("--input", "SEQUENCES", "--input-shape", "2,x"),
            "--input-shape: 2,x found, numbers such as 3,32,32 expected",
        ),
        ("export", ("--target", "lava", "--input", "SEQUENCES", "--finetune", "3"), "a .nir file brings no training data"),
        ("export", ("--target", "lava", "--input", "SEQUENCES", "--reset", "soft"), "soft"),
    ],
)
def test_what_does_not_fit_a_file_is_refused_in_one_line(cli, given, command, options, message):
    network, sequences, static = given
    places = {"STATIC": static, "SEQUENCES": sequences}
    outcome = cli(command, network, *(places.get(option, option) for option in options))
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_bundles_whole_network_is_a_model_that_tells_its_steps(cli, finished, tmp_path):
    checkpoint = finished / "seed-0" / "baseline" / "checkpoint.safetensors"
    assert cli("export", checkpoint, "--target", "nir", "--output", tmp_path / "b").code == 0
    whole = tmp_path / "b" / "nir" / "whole.nir"
    outcome = cli("energy", whole, "--input", tmp_path / "absent.npy")
    assert outcome.code == 2
    assert "written by neurodeploy" in outcome.err
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((3, 1, 8, 8)))
    assert cli("energy", whole, "--input", tmp_path / "x.npy").code == 0
    outcome = cli("energy", whole, "--input", tmp_path / "x.npy", "--steps", 3)
    assert outcome.code == 2
    assert "tells its own number of steps" in outcome.err
