"""The NIR target: which part of a network is in which file, what a manifest says of it, and what a replay finds."""

import json

import h5py
import numpy as np
import pytest

from neurodeploy.graph import fold_batch_norm, interpreter, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import onnx
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.nir import export, read, read_with_conventions
from neurodeploy_exporters.nir.target import graph_of
from neurodeploy_exporters.verify import verify

VARIANTS = [(kind, reset, repact) for kind in ("conv", "resnet") for reset in ("hard", "soft") for repact in (False, True)]
FILES = {"encoder.onnx", "body.nir", "head.onnx"}


@pytest.mark.parametrize("quantize", ["none", "exact"])
@pytest.mark.parametrize(("kind", "reset", "repact"), VARIANTS)
def test_a_bundle_of_every_network_passes(graph, digits, tmp_path, kind, reset, repact, quantize):
    network = graph(kind, reset, repact)
    folder = export(network, digits[0][:10], tmp_path / "b", name="n", quantize=quantize)
    outcome = verify(folder)
    assert outcome.passed
    if quantize == "exact":
        assert not any(outcome.mismatched_spikes.values())
        assert read_bundle(folder).manifest.sample.allowed_mismatched_spikes == 0
    found = {path.name for path in folder.iterdir()} - {"manifest.json", "sample.npz"}
    assert found == (FILES if repact else FILES | {"whole.nir"})
    per_sample = sum(int(np.prod(network.shape(layer))) for layer in network.spiking)
    assert outcome.spikes_compared == (1 if repact else 2) * 4 * 10 * per_sample


def test_the_files_hold_the_network_and_its_body(graph, digits, tmp_path):
    network = graph("resnet", "soft", False)
    folder = export(network, digits[0][:4], tmp_path / "b", name="n", quantize="exact")
    exact = to_grid(network)
    assert differences(exact, read(folder / "whole.nir")) == ()
    body = partition(exact).body
    reading = read_with_conventions(folder / "body.nir")
    assert differences(graph_of(exact, body), reading.graph) == ()
    with h5py.File(folder / "body.nir") as file:
        assert file["node/metadata/block1.conv1.weight_bits"][()] == 8


def test_a_body_whose_head_reads_several_layers_has_an_output_for_each(graph, digits, tmp_path):
    network = graph("resnet", "hard", True)
    folder = export(network, digits[0][:4], tmp_path / "b", name="n")
    piece = next(piece for piece in read_bundle(folder).manifest.pieces if piece.name == "body")
    assert len(piece.outputs) == 2
    with h5py.File(folder / "body.nir") as file:
        nodes = file["node/nodes"]
        assert sum(nodes[name]["type"][()] == b"Output" for name in nodes) == 2


def test_the_manifest_says_which_part_is_where_and_why(graph, digits, tmp_path):
    folder = export(graph("conv", "soft", True), digits[0][:4], tmp_path / "b", name="n", test=(digits[0], digits[1]))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [(piece["name"], piece["file"], piece["format"]) for piece in manifest["pieces"]] == [
        ("encoder", "encoder.onnx", "onnx"),
        ("body", "body.nir", "nir"),
        ("head", "head.onnx", "onnx"),
    ]
    assert (manifest["target"], manifest["steps"], manifest["latency_steps"]) == ("nir", 4, 0)
    notes = "\n".join(manifest["notes"])
    assert "There is no whole.nir: node act3: a ReLU found, which NIR does not have" in notes
    assert "NIR has no reset that subtracts" in notes
    assert "differed in" in notes
    assert "feed whole.nir" not in notes
    other = export(graph("conv", "hard", False), digits[0][:4], tmp_path / "c", name="n")
    assert "feed whole.nir the same sample at each of 4 steps" in "\n".join(read_bundle(other).manifest.notes)
    assert manifest["accuracy"]["exported"]["samples"] == 200


@pytest.mark.parametrize("repact", [False, True])
def test_the_exported_accuracy_is_that_of_the_network(graph, digits, tmp_path, repact):
    network = graph("conv", "hard", repact)
    folder = export(network, digits[0][:4], tmp_path / "b", name="n", quantize="exact", test=digits)
    answers = interpreter.run(to_grid(network), digits[0])["logits"].argmax(-1)
    assert read_bundle(folder).manifest.accuracy["exported"].correct == (answers == digits[1]).sum()


def test_event_frames_have_no_encoder(small_named, spiking, tmp_path):
    small = small_named("conv")
    network = fold_batch_norm(trace(small.build(spiking(4, "events"), trained=False).eval(), small.shape, timed=True))
    x = np.random.default_rng(0).integers(0, 2, (4, 5, *small.shape)).astype(np.float32)
    folder = export(network, x, tmp_path / "b", name="n", encoding="A host makes these.")
    assert "A host makes these." in read_bundle(folder).manifest.notes
    assert {piece.name for piece in read_bundle(folder).manifest.pieces} == {"whole", "body", "head"}
    assert verify(folder).passed


def test_a_changed_file_is_found(graph, digits, tmp_path):
    folder = export(graph("conv"), digits[0][:4], tmp_path / "b", name="n")
    with h5py.File(folder / "whole.nir", "r+") as file:
        file["node/nodes/conv2/weight"][0, 0, 0, 0] += 3
    findings = verify(folder).findings
    assert any("whole.nir: changed, its SHA-256" in finding for finding in findings)
    assert any("whole.nir, layer act2" in finding for finding in findings)
    with h5py.File(folder / "body.nir", "r+") as file:
        del file["node/nodes/act2/tau"]
    assert any("body.nir: /node/nodes/act2/tau: missing" in finding for finding in verify(folder).findings)


def test_another_networks_file_in_its_place_is_found(graph, digits, tmp_path):
    folder = export(graph("conv"), digits[0][:4], tmp_path / "b", name="n")
    other = export(graph("resnet"), digits[0][:4], tmp_path / "other", name="n")
    (folder / "whole.nir").write_bytes((other / "whole.nir").read_bytes())
    assert any("tensor act1: the manifest's output is not made" in finding for finding in verify(folder).findings)


def test_a_quantisation_that_is_not_nirs_is_refused(graph, digits, tmp_path):
    with pytest.raises(UserError, match="quantize: 'int8' found, NIR files hold floats"):
        export(graph("conv"), digits[0][:4], tmp_path / "b", name="n", quantize="int8")
    assert not list(tmp_path.iterdir())


def test_an_imported_network_goes_to_onnx(theirs, tmp_path):
    path, inputs, _ = theirs("spikingjelly-residual")
    network = read(path)
    assert verify(onnx.export(network, inputs, tmp_path / "b", name="n")).passed
