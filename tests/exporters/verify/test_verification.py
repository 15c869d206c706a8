"""A bundle passes only if it is what was exported: every change of a file, a weight or an expected value is found and named."""

import dataclasses
import functools
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.cli.main import main
from neurodeploy.graph import Graph, interpreter
from neurodeploy.graph.grid import to_grid
from neurodeploy.io.errors import Failure, UserError
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.seal import digest_of, seal
from neurodeploy_exporters.verify import verify

TARGETS = ("onnx", "lava")
FILES = {
    "onnx": ("whole.onnx", "encoder.onnx", "body.onnx", "head.onnx", "sample.npz"),
    "lava": ("encoder.onnx", "body.net", "head.onnx", "sample.npz"),
    "residual": ("encoder.onnx", "body.circuit", "head.onnx", "sample.npz"),
    "graded": ("encoder.onnx", "body.net", "head.onnx", "sample.npz"),
}
EVERY_FILE = [(target, name) for target, files in FILES.items() for name in files]
every_file = pytest.mark.parametrize(("target", "name"), EVERY_FILE)


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def write_manifest(folder: Path, content: dict) -> None:
    """Write a manifest with the digest that fits it."""
    (folder / "manifest.json").write_text(json.dumps(content | {"digest": digest_of(content)}))


def rehash(folder: Path) -> None:
    """Make the manifest's hashes those of the files as they are now."""
    seal(folder)


def set_weights(path: Path, layer: str, change) -> None:
    """Replace the weights of a layer in an ONNX file by `change(weights)`."""
    model = onnx.load(path)
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == f"{layer}.weight")
    tensor.CopyFrom(onnx.numpy_helper.from_array(change(onnx.numpy_helper.to_array(tensor)), tensor.name))
    onnx.save(model, path)


