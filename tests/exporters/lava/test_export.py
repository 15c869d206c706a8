"""The Lava target: what cannot run on the chip is refused by name; what can fires what the exact ONNX bundle fires."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import onnx as onnx_format
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import lava, onnx
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.pipeline import run_sequence, run_stream
from neurodeploy_exporters.onnx import Session
from neurodeploy_exporters.verify import verify

# --- sound bundles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantize", ["none", "exact"])
@pytest.mark.parametrize("repact", [False, True])
def test_a_convolutional_net_with_hard_reset_is_exported_and_passes(graph, digits, tmp_path, quantize, repact):
    network = graph("conv", "hard", repact)
    folder = lava.export(network, digits[0][:50], tmp_path / "b", name="n", quantize=quantize)
    outcome = verify(folder)
    assert outcome.passed
    assert sum(outcome.mismatched_spikes.values()) == 0
    assert outcome.spikes_compared == 4 * 50 * sum(int(np.prod(network.shape(layer))) for layer in network.spiking)
    assert all(0.1 < spikes.mean() < 0.9 for spikes in read_bundle(folder).sample().spikes.values())


@pytest.mark.parametrize("repact", [False, True])
def test_the_chip_fires_what_the_exact_onnx_bundle_of_the_same_network_fires(graph, digits, tmp_path, repact):
    network, x = graph("conv", "hard", repact), digits[0]
    chip = read_bundle(lava.export(network, x, tmp_path / "lava", name="n", quantize="exact"))
    host = read_bundle(onnx.export(network, x, tmp_path / "onnx", name="n", quantize="exact"))
    layers = network.spiking
    whole = Session(host.path("whole.onnx"), also=layers).run({"input": x}, steps=4)
    first = Session(chip.path("encoder.onnx")).run({"input": x}, steps=4)[layers[0]]
    assert np.array_equal(first, whole[layers[0]])
    body = read(chip.path("body.net"))
    for run in (run_sequence, run_stream):
        fired = run(body, first).spikes
        assert len(fired) == len(layers) - 1
        for layer, spikes in zip(layers[1:], fired.values(), strict=True):
            assert np.array_equal(spikes, whole[layer]), layer
    assert np.array_equal(chip.sample().spikes[layers[-1]], host.sample().spikes[layers[-1]])


def test_more_steps_than_the_network_was_trained_with_fire_alike_on_both(bundles, digits):
    chip, host = bundles["lava"], bundles["onnx"]
    whole = Session(host / "whole.onnx", also=["act1", "act2", "act3"]).run({"input": digits[0][:20]}, steps=6)
    fired = run_sequence(read(chip / "body.net"), whole["act1"]).spikes
    assert np.array_equal(fired["L0_Conv"], whole["act2"])
    assert np.array_equal(fired["L1_Conv"], whole["act3"])


@pytest.mark.parametrize("repact", [False, True])
def test_the_head_on_the_chips_spikes_gives_the_logits_of_the_whole_network(graph, network, digits, tmp_path, repact):
    import torch

    exact = to_grid(graph("conv", "hard", repact))
    folder = lava.export(graph("conv", "hard", repact), digits[0][:2], tmp_path / "b", name="n", quantize="exact")
    x = digits[0]
    first = interpreter.run(exact, x)["act1"]
    *_, last = run_sequence(read(folder / "body.net"), first).spikes.values()
    head = Session(folder / "head.onnx")
    assert list(head.inputs) == [exact.spiking[-1]]
    found = head.run({exact.spiking[-1]: last.astype(np.float32)})["logits"]
    np.testing.assert_allclose(found, interpreter.run(exact, x)["logits"], atol=1e-5)
    with torch.no_grad():
        trained = network("conv", "hard", repact)(torch.from_numpy(x)).logits.numpy()
    assert (found.argmax(-1) == trained.argmax(-1)).mean() > 0.9


# --- what the files hold -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["none", "exact"])
def exported(request, graph, digits, tmp_path) -> Path:
    return lava.export(graph("conv"), digits[0][:7], tmp_path / "b", name="small", quantize=request.param)


def test_the_net_file_holds_only_what_the_chip_can(exported, graph):
    with h5py.File(exported / "body.net") as file:
        assert sorted(file["layer"]) == ["0", "1", "2"]
        kinds = [file[f"layer/{i}/type"][0].decode() for i in range(3)]
        assert kinds == ["input", "conv", "conv"]
        assert file["layer/0/shape"][:].tolist() == list(graph("conv").shape("act1"))
        for i, layer in ((1, "act2"), (2, "act3")):
            group = file[f"layer/{i}"]
            assert group["shape"][:].tolist() == list(graph("conv").shape(layer))
            weight, bias = group["weight"][()], group["bias"][()]
            assert np.array_equal(weight, 2 * np.rint(weight / 2))
            assert -256 <= weight.min() < -100 < 100 < weight.max() <= 254
            assert np.array_equal(bias, np.rint(bias))
            assert -4096 <= bias.min() <= bias.max() <= 4095
            neuron = group["neuron"]
            assert neuron["type"][0] == b"CUBA"
            assert (int(neuron["iDecay"][()]), int(neuron["vDecay"][()])) == (4096, 2048)
            assert neuron["vThMant"].dtype.kind == "i"
            assert 0 < int(neuron["vThMant"][()]) < 1 << 17


def test_the_manifest_gives_the_scales_and_errors_of_the_weights_in_the_net_file(exported, graph):
    manifest = read_bundle(exported).manifest
    layers = manifest.quantization["layers"]
    assert list(layers) == ["act2", "act3"]
    exact = manifest.quantization["host_encoder_weights"].startswith("8-bit")
    source = to_grid(graph("conv")) if exact else graph("conv")
    with h5py.File(exported / "body.net") as file:
        for i, layer in enumerate(layers.values(), start=1):
            ((name, synapse),) = layer["synapses"].items()
            group, trained = file[f"layer/{i}"], source[name]
            assert (name, synapse["source"]) == (f"conv{i + 1}", f"act{i}")
            assert (synapse["parallel"], synapse["delay"]) == (1, 0)
            weight = group["weight"][()].astype(np.float64) / layer["scale"]
            error = np.linalg.norm(weight - trained.weight) / np.linalg.norm(trained.weight)
            assert synapse["weight_error"] == pytest.approx(error, rel=1e-5, abs=1e-12)
            assert np.abs(weight - trained.weight).max() <= 1 / layer["scale"]
            bias = group["bias"][()] / layer["scale"]
            assert layer["bias_error"] == pytest.approx(np.abs(bias - trained.bias).max() / 0.5, rel=1e-4, abs=1e-12)
            threshold = int(group["neuron/vThMant"][()])
            assert layer["threshold_error"] == pytest.approx(abs(threshold / layer["scale"] - 0.5) / 0.5)
            assert (layer["iDecay"], layer["vDecay"], layer["vThMant"]) == (4096, 2048, threshold)
            assert (synapse["weight_error"] == 0) == exact


def test_the_manifest_says_what_was_exported(graph, digits, tmp_path):
    x, labels = digits
    accuracy = {"float": SimpleNamespace(correct=120, samples=180)}
    folder = lava.export(
        graph("conv"), x[:7], tmp_path / "b", name="small", quantize="exact", accuracy=accuracy, test=(x, labels)
    )
    written = json.loads((folder / "manifest.json").read_text())
    files = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert files == {"encoder.onnx", "body.net", "head.onnx", "sample.npz"}
    assert written["files"] == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    right = int((interpreter.run(to_grid(graph("conv")), x)["logits"].argmax(-1) == labels).sum())
    assert written["accuracy"] == {"float": {"correct": 120, "samples": 180}, "exported": {"correct": right, "samples": 200}}
    assert (written["target"], written["model"], written["steps"], written["latency_steps"]) == ("lava", "small", 4, 2)
    assert [(piece["name"], piece["format"]) for piece in written["pieces"]] == [
        ("encoder", "onnx"),
        ("body", "net"),
        ("head", "onnx"),
    ]
    assert written["quantization"]["kind"] == "loihi8"
    rated = written["sample"].pop("mutations")
    assert {one["kind"] for one in rated if one["layer"] in ("act2", "act3")} >= {"threshold", "decay"}
    assert all(one["shown"] <= one["tried"] <= one["values"] for one in rated)
    assert written["sample"] == {
        "file": "sample.npz",
        "samples": 7,
        "correct": None,
        "logits_atol": 1e-4,
        "allowed_mismatched_spikes": 0,
    }
    assert any("The body answers 2 steps late" in note for note in written["notes"])


def test_a_float_bundle_keeps_the_encoders_weights_and_an_exact_one_rounds_them(graph, digits, tmp_path):
    network = graph("conv")
    for quantize, source in (("none", network), ("exact", to_grid(network))):
        folder = lava.export(network, digits[0][:2], tmp_path / quantize, name="n", quantize=quantize)
        (weight,) = (t for t in onnx_format.load(folder / "encoder.onnx").graph.initializer if t.name == "conv1.weight")
        assert np.array_equal(onnx_format.numpy_helper.to_array(weight), source["conv1"].weight)


def test_a_potential_at_the_encoders_threshold_is_counted_and_allowed_at_its_verification(at_threshold, tmp_path):
    network, x = at_threshold
    folder = lava.export(network, x, tmp_path / "float", name="n")
    manifest, outcome = read_bundle(folder).manifest, verify(folder)
    allowed = manifest.sample.allowed_mismatched_spikes
    assert allowed == sum(outcome.mismatched_spikes.values()) > 0
    assert outcome.passed
    assert any(f"differed from the reference interpreter in {allowed} spikes" in note for note in manifest.notes)
    exact = verify(lava.export(network, x, tmp_path / "exact", name="n", quantize="exact"))
    assert exact.passed
    assert sum(exact.mismatched_spikes.values()) == 0


# --- networks fed by events --------------------------------------------------------------------------------------------


def neuron(name: str, source: str, threshold: float = 0.5) -> ops.NeuronNode:
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(0.5, threshold, "hard"))


def linear(name: str, source: str, weight: np.ndarray, bias: np.ndarray | None = None) -> ops.LinearNode:
    return ops.LinearNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)


def conv(name: str, source: str, weight: np.ndarray, padding: int = 0) -> ops.ConvNode:
    geometry = {"stride": (1, 1), "padding": (padding,) * 2, "dilation": (1, 1)}
    return ops.ConvNode(name=name, inputs=(source,), weight=weight.astype(np.float32), **geometry)


def fed_by_events(shape: tuple[int, ...], *members: ops.Node) -> Graph:
    mean = ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    events = ops.InputNode(name="events", shape=shape, timed=True)
    return Graph([events, *members, mean, ops.OutputNode(name="logits", inputs=("mean",))])


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape)


EVENTS = fed_by_events(
    (2, 6, 6),
    conv("c", "events", normal(3, 2, 3, 3)),
    neuron("n", "c"),
    ops.AvgPoolNode(name="pool", inputs=("n",), kernel=(2, 2), stride=(2, 2)),
    ops.FlattenNode(name="flat", inputs=("pool",)),
    linear("fc", "flat", normal(8, 12)),
    neuron("m", "fc"),
    linear("classifier", "m", normal(3, 8)),
)


@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_a_network_fed_by_events_runs_on_the_chip_from_its_first_layer(tmp_path, quantize):
    rng = np.random.default_rng(0)
    x, labels = (rng.random((7, 600, 2, 6, 6)) < 0.4).astype(np.float32), rng.integers(0, 3, 600)
    folder = lava.export(EVENTS, x[:, :5], tmp_path / "b", name="n", quantize=quantize, test=(x, labels))
    manifest = read_bundle(folder).manifest
    assert [piece.file for piece in manifest.pieces] == ["body.net", "head.onnx"]
    assert (manifest.timed_input, manifest.steps, manifest.latency_steps, manifest.sample.samples) == (True, 7, 2, 5)
    assert manifest.accuracy["exported"].samples == 600
    assert not any("encoder.onnx: ONNX Runtime" in note for note in manifest.notes)
    outcome = verify(folder)
    assert outcome.passed
    assert outcome.spikes_compared == 7 * 5 * (3 * 4 * 4 + 8)
    assert all(spikes.any() for spikes in read_bundle(folder).sample().spikes.values())


@pytest.mark.parametrize("quantize", ["none", "exact"])
@pytest.mark.parametrize("factor", [2, 0.5, -1])
def test_events_that_are_no_spikes_are_refused(tmp_path, factor, quantize):
    x = (np.random.default_rng(0).random((7, 5, 2, 6, 6)) < 0.4).astype(np.float32) * np.float32(factor)
    with pytest.raises(UserError, match=f"node .*: a value of {factor:g} found in the samples, .* spikes of 0 and 1 expected"):
        lava.export(EVENTS, x, tmp_path / "b", name="n", quantize=quantize)
    assert list(tmp_path.iterdir()) == []


# --- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantize", ["none", "exact"])
@pytest.mark.parametrize(
    ("kind", "reset", "message"),
    [
        ("conv", "soft", r'node act2: .*soft.* found; Loihi.* retrain the network with reset = "hard"'),
        ("resnet", "soft", r'node block1\.act1: .*soft.* found; Loihi.* retrain the network with reset = "hard"'),
    ],
)
def test_a_trained_network_without_a_form_on_the_chip_is_refused_by_its_layer(
    graph, digits, tmp_path, quantize, kind, reset, message
):
    with pytest.raises(UserError, match=message):
        lava.export(graph(kind, reset), digits[0][:2], tmp_path / "deep" / "b", name="n", quantize=quantize)
    assert list(tmp_path.iterdir()) == []


def static(*members: ops.Node) -> Graph:
    """A network fed by images `[2, 6, 6]`, whose first spiking layer `first` the host computes."""
    image = ops.InputNode(name="image", shape=(2, 6, 6))
    encode = ops.EncodeNode(name="encode", inputs=("image",), steps=3)
    mean = ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    return Graph([image, encode, neuron("first", "encode"), *members, mean, ops.OutputNode(name="logits", inputs=("mean",))])


def ending(*members: ops.Node, size: int) -> Graph:
    """`static`, with a classifier after the last member."""
    flat = ops.FlattenNode(name="end", inputs=(members[-1].name,))
    return static(*members, flat, linear("classifier", "end", normal(3, size)))


SQUARE = normal(2, 2, 3, 3)
TWO_ENCODED = Graph(
    [
        ops.InputNode(name="image", shape=(2, 6, 6)),
        ops.EncodeNode(name="encode", inputs=("image",), steps=3),
        neuron("first", "encode"),
        neuron("other", "encode", 0.25),
        ops.AddNode(name="add", inputs=("first", "other")),
        conv("c", "add", SQUARE),
        neuron("n", "c"),
        ops.FlattenNode(name="end", inputs=("n",)),
        ops.TimeMeanNode(name="mean", inputs=("end",)),
        ops.OutputNode(name="logits", inputs=("mean",)),
    ]
)
REFUSED = {
    "max pooling": (
        ending(
            ops.MaxPoolNode(name="max", inputs=("first",), kernel=(2, 2), stride=(2, 2)),
            conv("c", "max", SQUARE),
            neuron("n", "c"),
            size=2,
        ),
        r"node max: max pooling cannot be done by spiking neurons; retrain with average pooling or a stride",
    ),
    "overlapping pooling before a padded convolution": (
        ending(
            ops.AvgPoolNode(name="avg", inputs=("first",), kernel=(2, 2), stride=(1, 1)),
            conv("c", "avg", SQUARE, padding=1),
            neuron("n", "c"),
            size=50,
        ),
        r"node avg: .* cannot be folded into c, whose padding is 1; use windows that tile the input, or no padding",
    ),
    "pooling that leaves a border before a padded convolution": (
        ending(
            ops.AvgPoolNode(name="avg", inputs=("first",), kernel=(4, 4), stride=(4, 4)),
            conv("c", "avg", normal(2, 2, 1, 1), padding=1),
            neuron("n", "c"),
            size=18,
        ),
        r"node avg: average pooling of 6 values by windows of 4, stride 4, cannot be folded into c",
    ),
    "pooling between synapse and neurons": (
        ending(
            conv("c", "first", SQUARE),
            ops.AvgPoolNode(name="avg", inputs=("c",), kernel=(2, 2), stride=(2, 2)),
            neuron("n", "avg"),
            size=8,
        ),
        r"node avg: average pooling after the synapse c and before its neurons; move it behind the neurons",
    ),
    "a ReLU": (
        ending(conv("c", "first", SQUARE), ops.ReluNode(name="relu", inputs=("c",)), neuron("n", "relu"), size=32),
        r"node relu: a ReLU among spiking layers cannot be done on Loihi; replace it by spiking neurons",
    ),
    "weights of zero": (ending(conv("c", "first", SQUARE * 0), neuron("n", "c"), size=32), r"node c: all weights are zero"),
    "weights that are no numbers": (
        ending(conv("c", "first", SQUARE * np.nan), neuron("n", "c"), size=32),
        r"node c: weights that are not finite found; train the network again",
    ),
    "a threshold beyond 17 bits of the weights": (
        ending(conv("c", "first", SQUARE * 1e-6), neuron("n", "c", 10.0), size=32),
        r"node c: its weights \(up to .*\) all round to zero next to its bias or the threshold 10 of n; train with",
    ),
    "a bias beyond 13 bits of the weights": (
        static(
            ops.FlattenNode(name="flat", inputs=("first",)),
            linear("fc", "flat", normal(3, 72) * 1e-6, np.full(3, 9, np.float32)),
            neuron("n", "fc"),
        ),
        r"node fc: its weights \(up to .*\) all round to zero next to its bias or the threshold 0\.5 of n",
    ),
    "no body": (
        static(ops.FlattenNode(name="end", inputs=("first",))),
        r"body: only the first layer spikes, so nothing would run on the chip; export to ONNX instead",
    ),
    "an encoder with two outputs": (
        TWO_ENCODED,
        r"body: reads 2 tensors \(first, other\), one expected; let one spiking layer be the first",
    ),
    "an answer that is no vector": (
        static(conv("c", "first", SQUARE), neuron("n", "c")),
        r"node logits: an answer of shape \(2, 4, 4\) found, one logit per class expected",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_form_on_the_chip_is_refused_by_name_and_nothing_is_written(case, tmp_path):
    network, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        lava.export(network, np.ones((2, 2, 6, 6), np.float32), tmp_path / "deep" / "b", name="n")
    assert list(tmp_path.iterdir()) == []


def test_the_networks_above_can_be_exported_once_they_are_changed_as_the_messages_say(tmp_path):
    x = np.random.default_rng(0).random((4, 2, 6, 6)).astype(np.float32)
    allowed = (
        ending(conv("c", "first", SQUARE), neuron("n", "c"), size=32),
        ending(
            ops.AvgPoolNode(name="avg", inputs=("first",), kernel=(2, 2), stride=(2, 2)),
            conv("c", "avg", SQUARE, padding=1),
            neuron("n", "c"),
            size=18,
        ),
        ending(conv("c", "first", SQUARE), neuron("n", "c", 10.0), size=32),
    )
    for index, network in enumerate(allowed):
        assert verify(lava.export(network, x, tmp_path / str(index), name="n")).passed


def test_a_quantised_network_keeps_its_integers(graph, digits, tmp_path):
    body = lava.quantize_body(graph("conv"), partition(graph("conv")).body)
    bundle = lava.export(body.graph, digits[0][:2], tmp_path / "b", name="n")
    assert verify(bundle).passed
    sample = np.load(tmp_path / "b" / "sample.npz")
    run = interpreter.run(body.graph, sample["inputs"])
    for layer in body.layers:
        assert np.array_equal(sample[f"spikes/{layer.name}"], run[layer.name])
    entries = json.loads((tmp_path / "b" / "manifest.json").read_text())["quantization"]["layers"]
    assert {entry["scale"] for entry in entries.values()} == {1.0}


def test_a_refused_export_leaves_the_older_bundle_as_it_was(bundle, graph, digits):
    folder = bundle("lava")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    broken = Graph(
        [
            replace(node, weight=node.weight * np.float32("inf")) if node.name == "conv3" else node
            for node in graph("conv").nodes
        ]
    )
    with pytest.raises(UserError, match="node conv3: weights that are not finite"):
        lava.export(broken, digits[0][:2], folder, name="n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_same_export_gives_the_same_bytes_and_replaces_an_older_bundle(bundles, graph, digits, tmp_path):
    for kind in ("none", "exact"):
        lava.export(graph("conv"), digits[0][:6], tmp_path / "b", name="small", quantize=kind)
    one, other = ({path.name: path.read_bytes() for path in place.iterdir()} for place in (tmp_path / "b", bundles["lava"]))
    assert one == other
