"""Models without local functions: the same spikes as with them, plain operators, names by layer, and the graph again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import neurodeploy as nd
from neurodeploy.graph import Graph
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build, export
from neurodeploy_exporters.onnx.graph import read_graph
from neurodeploy_exporters.onnx.inlining import without_scans
from neurodeploy_exporters.onnx.writer import STATES
from neurodeploy_exporters.verify import verify


def members(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """All operators, those in bodies included."""
    made = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            made += members(attribute.g) if attribute.HasField("g") else []
    return made


def tensors(graph: onnx.GraphProto) -> list[str]:
    """Every name that something makes, in bodies too."""
    made = [name for node in members(graph) for name in node.output] + [value.name for value in graph.input]
    for node in graph.node:
        made += [value.name for attribute in node.attribute for value in attribute.g.input]
    return made


@pytest.fixture(params=["LIF", "CUBA"])
def network(zoo, small_named, request):
    return zoo(small_named("resnet"), request.param, "hard" if request.param == "LIF" else "soft")


def samples(graph) -> np.ndarray:
    return np.random.default_rng(0).random((3, *graph.input.shape), dtype=np.float32)


@pytest.mark.parametrize("streaming", [False, True])
def test_both_forms_give_the_same_bits_and_the_same_graph(network, tmp_path, streaming):
    forms = [build(network, name="n", functions=functions, streaming=streaming) for functions in (True, False)]
    assert [bool(model.functions) for model in forms] == [True, False]
    whole = [Session(model, also=network.spiking).run({"input": samples(network)}, steps=4) for model in forms]
    assert all(np.array_equal(whole[0][name], whole[1][name]) for name in whole[0])
    read = []
    for number, model in enumerate(forms):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(model.SerializeToString())
        read.append(read_graph(path))
    assert not differences(*read)


def test_all_operators_are_onnxs_own_and_no_name_means_two_things(network):
    model = build(network, name="n", streaming=True)
    assert {node.domain for node in members(model.graph)} == {""}
    assert [one.domain for one in model.opset_import] == [""]
    made, names = tensors(model.graph), [node.name for node in members(model.graph)]
    assert len(made) == len(set(made))
    assert len(names) == len(set(names))
    layer = network.spiking[1]
    assert f"{layer}/over_time" in names
    assert all(name.startswith(layer) for name in names if "/" in name and layer in name)


def test_a_body_knows_the_sizes_of_its_tensors(network):
    layer = network.spiking[0]
    scan = next(node for node in build(network, name="n").graph.node if node.name == f"{layer}/over_time")
    (body,) = (attribute.g for attribute in scan.attribute if attribute.HasField("g"))
    for value in (*body.input, *body.output):
        sizes = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        assert sizes == ["B", *network.shape(layer)]


def test_onnxs_own_reference_runs_it_and_fires_the_same_spikes(network):
    layer = network.spiking[0]
    model = build(network, name="n", spike_counts=True)
    feed = {"input": samples(network), "steps": np.array([4])}
    names = [value.name for value in model.graph.output]
    theirs = dict(zip(names, ReferenceEvaluator(model).run(None, feed), strict=True))
    ours = Session(model).run({"input": feed["input"]}, steps=4)
    assert np.array_equal(theirs[f"{layer}.spikes"], ours[f"{layer}.spikes"])


def changed(model: onnx.ModelProto, path: Path, key: str, change) -> Path:
    """A file whose metadata `key` is what `change` makes of its JSON, or text."""
    entry = next(entry for entry in model.metadata_props if entry.key == key)
    value = change(json.loads(entry.value))
    entry.value = value if isinstance(value, str) else json.dumps(value)
    path.write_bytes(model.SerializeToString())
    return path


def test_operators_that_are_not_those_of_the_function_are_refused_by_the_name_of_the_layer(network, tmp_path):
    layer, path = network.spiking[0], tmp_path / "n.onnx"
    model = build(network, name="n")
    scan = next(node for node in model.graph.node if node.name == f"{layer}/over_time")
    scan.attribute[0].g.node[0].op_type = "Add"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=rf"n.onnx: layer {layer}: its operators are not those of the function LIF_.*again$"):
        read_graph(path)


def without(key: str):
    return lambda calls: [{name: value for name, value in call.items() if name != key} for call in calls]


def with_other(key: str, value):
    return lambda calls: [call | {key: value} for call in calls]


def relabelled(calls):
    return [call | {"attributes": call["attributes"] | {"decay": 0.75}} for call in calls]


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("calls", lambda _: [], r"operator .*/decay \(Constant\): written by 'neurodeploy'"),
        ("calls", lambda _: "{", "metadata calls: a JSON list"),
        ("calls", lambda _: "[" * 100_000, "metadata calls: a JSON list"),
        ("calls", lambda _: [7], "metadata calls: a JSON list"),
        ("calls", without("inputs"), "metadata calls: a JSON list"),
        ("calls", with_other("outputs", []), "metadata calls: a JSON list"),
        ("calls", with_other("attributes", {"decay": "0.5"}), "metadata calls: a JSON list"),
        ("calls", with_other("attributes", {}), "its operators are not those of"),
        ("calls", with_other("sizes", [1 << 70]), "its operators are not those of|metadata calls"),
        ("calls", relabelled, "its operators are not those of the function"),
        ("calls", with_other("function", "absent"), "a call of absent, which is no function of the model"),
        ("functions", lambda _: {}, "which is no function of the model"),
        ("functions", lambda _: "[]", "metadata functions: a JSON object"),
        ("functions", lambda bodies: dict.fromkeys(bodies, 3), "metadata functions: a JSON object"),
        ("functions", lambda bodies: {key: {"node": []} for key in bodies}, "its operators are not|other inputs"),
    ],
)
def test_metadata_that_do_not_say_what_the_operators_are_are_refused_in_one_line(network, tmp_path, key, change, message):
    path = changed(build(network, name="n"), tmp_path / "n.onnx", key, change)
    with pytest.raises(UserError, match=message) as error:
        read_graph(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_layer_with_the_name_of_an_inner_tensor_is_refused(graph):
    nodes = list(graph("conv").nodes)
    spiking = graph("conv").spiking[0]
    last = nodes[-1]
    nodes[-1] = replace(last, name=f"{spiking}/kept")
    with pytest.raises(UserError, match=f"node {spiking}/kept: another tensor of the ONNX model has this name"):
        build(Graph(nodes), name="n")


@pytest.mark.parametrize("functions", [False, True])
def test_a_bundle_of_either_form_is_verified_and_counted(graph, digits, tmp_path, functions):
    folder = export(graph("conv"), digits[0][:3], tmp_path / "b", name="n", functions=functions, opset=19)
    assert bool(onnx.load(folder / "whole.onnx").functions) == functions
    assert verify(folder).passed
    assert nd.energy(folder).total.spikes > 0


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("neuron", ["IF", "LIF", "PLIF", "CUBA"])
@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
def test_a_step_without_loops_gives_the_bits_of_one_with_them(zoo, small_named, neuron, reset, streaming):
    network = zoo(small_named("resnet"), neuron, reset, streaming)
    model = build(network, name="n", streaming=streaming, spike_counts=True)
    single = without_scans(model)
    onnx.checker.check_model(single, full_check=True)
    assert not any(node.op_type == "Scan" for node in single.graph.node)
    with_loops, without = (onnxruntime.InferenceSession(one.SerializeToString()) for one in (model, single))
    feed = {"input": samples(network), "steps": np.array([1], np.int64)}
    states = json.loads(next((one.value for one in model.metadata_props if one.key == STATES), "{}"))
    feed |= Session(model).states and {
        one.name: np.zeros([3 if size == "B" else size for size in one.shape], np.float32 if "float" in one.type else np.int64)
        for one in with_loops.get_inputs()
        if one.name in states
    }
    for _ in range(5):
        names = [value.name for value in with_loops.get_outputs()]
        expected, found = (dict(zip(names, one.run(names, feed), strict=True)) for one in (with_loops, without))
        assert all(np.array_equal(expected[name], found[name]) for name in names)
        feed |= {before: found[after] for before, after in states.items()}


def test_a_session_that_is_asked_for_single_steps_again_and_again_answers_the_same(network):
    session, x = Session(build(network, name="n", spike_counts=True), also=network.spiking), samples(network)
    first = session.run({"input": x}, steps=1)
    for _ in range(6):
        again = session.run({"input": x}, steps=1)
        assert all(np.array_equal(first[name], again[name]) for name in first)
    assert session.run({"input": x}, steps=4)[network.spiking[0]].shape[0] == 4


@pytest.mark.parametrize("change", ["backwards", "a name of two meanings", "functions"])
def test_a_loop_of_another_form_stays_one(network, change):
    model = build(network, name="n", functions=change == "functions")
    for scan in (node for node in model.graph.node if node.op_type == "Scan"):
        body = next(attribute.g for attribute in scan.attribute if attribute.name == "body")
        if change == "backwards":
            scan.attribute.append(onnx.helper.make_attribute("scan_input_directions", [1]))
        elif change == "a name of two meanings":
            body.input[0].name = "step"
    assert without_scans(model) is None


def test_a_state_of_another_batch_is_refused_in_single_steps_too(network):
    session, feed = Session(build(network, name="n", streaming=True)), {"input": samples(network)}
    for _ in range(6):
        session.run(feed, steps=1)
    after = session.run(feed, steps=1)
    for before, name in session.states.items():
        if after[name].ndim > 1:
            with pytest.raises(UserError, match="cannot run"):
                session.run(feed | {before: after[name][:1]}, steps=1)