def set_arrays(path: Path, change) -> None:
    """Rewrite the sample after `change(arrays)`."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)


def raised(weights: np.ndarray) -> np.ndarray:
    """The weights of the first output channel by two, enough to reach the threshold wherever an input is active."""
    weights = weights.copy()
    weights.reshape(len(weights), -1)[0] += 2
    return weights


# --- sound bundles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_a_sound_bundle_passes_with_every_spike_compared(bundles, graph, target):
    outcome = verify(bundles[target])
    assert outcome.passed
    assert outcome.findings == ()
    assert outcome.mismatched_spikes == {"act1": 0, "act2": 0, "act3": 0}
    values = sum(int(np.prod(graph("conv").shape(layer))) for layer in ("act1", "act2", "act3"))
    ways = {"onnx": 2, "lava": 1}[target]
    assert outcome.spikes_compared == ways * values * 4 * 6
    assert outcome.logits_max_difference <= 1e-6


def test_a_sound_bundle_of_a_circuit_passes_with_every_spike_compared(bundles, graph):
    outcome, network = verify(bundles["residual"]), graph("resnet")
    assert outcome.findings == ()
    assert outcome.mismatched_spikes == dict.fromkeys(network.spiking, 0)
    assert outcome.spikes_compared == 4 * 6 * sum(int(np.prod(network.shape(layer))) for layer in network.spiking)
    assert outcome.logits_max_difference <= 1e-6


def test_a_sound_bundle_with_graded_values_passes_and_its_answers_are_compared(bundles):
    outcome = verify(bundles["graded"])
    assert outcome.findings == ()
    assert outcome.logits_max_difference <= 1e-6


@pytest.mark.parametrize("target", TARGETS)
def test_the_bundle_may_be_moved_and_its_files_come_from_anywhere(bundles, tmp_path, target, monkeypatch):
    shutil.copytree(bundles[target], tmp_path / "a folder" / "bündel")
    monkeypatch.chdir(tmp_path / "a folder")
    assert verify(Path("bündel")).passed


def test_the_sample_of_both_targets_holds_the_same_spikes_and_all_layers_fire(bundles):
    samples = [read_bundle(bundles[target]).sample() for target in TARGETS]
    for layer, spikes in samples[0].spikes.items():
        assert 0.1 < spikes.mean() < 0.9
        assert np.array_equal(spikes, samples[1].spikes[layer])


# --- files that were changed -------------------------------------------------------------------------------------------


@every_file
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_one_changed_byte_anywhere_is_found(bundle, target, name, share):
    folder = bundle(target)
    data = bytearray((folder / name).read_bytes())
    data[int(share * (len(data) - 1))] ^= 1
    (folder / name).write_bytes(data)
    outcome = verify(folder)
    assert not outcome.passed
    assert f"{folder / name}: changed, its SHA-256 is not the manifest's" in outcome.findings
    assert [finding for finding in outcome.findings if "changed" in finding and name not in finding] == []


@every_file
def test_a_truncated_and_an_empty_file_are_found(bundle, target, name):
    folder = bundle(target)
    data = (folder / name).read_bytes()
    for size in (len(data) - 1, len(data) // 2, 0):
        (folder / name).write_bytes(data[:size])
        outcome = verify(folder)
        assert not outcome.passed
        assert f"{folder / name}: changed, its SHA-256 is not the manifest's" in outcome.findings


@every_file
def test_a_truncated_file_is_found_even_with_a_new_hash(bundle, target, name):
    folder = bundle(target)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    rehash(folder)
    outcome = verify(folder)
    assert len(outcome.findings) == 1
    assert outcome.findings[0].startswith(f"{folder / name}: ")


@every_file
def test_a_removed_file_and_a_folder_in_its_place_are_found(bundle, target, name):
    folder = bundle(target)
    (folder / name).unlink()
    assert f"{folder / name}: missing" in verify(folder).findings
    (folder / name).mkdir()
    assert f"{folder / name}: missing" in verify(folder).findings


@every_file
def test_two_files_that_changed_places_are_found(bundle, target, name):
    folder = bundle(target)
    other = next(file for file in FILES[target] if file != name)
    one, two = (folder / name).read_bytes(), (folder / other).read_bytes()
    (folder / name).write_bytes(two)
    (folder / other).write_bytes(one)
    outcome = verify(folder)
    assert {f"{folder / file}: changed, its SHA-256 is not the manifest's" for file in (name, other)} <= set(outcome.findings)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "body.onnx.bak"])
def test_a_stray_file_and_a_stray_folder_are_found(bundle, target, name):
    folder = bundle(target)
    (folder / name).write_bytes(b"")
    assert verify(folder).findings == (f"{folder / name}: not listed in the manifest",)
    (folder / name).unlink()
    (folder / name).mkdir()
    assert verify(folder).findings == (f"{folder / name}: not listed in the manifest",)


@pytest.mark.parametrize("target", TARGETS)
def test_a_stray_file_that_was_listed_too_is_found(bundle, target):
    folder = bundle(target)
    (folder / "extra.bin").write_bytes(b"x")
    content = manifest_of(folder)
    content["files"]["extra.bin"] = hashlib.sha256(b"x").hexdigest()
    write_manifest(folder, content)
    with pytest.raises(UserError, match=r"manifest.json: field sizes: extra.bin is in one of files and sizes alone"):
        verify(folder)
    content["sizes"]["extra.bin"] = 1
    write_manifest(folder, content)
    assert verify(folder).findings == (f"{folder / 'extra.bin'}: listed in the manifest, but no piece of the bundle",)


# --- weights that were changed -----------------------------------------------------------------------------------------

SYNAPSES = [
    ("onnx", "whole.onnx", "conv1", "act1"),
    ("onnx", "whole.onnx", "conv3", "act3"),
    ("onnx", "encoder.onnx", "conv1", "act1"),
    ("onnx", "body.onnx", "conv2", "act2"),
    ("onnx", "body.onnx", "conv3", "act3"),
    ("lava", "encoder.onnx", "conv1", "act1"),
]


@pytest.mark.parametrize("hashed", [False, True], ids=["old hash", "new hash"])
@pytest.mark.parametrize(("target", "name", "synapse", "layer"), SYNAPSES)
def test_changed_weights_of_an_onnx_file_are_found_by_the_layer_whose_spikes_differ(
    bundle, target, name, synapse, layer, hashed
):
    folder = bundle(target)
    set_weights(folder / name, synapse, raised)
    if hashed:
        rehash(folder)
    outcome = verify(folder)
    wrong = [finding for finding in outcome.findings if f"layer {layer}: " in finding]
    assert len(wrong) == 1
    assert name in wrong[0]
    assert f"{outcome.mismatched_spikes[layer]:,} of" in wrong[0]
    assert outcome.mismatched_spikes[layer] > 0
    earlier = ("act1", "act2", "act3")[: int(layer[-1]) - 1]
    assert [outcome.mismatched_spikes[before] for before in earlier] == [0] * len(earlier)
    assert any("SHA-256" in finding for finding in outcome.findings) != hashed


@pytest.mark.parametrize(("key", "value"), [("vThMant", 1), ("vDecay", 4096), ("iDecay", 1000)])
def test_changed_constants_of_the_chips_neurons_are_found(bundle, key, value):
    folder = bundle("lava")
    with h5py.File(folder / "body.net", "r+") as file:
        file[f"layer/1/neuron/{key}"][...] = value
    rehash(folder)
    assert any("layer act2: " in finding for finding in verify(folder).findings)


@pytest.mark.parametrize("target", TARGETS)
def test_changed_weights_of_the_head_are_found_by_the_logits(bundle, target):
    folder = bundle(target)
    set_weights(folder / "head.onnx", "classifier", lambda weights: weights + np.float32(0.5))
    rehash(folder)
    outcome = verify(folder)
    assert sum(outcome.mismatched_spikes.values()) == 0
    assert outcome.logits_max_difference > 0.1
    assert any("head.onnx: logits differ from the sample by up to" in finding for finding in outcome.findings)


def test_a_whole_and_pieces_of_which_one_differs_below_the_tolerance_are_found(bundle):
    folder = bundle("onnx")
    set_weights(folder / "head.onnx", "classifier", lambda weights: weights * np.float32(1 + 1e-6))
    rehash(folder)
    outcome = verify(folder)
    assert outcome.logits_max_difference < 1e-4
    assert outcome.findings == (
        "whole.onnx and encoder.onnx, body.onnx, head.onnx: tensor logits differs between the whole and its parts",
        f"{folder / 'head.onnx'}: tensor classifier.weight: changed, in 10 of 10 parts, first in part 0",
    )


def differing(exact: Graph, samples: np.ndarray, synapse: str, weight: np.ndarray) -> dict[str, int]:
    """Layer → spikes that differ, by the interpreter, when a synapse of the exact network has other weights."""
    other = Graph([dataclasses.replace(node, weight=weight) if node.name == synapse else node for node in exact.nodes])
    before, after = interpreter.run(exact, samples), interpreter.run(other, samples)
    return {layer: int(np.count_nonzero(before[layer] != after[layer])) for layer in exact.spiking}


def named(findings: tuple[str, ...], way: str) -> set[str]:
    """The layers of which the findings about `way` say that spikes differ."""
    return {layer for layer in ("act1", "act2", "act3") for f in findings if f.startswith(f"{way}, layer {layer}: ")}


@pytest.mark.parametrize("synapse", ["conv1", "conv2", "conv3"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_one_changed_weight_of_an_onnx_file_is_reported_with_the_interpreters_counts(bundle, graph, digits, synapse, share):
    folder, exact = bundle("onnx"), to_grid(graph("conv"))
    weight = exact[synapse].weight.copy()
    place = int(share * weight.size)
    weight.flat[place] = -np.copysign(np.abs(weight).max(), weight.flat[place])
    expected = differing(exact, digits[0][:6], synapse, weight)
    set_weights(folder / "whole.onnx", synapse, lambda _: weight)
    rehash(folder)
    outcome = verify(folder)
    assert not outcome.passed
    assert outcome.mismatched_spikes == expected
    assert named(outcome.findings, "whole.onnx") == {layer for layer, count in expected.items() if count} != set()


@pytest.mark.parametrize(("position", "synapse", "layer"), [(1, "conv2", "act2"), (2, "conv3", "act3")])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_one_changed_weight_of_a_net_file_is_reported_with_the_interpreters_counts(
    bundle, graph, digits, position, synapse, layer, share
):
    folder, exact = bundle("lava"), to_grid(graph("conv"))
    scale = read_bundle(folder).manifest.quantization["layers"][layer]["scale"]
    with h5py.File(folder / "body.net", "r+") as file:
        stored = file[f"layer/{position}/weight"]
        weight = stored[()]
        assert np.array_equal(weight / scale, exact[synapse].weight)
        place = int(share * weight.size)
        weight.flat[place] = -256 if weight.flat[place] > 0 else 254
        stored[...] = weight
    expected = differing(exact, digits[0][:6], synapse, (weight / scale).astype(np.float32))
    rehash(folder)
    outcome = verify(folder)
    assert not outcome.passed
    assert outcome.mismatched_spikes == expected
    assert (
        named(outcome.findings, "encoder.onnx, body.net, head.onnx") == {n for n, count in expected.items() if count} != set()
    )


def circuit_weight(folder: Path, number: int, share: float) -> np.ndarray:
    """Change one weight of a synapse of a circuit, which still fits the chip, and return the synapse's weights."""
    with h5py.File(folder / "body.circuit", "r+") as file:
        stored = file[f"synapse/{number}/weight"]
        weight = stored[()]
        place = int(share * weight.size)
        weight.flat[place] = -256 if weight.flat[place] > 0 else 254
        stored[...] = weight
    rehash(folder)
    return weight


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_one_changed_weight_of_a_circuit_is_reported_with_the_interpreters_counts(bundle, graph, digits, share):
    folder, exact = bundle("residual"), to_grid(graph("resnet"))
    scale = read_bundle(folder).manifest.quantization["layers"]["block1.act1"]["scale"]
    weight = circuit_weight(folder, 0, share)
    expected = differing(exact, digits[0][:6], "block1.conv1", (weight / scale).astype(np.float32))
    outcome = verify(folder)
    assert outcome.mismatched_spikes == expected
    assert sum(expected.values()) > 0
    assert not outcome.passed


