"""Exported models are graphs again, bit for bit, in every form of the export; foreign and damaged ones are refused."""

import numpy as np
import onnx
import pytest
from onnx import helper

from neurodeploy.graph import Graph, ops, partition
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import build
from neurodeploy_exporters.onnx.graph import read_graph, read_members
from neurodeploy_exporters.onnx.target import calibrate


def saved(model: onnx.ModelProto, path):
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("neuron", ["IF", "PLIF", "CUBA"])
@pytest.mark.parametrize("streaming", [False, True])
def test_every_network_comes_back_from_its_model_bit_for_bit(zoo, small, neuron, streaming, as_stored, tmp_path):
    graph = zoo(small, neuron, "soft" if streaming else "hard", streaming)
    model = build(graph, name="n", streaming=streaming, spike_counts=streaming)
    assert differences(read_graph(saved(model, tmp_path / "whole.onnx")), as_stored(graph)) == ()


def test_the_parts_of_a_network_together_are_the_network(zoo, small, as_stored, tmp_path):
    graph = as_stored(zoo(small))
    found: dict[str, ops.Node] = {"input": graph.input}
    for part in partition(graph, spikes_only=False).parts:
        members = read_members(saved(build(graph, part, name="n"), tmp_path / f"{part.name}.onnx"))
        assert tuple((entry.name, entry.shape, entry.timed) for entry in members.inputs) == tuple(
            (name, graph.shape(name), graph.timed(name)) for name in part.inputs
        )
        for node in members.nodes:
            found.setdefault(node.name, node)
    assert differences(Graph(found[node.name] for node in graph.nodes), graph) == ()
    assert len(found) == len(graph.nodes)


def test_integers_come_back_as_the_numbers_that_they_stand_for(zoo, small_named, tmp_path):
    graph = zoo(small_named("vgg plain"))
    x = np.random.default_rng(0).random((8, *graph.input.shape)).astype(np.float32)
    model = build(graph, name="n", grids=calibrate(graph, x, 4))
    found = read_graph(saved(model, tmp_path / "whole.onnx"))
    assert [node.name for node in found.nodes] == [node.name for node in graph.nodes]
    assert [node.inputs for node in found.nodes] == [node.inputs for node in graph.nodes]
    synapses = graph.of(ops.ConvNode) + graph.of(ops.LinearNode)
    for node in synapses:
        rounded = found[node.name].weight
        step = np.abs(node.weight).reshape(len(node.weight), -1).max(1) / 127
        assert rounded.dtype == np.float32
        error = np.abs(rounded - node.weight).reshape(len(step), -1).max(1)
        assert (error <= 0.5001 * step).all()
        assert (error > 0).any()
    assert len(synapses) == 6


def test_a_foreign_model_is_refused_by_the_name_of_its_first_operator(tmp_path):
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["B", 3]) for name in "xy")
    for kind, producer in (("Sin", "neurodeploy"), ("Relu", "pytorch"), ("Relu", "")):
        body = helper.make_graph([helper.make_node(kind, ["x"], ["y"], name="first")], "g", [x], [y])
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], producer_name=producer)
        model.ir_version = 8
        with pytest.raises(UserError, match=rf"f.onnx: operator first \({kind}\): written by .*exported expected$"):
            read_graph(saved(model, tmp_path / "f.onnx"))


def test_a_changed_model_is_refused_by_the_name_of_the_operator(zoo, small_named, tmp_path):
    graph = zoo(small_named("conv"))
    path = tmp_path / "n.onnx"

    def changed(change) -> onnx.ModelProto:
        model = build(graph, name="n", functions=True)
        change(model)
        return saved(model, path)

    def first(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
        return next(op for op in model.graph.node if op.op_type.startswith(kind))

    def lose_strides(model):
        conv = first(model, "Conv")
        kept = [attribute for attribute in conv.attribute if attribute.name != "strides"]
        del conv.attribute[:]
        conv.attribute.extend(kept)

    with pytest.raises(
        UserError, match=r"n.onnx: operator conv1 \(Conv\): not as neurodeploy writes it; export the model again$"
    ):
        read_graph(changed(lose_strides))

    def constant(name: str, value: float):
        def change(model: onnx.ModelProto) -> None:
            next(one for one in first(model, "LIF").attribute if one.name == name).f = value

        return change

    with pytest.raises(UserError, match=r"operator act1 \(LIF_hard_r5\): neuron threshold: -1.0 found"):
        read_graph(changed(constant("threshold", -1.0)))
    for name in ("threshold", "slope", "offset", "floor"):
        with pytest.raises(UserError, match=r"operator act1 \(LIF_hard_r5\): not as neurodeploy writes it"):
            read_graph(changed(constant(name, 0.75)))

    with pytest.raises(UserError, match=r"n.onnx: input input: \[B, ...\] or \[T, B, ...\] of known sizes expected"):
        read_graph(changed(lambda model: model.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_value")))


def test_a_part_alone_is_no_network(zoo, small_named, tmp_path):
    graph = zoo(small_named("conv"))
    path = saved(build(graph, partition(graph).encoder, name="n"), tmp_path / "encoder.onnx")
    with pytest.raises(UserError, match=r"encoder.onnx: graph: 0 Output nodes found, at least one expected"):
        read_graph(path)
