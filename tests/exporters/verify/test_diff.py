"""Two bundles are compared claim by claim, file by file, layer by layer, and spike by spike."""

import dataclasses
import shutil

import numpy as np
import pytest

from neurodeploy.graph import Graph
from neurodeploy_exporters import onnx
from neurodeploy_exporters.verify.diff import diff


def test_a_bundle_and_its_copy_do_not_differ(bundles, tmp_path):
    for target in ("onnx", "lava", "graded"):
        copy = shutil.copytree(bundles[target], tmp_path / target)
        found = diff(bundles[target], copy)
        assert found.same
        assert str(found) == "no difference found"


@pytest.fixture(scope="module")
def other(tmp_path_factory, graph, digits):
    """The same network with one weight of its second layer changed."""
    network = graph("conv")
    weight = network["conv2"].weight.copy()
    weight[2, 1, 0, 0] += 1
    changed = Graph([dataclasses.replace(node, weight=weight) if node.name == "conv2" else node for node in network.nodes])
    return onnx.export(changed, digits[0][:6], tmp_path_factory.mktemp("other") / "b", name="small", quantize="exact")


def test_the_layer_and_the_first_neuron_that_differ_are_named_with_both_values(bundles, other):
    found = diff(bundles["onnx"], other)
    assert not found.same
    (constant,) = [line for line in found.constants if line.startswith("conv2.weight")]
    assert "first at (" in constant
    assert not any(line.startswith(("conv1", "act1", "conv3")) for line in found.constants)
    assert {line.partition(":")[0] for line in found.files} >= {"whole.onnx", "body.onnx", "sample.npz"}
    first = found.behaviour[0]
    assert first.startswith("layer act2: ")
    assert "first at step " in first
    assert first.endswith((": 0, 1 in the second", ": 1, 0 in the second"))
    assert not any("act1" in line for line in found.behaviour)


def test_bundles_of_two_targets_of_one_exact_network_fire_the_same(bundles):
    found = diff(bundles["onnx"], bundles["lava"])
    assert [line for line in found.behaviour if line.startswith("layer")] == []
    assert any(line.startswith("target: onnx and lava") for line in found.claims)
    assert any("act2: Neuron and FixedPointNeuron" in line for line in found.constants)


def test_bundles_of_networks_of_other_layers_say_which(bundles):
    found = diff(bundles["lava"], bundles["residual"])
    assert any(line == "conv1: in the first bundle alone" for line in found.constants)
    document = found.as_document()
    assert document["same"] is False
    assert np.all([isinstance(line, str) for line in document["constants"]])