def test_a_changed_weight_of_every_synapse_of_a_circuit_is_found(bundles, tmp_path):
    with h5py.File(bundles["residual"] / "body.circuit") as file:
        count = len(file["synapse"])
    for number in range(count):
        folder = Path(shutil.copytree(bundles["residual"], tmp_path / str(number)))
        circuit_weight(folder, number, 0.4)
        assert not verify(folder).passed, number


def test_a_changed_weight_behind_the_last_spikes_is_found_in_the_logits(bundle):
    folder = bundle("graded")
    with h5py.File(folder / "body.net", "r+") as file:
        last = max(file["layer"], key=int)
        file[f"layer/{last}/weight"][0] = 254
    rehash(folder)
    outcome = verify(folder)
    assert sum(outcome.mismatched_spikes.values()) == 0
    behaves, reads = outcome.findings
    assert re.match(r"encoder\.onnx, body\.net, head\.onnx: logits differ from the sample by up to", behaves)
    assert reads == f"{folder / 'body.net'}: classifier.weight: changed, in 1 of 10 parts, first in part 0"


# --- samples that were changed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layer", ["act1", "act2", "act3"])
def test_one_changed_spike_of_the_sample_is_found_by_its_layer(bundle, target, layer):
    def flip(arrays):
        arrays[f"spikes/{layer}"][3, 5, -1, -1, -1] ^= 1

    folder = bundle(target)
    set_arrays(folder / "sample.npz", flip)
    rehash(folder)
    outcome = verify(folder)
    assert {name for name, count in outcome.mismatched_spikes.items() if count} == {layer}
    assert all(f"layer {layer}: 1 of" in finding for finding in outcome.findings)
    assert len(outcome.findings) == {"onnx": 2, "lava": 1}[target]


