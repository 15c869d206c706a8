"""On the grid every sum is exact, so torch, ONNX Runtime and the interpreter fire the same spikes, bit for bit."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.graph import Graph, fold_batch_norm, interpreter, ops
from neurodeploy.graph.grid import grid_layers, grid_node, to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.networks import ConvNetSpec, ResNetSpec, SpikingActivations
from neurodeploy_exporters.onnx import Session, build

seeds = st.integers(0, 2**32 - 1)
neurons = st.builds(
    NeuronParameters,
    decay=st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1)),
    threshold=st.one_of(st.sampled_from([0.25, 0.5, 1.0]), st.floats(0.1, 2.0)),
    reset=st.sampled_from(RESETS),
)
widths = st.integers(1, 6)


@st.composite
def networks(draw) -> Graph:
    """A network of the package, its batch norms filled with data and folded."""
    if draw(st.booleans()):
        channels = draw(st.lists(widths, min_size=2, max_size=4).map(tuple))
        spec = ConvNetSpec(channels=channels, strides=tuple(draw(st.integers(1, 2)) for _ in channels))
    else:
        channels = draw(st.lists(widths, min_size=1, max_size=2).map(tuple))
        spec = ResNetSpec(channels=channels, blocks=tuple(draw(st.integers(1, 2)) for _ in channels))
    torch.manual_seed(draw(seeds))
    activations = SpikingActivations(partial(Neuron, draw(neurons)), draw(st.integers(1, 6)), draw(st.booleans()))
    network: nn.Module = spec.build(1, 5, activations)
    for _ in range(3):
        network(torch.rand(16, 1, 8, 8))
    return fold_batch_norm(trace(network.eval(), (1, 8, 8)))


class Builder:
    """A graph made node by node; every method adds one and remembers it as the last."""

    def __init__(self, entry: ops.Node, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.members = [entry]

    @property
    def last(self) -> str:
        return self.members[-1].name

    @property
    def shape(self) -> tuple[int, ...]:
        return Graph([*self.members, ops.OutputNode(name="probe", inputs=(self.last,))]).shape(self.last)

    def add(self, kind: type, *sources: str, **fields: object) -> str:
        name = f"{kind.__name__.removesuffix('Node').lower()}{len(self.members)}"
        self.members.append(kind(name=name, inputs=sources or (self.last,), **fields))
        return name

    def conv(
        self,
        channels: int,
        kernel: int,
        stride: int,
        padding: int,
        dilation: int,
        groups: int,
        bias: bool,
        source: str | None = None,
    ) -> str:
        source = source or self.last
        inputs = Graph([*self.members, ops.OutputNode(name="probe", inputs=(source,))]).shape(source)[0] // groups
        weight = self.rng.normal(size=(channels, inputs, kernel, kernel)) / np.sqrt(inputs * kernel**2) * 2
        offset = self.rng.normal(size=channels).astype(np.float32) / 4 if bias else None
        pair = {"stride": stride, "padding": padding, "dilation": dilation}
        spread = {name: (value, value) for name, value in pair.items()}
        return self.add(ops.ConvNode, source, weight=weight.astype(np.float32), bias=offset, groups=groups, **spread)

    def linear(self, outputs: int, step: float = 0.0) -> str:
        inputs = self.shape[0]
        weight, bias = self.rng.normal(size=(outputs, inputs)) / np.sqrt(inputs) * 2, self.rng.normal(size=outputs) / 4
        if step:
            weight, bias = np.rint(weight / step) * step, np.rint(bias / step) * step
        return self.add(ops.LinearNode, weight=weight.astype(np.float32), bias=bias.astype(np.float32))


@st.composite
def graphs(draw) -> Graph:
    """Convolutions in groups, strides, dilation, branches, pools, ReLU; static or event input; a head of dyadic weights."""
    timed, groups = draw(st.booleans()), draw(st.integers(1, 2))
    b = Builder(ops.InputNode(name="input", shape=(2, 7, 8), timed=timed), draw(seeds))
    if not timed and draw(st.booleans()):
        b.add(ops.EncodeNode, steps=4)
    for _ in range(draw(st.integers(1, 3))):
        source, kernel, dilation = b.last, draw(st.integers(1, 3)), draw(st.integers(1, 2))
        geometry = (4, kernel, draw(st.integers(1, 2)), dilation * (kernel - 1), dilation, groups)
        b.conv(*geometry, draw(st.booleans()))
        if draw(st.booleans()):
            first, second = b.last, b.conv(*geometry, True, source=source)
            b.add(ops.AddNode, first, second)
            if draw(st.booleans()):
                b.add(ops.ReluNode)
        if min(b.shape[1:]) >= 4 and draw(st.booleans()):
            b.add(draw(st.sampled_from([ops.AvgPoolNode, ops.MaxPoolNode])), kernel=(2, 2), stride=(2, 1))
        if not timed and not any(isinstance(node, ops.EncodeNode) for node in b.members):
            b.add(ops.EncodeNode, steps=4)
        b.add(ops.NeuronNode, parameters=draw(neurons))
    b.add(ops.FlattenNode)
    b.linear(3, step=2**-6)
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    return Graph(b.members)


def inputs_of(graph: Graph, seed: int, batch: int = 3) -> np.ndarray:
    """Pixels that are multiples of 2⁻⁸, or events over four steps."""
    rng = np.random.default_rng(seed)
    if graph.input.timed:
        return rng.integers(0, 2, (4, batch, *graph.input.shape)).astype(np.float32)
    return (rng.integers(0, 257, (batch, *graph.input.shape)) / 256).astype(np.float32)


def fired_in_torch(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes and logits of the graph's torch module."""
    module, fired = GraphModule(graph), {}
    for name in graph.spiking:
        layer = module.get_submodule(name)
        layer.register_forward_hook(lambda _module, _inputs, output, name=name: fired.update({name: output.numpy()}))
    with torch.no_grad():
        fired[graph.output.name] = module(torch.from_numpy(x)).numpy()
    return fired


