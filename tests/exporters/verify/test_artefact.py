"""A bundle read back: one graph of all its files under the names of the trained network, and the spikes that they fire."""

import json

import numpy as np
import pytest

from neurodeploy.graph import ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import lava
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.verify.artefact import read_artefact


@pytest.mark.parametrize("target", ["onnx", "lava", "residual", "graded"])
def test_a_bundle_fires_the_spikes_of_its_sample(bundles, target):
    artefact, sample = read_artefact(bundles[target]), read_bundle(bundles[target]).sample()
    fired = artefact.fire(sample.inputs)
    assert fired.keys() == sample.spikes.keys() == set(artefact.graph.spiking)
    for layer, spikes in sample.spikes.items():
        assert np.array_equal(fired[layer], spikes), layer
        assert 0 < spikes.mean() < 1


def test_the_graph_has_the_integers_of_the_chip_and_the_names_of_the_network(bundles, graph):
    found, trained = read_artefact(bundles["lava"]).graph, graph("conv")
    assert [node.name for node in found.nodes] == [node.name for node in trained.nodes]
    weight = found["conv2"].weight
    assert weight.shape == trained["conv2"].weight.shape
    assert np.array_equal(weight, 2 * np.rint(weight / 2))
    assert np.abs(weight).max() > 16
    assert isinstance(found["act2"], ops.FixedPointNeuronNode)
    assert isinstance(found["act1"], ops.NeuronNode)


def test_a_last_synapse_on_the_chip_has_its_trained_name_and_its_place(bundles, graph, digits, tmp_path):
    artefact = read_artefact(bundles["graded"])
    assert artefact.places["classifier"] == "body"
    assert artefact.places["conv1"] == "encoder"
    folder = lava.export(graph("conv", repact=True), digits[0][:3], tmp_path / "b", name="n", head_cut="last-synapse")
    every_step = read_artefact(folder)
    assert isinstance(every_step.graph["conv3"], ops.ConvNode)
    assert every_step.places["conv3"] == "body"
    assert every_step.places["conv3.trained_unit"] == every_step.places["classifier"] == "head"


def test_synapses_in_parallel_are_as_many_nodes(bundles):
    artefact = read_artefact(bundles["residual"])
    told = artefact.bundle.manifest.quantization["layers"]["block2.act2"]["synapses"]["block2.shortcut.0"]
    assert told["parallel"] == 2
    first, second = (artefact.graph[f"block2.shortcut.0{copy}"].weight for copy in ("", ".parallel2"))
    assert np.abs(first - second).max() <= 2
    assert np.abs(first + second).max() > 254


def test_who_fires_is_told(bundles):
    assert read_artefact(bundles["onnx"]).origin == "ONNX Runtime (whole.onnx)"
    assert read_artefact(bundles["lava"]).origin == "ONNX Runtime (encoder.onnx) and the fixed-point simulator (body.net)"


@pytest.mark.parametrize("file", ["encoder.onnx", "body.net", "head.onnx", "sample.npz"])
def test_a_file_that_is_missing_or_was_changed_is_named(bundle, file):
    folder = bundle("lava")
    with (folder / file).open("ab") as opened:
        opened.write(b"x")
    with pytest.raises(UserError, match=rf"{file}: changed, its SHA-256 is not the manifest's; export the bundle again$"):
        read_artefact(folder)
    (folder / file).unlink()
    with pytest.raises(UserError, match=rf"{file}: missing; export the bundle again$"):
        read_artefact(folder)


def _resigned(folder, change) -> None:
    """The manifest, changed, with the hashes of the files as they are now."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    seal(folder)


def _set(*place_and_value):
    *place, last, value = place_and_value

    def change(manifest):
        for key in place:
            manifest = manifest[key]
        manifest[last] = value

    return change


SYNAPSES = ("quantization", "layers", "act2", "synapses")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(*SYNAPSES, "conv2", {}), r"body.net: the manifest does not name the synapses of act2$"),
        (_set("quantization", {"layers": [1]}), r"body.net: the manifest does not name the synapses of act2$"),
        (_set(*SYNAPSES, {}), r"body.net: 1 synapses on act2 found, the 0 of the manifest expected$"),
        (_set(*SYNAPSES, "conv2", "parallel", 2), r"body.net: 1 synapses on act2 found, the 2 of the manifest expected$"),
        (_set("spiking_layers", 1, "part", "encoder"), r"body.net: 2 populations found, the 1 of the manifest expected$"),
        (_set("spiking_layers", 1, "shape", [6, 4, 5]), r"population L0_Conv: shape \(6, 4, 4\) found, \(6, 4, 5\) expected$"),
        (_set("spiking_layers", 0, "shape", [4, 8, 9]), r"its files do not make one network|act1: shape"),
        (_set("input_shape", [1, 8, 9]), r"manifest.json: input_shape: \(1, 8, 9\) found, \(1, 8, 8\) as in the artefacts"),
        (_set("steps", 5), r"manifest.json: steps: 5 found, 4 as in the artefacts expected$"),
        (_set("spiking_layers", 0, "name", "act9"), r"layer act9: shape \(4, 8, 8\) found, None as in the artefacts expected$"),
        (_set("pieces", 1, "format", "hex"), r"body.net: format 'hex' found, one of net, circuit, onnx expected$"),
    ],
)
def test_a_manifest_that_does_not_fit_its_files_is_refused_in_one_line(bundle, change, message):
    folder = bundle("lava")
    _resigned(folder, change)
    with pytest.raises(UserError, match=message) as refusal:
        read_artefact(folder)
    assert "\n" not in str(refusal.value)


def test_a_layer_in_a_part_that_is_not_there_is_refused(bundle):
    folder = bundle("lava")
    _resigned(folder, lambda manifest: manifest["pieces"].pop(0) and _set("pieces", 0, "inputs", ["input"])(manifest))
    with pytest.raises(UserError, match=r"manifest.json: layer act1: part: encoder found, which is no piece$"):
        read_artefact(folder)


def test_pieces_of_two_networks_do_not_make_one(bundle, bundles):
    folder = bundle("lava")
    (folder / "head.onnx").write_bytes((bundles["residual"] / "head.onnx").read_bytes())
    _resigned(folder, lambda _: None)
    with pytest.raises(
        UserError, match=r"its files do not make one network: node .*reads block2.act2, which is no earlier node$"
    ):
        read_artefact(folder)
