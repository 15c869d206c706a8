"""The main job on real event recordings: from N-MNIST's files to bundles that fire the reported spikes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.app.run import run
from neurodeploy.recipe import parse
from neurodeploy_exporters.bundle import read_bundle

UNPACK = Path(__file__).parents[4] / "shared" / "data" / "packed" / "unpack.py"
RECIPE = """
name = "events"
steps = 3
baseline = "baseline"
deployed = "student"
data = {{ kind = "nmnist", bins = 3, folder = "{folder}", train_limit = 8, test_limit = 2 }}
augmentation = [{{ kind = "event-shift" }}]
network = {{ kind = "conv", channels = [4, 4, 4], strides = [2, 2, 2] }}
neuron = {{ decay = 0.5, threshold = 0.25 }}
teacher = {{ epochs = 1 }}
export = {{ targets = ["onnx", "lava"], samples = 20 }}
energy = {{ profiles = ["loihi1"] }}

[[student]]
name = "baseline"
training = {{ epochs = 1 }}

[[student]]
name = "student"
repact = true
training = {{ epochs = 1 }}
loss = [{{ kind = "cross-entropy" }}, {{ kind = "laf" }}]
"""


@pytest.mark.skipif(not UNPACK.exists(), reason="the recordings are not beside this repository")
def test_event_recordings_become_a_network_whose_bundles_fire_the_spikes_of_the_report(tmp_path):
    subprocess.run([sys.executable, UNPACK, tmp_path, "nmnist"], check=True, capture_output=True)
    recipe = parse(RECIPE.format(folder=tmp_path / "nmnist"), origin="events")
    summary = run(recipe, tmp_path / "run")
    assert summary["verify"]["onnx_mismatched_spikes"] == summary["verify"]["lava_mismatched_spikes"] == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["steps"] == 3
    assert report["total"]["spikes"] > 0
    first = next(layer for layer in report["layers"] if layer["name"] == "conv1")
    assert first["macs"] == 0 < first["sops"]  # events need no dense first layer
    for target in ("onnx", "lava"):
        bundle = read_bundle(tmp_path / "run" / "seed-0" / "bundles" / target)
        assert bundle.manifest.timed_input
        assert [piece.name for piece in bundle.manifest.chain] == ["body", "head"]
        assert bundle.sample().inputs.shape == (3, 20, 2, 34, 34)
        fired = sum(spikes.sum() for spikes in bundle.sample().spikes.values()) / 20
        assert fired == pytest.approx(report["total"]["spikes"])
