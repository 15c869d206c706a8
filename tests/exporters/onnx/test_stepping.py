"""Models of one time step: called step after step they give what the whole sequence gives, and hold plain operators alone."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import neurodeploy as nd
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.onnx import Session, build, export
from neurodeploy_exporters.onnx.operators import OPERATIONS
from neurodeploy_exporters.onnx.stepping import build_step, run_steps, step_model
from neurodeploy_exporters.verify import verify

NOT_PLAIN = {"Scan", "Loop", "If", "ThresholdedRelu", "HardSigmoid", "Shape", "ConstantOfShape", "Constant", "Expand"}


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-8, 9, shape).astype(np.float32) / 8


def linear(name: str, source: str, *shape: int) -> ops.LinearNode:
    return ops.LinearNode(name=name, inputs=(source,), weight=weights(*shape))


def lif(name: str, source: str, reset: str = "soft", decay: float = 0.5) -> ops.NeuronNode:
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(decay, 0.5, reset))


def network(*members: ops.Node, skip: int = 0, reset: str = "soft", timed: bool = True) -> Graph:
    """Two spiking layers, between them `members`, of which the first reads `first`."""
    last = members[-1].name if members else "first"
    begin = [ops.EncodeNode(name="encode", inputs=("input",), steps=6)] if not timed else []
    return Graph(
        [
            ops.InputNode(name="input", shape=(6,), timed=timed),
            *begin,
            linear("fc", begin[0].name if begin else "input", 5, 6),
            lif("first", "fc", reset),
            *members,
            linear("inner", last, 5, 5),
            lif("second", "inner", reset, 1.0),
            linear("classifier", "second", 3, 5),
            ops.TimeMeanNode(name="mean", inputs=("classifier",), skip=skip),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


NETWORKS = {
    **{f"{reset} reset": network(reset=reset) for reset in RESETS},
    "a direct-coded sample": network(timed=False),
    "a synaptic current": network(ops.LowPassNode(name="current", inputs=("first",), decay=0.5)),
    "a delay of one step": network(ops.DelayNode(name="late", inputs=("first",), steps=1)),
    "a delay longer than the sequence": network(ops.DelayNode(name="late", inputs=("first",), steps=9)),
    "delays of each neuron": network(ops.DelayNode(name="late", inputs=("first",), steps=3, each=np.array([0, 3, 1, 2, 3]))),
    "one delay for all by broadcasting": network(ops.DelayNode(name="late", inputs=("first",), steps=2, each=np.array([2]))),
    "an answer without its first steps": network(skip=2),
    "an answer of the last step": network(skip=-1),
    "an answer of the last three steps": network(skip=-3),
}


def events(network: Graph, steps: int = 6, batch: int = 3) -> np.ndarray:
    leading = (steps, batch) if network.input.timed else (batch,)
    return np.random.default_rng(2).integers(0, 2, (*leading, *network.input.shape)).astype(np.float32)


def called(network: Graph, x: np.ndarray, steps: int, batch: int = 3) -> dict[str, np.ndarray]:
    model = build_step(network, name="n", batch=batch)
    onnx.checker.check_model(model, full_check=True)
    session = Session(model, also=network.spiking)
    return run_steps(session, step_model(network, None, model), {"input": x}, steps, network.spiking)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("case", NETWORKS)
def test_it_gives_the_interpreters_spikes_and_answer(case, batch):
    graph = NETWORKS[case]
    x = events(graph)
    expected, found = interpreter.run(graph, x), called(graph, x, 6, batch)
    for layer in graph.spiking:
        assert expected[layer].any() or "longer than the sequence" in case
        assert np.array_equal(found[layer], expected[layer]), layer
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-6, atol=1e-7)


def test_a_thousand_steps_are_those_of_the_scan():
    graph = network(
        ops.LowPassNode(name="current", inputs=("first",), decay=0.5),
        ops.DelayNode(name="late", inputs=("current",), steps=3),
        lif("between", "late", "hard"),
    )
    x = events(graph, steps=1000, batch=2)
    whole = Session(build(graph, name="n"), also=graph.spiking).run({"input": x})
    found = called(graph, x, 1000, batch=2)
    for layer in graph.spiking:
        assert 0.02 < whole[layer].mean() < 0.98
        assert np.array_equal(found[layer], whole[layer]), layer
    np.testing.assert_allclose(found["logits"], whole["logits"], rtol=1e-5)


@pytest.mark.parametrize("small", ["conv", "resnet"])
def test_its_parts_in_sequence_give_what_the_whole_gives_bit_for_bit(graph, digits, small):
    net = graph(small, "soft")
    x = digits[0][:5]
    whole, tensors = called(net, x, 4), {"input": x}
    for part in partition(net, spikes_only=False).parts:
        model, inside = build_step(net, part, name="n", batch=2), [name for name in net.spiking if name in part.members]
        tensors |= run_steps(Session(model, also=inside), step_model(net, part, model), tensors, 4, inside)
    for name, values in whole.items():
        assert np.array_equal(tensors[name], values), name


@pytest.mark.parametrize("case", NETWORKS)
def test_it_holds_plain_operators_of_fixed_sizes(case):
    model = build_step(NETWORKS[case], name="n", batch=2)
    assert not {node.op_type for node in model.graph.node} & NOT_PLAIN
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert {tensor.name for tensor in model.graph.initializer} <= {name for node in model.graph.node for name in node.input}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    for value in (*inferred.input, *inferred.output, *inferred.value_info):
        assert all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim), value.name


def test_every_state_is_an_input_and_an_output_named_by_its_layer_and_the_model_says_which():
    model = build_step(NETWORKS["delays of each neuron"], name="n", batch=2)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["step"] == "2"
    assert json.loads(facts["states"]) == {
        "first.v0": "first.v",
        "late.waiting0": "late.waiting",
        "second.v0": "second.v",
        "mean.steps0": "mean.steps",
        "mean.sum0": "mean.sum",
    }
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.input}
    assert shapes["input"] == [2, 6]
    assert shapes["late.waiting0"] == [3, 2, 5]


def test_onnxs_own_reference_runs_it_with_the_same_spikes():
    graph = NETWORKS["delays of each neuron"]
    x = events(graph)
    model = build_step(graph, name="n", batch=3, spike_counts=True)
    outputs, reference = [value.name for value in model.graph.output], ReferenceEvaluator(model)
    states = json.loads(next(entry.value for entry in model.metadata_props if entry.key == "states"))
    feed = {
        value.name: np.zeros([dim.dim_value for dim in value.type.tensor_type.shape.dim], np.float32)
        for value in model.graph.input
    }
    expected = interpreter.run(graph, x)
    for step in range(6):
        made = dict(zip(outputs, reference.run(None, feed | {"input": x[step]}), strict=True))
        feed = {before: made[after] for before, after in states.items()}
        for layer in graph.spiking:
            assert np.array_equal(made[f"{layer}.spikes"], expected[layer][step].sum(-1))
    np.testing.assert_allclose(made["logits"], expected["logits"], rtol=1e-6)


def test_a_mean_that_is_shown_again_is_refused_by_the_name_of_the_layer():
    graph = network()
    mean, output = graph.nodes[-2:]
    again = ops.EncodeNode(name="again", inputs=(mean.name,), steps=6)
    last = ops.TimeMeanNode(name="mean2", inputs=("again",))
    graph = Graph([*graph.nodes[:-1], again, last, replace(output, inputs=("mean2",))])
    with pytest.raises(UserError, match=r"node again \(Encode\): shows the mean mean again, .*; export without --step$"):
        build_step(graph, name="n")


def test_an_operation_over_time_without_a_rule_is_refused_by_the_name_of_the_layer():
    @dataclass(frozen=True, eq=False, kw_only=True)
    class ReversedNode(ops.DelayNode):
        """The sequence from its end."""

    @OPERATIONS.rule(ReversedNode)
    def _reversed(writer, node):
        writer.operator("Identity", [writer.timed(node.inputs[0])], node.name)

    graph = network(ReversedNode(name="odd", inputs=("first",), steps=1))
    build(graph, name="n")
    with pytest.raises(
        UserError, match=r"node odd \(Reversed\): has no form in an ONNX model of one time step; export without"
    ):
        build_step(graph, name="n")


@pytest.fixture
def stepped(graph, digits, tmp_path) -> Path:
    return export(graph("conv"), digits[0][:3], tmp_path / "b", name="n", quantize="exact", step=True, batch=2)


def test_a_bundle_holds_them_beside_its_pieces_and_verifies_both(stepped):
    manifest = read_bundle(stepped).manifest
    assert [model.file for model in manifest.steps_alone] == [f"{piece.name}.step.onnx" for piece in manifest.pieces]
    assert {model.batch for model in manifest.steps_alone} == {2}
    check = verify(stepped)
    assert check.passed, check.findings
    layers = sum(np.prod(layer.shape) for layer in manifest.spiking_layers)
    assert check.spikes_compared == 4 * layers * manifest.steps * 3  # whole and parts, at once and step by step
    assert "whole.step.onnx" in str(read_bundle(stepped))
    assert nd.energy(stepped).total.spikes > 0


def damaged(folder: Path, change) -> tuple[str, ...]:
    path = folder / "whole.step.onnx"
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return verify(folder).findings


def _weights(model: onnx.ModelProto) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == "conv2.weight")
    tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))


def _states(model: onnx.ModelProto) -> None:
    next(entry for entry in model.metadata_props if entry.key == "states").value = "{}"


def test_a_damaged_weight_or_state_is_a_finding_that_names_the_file(stepped):
    findings = damaged(stepped, _weights)
    assert any(f"{stepped / 'whole.step.onnx'}: changed" in finding for finding in findings)
    assert any(finding.startswith("whole.step.onnx step by step, layer ") for finding in findings)
    assert any("whole.step.onnx: states: other ones found than the manifest" in one for one in damaged(stepped, _states))


def test_a_missing_model_is_named(stepped):
    (stepped / "body.step.onnx").unlink()
    assert f"{stepped / 'body.step.onnx'}: missing" in verify(stepped).findings


def test_a_manifest_with_other_tensors_or_models_than_pieces_is_refused(stepped):
    path = stepped / "manifest.json"
    sound = json.loads(path.read_text())
    for change, message in (
        (lambda models: models[:-1], "one model for each of whole, encoder, body, head expected"),
        (
            lambda models: [models[0] | {"inputs": ["other"]}, *models[1:]],
            "steps_alone: whole: inputs and outputs of the piece",
        ),
        (lambda models: [models[0] | {"batch": 0}, *models[1:]], "batch"),
    ):
        path.write_text(json.dumps(sound | {"steps_alone": change(sound["steps_alone"])}))
        with pytest.raises(UserError, match=message):
            read_bundle(stepped)


def test_a_batch_without_models_of_one_step_is_refused(graph, digits, tmp_path):
    with pytest.raises(UserError, match=r"batch: 2 found, and only models of one time step have a fixed batch; add step"):
        export(graph("conv"), digits[0][:3], tmp_path / "b", name="n", batch=2)


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_it_agrees_with_the_sample_as_far_as_the_manifest_says(graph, digits, tmp_path, quantize):
    calibration = {"calibration": digits[0][10:20]} if quantize == "int8" else {}
    folder = export(graph("resnet"), digits[0][:3], tmp_path / "b", name="n", quantize=quantize, step=True, **calibration)
    check = verify(folder)
    assert check.passed, check.findings