def one_logit(arrays):
    arrays["logits"][2, 3] += 1e-3


def nan_logit(arrays):
    arrays["logits"][0, 0] = np.nan


def brighter(arrays):
    arrays["inputs"] = 1 - arrays["inputs"]


def fractions_of_spikes(arrays):
    arrays["spikes/act2"] = arrays["spikes/act2"] * 0.5


def missing_layer(arrays):
    del arrays["spikes/act2"]


def other_layer(arrays):
    arrays["spikes/act9"] = arrays["spikes/act2"]


def fewer_samples(arrays):
    arrays["inputs"] = arrays["inputs"][:5]


def fewer_steps(arrays):
    arrays["spikes/act3"] = arrays["spikes/act3"][:3]


def folded_logits(arrays):
    arrays["logits"] = arrays["logits"].reshape(-1)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_logit, r"logits differ from the sample by up to 0\.001"),
        (nan_logit, r"sample\.npz: array logits: values that are not finite found, at \(0, 0\)"),
        (brighter, r"layer act1: [\d,]+ of 6,144 spikes differ from the sample"),
        (fractions_of_spikes, r"layer act2: [\d,]+ of 2,304 spikes differ from the sample"),
        (missing_layer, r"sample\.npz: spikes of act2: nothing found, shape \(4, 6, 6, 4, 4\) expected"),
        (other_layer, r"sample\.npz: spikes of act9: shape \(4, 6, 6, 4, 4\) found, nothing expected"),
        (fewer_samples, r"sample\.npz: inputs: shape \(5, 1, 8, 8\) found, shape \(6, 1, 8, 8\) expected"),
        (fewer_steps, r"sample\.npz: spikes of act3: shape \(3, 6, 8, 2, 2\) found, shape \(4, 6, 8, 2, 2\) expected"),
        (folded_logits, r"sample\.npz: logits: shape \(60,\) found, shape \(6, 10\) expected"),
    ],
)
def test_a_changed_sample_with_a_new_hash_is_found_by_what_differs(bundle, target, change, message):
    folder = bundle(target)
    set_arrays(folder / "sample.npz", change)
    rehash(folder)
    findings = verify(folder).findings
    assert any(re.search(message, finding) for finding in findings), findings


