"""Bundles of networks whose inputs are any values: what they are rounded to, what that changes, and how they are normalised."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.entry import without
from neurodeploy.graph.grid import grid_node, quantised, to_grid, with_peak
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.ops import Range
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import nir
from neurodeploy_exporters.bundle import MANIFEST, read_bundle
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.nir.content import load
from neurodeploy_exporters.target import Subject, find
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.artefact import read_artefact

MEAN, STD = (0.31,), (0.37,)
TARGETS = ("onnx", "lava", "nir")


@pytest.fixture(scope="module")
def normalised(digits) -> np.ndarray:
    """Digits as torchvision would normalise them: no multiples of anything, from −0.8 to 1.9."""
    return ((digits[0] - np.float32(MEAN[0])) / np.float32(STD[0])).astype(np.float32)


@pytest.fixture(scope="module")
def subject(graph, digits, normalised) -> Subject:
    labels = digits[1]
    return Subject(
        graph=graph("conv"),
        sample_inputs=normalised[:6],
        name="small",
        test=(normalised[20:120], labels[20:120]),
        calibration=normalised[120:180],
    )


def written(subject: Subject, target: str, folder, **options):
    chosen = find(target)
    chosen.export(subject, folder, chosen.options({"quantize": "exact"} | options))
    return read_bundle(folder)


def by_hand(exact: Graph, x: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """What the network with its weights on the grid makes of inputs as they are, and of inputs rounded in numpy; and those."""
    node = grid_node(exact)
    plain = without(exact, node.name)
    rounded = np.clip(np.rint(x.astype(np.float64) * 2.0**node.exponent), -node.largest, node.largest) / 2.0**node.exponent
    return interpreter.run(plain, x), interpreter.run(plain, rounded.astype(np.float32)), rounded.astype(np.float32)


@pytest.mark.parametrize("target", TARGETS)
def test_an_exact_bundle_of_any_inputs_verifies_without_one_differing_spike(subject, tmp_path, target):
    bundle = written(subject, target, tmp_path / "b")
    outcome = verify(bundle.folder)
    assert outcome.findings == ()
    assert outcome.mismatches == 0
    assert outcome.spikes_compared > 0
    found = bundle.manifest.input_grid
    assert (found.exponent, found.largest, found.rounded) == (7, 256, True)
    assert found.encoding == "The files round their inputs: x -> clip(round(x * 2^7), -256, 256) / 2^7, halves to even."
    sample = bundle.sample()
    assert np.array_equal(sample.inputs, subject.sample_inputs)  # those that a user has
    if target != "lava":  # whose body has weights of its own
        exact = to_grid(with_peak(subject.graph, [subject.calibration]))
        _, rounded, _ = by_hand(exact, subject.sample_inputs)
        assert all(np.array_equal(spikes, rounded[layer]) for layer, spikes in sample.spikes.items())


def test_a_nir_file_tells_other_readers_what_to_round_to_and_gives_the_rounding_back(subject, tmp_path):
    bundle = written(subject, "nir", tmp_path / "b")
    assert any("multiples of 0.0078125 from -2 to 2, as its metadata's input_step" in n for n in bundle.manifest.notes)
    metadata = load(bundle.path("whole.nir")).metadata
    assert (float(metadata["input_step"]), float(metadata["input_largest"])) == (2**-7, 2.0)
    assert grid_node(nir.read(bundle.path("whole.nir"))).exponent == 7


def test_events_of_other_sizes_than_0_and_1_are_rounded_for_onnx_and_refused_for_a_chip_by_name(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.exponential(size=(3, 5, 6)).astype(np.float32)
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(6,), timed=True),
            ops.LinearNode(name="linear", inputs=("input",), weight=rng.normal(size=(8, 6)).astype(np.float32)),
            ops.NeuronNode(name="fire", inputs=("linear",), parameters=NeuronParameters(0.5, 0.5)),
            ops.LinearNode(name="last", inputs=("fire",), weight=rng.normal(size=(4, 8)).astype(np.float32)),
            ops.TimeMeanNode(name="mean", inputs=("last",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    for target in ("onnx", "nir"):
        assert verify(find(target).write(graph, frames, tmp_path / target, name="n", quantize="exact")).findings == ()
    with pytest.raises(UserError, match=r"node input: a value of \S+ found in the samples, which enter the chip as they are"):
        find("lava").write(graph, frames, tmp_path / "lava", name="n", quantize="exact")


@pytest.mark.parametrize("target", TARGETS)
def test_the_spikes_that_are_counted_are_those_of_rounded_inputs(subject, tmp_path, target):
    bundle = written(subject, target, tmp_path / "b")
    grid = Range(bundle.manifest.input_grid.exponent, bundle.manifest.input_grid.largest)
    artefact = read_artefact(bundle.folder)
    x = subject.test[0][:5]
    fired = artefact.fire(x)
    assert all(np.array_equal(fired[layer], spikes) for layer, spikes in artefact.fire(quantised(x, grid)).items())
    report = nd.energy(bundle, torch.from_numpy(x))
    for layer, spikes in fired.items():
        assert report.layer(layer).spikes == pytest.approx(spikes.sum() / len(x))
    chosen = find(target)
    if target != "lava":
        deployed = chosen.deployed(with_peak(subject.graph, [subject.calibration]), chosen.options({"quantize": "exact"}))
        counted = nd.energy(GraphModule(deployed), torch.from_numpy(x))
        for layer in fired:
            assert counted.layer(layer).spikes == report.layer(layer).spikes


@pytest.mark.parametrize("bits", [3, 8])
def test_what_rounding_changes_is_measured_as_one_would_by_hand(subject, tmp_path, bits):
    bundle = written(subject, "onnx", tmp_path / "b", input_bits=bits)
    entry = bundle.manifest.input_grid
    assert (entry.exponent, entry.largest) == (bits - 1, 2**bits)
    exact = to_grid(with_peak(subject.graph, [subject.calibration]), input_bits=bits)
    test, labels = subject.test
    for effect, x, right in ((entry.sample, subject.sample_inputs, None), (entry.test, test, labels)):
        given, rounded, _ = by_hand(exact, x)
        answers = [made["logits"].argmax(-1) for made in (given, rounded)]
        assert (effect.samples, effect.values, effect.saturated) == (len(x), x.size, 0)
        assert effect.spikes_compared == sum(given[layer].size for layer in exact.spiking)
        assert effect.changed_spikes == sum(int((given[layer] != rounded[layer]).sum()) for layer in exact.spiking)
        assert effect.changed_answers == int((answers[0] != answers[1]).sum())
        if right is not None:
            assert effect.correct_as_given == int((answers[0] == right).sum())
            assert effect.correct_rounded == int((answers[1] == right).sum()) == bundle.manifest.accuracy["exported"].correct
    assert entry.test.changed_spikes > (1000 if bits == 3 else 0)
    assert (entry.test.changed_answers > 0) == (bits == 3)


def test_values_beyond_those_of_the_calibration_are_brought_to_the_end_of_the_grid_and_counted(subject, tmp_path):
    x, labels = subject.test
    far = replace(subject, test=(2 * x, labels), graph=with_peak(subject.graph, [subject.calibration]))
    entry = written(far, "onnx", tmp_path / "b").manifest.input_grid
    assert entry.test.saturated == int((2 * x > 2 + 2**-8).sum()) > 0
    assert entry.sample.saturated == 0
    assert verify(tmp_path / "b").passed


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_on_the_default_grid_are_declared_and_not_rounded(graph, digits, tmp_path, target):
    folder = find(target).write(graph("conv"), digits[0][:4], tmp_path / "b", name="n", quantize="exact")
    entry = read_bundle(folder).manifest.input_grid
    assert (entry.exponent, entry.largest, entry.rounded) == (8, 256, False)
    assert (entry.sample, entry.test) == (None, None)
    assert grid_node(read_artefact(folder).graph) is None


def test_float_bundles_declare_no_grid(graph, normalised, tmp_path):
    folder = find("onnx").write(graph("conv"), normalised[:4], tmp_path / "b", name="n")
    assert read_bundle(folder).manifest.input_grid is None


def changed(folder, field: str, **values: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest[field] |= values
    (folder / MANIFEST).write_text(json.dumps(manifest))
    seal(folder)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("values", [{"exponent": 6}, {"largest": 255}, {"rounded": False}])
def test_a_manifest_that_declares_another_grid_than_the_files_have_is_found(subject, tmp_path, target, values):
    folder = written(subject, target, tmp_path / "b").folder
    changed(folder, "input_grid", **values)
    assert any("rounds its inputs otherwise than the manifest's input_grid says" in one for one in verify(folder).findings)


def test_a_sample_off_the_grid_that_its_files_do_not_round_to_is_found(bundle):
    folder = bundle("onnx")
    changed(folder, "input_grid", exponent=3, largest=8)
    assert any("inputs: values off the grid found" in finding for finding in verify(folder).findings)


@pytest.mark.parametrize("target", TARGETS)
def test_bits_of_inputs_are_refused_without_exact_sums(target):
    with pytest.raises(UserError, match=r'input_bits: inputs are rounded with quantize = "exact" alone, "none" found'):
        find(target).options({"input_bits": 6})
    with pytest.raises(UserError, match=f"input_bits: 0 found, .* greater than or equal to 1 \\(target {target}\\)"):
        find(target).options({"input_bits": 0, "quantize": "exact"})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_a_bundle_that_normalises_takes_raw_samples_and_answers_as_the_network_does_to_normalised_ones(
    network, digits, normalised, tmp_path, target, quantize
):
    raw, ann = torch.from_numpy(digits[0][:40]), network("conv")
    model = nd.deploy(ann, raw, normalization=(MEAN, STD))
    with torch.no_grad():
        expected = ann(torch.from_numpy(normalised[:40])).logits
    np.testing.assert_allclose(model.module(raw).numpy(), expected.numpy(), atol=1e-5)
    bundle = nd.export(model, target, tmp_path / "b", quantize=quantize, samples=8)
    entry = bundle.manifest.normalization
    assert (entry.mean, entry.std, entry.inputs, entry.folded) == (MEAN, STD, "raw", False)  # its convolution is padded
    assert np.array_equal(bundle.given().inputs, digits[0][:8])
    assert nd.verify(bundle).passed
    # a network that is deployed without the normalisation, on normalised samples, fires the same spikes
    other = nd.export(nd.deploy(ann, normalised[:40]), target, tmp_path / "other", quantize=quantize, samples=8)
    assert other.manifest.normalization is None
    ours, theirs = read_artefact(bundle.folder).fire(digits[0][8:20]), read_artefact(other.folder).fire(normalised[8:20])
    assert all(np.array_equal(ours[layer], spikes) for layer, spikes in theirs.items())


def test_a_manifest_that_declares_another_normalisation_than_the_files_do_is_found(network, digits, tmp_path):
    model = nd.deploy(network("conv"), torch.from_numpy(digits[0][:4]), normalization=(MEAN, STD))
    folder = nd.export(model, "onnx", tmp_path / "b", samples=4, calibration=0).folder
    changed(folder, "normalization", mean=[0.3])
    assert any("normalises its inputs otherwise" in finding for finding in verify(folder).findings)


def test_a_model_that_takes_normalised_samples_is_compared_with_a_bundle_that_takes_raw_ones(network, digits, tmp_path):
    raw, ann = torch.from_numpy(digits[0][:10]), network("conv")
    model = nd.deploy(ann, raw, normalization=(MEAN, STD))
    normal = model.normalization
    trained = replace(model, name="trained", module=ann, normalizes=False, test_samples=normal(raw))
    bundle = nd.export(model, "onnx", tmp_path / "b", samples=10, calibration=0)
    together = nd.energy(bundle, baseline=trained)
    alone = nd.energy(trained, normal(raw))
    assert together.comparison.baseline.total.spikes == alone.total.spikes == pytest.approx(together.total.spikes, rel=0.02)
    assert nd.energy(bundle, baseline=ann).comparison.baseline.total.spikes == alone.total.spikes
    assert alone.total.spikes != nd.energy(trained, raw).total.spikes
    with pytest.raises(UserError, match=r"^\w+: takes samples as they are stored, trained normalised ones"):
        nd.energy(trained, normal(raw), baseline=model)
