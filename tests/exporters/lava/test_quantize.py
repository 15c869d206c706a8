"""Integers from a trained body; the interpreter and the simulated chip must agree spike for spike."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.layers import ConvLayer, DenseLayer, FlattenLayer
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import check_hardware
from neurodeploy_exporters.lava.pipeline import run_sequence, run_stream
from neurodeploy_exporters.lava.quantize import QuantizedBody, quantize_body
from neurodeploy_exporters.lava.wiring import stages


def conv(name, source, weight, bias=None, *, stride=None, padding=None, dilation=None, groups=1):
    axes = weight.ndim - 2
    one, none = (1,) * axes, (0,) * axes
    return ops.ConvNode(
        name=name,
        inputs=(source,),
        weight=weight.astype(np.float32),
        bias=None if bias is None else bias.astype(np.float32),
        stride=stride or one,
        padding=padding or none,
        dilation=dilation or one,
        groups=groups,
    )


def linear(name, source, weight, bias=None):
    bias = None if bias is None else bias.astype(np.float32)
    return ops.LinearNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)


def lif(name, source, decay=0.5, threshold=0.5, reset="hard"):
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(decay, threshold, reset))


def events(shape):
    return ops.InputNode(name="x", shape=shape, timed=True)


def closed(*members):
    """A graph of `members` with a mean over time as its head."""
    last = members[-1].name
    return Graph([*members, ops.TimeMeanNode(name="mean", inputs=(last,)), ops.OutputNode(name="out", inputs=("mean",))])


def quantized(graph: Graph) -> QuantizedBody:
    return quantize_body(graph, partition(graph).body)


@st.composite
def chains(draw):
    """A body fed by events: convolutions, pooling, then possibly a flatten and dense layers; and samples for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    axes = draw(st.integers(1, 2))
    shape = (draw(st.integers(1, 3)), *(draw(st.integers(4, 7)) for _ in range(axes)))
    members: list[ops.Node] = [events(shape)]

    def add(node):
        members.append(node)
        return Graph([*members, ops.OutputNode(name="out", inputs=(node.name,))]).shape(node.name)

    def neurons(index):
        decay = draw(st.sampled_from([0.0, 0.25, 0.5, 0.77, 1.0]))
        return lif(f"n{index}", members[-1].name, decay, draw(st.sampled_from([0.3, 0.5, 1.0])))

    for index in range(draw(st.integers(0, 3))):
        if draw(st.booleans()) and min(shape[1:]) >= 4:
            window = draw(st.sampled_from([2, 3]))
            stride = draw(st.integers(1, window))
            pool = {"kernel": (window,) * axes, "stride": (stride,) * axes}
            shape = add(ops.AvgPoolNode(name=f"p{index}", inputs=(members[-1].name,), **pool))
            padding = 0
        else:
            padding = draw(st.integers(0, 2))
        groups = shape[0] if draw(st.booleans()) else 1
        kernel = tuple(draw(st.integers(1, min(3, size))) for size in shape[1:])
        spare = [(size + 2 * padding - 1) // max(1, k - 1) for size, k in zip(shape[1:], kernel, strict=True)]
        dilation = tuple(draw(st.integers(1, min(2, max(1, s)))) for s in spare)
        weight = rng.normal(0, 0.4, (groups * draw(st.integers(1, 3)), shape[0] // groups, *kernel))
        bias = rng.normal(0, 0.2, len(weight)) if draw(st.booleans()) else None
        stride = tuple(draw(st.integers(1, 2)) for _ in range(axes))
        shape = add(
            conv(
                f"c{index}",
                members[-1].name,
                weight,
                bias,
                stride=stride,
                padding=(padding,) * axes,
                dilation=dilation,
                groups=groups,
            )
        )
        shape = add(neurons(index))
    if len(members) == 1 or draw(st.booleans()):
        if draw(st.booleans()) and min(shape[1:]) >= 2:
            shape = add(
                ops.AvgPoolNode(
                    name="p", inputs=(members[-1].name,), kernel=(2,) * axes, stride=(draw(st.integers(1, 2)),) * axes
                )
            )
        shape = add(ops.FlattenNode(name="flat", inputs=(members[-1].name,)))
        for index in range(10, 10 + draw(st.integers(1, 2))):
            weight = rng.normal(0, 0.6, (draw(st.integers(1, 6)), shape[0]))
            bias = rng.normal(0, 0.2, len(weight)) if draw(st.booleans()) else None
            shape = add(linear(f"l{index}", members[-1].name, weight, bias))
            shape = add(neurons(index))
    steps, batch = draw(st.integers(1, 20)), draw(st.integers(1, 3))
    spikes = (rng.random((steps, batch, *members[0].shape)) < draw(st.sampled_from([0.1, 0.4, 0.9]))).astype(np.uint8)
    return closed(*members), spikes


@settings(max_examples=80, deadline=None)
@given(chains())
def test_the_interpreter_and_the_chip_agree_on_every_spike(case):
    graph, spikes = case
    body = quantized(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.net"
        write(body.network, path)
        network = read(path)
    fired = interpreter.spikes(body.graph, interpreter.run(body.graph, spikes))
    replay = run_sequence(network, spikes)
    stream = run_stream(network, spikes)
    assert replay.latency_steps == len(body.layers)
    assert [layer.key for layer in body.layers] == list(replay.spikes)
    for layer in body.layers:
        expected = fired[layer.name]
        assert expected.shape[2:] == layer.shape
        np.testing.assert_array_equal(replay.spikes[layer.key].reshape(expected.shape), expected, err_msg=layer.name)
        np.testing.assert_array_equal(stream.spikes[layer.key].reshape(expected.shape), expected, err_msg=layer.name)


@settings(max_examples=40, deadline=None)
@given(chains())
def test_scaled_integers_are_the_trained_weights_up_to_rounding(case):
    graph, _ = case
    body = quantized(graph)
    check_hardware(body.network)
    synapses = [layer for layer in body.network.layers if isinstance(layer, ConvLayer | DenseLayer)]
    for layer, synapse in zip(body.layers, synapses, strict=True):
        assert np.abs(synapse.weight).sum() > 0
        assert layer.i_decay == 4096
        trained = graph[layer.name].parameters
        assert layer.v_decay == round(4096 * (1 - trained.decay))
        assert abs(layer.threshold - layer.scale * trained.threshold) <= 0.5
        largest = np.abs(synapse.weight).max()
        # every weight is off by at most one unit
        assert layer.synapses[0].weight_error <= np.sqrt(synapse.weight.size) / (largest - 1)


def test_the_scale_search_finds_a_scale_that_rounds_nothing():
    weight = np.array([[0.5, -0.25], [0.125, 1.0]])
    graph = closed(events((2,)), linear("fc", "x", weight, np.array([0.5, -1.0])), lif("n", "fc", 0.75, 0.5))
    (layer,) = quantized(graph).layers
    assert layer.v_decay == 1024
    assert layer.synapses[0].weight_error < 0.01
    assert 127 <= layer.scale <= 254


def test_a_network_in_integers_keeps_nearly_all_spikes_of_the_trained_one():
    rng = np.random.default_rng(3)
    graph = closed(
        events((2, 8, 8)),
        conv("c", "x", rng.normal(0, 0.3, (6, 2, 3, 3)), rng.normal(0, 0.1, 6), padding=(1, 1)),
        lif("n", "c"),
        ops.AvgPoolNode(name="pool", inputs=("n",), kernel=(2, 2), stride=(2, 2)),
        ops.FlattenNode(name="flat", inputs=("pool",)),
        linear("fc", "flat", rng.normal(0, 0.3, (10, 96))),
        lif("m", "fc"),
    )
    spikes = (rng.random((12, 16, 2, 8, 8)) < 0.3).astype(np.uint8)
    body = quantized(graph)
    trained, integers = (interpreter.run(g, spikes) for g in (graph, body.graph))
    for name in ("n", "m"):
        assert 0.05 < trained[name].mean() < 0.95
        assert (trained[name] != integers[name]).mean() < 0.04


def test_average_pooling_folded_into_the_next_synapse_gives_the_same_currents():
    rng = np.random.default_rng(4)
    shape = (2, 9, 8)
    first = ops.AvgPoolNode(name="first", inputs=("x",), kernel=(3, 2), stride=(3, 2))
    second = ops.AvgPoolNode(name="second", inputs=("first",), kernel=(2, 2), stride=(1, 1))
    weight, padded = rng.normal(size=(4, 2, 2, 2)), rng.normal(size=(4, 1, 3, 3))
    dense = rng.normal(size=(5, 2 * 2 * 3))
    for members in (
        [first, second, conv("y", "second", weight, dilation=(1, 2))],
        [first, conv("y", "first", padded, stride=(2, 1), padding=(1, 2), groups=2)],
        [first, second, ops.FlattenNode(name="flat", inputs=("second",)), linear("y", "flat", dense)],
    ):
        plain = closed(events(shape), *members, lif("n", "y"))
        (stage,) = stages(plain, partition(plain).body)
        (afferent,) = stage.afferents
        flatten = [ops.FlattenNode(name="flat", inputs=("x",))] if afferent.flatten else []
        source = "flat" if afferent.flatten else "x"
        synapse = dataclasses.replace(afferent.node, inputs=(source,), weight=afferent.node.weight.astype(np.float32))
        folded = closed(events(shape), *flatten, synapse, lif("n", "y"))
        x = rng.random((2, 3, *shape)).astype(np.float32)
        expected = interpreter.run(plain, x)["y"]
        assert expected.shape == interpreter.run(folded, x)["y"].shape
        np.testing.assert_allclose(interpreter.run(folded, x)["y"], expected, rtol=1e-4, atol=1e-5)


def test_encoder_and_head_are_left_as_they_are():
    rng = np.random.default_rng(0)
    graph = Graph(
        [
            ops.InputNode(name="x", shape=(3, 6, 6)),
            conv("stem", "x", rng.normal(0, 0.5, (4, 3, 3, 3))),
            ops.EncodeNode(name="encode", inputs=("stem",), steps=5),
            lif("first", "encode"),
            conv("c", "first", rng.normal(0, 0.5, (4, 4, 3, 3))),
            lif("second", "c"),
            conv("rep", "second", rng.normal(0, 0.5, (4, 4, 1, 1))),
            ops.ReluNode(name="relu", inputs=("rep",)),
            ops.FlattenNode(name="flat", inputs=("relu",)),
            ops.TimeMeanNode(name="mean", inputs=("flat",)),
            ops.OutputNode(name="out", inputs=("mean",)),
        ]
    )
    body = quantized(graph)
    assert [layer.name for layer in body.layers] == ["second"]
    assert body.network.input_shape == (4, 4, 4)
    changed = {node.name for node in body.graph.nodes if node is not graph[node.name]}
    assert changed == {"c", "second"}
    assert partition(body.graph) == partition(graph)
    image = rng.random((2, 3, 6, 6)).astype(np.float32)
    tensors = interpreter.run(body.graph, image)
    replay = run_sequence(body.network, tensors["first"])
    np.testing.assert_array_equal(replay.spikes["L0_Conv"], tensors["second"])


def test_a_flatten_before_the_first_synapse_is_done_by_the_host():
    graph = closed(
        events((2, 3, 3)), ops.FlattenNode(name="flat", inputs=("x",)), linear("fc", "flat", np.eye(4, 18)), lif("n", "fc")
    )
    body = quantized(graph)
    assert body.network.input_shape == (18,)
    assert not any(isinstance(layer, FlattenLayer) for layer in body.network.layers)


def test_wide_layers_are_scaled_so_that_no_sum_can_wrap():
    graph = closed(events((3000,)), linear("fc", "x", np.full((2, 3000), 0.7)), lif("n", "fc"))
    body = quantized(graph)
    synapse = body.network.layers[1]
    assert isinstance(synapse, DenseLayer)
    assert 60000 < synapse.weight.sum(1).max() <= 131071
    spikes = np.ones((3, 1, 3000), np.uint8)
    np.testing.assert_array_equal(
        run_sequence(body.network, spikes).spikes["L0_Dense"], interpreter.run(body.graph, spikes)["n"]
    )


def test_a_dense_matrix_of_negative_weights_avoids_the_one_value_that_netx_changes():
    graph = closed(events((3,)), linear("fc", "x", -np.ones((2, 3)), np.ones(2)), lif("n", "fc"))
    synapse = quantized(graph).network.layers[1]
    assert isinstance(synapse, DenseLayer)
    assert synapse.weight.min() >= -254


RNG = np.random.default_rng(1)
SQUARE = RNG.normal(size=(2, 2, 3, 3))
REFUSED = {
    "soft reset": (
        [conv("c", "x", SQUARE), lif("n", "c", reset="soft")],
        r'node n: reset "soft" found; .* retrain the network',
    ),
    "max pooling": (
        [
            conv("c", "x", SQUARE),
            lif("n", "c"),
            ops.MaxPoolNode(name="max", inputs=("n",), kernel=(2, 2), stride=(2, 2)),
            conv("d", "max", RNG.normal(size=(2, 2, 1, 1))),
            lif("m", "d"),
        ],
        r"node max: max pooling .* average pooling",
    ),
    "ReLU": (
        [conv("c", "x", SQUARE), ops.ReluNode(name="relu", inputs=("c",)), lif("n", "relu")],
        r"node relu: a ReLU .* spiking neurons",
    ),
    "batch norm": (
        [
            ops.BatchNormNode(name="bn", inputs=("x",), scale=np.ones(2, np.float32), shift=np.ones(2, np.float32)),
            conv("c", "bn", SQUARE),
            lif("n", "c"),
        ],
        r"node bn: batch norm",
    ),
    "pooling before the neurons": (
        [
            conv("c", "x", SQUARE),
            ops.AvgPoolNode(name="avg", inputs=("c",), kernel=(2, 2), stride=(2, 2)),
            lif("n", "avg"),
        ],
        r"node avg: average pooling after the synapse c",
    ),
    "pooling next to padding": (
        [
            ops.AvgPoolNode(name="avg", inputs=("x",), kernel=(2, 2), stride=(1, 1)),
            conv("c", "avg", SQUARE, padding=(1, 1)),
            lif("n", "c"),
        ],
        r"node avg: .* cannot be folded into c, whose padding is 1",
    ),
    "zero weights": ([conv("c", "x", np.zeros((2, 2, 3, 3))), lif("n", "c")], r"node c: all weights are zero"),
    "infinite weights": (
        [conv("c", "x", np.full((2, 2, 3, 3), np.inf)), lif("n", "c")],
        r"node c: weights that are not finite",
    ),
    "a bias that dwarfs the weights": (
        [conv("c", "x", SQUARE * 1e-6, np.ones(2) * 1e3), lif("n", "c")],
        r"node c: its weights .* round to zero",
    ),
    "two synapses": ([conv("c", "x", SQUARE), conv("d", "c", SQUARE), lif("n", "d")], r"node d: a second synapse after c"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_body_without_a_form_on_loihi_is_refused_by_the_name_of_its_layer(case):
    members, message = REFUSED[case]
    graph = closed(events((2, 7, 7)), *members)
    with pytest.raises(UserError, match=message):
        quantized(graph)


def test_a_network_without_a_body_is_refused():
    graph = Graph(
        [
            ops.InputNode(name="x", shape=(4,)),
            linear("fc", "x", np.eye(4)),
            ops.EncodeNode(name="encode", inputs=("fc",), steps=3),
            lif("n", "encode"),
            ops.TimeMeanNode(name="mean", inputs=("n",)),
            ops.OutputNode(name="out", inputs=("mean",)),
        ]
    )
    with pytest.raises(UserError, match="only the first layer spikes"):
        quantized(graph)


def test_a_quantised_body_is_quantised_to_itself():
    body = quantized(closed(events((2,)), linear("fc", "x", np.array([[1.0, 0.3], [0.0, 1.0]])), lif("n", "fc")))
    again = quantized(body.graph)
    assert differences(body.graph, again.graph) == ()
    assert [layer.scale for layer in again.layers] == [1.0]


def test_a_body_that_reads_two_tensors_is_refused():
    graph = closed(events((2,)), linear("fc", "x", np.eye(2)), lif("n", "fc"))
    part = partition(graph).body
    assert part is not None
    with pytest.raises(UserError, match="reads 2 tensors"):
        quantize_body(graph, dataclasses.replace(part, inputs=("x", "y")))