# --- manifests that were changed ---------------------------------------------------------------------------------------


def setting(*keys, value):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("steps", value=5), r"sample\.npz: spikes of act1: shape \(4, .*found, shape \(5, "),
        (setting("input_shape", value=[1, 8, 9]), r"sample\.npz: inputs: .* shape \(6, 1, 8, 9\) expected"),
        (setting("timed_input", value=True), r"sample\.npz: inputs: .* shape \(4, 6, 1, 8, 8\) expected"),
        (setting("classes", value=11), r"sample\.npz: logits: .* shape \(6, 11\) expected"),
        (setting("sample", "samples", value=7), r"sample\.npz: inputs: .* shape \(7, 1, 8, 8\) expected"),
        (
            setting("spiking_layers", 1, "shape", value=[6, 16]),
            r"sample\.npz: spikes of act2: .* shape \(4, 6, 6, 16\) expected",
        ),
        (setting("spiking_layers", 1, "name", value="act7"), r"sample\.npz: spikes of act7: nothing found"),
        (lambda content: content["spiking_layers"].pop(), r"sample\.npz: spikes of act3: .* nothing expected"),
        (
            setting("spiking_layers", 1, "part", value="head"),
            r"head\.onnx: no tensor act2 found|manifest\.json: layer act2: latency_steps: 1 found, 0 expected on the host",
        ),
        (setting("pieces", 1, "format", value="abc"), r"format 'abc' found, one of .* expected"),
    ],
)
def test_a_changed_manifest_is_found_by_what_does_not_fit(bundle, target, change, message):
    folder = bundle(target)
    content = manifest_of(folder)
    change(content)
    write_manifest(folder, content)
    findings = verify(folder).findings
    assert any(re.search(message, finding) for finding in findings), findings


def late(layer: str, steps: int):
    """Changes the latency of a layer."""

    def change(content: dict) -> None:
        (entry,) = (entry for entry in content["spiking_layers"] if entry["name"] == layer)
        entry["latency_steps"] = steps

    return change