def answers(graph: Graph, x: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """What the other two ways of computing the network answer."""
    yield fired_in_torch(graph, x)
    yield Session(build(graph, name="test"), also=graph.spiking).run({graph.input.name: x}, steps=graph.steps)


@settings(max_examples=40)
@given(networks(), seeds)
def test_the_packages_networks_fire_the_same_spikes_in_numpy_torch_and_onnx(graph, seed):
    exact, x = to_grid(graph), inputs_of(graph, seed)
    expected = interpreter.run(exact, x)
    for answer in answers(exact, x):
        for layer in exact.spiking:
            assert np.array_equal(answer[layer], expected[layer]), layer
        np.testing.assert_allclose(answer["logits"], expected["logits"], rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(graphs(), seeds)
def test_a_network_whose_head_is_exact_too_gives_the_same_logits_bit_for_bit(graph, seed):
    exact, x = to_grid(graph), inputs_of(graph, seed)
    expected = interpreter.run(exact, x)
    for answer in answers(exact, x):
        for name in (*exact.spiking, exact.output.name):
            assert np.array_equal(answer[name], expected[name]), name


def test_the_networks_of_the_properties_above_do_fire():
    rates = []

    @settings(max_examples=25, database=None)
    @given(st.one_of(networks(), graphs()), seeds)
    def collect(graph, seed):
        tensors = interpreter.run(to_grid(graph), inputs_of(graph, seed))
        rates.append(np.mean([tensors[layer].mean() for layer in graph.spiking]))

    collect()
    assert 0.05 < np.median(rates) < 0.6


@given(graphs())
def test_weights_have_eight_bits_and_biases_lie_on_half_steps(graph):
    exact = to_grid(graph)
    layers = grid_layers(graph, exact)
    before = {name for neuron in graph.spiking for name in graph.ancestors(neuron)}
    assert [layer.name for layer in layers] == [
        n.name for n in graph.of(ops.ConvNode) + graph.of(ops.LinearNode) if n.name in before
    ]
    for layer in layers:
        node, trained, step = exact[layer.name], graph[layer.name], 2.0**-layer.exponent
        integers = node.weight.astype(np.float64) / step
        assert np.array_equal(integers, np.rint(integers))
        assert 64 <= np.abs(integers).max() <= 127  # a larger k would need nine bits
        assert layer.weight_error == np.abs(node.weight - trained.weight).max() <= step / 2
        if node.bias is not None:
            halves = node.bias.astype(np.float64) / step * 2
            assert np.array_equal(halves, np.rint(halves))
            assert np.abs(node.bias - trained.bias).max() <= step / 4


@given(graphs())
def test_a_network_on_the_grid_stays_as_it_is(graph):
    exact = to_grid(graph)
    again = to_grid(exact)
    for node in exact.nodes:
        if isinstance(node, ops.ConvNode | ops.LinearNode):
            assert np.array_equal(node.weight, again[node.name].weight)


def test_the_head_keeps_its_trained_weights():
    b = Builder(ops.InputNode(name="input", shape=(5,), timed=True), 0)
    body = b.linear(4)
    b.add(ops.NeuronNode, parameters=NeuronParameters())
    head = b.linear(3)
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    graph = Graph(b.members)
    exact = to_grid(graph)
    assert exact[head] is graph[head]
    assert not np.array_equal(exact[body].weight, graph[body].weight)


def wide(inputs: int, *, timed: bool) -> Graph:
    """One neuron that reads `inputs` values with weights of 127 units."""
    b = Builder(ops.InputNode(name="input", shape=(inputs,), timed=timed), 0)
    b.add(ops.LinearNode, weight=np.full((1, inputs), 127, np.float32))
    if not timed:
        b.add(ops.EncodeNode, steps=1)
    else:
        b.add(ops.NeuronNode, parameters=NeuronParameters())
        b.add(ops.LinearNode, weight=np.ones((1, 1), np.float32))
    b.add(ops.NeuronNode, parameters=NeuronParameters())
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    return Graph(b.members)


@pytest.mark.parametrize("timed", [False, True])
def test_inputs_are_rounded_to_as_many_bits_as_the_sums_of_the_widest_layer_leave(timed):
    largest = 2**24 // (2 * 127 * 256)  # half steps of the grid, pixels of 2⁻⁸
    assert grid_node(to_grid(wide(largest, timed=timed))) is None
    for inputs, bits in ((largest + 1, 7), (2 * largest, 7), (2 * largest + 1, 6), (2**24 // (2 * 127 * 2), 1)):
        node = grid_node(to_grid(wide(inputs, timed=timed)))
        assert (node.exponent, node.largest) == (bits, 2**bits)


@pytest.mark.parametrize("timed", [False, True])
def test_a_layer_whose_sums_leave_float32s_exact_integers_is_refused_by_name(timed):
    largest = 2**24 // (2 * 127 * 2)  # half steps of the grid, inputs of 1 bit
    with pytest.raises(
        UserError,
        match=r"node linear1: its sums could reach .* even with inputs of one bit, above the 16,777,216 .*",
    ):
        to_grid(wide(largest + 1, timed=timed))


def test_the_widest_accepted_layer_adds_up_exactly_in_any_order():
    graph = to_grid(wide(258, timed=False))
    rng = np.random.default_rng(0)
    weight = graph["linear1"].weight[0]
    for _ in range(50):
        x = (rng.integers(200, 257, 258) / 256).astype(np.float32)
        total = np.float32(0)
        for i in rng.permutation(258):
            total += weight[i] * x[i]
        assert total == np.dot(weight.astype(np.float64), x.astype(np.float64))


def test_a_bias_that_dwarfs_the_weights_is_refused():
    b = Builder(ops.InputNode(name="input", shape=(2,), timed=True), 0)
    b.add(ops.LinearNode, weight=np.full((1, 2), 1e-6, np.float32), bias=np.ones(1, np.float32))
    b.add(ops.NeuronNode, parameters=NeuronParameters())
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    with pytest.raises(UserError, match="node linear1: its sums could reach"):
        to_grid(Graph(b.members))


def test_residual_sums_add_the_ranges_of_both_branches():
    """Each branch fits; their sum, on the finer of the two grids, does not."""
    b = Builder(ops.InputNode(name="input", shape=(4,), timed=True), 0)
    fine = b.add(ops.LinearNode, weight=np.full((4, 4), 127 / 2**14, np.float32))
    coarse = b.add(ops.LinearNode, "input", weight=np.full((4, 4), 127 * 2**5, np.float32))
    b.add(ops.AddNode, fine, coarse)
    b.add(ops.NeuronNode, parameters=NeuronParameters())
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    with pytest.raises(UserError, match="node add3: its sums could reach"):
        to_grid(Graph(b.members))


ONE = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (ops.BatchNormNode, {"scale": ONE * np.inf, "shift": ONE}, "node batchnorm1: weights that are not finite"),
        (
            ops.AvgPoolNode,
            {"kernel": (3, 3), "stride": (3, 3)},
            "node avgpool1: an average over 9 values is no binary fraction",
        ),
        (
            ops.ConvNode,
            {
                "weight": np.full((2, 2, 1, 1), np.nan, np.float32),
                "stride": (1, 1),
                "padding": (0, 0),
                "dilation": (1, 1),
            },
            "node conv1: weights that are not finite",
        ),
    ],
)
def test_a_node_without_an_exact_form_is_refused_by_name(kind, fields, message):
    b = Builder(ops.InputNode(name="input", shape=(2, 6, 6), timed=True), 0)
    b.add(kind, **fields)
    b.add(ops.NeuronNode, parameters=NeuronParameters())
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    with pytest.raises(UserError, match=message):
        to_grid(Graph(b.members))


def test_a_mean_over_time_before_a_spiking_layer_has_no_exact_form():
    b = Builder(ops.InputNode(name="input", shape=(2,), timed=True), 0)
    b.add(ops.TimeMeanNode)
    b.add(ops.EncodeNode, steps=3)
    b.add(ops.NeuronNode, parameters=NeuronParameters())
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    with pytest.raises(UserError, match=r"node timemean1 \(TimeMean\): has no exact form before a spiking layer"):
        to_grid(Graph(b.members))


def test_a_network_without_spikes_has_no_grid():
    b = Builder(ops.InputNode(name="input", shape=(2,)), 0)
    b.linear(2)
    b.add(ops.OutputNode)
    with pytest.raises(UserError, match="no spiking layer found"):
        to_grid(Graph(b.members))


def test_a_layer_of_zeros_is_left_alone():
    b = Builder(ops.InputNode(name="input", shape=(2,), timed=True), 0)
    b.add(ops.LinearNode, weight=np.zeros((2, 2), np.float32), bias=np.array([0.5, -1.0], np.float32))
    b.add(ops.NeuronNode, parameters=NeuronParameters())
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    exact = to_grid(Graph(b.members))["linear1"]
    assert not exact.weight.any()
    assert exact.bias.tolist() == [0.5, -1.0]


def test_the_grid_leaves_the_graph_that_it_was_given_unchanged():
    b = Builder(ops.InputNode(name="input", shape=(3,), timed=True), 1)
    name = b.linear(2)
    b.add(ops.NeuronNode, parameters=NeuronParameters())
    b.add(ops.TimeMeanNode)
    b.add(ops.OutputNode)
    graph = Graph(b.members)
    before = graph[name].weight.copy()
    to_grid(graph)
    assert np.array_equal(graph[name].weight, before)


def with_current(reader):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 3)).astype(np.float32)
    other = rng.normal(size=(4, 3 if reader == "input" else 4)).astype(np.float32)
    return Graph(
        [
            ops.InputNode(name="input", shape=(3,), timed=True),
            ops.LinearNode(name="first", inputs=("input",), weight=weight),
            ops.LowPassNode(name="current", inputs=("first",), decay=0.7),
            ops.LinearNode(name="synapse", inputs=(reader,), weight=other),
            ops.NeuronNode(name="cuba", inputs=("current",), parameters=NeuronParameters(0.9, 0.5)),
            ops.AddNode(name="sum", inputs=("cuba", "synapse")),
            ops.NeuronNode(name="last", inputs=("sum",), parameters=NeuronParameters()),
            ops.TimeMeanNode(name="mean", inputs=("last",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def test_a_synaptic_current_has_an_exact_form_where_neurons_alone_read_it():
    assert np.array_equal(to_grid(with_current("input"))["current"].decay, 0.7)
    with pytest.raises(UserError, match="node synapse: reads the synaptic current current, which decays off the exact grid"):
        to_grid(with_current("current"))
