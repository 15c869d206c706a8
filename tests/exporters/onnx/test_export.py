"""The ONNX target: what its bundle holds, how its numbers come about, and that nothing is left half-written."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from neurodeploy import __version__
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.grid import grid_layers, to_grid
from neurodeploy.io.errors import Failure, UserError
from neurodeploy_exporters import lava
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.seal import digest_of, seal
from neurodeploy_exporters.onnx import Session, export
from neurodeploy_exporters.verify import verify

VARIANTS = [(kind, reset, repact) for kind in ("conv", "resnet") for reset in ("hard", "soft") for repact in (False, True)]
every_variant = pytest.mark.parametrize(("kind", "reset", "repact"), VARIANTS)


@every_variant
def test_an_exact_bundle_of_every_network_passes_without_one_differing_spike(graph, digits, tmp_path, kind, reset, repact):
    network = graph(kind, reset, repact)
    outcome = verify(export(network, digits[0][:20], tmp_path / "b", name="n", quantize="exact"))
    assert outcome.passed
    assert outcome.mismatched_spikes == dict.fromkeys(network.spiking, 0)
    per_sample = sum(int(np.prod(network.shape(layer))) for layer in network.spiking)
    assert outcome.spikes_compared == 2 * 4 * 20 * per_sample  # whole and pieces, 4 steps, 20 samples
    sample = read_bundle(tmp_path / "b").sample()
    assert all(0.2 < spikes.mean() < 0.8 for spikes in sample.spikes.values())


@every_variant
def test_a_float_bundle_of_every_network_passes(graph, digits, tmp_path, kind, reset, repact):
    assert verify(export(graph(kind, reset, repact), digits[0][:20], tmp_path / "b", name="n")).passed


def test_the_manifest_says_what_was_exported(graph, digits, tmp_path):
    network = graph("conv", "soft", True)
    x, labels = digits
    folder = export(
        network,
        x[:7],
        tmp_path / "b",
        name="small",
        quantize="exact",
        accuracy={"float": SimpleNamespace(correct=150, samples=180)},
        test=(x, labels),
    )
    written = json.loads((folder / "manifest.json").read_text())
    files = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert files == {"whole.onnx", "encoder.onnx", "body.onnx", "head.onnx", "sample.npz"}
    assert written.pop("digest") == digest_of(written)
    assert written.pop("provenance")["versions"]["neurodeploy"] == __version__
    assert written.pop("sizes") == {name: (folder / name).stat().st_size for name in files}
    assert written.pop("files") == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}

    answers = Session(folder / "whole.onnx").run({"input": x}, steps=4)["logits"].argmax(-1)
    assert written.pop("accuracy") == {
        "float": {"correct": 150, "samples": 180},
        "exported": {"correct": int((answers == labels).sum()), "samples": 200},
    }
    exact = to_grid(network)
    layers = {g.name: {"weight_step": 2.0**-g.exponent, "weight_error": g.weight_error} for g in grid_layers(network, exact)}
    assert set(layers) == {"conv1", "conv2"}
    assert written.pop("module") is None  # it is not at hand
    assert written.pop("quantization") == {
        "kind": "exact",
        "weights": "8-bit integers times a power of two, up to the last spiking layer",
        "layers": layers,
    }
    assert [note for note in written.pop("notes") if "float" in note.lower()] == []
    assert written.pop("normalization") is None
    assert written.pop("input_grid") == {
        "exponent": 8,
        "largest": 256,
        "rounded": False,
        "encoding": "Inputs are multiples of 2^-8 from -1 to 1. A host rounds others: "
        "x -> clip(round(x * 2^8), -256, 256) / 2^8.",
        "sample": None,
        "test": None,
    }
    pieces = [
        ("whole", ["input"], ["logits"]),
        ("encoder", ["input"], ["act1"]),
        ("body", ["act1"], ["act2"]),
        ("head", ["act2"], ["logits"]),
    ]
    rated = {(one["layer"], one["kind"]): one for one in written["sample"].pop("mutations")}
    counted = {name: rated[name, "weight"]["values"] for name in ("conv1", "conv2")}
    assert counted == {name: exact[name].weight.size for name in counted}
    assert all(one["shown"] <= one["tried"] <= one["values"] for one in rated.values())
    assert written == {
        "schema_version": 3,
        "target": "onnx",
        "model": "small",
        "created_by": f"neurodeploy {__version__}",
        "input_shape": [1, 8, 8],
        "timed_input": False,
        "classes": 10,
        "steps": 4,
        "latency_steps": 0,
        "pieces": [
            {"name": name, "file": f"{name}.onnx", "format": "onnx", "inputs": inputs, "outputs": outputs, "graded": []}
            for name, inputs, outputs in pieces
        ],
        "spiking_layers": [
            {"name": "act1", "shape": [4, 8, 8], "part": "encoder", "latency_steps": 0},
            {"name": "act2", "shape": [6, 4, 4], "part": "body", "latency_steps": 0},
        ],
        "sample": {
            "file": "sample.npz",
            "samples": 7,
            "correct": None,
            "logits_atol": 1e-4,
            "allowed_mismatched_spikes": 0,
        },
        "agreement": {
            "reference": "exported",
            "samples": 7,
            "spikes_compared": 4 * 7 * (4 * 8 * 8 + 6 * 4 * 4),
            "mismatched_spikes": 0,
            "mismatch_rate": 0.0,
            "answers_compared": 0,
            "changed_answers": 0,
        },
        "streaming": False,
        "spike_counts": False,
        "head_cut": None,
        "steps_alone": [],
        "weights_file": None,
    }


def test_exact_weights_are_multiples_of_the_steps_that_the_manifest_gives(graph, digits, tmp_path):
    folder = export(graph("resnet"), digits[0][:2], tmp_path / "b", name="n", quantize="exact")
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(folder / "whole.onnx").graph.initializer}
    layers = read_bundle(folder).manifest.quantization["layers"]
    assert layers
    for name, layer in layers.items():
        units = tensors[f"{name}.weight"] / layer["weight_step"]
        assert np.array_equal(units, np.rint(units))
        assert np.abs(units).max() <= 127
        assert layer["weight_error"] <= layer["weight_step"] / 2


def test_a_float_bundle_keeps_the_trained_weights_and_counts_no_quantisation(graph, digits, tmp_path):
    network = graph("conv")
    folder = export(network, digits[0][:2], tmp_path / "b", name="n")
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(folder / "whole.onnx").graph.initializer}
    assert np.array_equal(tensors["conv2.weight"], network["conv2"].weight)
    manifest = read_bundle(folder).manifest
    assert manifest.quantization == {"kind": "none", "weights": "float32"}
    assert manifest.accuracy == {}


def test_a_potential_at_the_threshold_is_counted_in_a_float_bundle_and_allowed_at_its_verification(at_threshold, tmp_path):
    network, x = at_threshold
    folder = export(network, x, tmp_path / "float", name="n")
    manifest, outcome = read_bundle(folder).manifest, verify(folder)
    allowed = manifest.sample.allowed_mismatched_spikes
    assert allowed > 0
    assert manifest.sample.logits_atol > 1e-4
    assert any(f"differed from the reference interpreter in {allowed} spikes" in note for note in manifest.notes)
    assert outcome.passed
    assert sum(outcome.mismatched_spikes.values()) == 2 * allowed  # whole and pieces
    exact = verify(export(network, x, tmp_path / "exact", name="n", quantize="exact"))
    assert exact.passed
    assert sum(exact.mismatched_spikes.values()) == 0


@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_the_same_export_gives_the_same_bytes_and_replaces_an_older_bundle(graph, digits, tmp_path, quantize):
    export(graph("conv"), digits[0][:3], tmp_path / "a", name="n", quantize=quantize)
    export(graph("resnet"), digits[0][:5], tmp_path / "b", name="older", quantize=quantize)
    (tmp_path / "b" / "left over").touch()
    export(graph("conv"), digits[0][:3], tmp_path / "b", name="n", quantize=quantize)
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert one == other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def timed(*members: ops.Node, shape: tuple[int, ...] = (6,)) -> Graph:
    """A network fed by events that ends with the mean over time of its last member."""
    mean = ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    events = ops.InputNode(name="input", shape=shape, timed=True)
    return Graph([events, *members, mean, ops.OutputNode(name="logits", inputs=("mean",))])


def linear(name: str, source: str, *shape: int) -> ops.LinearNode:
    weight = np.random.default_rng(len(name)).normal(0, 0.5, shape).astype(np.float32)
    return ops.LinearNode(name=name, inputs=(source,), weight=weight)


NEURON = NeuronParameters(0.5, 0.5, "hard")
EVENTS = timed(
    linear("fc", "input", 5, 6), ops.NeuronNode(name="n", inputs=("fc",), parameters=NEURON), linear("out", "n", 3, 5)
)


def test_a_network_fed_by_events_has_no_encoder_and_its_accuracy_is_measured_over_all_samples(tmp_path):
    rng = np.random.default_rng(0)
    x, labels = (rng.random((7, 600, 6)) < 0.4).astype(np.float32), rng.integers(0, 3, 600)
    folder = export(EVENTS, x[:, :4], tmp_path / "b", name="n", quantize="exact", test=(x, labels))
    manifest = read_bundle(folder).manifest
    assert [piece.name for piece in manifest.pieces] == ["whole", "body", "head"]
    assert (manifest.timed_input, manifest.steps, manifest.sample.samples) == (True, 7, 4)
    right = Session(folder / "whole.onnx").run({"input": x})["logits"].argmax(-1) == labels
    assert (manifest.accuracy["exported"].correct, manifest.accuracy["exported"].samples) == (int(right.sum()), 600)
    assert verify(folder).passed


REFUSED = {
    "a node without a form": (
        timed(ops.FixedPointNeuronNode(name="chip", inputs=("input",), v_decay=0, threshold=1)),
        "none",
        (2, 3, 6),
        r"node chip \(FixedPointNeuron\): has no form in the ONNX export",
    ),
    "no exact form": (
        timed(
            ops.AvgPoolNode(name="pool", inputs=("input",), kernel=(3,), stride=(3,)),
            ops.NeuronNode(name="n", inputs=("pool",), parameters=NEURON),
            ops.FlattenNode(name="flat", inputs=("n",)),
            shape=(1, 6),
        ),
        "exact",
        (2, 3, 1, 6),
        r"node pool: an average over 3 values is no binary fraction",
    ),
    "no spiking layer": (timed(linear("fc", "input", 5, 6)), "none", (2, 3, 6), "no spiking layer found"),
    "an answer that is no vector": (
        timed(ops.NeuronNode(name="n", inputs=("input",), parameters=NEURON), shape=(2, 6)),
        "none",
        (2, 3, 2, 6),
        r"node logits: an answer of shape \(2, 6\) found, one logit per class expected",
    ),
    "samples of another shape": (EVENTS, "exact", (2, 3, 5), r"input: shape \(2, 3, 5\) found, \[T, B, 6\] expected"),
    "no samples": (EVENTS, "none", (2, 0, 6), r"sample: inputs of shape \(2, 0, 6\) found, at least one sample"),
    "no steps": (EVENTS, "exact", (0, 2, 6), r"sample: inputs of shape \(0, 2, 6\) found, at least one sample and one step"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_refused_by_name_and_nothing_is_written(case, tmp_path):
    network, quantize, shape, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        export(network, np.ones(shape, np.float32), tmp_path / "deep" / "b", name="n", quantize=quantize)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_leaves_the_older_bundle_as_it_was(bundle):
    folder = bundle("onnx")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    network, quantize, shape, message = REFUSED["a node without a form"]
    with pytest.raises(UserError, match=message):
        export(network, np.ones(shape, np.float32), folder, name="n", quantize=quantize)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_or_file_that_is_no_bundle_is_not_overwritten(graph, digits, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("more work")
    for name in ("thesis", "file"):
        with pytest.raises(UserError, match=rf"{name}: exists and holds no manifest\.json, so it is not overwritten"):
            export(graph("conv"), digits[0][:2], tmp_path / name, name="n")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "more work"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["chapter.txt", "file", "thesis"]


def test_an_empty_folder_is_filled(graph, digits, tmp_path):
    (tmp_path / "b").mkdir()
    assert verify(export(graph("conv"), digits[0][:2], tmp_path / "b", name="n")).passed


def test_a_place_where_no_folder_can_be_is_refused(graph, digits, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/b: cannot be written \(File exists\); choose another place"):
        export(graph("conv"), digits[0][:2], tmp_path / "file" / "b", name="n")
    with pytest.raises((UserError, Failure), match="/proc/self/b"):  # no user can write there, root included
        export(graph("conv"), digits[0][:2], Path("/proc/self/b"), name="n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("target", [export, lava.export])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_exact_export_refuses_a_sample_that_is_not_finite(graph, digits, tmp_path, target, value):
    samples = digits[0][:3].copy()
    samples[1, 0, 2, 2] = value
    with pytest.raises(UserError, match=r"inputs: sample 1 holds values .* \((nan|inf) at \[0, 2, 2\], of 3 samples\)"):
        target(graph("conv"), samples, tmp_path / "bundle", name="n", quantize="exact")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_a_bundle_that_streams_and_counts_is_verified_whole_in_pieces_and_step_by_step(graph, digits, tmp_path, quantize):
    network = graph("resnet", "soft")
    flags = {"streaming": True, "spike_counts": True}
    folder = export(network, digits[0][:5], tmp_path / "b", name="n", quantize=quantize, **flags)
    manifest, outcome = read_bundle(folder).manifest, verify(folder)
    assert (manifest.streaming, manifest.spike_counts) == (True, True)
    assert outcome.findings == ()
    assert outcome.spikes_compared == 3 * 4 * 5 * sum(int(np.prod(network.shape(layer))) for layer in network.spiking)
    assert manifest.agreement.mismatched_spikes == manifest.sample.allowed_mismatched_spikes


def test_a_bundle_whose_models_do_not_do_what_its_manifest_says_is_not_verified(graph, digits, tmp_path):
    folder = export(graph("conv"), digits[0][:3], tmp_path / "b", name="n", quantize="exact")
    content = json.loads((folder / "manifest.json").read_text())
    for claim, message in (
        ("streaming", "whole.onnx: keeps no state between calls"),
        ("spike_counts", "whole.onnx: layer act1: its spikes are not counted as the manifest says"),
    ):
        (folder / "manifest.json").write_text(json.dumps(content | {claim: True}))
        seal(folder)
        assert any(message in finding for finding in verify(folder).findings)


def test_wrong_spike_counts_are_found(graph, digits, tmp_path):
    folder = export(graph("conv"), digits[0][:3], tmp_path / "b", name="n", quantize="exact", spike_counts=True)
    model = onnx.load(folder / "body.onnx")
    (entry,) = (entry for entry in model.metadata_props if entry.key == "spike_counts")
    entry.value = entry.value.replace("act2.spikes", "act3.spikes")
    onnx.save(model, folder / "body.onnx")
    assert any("body.onnx: layer act2: its spikes are not counted" in finding for finding in verify(folder).findings)


def test_how_a_host_encodes_is_in_the_manifest(graph, digits, tmp_path):
    folder = export(graph("conv"), digits[0][:2], tmp_path / "b", name="n", encoding="A host makes spikes.")
    assert read_bundle(folder).manifest.notes[0] == "A host makes spikes."


@pytest.mark.parametrize("quantize", ["none", "exact", "int8"])
def test_a_network_fed_by_events_streams_in_every_precision(tmp_path, quantize):
    x = (np.random.default_rng(0).random((7, 12, 6)) < 0.4).astype(np.float32)
    flags = {"quantize": quantize, "calibration": x[:, 4:], "streaming": True, "spike_counts": True}
    folder = export(EVENTS, x[:, :4], tmp_path / "b", name="n", **flags)
    outcome = verify(folder)
    assert outcome.findings == ()
    assert outcome.spikes_compared == 3 * 7 * 4 * 5
    stream = Session.of_bundle(folder, pieces=True).stream()
    answers = [stream.step(step) for step in x]
    expected = Session.of_bundle(folder).answer(x)
    assert np.array_equal(answers[-1].logits, expected.logits)
    assert np.array_equal(np.concatenate([answer.spike_counts["n"] for answer in answers]), expected.spike_counts["n"])
