"""Half precision: tensors in 16 bits; what that changes is in the manifest, and what it does not hold is refused by name."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import neurodeploy as nd
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.dynamics.updates import Program
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.onnx import Session, build, export
from neurodeploy_exporters.onnx.graph import read_graph
from neurodeploy_exporters.onnx.stepping import build_step, run_steps, step_model
from neurodeploy_exporters.verify import verify


def weights(*shape: int) -> np.ndarray:
    """Eighths: half precision holds their sums."""
    return np.random.default_rng(1).integers(-8, 9, shape).astype(np.float32) / 8


def network(*members: ops.Node, reset="soft", threshold=0.5, scale=1.0, skip=0) -> Graph:
    parameters = NeuronParameters(0.5, threshold, reset)
    return Graph(
        [
            ops.InputNode(name="input", shape=(6,), timed=True),
            ops.LinearNode(name="fc", inputs=("input",), weight=weights(5, 6) * np.float32(scale)),
            ops.NeuronNode(name="first", inputs=("fc",), parameters=parameters),
            *members,
            ops.LinearNode(name="inner", inputs=(members[-1].name if members else "first",), weight=weights(5, 5)),
            ops.NeuronNode(name="second", inputs=("inner",), parameters=parameters),
            ops.LinearNode(name="classifier", inputs=("second",), weight=weights(3, 5)),
            ops.TimeMeanNode(name="mean", inputs=("classifier",), skip=skip),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def cell(divisor: float = 2.0) -> ops.CellNode:
    step = Program()
    h = step("add", step("mul", ("state", 0), 0.5), step("div", ("input", 0), divisor))
    fires = step("gt", h, ("array", 0))
    update = step.update(fires, (0.25, step("where", fires, 0.0, h)))
    return ops.CellNode(name="cell", inputs=("first",), update=update, arrays=(np.full(5, 0.375, np.float32),))


NETWORKS = {
    **{f"{reset} reset": network(reset=reset) for reset in RESETS},
    "a delay": network(ops.DelayNode(name="late", inputs=("first",), steps=2)),
    "a current": network(ops.LowPassNode(name="current", inputs=("first",), decay=0.5)),
    "a cell": network(cell()),
    "without its first steps": network(skip=2),
    "the last two steps": network(skip=-2),
}


def events(steps: int = 6, batch: int = 3) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 2, (steps, batch, 6)).astype(np.float32)


@pytest.mark.parametrize("case", NETWORKS)
def test_where_half_precision_holds_every_sum_it_fires_the_same_spikes_whole_and_step_by_step(case, tmp_path):
    graph, x = NETWORKS[case], events()
    expected = interpreter.run(graph, x)
    model, single = build(graph, name="n", half=True), build_step(graph, name="n", batch=3, half=True)
    for one in (model, single):
        onnx.checker.check_model(one, full_check=True)
        assert {value.type.tensor_type.elem_type for value in (one.graph.input[0], one.graph.output[0])} == {
            TensorProto.FLOAT16
        }
    whole = Session(model, also=graph.spiking).run({"input": x})
    steps = run_steps(Session(single, also=graph.spiking), step_model(graph, None, single), {"input": x}, 6, graph.spiking)
    for layer in graph.spiking:
        assert whole[layer].dtype == np.float16
        assert np.array_equal(whole[layer], expected[layer]), layer
        assert np.array_equal(steps[layer], expected[layer]), layer
    for made in (whole, steps):
        np.testing.assert_allclose(made["logits"], expected["logits"], rtol=1e-3, atol=1e-3)
    path = tmp_path / "n.onnx"
    path.write_bytes(model.SerializeToString())
    assert read_graph(path).spiking == graph.spiking


def test_no_large_tensor_stays_in_32_bits(graph):
    for model in (build(graph("resnet"), name="n", half=True), build_step(graph("resnet"), name="n", half=True)):
        kinds = {tensor.data_type for tensor in model.graph.initializer if np.prod(tensor.dims) > 1}
        assert TensorProto.FLOAT not in kinds


@pytest.fixture
def bundle(graph, digits, tmp_path):
    samples, labels = digits
    return export(graph("resnet"), samples[:4], tmp_path / "b", name="n", precision="fp16", step=True, test=(samples, labels))


def test_a_bundle_says_what_it_changes_and_is_verified_as_far_as_that(bundle):
    manifest = read_bundle(bundle).manifest
    assert manifest.quantization["kind"] == "fp16"
    assert manifest.agreement.reference == "float"
    assert manifest.agreement.answers_compared == 200
    assert manifest.sample.allowed_mismatched_spikes == manifest.agreement.mismatched_spikes
    assert any(note.startswith("Half precision: ") and "of 200 test samples" in note for note in manifest.notes)
    assert "exact" not in " ".join(manifest.notes)
    check = verify(bundle)
    assert check.passed, check.findings
    assert nd.energy(bundle).total.spikes > 0


def test_answers_of_a_session_are_float32(bundle, digits):
    assert Session.of_bundle(bundle).answer(digits[0][:2], steps=4).logits.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "exact"}, "fp16 found, which does not go with quantize = exact"),
        ({"quantize": "int8"}, "fp16 found, which does not go with quantize = int8"),
        ({"streaming": True}, "fp16 found, which does not go with streaming = True"),
        ({"functions": True}, "fp16 found, which does not go with functions = True"),
    ],
)
def test_what_does_not_go_together_is_refused(graph, digits, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        export(graph("conv"), digits[0][:2], tmp_path / "b", name="n", precision="fp16", **options)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (network(scale=1e6), r"tensor fc.weight: 1e\+06 found, and half precision ends at 65504; export in fp32"),
        (network(threshold=1e-9), "node first: threshold 1e-09 found, which half precision rounds to 0; export in fp32"),
        (network(threshold=1e6), r"tensor first.threshold: 1e\+06 found"),
        (network(cell(1e-9)), "node cell: computes with 1e-09, which half precision rounds to 0; export in fp32"),
    ],
)
def test_what_half_precision_does_not_hold_is_refused_by_name(graph, message):
    for builder in (build, build_step):
        with pytest.raises(UserError, match=message):
            builder(graph, name="n", half=True)


def test_answers_beyond_half_precision_are_refused(tmp_path):
    graph = network()
    nodes = [
        replace(node, weight=np.full_like(node.weight, 60000.0)) if node.name in ("fc", "classifier") else node
        for node in graph.nodes
    ]
    with pytest.raises(
        UserError, match=r"node logits: values beyond those of half precision found on the sample; export in fp32"
    ):
        export(Graph(nodes), np.ones((4, 2, 6), np.float32), tmp_path / "b", name="n", precision="fp16")
    assert not (tmp_path / "b").exists()


def test_metadata_that_deny_the_precision_are_refused_by_the_name_of_the_layer(tmp_path):
    model = build(network(), name="n", half=True)
    entry = next(entry for entry in model.metadata_props if entry.key == "precision")
    assert entry.value == "fp16"
    entry.value = json.dumps("fp32")
    path = tmp_path / "n.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"n.onnx: layer first: its operators are not those of the function LIF_soft_plain_r3"):
        read_graph(path)