@pytest.mark.parametrize(
    ("target", "change", "message"),
    [
        ("residual", late("block1.act2", 1), r"body\.circuit: layer block1\.act2: answers 2 steps late, the manifest says 1"),
        ("lava", late("act2", 2), r"body\.net: layer act2: answers 1 steps late, the manifest says 2"),
        ("residual", late("stem", 1), r"manifest\.json: layer stem: latency_steps: 1 found, 0 expected on the host"),
        ("residual", setting("latency_steps", value=3), r"body\.circuit: answers 4 steps late, the manifest says 3"),
        (
            "graded",
            setting("pieces", 1, "graded", 0, "latency_steps", value=2),
            r"body\.net: tensor readout\.graded: answers 3 steps late, the manifest says 2",
        ),
        (
            "graded",
            setting("pieces", 1, "graded", 0, "population", value="L7_Dense"),
            r"population L7_Dense: to be read out but not in the network; there are: L0_Conv, L1_Conv, L2_Dense",
        ),
        (
            "graded",
            setting("pieces", 1, "graded", 0, "shape", value=[11]),
            r"body\.net: tensor readout\.graded: shape \(10,\) found, \(11,\) expected",
        ),
        ("graded", setting("pieces", 1, "graded", 0, "read", value="every step"), r"head\.onnx: cannot run: "),
        ("graded", setting("pieces", 1, "graded", value=[]), r"body\.net: 3 spiking blocks found, the 2 of the manifest"),
        (
            "graded",
            setting("pieces", 1, "graded", 0, "name", value="act3"),
            r"pieces: body: graded: act3 found, one of its outputs expected",
        ),
    ],
)
def test_a_latency_or_a_read_out_that_is_not_the_bodys_is_named(bundle, target, change, message):
    folder = bundle(target)
    content = manifest_of(folder)
    change(content)
    write_manifest(folder, content)
    try:
        findings = verify(folder).findings
    except UserError as error:
        findings = (str(error),)
    assert any(re.search(message, finding) for finding in findings), findings


@pytest.mark.parametrize("target", TARGETS)
def test_a_latency_that_the_pieces_do_not_have_is_named(bundle, target):
    folder = bundle(target)
    content = manifest_of(folder)
    assert content["latency_steps"] == {"onnx": 0, "lava": 2}[target]
    content["latency_steps"] = 1
    write_manifest(folder, content)
    (finding,) = verify(folder).findings
    assert (
        finding
        == {
            "onnx": "manifest.json: latency_steps: 1 found, 0 expected of pieces that answer in the same step",
            "lava": f"{folder / 'body.net'}: answers 2 steps late, the manifest says 1",
        }[target]
    )


def test_a_piece_that_makes_other_tensors_than_the_manifest_says_is_found(bundle):
    folder = bundle("onnx")
    (folder / "body.onnx").write_bytes((folder / "encoder.onnx").read_bytes())
    rehash(folder)
    (finding,) = verify(folder).findings
    assert finding.startswith(f"{folder / 'body.onnx'}: no tensor act2 found")


def test_layers_of_the_body_in_another_order_are_found(bundle):
    folder = bundle("lava")
    content = manifest_of(folder)
    content["spiking_layers"][1:] = content["spiking_layers"][:0:-1]
    write_manifest(folder, content)
    (finding,) = verify(folder).findings
    assert finding == f"{folder / 'body.net'}: layer act3: shape (6, 4, 4) found, (8, 2, 2) expected"


# --- hostile bundles ---------------------------------------------------------------------------------------------------


@functools.cache
def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@st.composite
def damages(draw):
    """`(file, bytes) → bytes`, as a list of (share of the files, share of the length, kind, strength)."""
    share = st.floats(0, 1, exclude_max=True)
    return draw(
        st.lists(
            st.tuples(share, share, st.sampled_from(("cut", "flip", "zero", "ones", "repeat")), st.integers(0, 63)),
            min_size=1,
            max_size=3,
        )
    )


