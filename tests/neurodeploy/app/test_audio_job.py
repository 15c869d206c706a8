"""The main job on real recordings of speech: from WAV files to a bundle of a network over sequences that fires the spikes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.app.run import run
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import parse
from neurodeploy_exporters.bundle import read_bundle

UNPACK = Path(__file__).parents[4] / "shared" / "data" / "packed" / "unpack.py"
RECIPE = """
name = "speech"
steps = 3
baseline = "baseline"
deployed = "student"
network = {{ kind = "resnet1d", channels = [8, 8], blocks = [2] }}
neuron = {{ decay = 0.5, threshold = 0.5, reset = "{reset}" }}
teacher = {{ epochs = 1 }}
export = {{ targets = ["{target}"], samples = 20 }}
energy = {{ profiles = ["cmos45-fp32"] }}

[data]
kind = "fsdd"
folder = "{folder}"
features = "mfcc"
coefficients = 10
layout = "sequence"
train_limit = 10
test_limit = 2

[[student]]
name = "baseline"
training = {{ epochs = 1 }}

[[student]]
name = "student"
training = {{ epochs = 1, optimizer = "adam", learning_rate = 0.01 }}
loss = [{{ kind = "cross-entropy" }}, {{ kind = "response" }}, {{ kind = "logits", weight = 0.01 }}]
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    if not UNPACK.exists():
        pytest.skip("the recordings are not beside this repository")
    folder = tmp_path_factory.mktemp("recordings")
    subprocess.run([sys.executable, UNPACK, folder, "fsdd"], check=True, capture_output=True)
    return folder / "fsdd"


def test_recordings_become_a_network_over_sequences_whose_bundle_fires_the_spikes_of_the_report(recordings, tmp_path):
    recipe = parse(RECIPE.format(folder=recordings, reset="soft", target="onnx"), origin="speech")
    summary = run(recipe, tmp_path / "run")
    assert summary["verify"]["onnx_mismatched_spikes"] == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["total"]["spikes"] > 0
    stem = next(layer for layer in report["layers"] if layer["name"] == "conv")
    # coefficients, channels, and kernel times frames but for taps on three frames of padding at each end; once per sample
    assert stem["macs"] == 10 * 8 * (7 * 49 - 2 * (1 + 2 + 3))
    bundle = read_bundle(tmp_path / "run" / "seed-0" / "bundles" / "onnx")
    assert bundle.given().inputs.shape == (20, 10, 49)
    fired = sum(spikes.sum() for spikes in bundle.given().spikes.values()) / 20
    assert fired == pytest.approx(report["total"]["spikes"])


def test_its_residual_body_runs_on_the_simulated_chip_spike_for_spike(recordings, tmp_path):
    recipe = parse(RECIPE.format(folder=recordings, reset="hard", target="lava"), origin="speech")
    summary = run(recipe, tmp_path / "run")
    assert summary["verify"]["lava_mismatched_spikes"] == 0
    manifest = read_bundle(tmp_path / "run" / "seed-0" / "bundles" / "lava").manifest
    assert [piece.format for piece in manifest.chain] == ["onnx", "circuit", "onnx"]
    assert {layer.name: layer.latency_steps for layer in manifest.spiking_layers} == {
        **{"stem": 0, "block1.act1": 1, "block1.act2": 2, "block2.act1": 3, "block2.act2": 4}
    }
    assert manifest.accuracy["exported"].samples == 20


def test_what_of_it_has_no_form_on_loihi_is_refused_by_name(recordings, tmp_path):
    recipe = parse(RECIPE.format(folder=recordings, reset="soft", target="lava"), origin="speech")
    with pytest.raises(UserError, match=r"node block1\.act1: reset .soft. found"):
        run(recipe, tmp_path / "run")
