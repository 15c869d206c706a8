"""The main job on images whose values are normalised: the deployed network takes them as they are stored."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy.app.deployment import deploy
from neurodeploy.app.run import run
from neurodeploy.cli.main import main
from neurodeploy.data import Digits, Normalization
from neurodeploy.data.samples import Normalized
from neurodeploy.dynamics.encodings import PoissonEncoding
from neurodeploy.dynamics.layers import Flatten, Neuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import ops
from neurodeploy.graph.grid import grid_node
from neurodeploy.recipe import parse
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.target import find

NORMAL = Normalization(mean=(0.31,), std=(0.37,))
RECIPE = """
name = "normalised"
steps = 3
baseline = "baseline"
deployed = "student"
data = {{ kind = "folder", folder = "{folder}", channels = 1, scale = "1/255", normalize = {{ mean = [0.31], std = [0.37] }} }}
network = {{ kind = "conv", channels = [4, 4, 4], strides = [1, 2, 2] }}
neuron = {{ decay = 0.5, threshold = 0.25 }}
teacher = {{ epochs = 1 }}
export = {{ targets = ["lava", "onnx"], samples = 18, quantize = "exact" {more} }}
energy = {{ profiles = ["loihi1"] }}

[[student]]
name = "baseline"
training = {{ epochs = 1 }}