def damaged(data: bytes, place: float, kind: str, strength: int) -> bytes:
    start = int(place * len(data))
    stop = min(len(data), start + 1 + strength)
    changed = bytearray(data)
    if kind == "cut":
        del changed[start:]
    elif kind == "flip" and data:
        changed[start] ^= 1 << strength % 8
    elif kind == "repeat":
        changed[start:start] = data[start:stop]
    else:
        changed[start:stop] = (b"\0" if kind == "zero" else b"\xff") * (stop - start)
    return bytes(changed)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=120)
@given(damage=damages())
def test_whatever_is_damaged_verification_ends_with_an_outcome_or_a_message(bundles, tmp_path_factory, target, damage):
    folder = tmp_path_factory.getbasetemp() / f"damaged-{target}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundles[target], folder)
    names = list(contents(bundles[target]))
    touched = set()
    for which, place, kind, strength in damage:
        name = names[int(which * len(names))]
        touched.add(name)
        (folder / name).write_bytes(damaged((folder / name).read_bytes(), place, kind, strength))
    if "manifest.json" not in touched:
        rehash(folder)
    try:
        outcome = verify(folder)
    except (UserError, Failure) as error:
        said = (str(error),)
    else:
        said = outcome.findings
        assert said or (outcome.spikes_compared > 0 and not any(outcome.mismatched_spikes.values()))
    assert all("\n" not in line for line in said)


def test_a_hostile_bundle_opens_no_file_outside_its_folder(bundle, tmp_path, monkeypatch):
    """Its weights are said to lie in a file of the user's working folder."""
    folder = bundle("onnx")
    monkeypatch.chdir(tmp_path)
    model = onnx.load(folder / "head.onnx")
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "classifier.weight")
    (tmp_path / "secret.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="secret.bin")
    (folder / "head.onnx").write_bytes(model.SerializeToString())
    rehash(folder)
    (finding,) = verify(folder).findings
    assert finding == f"{folder / 'secret.bin'}: missing; it holds the weights of head.onnx, keep both in one folder"


# --- the command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def command(capfd, monkeypatch):
    """Runs `neurodeploy verify` in this process → exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["neurodeploy", "verify", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "250")
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capfd.readouterr()

    return run


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_says_that_a_sound_bundle_is_verified(command, bundles, target):
    code, out, err = command(bundles[target])
    assert (code, err) == (0, "")
    assert f"{bundles[target]}: verified" in out


@every_file
@pytest.mark.parametrize("hashed", [False, True], ids=["old hash", "new hash"])
def test_the_command_ends_with_1_and_one_line_for_a_damaged_file(command, bundle, target, name, hashed):
    folder = bundle(target)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 3])
    if hashed:
        rehash(folder)
    code, out, err = command(folder)
    findings = out.count("differs: ")
    assert code == 1
    assert f"differs: {folder / name}: " in out
    assert err == f"error: {folder}: not verified, {findings} findings\n"


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_ends_with_1_for_a_changed_weight_and_names_the_layer(command, bundle, target):
    folder = bundle(target)
    set_weights(folder / "encoder.onnx", "conv1", raised)
    rehash(folder)
    code, out, err = command(folder)
    assert code == 1
    assert "layer act1: " in out
    assert "Traceback" not in out + err
    code, out, err = command(folder, "--json")
    answer = json.loads(out)
    assert (code, answer["passed"]) == (1, False)
    assert answer["mismatched_spikes"]["act1"] > 0


def test_the_command_ends_with_2_for_what_is_no_bundle(command, bundle, tmp_path):
    folder = bundle("onnx")
    (folder / "manifest.json").write_text("{}")
    (tmp_path / "file").touch()
    for place in (folder, tmp_path, tmp_path / "absent", tmp_path / "file"):
        code, out, err = command(place)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {place}")
        assert err.count("\n") == 1


def test_a_shell_sees_the_exit_codes_too(bundle, tmp_path):
    folder = bundle("lava")
    (folder / "body.net").unlink()
    for place, code in ((folder, 1), (tmp_path / "absent", 2)):
        arguments = [sys.executable, "-m", "neurodeploy", "verify", str(place)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert "Traceback" not in done.stdout + done.stderr
