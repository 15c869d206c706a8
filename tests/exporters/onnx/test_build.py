"""The ONNX model of a network: valid, self-contained, dynamic in T and B, equal to the interpreter."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.external_data_helper import uses_external_data

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build

VARIANTS = [(kind, reset, repact) for kind in ("conv", "resnet") for reset in ("hard", "soft") for repact in (False, True)]
every_variant = pytest.mark.parametrize(("kind", "reset", "repact"), VARIANTS)


@every_variant
def test_every_model_passes_the_full_checker_and_holds_all_its_weights(graph, kind, reset, repact):
    network = graph(kind, reset, repact)
    for part in (None, *partition(network).parts):
        model = build(network, part, name="n")
        onnx.checker.check_model(model, full_check=True)
        assert not any(uses_external_data(tensor) for tensor in model.graph.initializer)
        assert all(tensor.raw_data for tensor in model.graph.initializer)
        assert {o.domain: o.version for o in model.opset_import} == {"": 18}
        assert not model.functions
        assert model.ir_version == 8


@every_variant
def test_any_number_of_steps_and_samples_gives_the_interpreters_spikes(graph, digits, kind, reset, repact):
    network = to_grid(graph(kind, reset, repact))
    session = Session(build(network, name="n"), also=network.spiking)
    for steps, batch in ((1, 1), (1, 5), (4, 3), (9, 1), (16, 2)):
        x = digits[0][:batch]
        found, expected = session.run({"input": x}, steps=steps), interpreter.run(network, x, steps=steps)
        for layer in network.spiking:
            assert found[layer].shape[:2] == (steps, batch)
            assert np.array_equal(found[layer], expected[layer]), layer
        np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5)


@every_variant
def test_the_pieces_one_after_the_other_are_the_whole_bit_for_bit(graph, digits, kind, reset, repact):
    network = graph(kind, reset, repact)
    whole = Session(build(network, name="n"), also=network.spiking).run({"input": digits[0]}, steps=4)
    tensors: dict[str, Any] = {"input": digits[0]}
    parts = partition(network)
    for part in parts.parts:
        inside = [layer for layer in network.spiking if layer in part.members]
        session = Session(build(network, part, name="n"), also=inside)
        assert set(session.inputs) - {"steps"} == set(part.inputs)
        tensors |= session.run(tensors, steps=4)
    for name, value in whole.items():
        assert np.array_equal(tensors[name], value), name
    assert sum(whole[layer].sum() for layer in network.spiking) > 0


def test_the_head_of_a_residual_net_with_repact_reads_two_spike_tensors_and_gives_the_whole_torch_models_logits(
    graph, network, digits
):
    import torch

    folded = graph("resnet", "soft", True)
    parts = partition(folded)
    assert parts.head.inputs == ("block1.act2", "block2.act1")
    samples = torch.from_numpy(digits[0][:20])
    with torch.no_grad():
        answer = network("resnet", "soft", True)(samples)
    taps = {name: answer.taps[name].numpy() for name in parts.head.inputs}
    found = Session(build(folded, parts.head, name="head")).run(taps)["logits"]
    np.testing.assert_allclose(found, answer.logits.numpy(), atol=1e-4)


def test_the_repact_head_of_a_plain_net_gives_the_whole_torch_models_logits(graph, network, digits):
    import torch

    folded = graph("conv", "hard", True)
    parts = partition(folded)
    assert parts.head.inputs == ("act2",)
    with torch.no_grad():
        answer = network("conv", "hard", True)(torch.from_numpy(digits[0]))
    found = Session(build(folded, parts.head, name="head")).run({"act2": answer.taps["act2"].numpy()})["logits"]
    np.testing.assert_allclose(found, answer.logits.numpy(), atol=1e-4)


def test_the_same_network_gives_the_same_bytes(graph):
    one, other = (build(graph("resnet"), name="n").SerializeToString(deterministic=True) for _ in range(2))
    assert one == other


def test_layers_keep_their_names_and_the_model_says_how_many_steps_it_was_trained_with(graph):
    model = build(graph("resnet"), name="n")
    made = {output for node in model.graph.node for output in node.output}
    assert set(graph("resnet").spiking) <= made
    facts = {p.key: p.value for p in model.metadata_props}
    assert {key: facts[key] for key in facts if key not in ("calls", "functions")} == {
        "trained_steps": "4",
        "largest_tensor": "256",
    }
    assert [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim][:1] == ["B"]


@pytest.mark.parametrize("opset", [17, 27, 0, -1])
def test_another_opset_than_the_stated_ones_is_refused(graph, opset):
    with pytest.raises(UserError, match=f"opset: {opset} found, 18 to 26 expected"):
        build(graph("conv"), name="n", opset=opset)


@pytest.mark.parametrize("opset", [18, 19, 21, 26])
def test_every_opset_gives_the_same_spikes(graph, digits, opset):
    network = graph("resnet")
    model = build(network, name="n", opset=opset)
    onnx.checker.check_model(model, full_check=True)
    assert [one.version for one in model.opset_import] == [opset]
    made = Session(model, also=network.spiking).run({"input": digits[0][:3]}, steps=4)
    expected = Session(build(network, name="n"), also=network.spiking).run({"input": digits[0][:3]}, steps=4)
    assert all(np.array_equal(made[layer], expected[layer]) for layer in network.spiking)


def events(*members: ops.Node, shape: tuple[int, ...] = (2, 6, 5), head: int = 3) -> Graph:
    """A network fed by events: `members`, then a classifier and a mean over time."""
    body = [ops.InputNode(name="input", shape=shape, timed=True), *members]
    if len(Graph([*body, ops.OutputNode(name="o", inputs=(body[-1].name,))]).shape(body[-1].name)) > 1:
        body.append(ops.FlattenNode(name="flatten", inputs=(body[-1].name,)))
    size = Graph([*body, ops.OutputNode(name="o", inputs=(body[-1].name,))]).shape(body[-1].name)[0]
    weight = np.random.default_rng(0).integers(-8, 9, (head, size)).astype(np.float32) / 8
    classifier = ops.LinearNode(name="classifier", inputs=(body[-1].name,), weight=weight)
    mean = ops.TimeMeanNode(name="mean", inputs=("classifier",))
    return Graph([*body, classifier, mean, ops.OutputNode(name="logits", inputs=("mean",))])


def lif(name: str, source: str, reset: str = "hard") -> ops.NeuronNode:
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(0.5, 0.5, reset))


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-8, 9, shape).astype(np.float32) / 8


def conv(name: str, source: str, weight: np.ndarray, **fields: Any) -> ops.ConvNode:
    axes = weight.ndim - 2
    geometry = {"stride": (1,) * axes, "padding": (0,) * axes, "dilation": (1,) * axes} | fields
    return ops.ConvNode(name=name, inputs=(source,), weight=weight, **geometry)


NETWORKS = {
    "event convolution": events(conv("c", "input", weights(4, 2, 3, 3), padding=(1, 1)), lif("n", "c")),
    "soft reset": events(conv("c", "input", weights(4, 2, 3, 3)), lif("n", "c", "soft")),
    "no reset": events(conv("c", "input", weights(4, 2, 3, 3)), lif("n", "c", "none")),
    "groups and dilation": events(
        conv("c", "input", weights(4, 1, 2, 3), groups=2, dilation=(2, 1), stride=(1, 2), padding=(2, 0)), lif("n", "c")
    ),
    "one axis": events(conv("c", "input", weights(4, 2, 3), stride=(2,)), lif("n", "c"), shape=(2, 9)),
    "pools": events(
        ops.AvgPoolNode(name="avg", inputs=("input",), kernel=(2, 2), stride=(2, 1)),
        conv("c", "avg", weights(4, 2, 2, 2)),
        lif("n", "c"),
        ops.MaxPoolNode(name="max", inputs=("n",), kernel=(2, 2), stride=(1, 1)),
    ),
    "batch norm without a synapse": events(
        ops.BatchNormNode(name="bn", inputs=("input",), scale=np.array([2, 0.5], "f"), shift=np.array([0.25, -0.5], "f")),
        lif("n", "bn"),
    ),
    "no synapse at all": events(lif("n", "input")),
    "flattened events": events(
        ops.FlattenNode(name="flat", inputs=("input",)),
        ops.LinearNode(name="fc", inputs=("flat",), weight=weights(5, 60), bias=weights(5)),
        lif("n", "fc"),
    ),
    "a branch and a ReLU": events(
        conv("c", "input", weights(2, 2, 3, 3), padding=(1, 1), bias=weights(2)),
        ops.ReluNode(name="relu", inputs=("c",)),
        ops.AddNode(name="sum", inputs=("relu", "input")),
        lif("n", "sum"),
    ),
    "the same tensor twice": events(ops.AddNode(name="twice", inputs=("input", "input")), lif("n", "twice")),
    "neurons after neurons": events(lif("n", "input"), lif("m", "n", "soft")),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_networks_fed_by_events_give_the_interpreters_spikes_whole_and_in_pieces(case):
    network = NETWORKS[case]
    x = np.random.default_rng(2).integers(0, 2, (7, 3, *network.input.shape)).astype(np.float32)
    expected = interpreter.run(network, x)
    model = build(network, name="n")
    onnx.checker.check_model(model, full_check=True)
    whole = Session(model, also=network.spiking)
    assert list(whole.inputs) == ["input"]
    tensors: dict[str, Any] = {"input": x}
    for part in partition(network).parts:
        tensors |= Session(build(network, part, name="n")).run(tensors)
    found = whole.run({"input": x})
    for layer in network.spiking:
        assert np.array_equal(found[layer], expected[layer])
    assert np.array_equal(found["logits"], tensors["logits"])
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5)


@given(steps=st.integers(1, 40), batch=st.integers(1, 5), seed=st.integers(0, 1000))
def test_a_sequence_may_have_any_length(steps, batch, seed):
    x = np.random.default_rng(seed).integers(0, 2, (steps, batch, 2, 6, 5)).astype(np.float32)
    network = NETWORKS["event convolution"]
    found = Session(build(network, name="n"), also=["n"]).run({"input": x})["n"]
    assert np.array_equal(found, interpreter.run(network, x)["n"])


def test_a_node_without_a_form_is_refused_by_name():
    network = events(ops.FixedPointNeuronNode(name="chip", inputs=("input",), v_decay=0, threshold=1))
    with pytest.raises(UserError, match=r"node chip \(FixedPointNeuron\): has no form in the ONNX export"):
        build(network, name="n")


def test_a_layer_named_like_the_input_of_the_steps_is_refused():
    renamed = Graph(
        [
            ops.InputNode(name="input", shape=(3,)),
            ops.EncodeNode(name="encode", inputs=("input",), steps=2),
            lif("steps", "encode"),
            ops.TimeMeanNode(name="mean", inputs=("steps",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    with pytest.raises(UserError, match=r"node steps: this name is taken .* rename the layer"):
        build(renamed, name="n")