[[student]]
name = "student"
training = {{ epochs = 1 }}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits of three classes as PNG files of bytes."""
    from PIL import Image

    root, data = tmp_path_factory.mktemp("images"), Digits().load()
    for part, samples, labels in (
        ("train", data.train_samples, data.train_labels),
        ("test", data.test_samples, data.test_labels),
    ):
        for digit in range(3):
            place = root / part / str(digit)
            place.mkdir(parents=True)
            for number, image in enumerate(samples[labels == digit][: 20 if part == "train" else 6]):
                Image.fromarray((255 * image[0]).to(torch.uint8).numpy()).save(place / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("run") / "run"
    return root, run(parse(RECIPE.format(folder=folder, more=""), origin="test"), root)


def test_a_run_on_normalised_images_exports_exactly_and_counts_what_the_bundles_fire(done):
    root, summary = done
    assert summary["verify"]["onnx_mismatched_spikes"] == summary["verify"]["lava_mismatched_spikes"] == 0
    report = json.loads((root / "report.json").read_text())
    for target in ("onnx", "lava"):
        bundle = read_bundle(root / "seed-0" / "bundles" / target)
        manifest = bundle.manifest
        assert (manifest.normalization.mean, manifest.normalization.std) == (NORMAL.mean, NORMAL.std)
        assert (manifest.normalization.inputs, manifest.normalization.folded) == ("raw", False)
        assert manifest.input_grid.rounded
        assert manifest.input_grid.test.samples == 18
        assert manifest.input_grid.test.correct_as_given is not None
        inputs = bundle.sample().inputs * 255
        np.testing.assert_allclose(inputs, np.rint(inputs), atol=1e-4)  # as they are stored
    assert nd.energy(root / "seed-0" / "bundles" / "lava").total.spikes == pytest.approx(report["total"]["spikes"])
    assert report["total"]["spikes"] > 0


def test_a_checkpoint_is_exported_with_the_line_that_says_what_rounding_changes(done, tmp_path, monkeypatch, capsys):
    root, _ = done
    student = root / "seed-0" / "student" / "checkpoint.safetensors"
    arguments = ["neurodeploy", "export", student, "--target", "onnx", "--quantize", "exact", "--input-bits", 5]
    monkeypatch.setattr("sys.argv", [*map(str, arguments), "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    entry = read_bundle(tmp_path / "onnx").manifest.input_grid
    found = entry.test
    assert (
        f"inputs are rounded to 5 bits and a sign, in steps of 2^{-entry.exponent}: {found.changed_spikes:,} of "
        f"{found.spikes_compared:,} spikes and {found.changed_answers} of 18 answers change, {found.saturated} of "
        f"{found.values:,} values are beyond the grid; right answers: {found.correct_as_given} as given, "
        f"{found.correct_rounded} rounded"
    ) in text
    assert nd.verify(tmp_path / "onnx").passed


def test_a_checkpoint_and_its_bundle_are_compared_on_the_same_images(done):
    root, _ = done
    student = root / "seed-0" / "student" / "checkpoint.safetensors"
    bundle = root / "seed-0" / "bundles" / "onnx"
    report = nd.energy(bundle, baseline=student)
    assert report.comparison.baseline.total.spikes == pytest.approx(report.total.spikes, rel=0.1)
    with pytest.raises(nd.UserError, match="takes samples as they are stored"):
        nd.energy(student, torch.zeros(2, 1, 8, 8), baseline=bundle)
    turned = nd.energy(student, baseline=bundle)  # its test set is known as it is stored
    assert turned.comparison.baseline.total.spikes == pytest.approx(turned.total.spikes, rel=0.1)


def test_a_fine_tuned_network_takes_images_as_they_are_stored(folder, tmp_path):
    text = RECIPE.format(folder=folder, more=", finetune = { epochs = 1 }").replace('["lava", "onnx"]', '["lava"]')
    summary = run(parse(text, origin="test"), tmp_path / "run")
    assert summary["verify"]["lava_mismatched_spikes"] == 0
    manifest = read_bundle(tmp_path / "run" / "seed-0" / "bundles" / "lava").manifest
    assert manifest.normalization.inputs == "raw"
    assert manifest.input_grid.rounded


@pytest.fixture(scope="module")
def data():
    stored = Digits().load()
    train, test = (Normalized(samples, NORMAL) for samples in (stored.train_samples, stored.test_samples))
    return replace(stored, train_samples=train, test_samples=test, normalization=NORMAL)


def network(*entry: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        *entry, Flatten(), torch.nn.Linear(64, 10), Neuron(NeuronParameters(0.5, 0.2, "hard")), TimeMean()
    ).eval()


def test_the_deployed_network_of_a_normalised_set_computes_of_stored_samples_what_the_network_does_of_normalised_ones(data):
    from neurodeploy.dynamics.encodings import DirectEncoding, StaticInput

    trained = network(StaticInput(), DirectEncoding(3))
    found = deploy(trained, data)
    assert isinstance(data.test_samples, Normalized)
    assert found.data.normalization is None
    assert found.data.test_samples is data.test_samples.raw
    with torch.no_grad():
        assert torch.equal(found.module()(found.data.test_samples), trained(data.test_samples[:]))
    assert found.graph.input.peak == float(np.abs(found.graph["normalization"].compute(found.calibration(256))).max())
    options = find("onnx").options({"quantize": "exact"})
    assert grid_node(find("onnx").deployed(found.graph, options)).exponent == 7


def test_a_host_that_codes_samples_normalises_them_too_and_the_bundle_says_so(data, tmp_path):
    found = deploy(network(PoissonEncoding(4)), data)
    assert not found.graph.of(ops.NormalizeNode)
    subject = found.subject("n", samples=4, calibration=0, accuracy={})
    bundle = read_bundle(find("onnx").export(subject, tmp_path / "b", find("onnx").options({"quantize": "exact"})))
    entry = bundle.manifest.normalization
    assert (entry.mean, entry.std, entry.inputs) == (NORMAL.mean, NORMAL.std, "normalised")
    assert not bundle.manifest.input_grid.rounded
    assert set(np.unique(bundle.sample().inputs)) == {0, 1}
    assert nd.verify(bundle).passed


@pytest.mark.parametrize(
    ("normalization", "message"),
    [
        (((0.0, 0.0), (1.0, 1.0)), "normalization: 2 channels found, the 1 of the samples expected"),
        (((0.0,), (0.0,)), r"normalization: .* found, .*greater than 0"),
        (((0.0, 1.0), (1.0,)), r"normalization: .* found, .*as many of both expected"),
        (0.5, "normalization: 0.5 found, mean and std of each channel expected"),
    ],
)
def test_a_normalisation_that_does_not_fit_the_samples_is_refused(normalization, message):
    from neurodeploy.dynamics.encodings import DirectEncoding, StaticInput

    with pytest.raises(nd.UserError, match=message):
        nd.deploy(network(StaticInput(), DirectEncoding(3)), torch.zeros(2, 1, 8, 8), normalization=normalization)


def test_a_network_that_codes_its_samples_cannot_be_given_raw_ones():
    with pytest.raises(nd.UserError, match=r"normalization: Sequential makes spikes of its samples, .* give normalised ones"):
        nd.deploy(network(PoissonEncoding(3)), torch.zeros(2, 1, 8, 8), normalization=NORMAL)
