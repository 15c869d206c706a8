"""Random networks with branches, strides, groups, pools and moved values: interpreter, torch and ONNX Runtime fire the same
spikes, also in parts and in chunks; NIR files and ONNX models give them back.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import nir
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.graph import read_graph
from neurodeploy_exporters.onnx.stepping import build_step, run_steps, step_model

Draw = Callable[[st.SearchStrategy[Any]], Any]


class _Growing:
    """A graph in the making: its nodes, their shapes, and which of them are sequences over time."""

    def __init__(self, draw: Draw) -> None:
        self.draw, self.members = draw, list[ops.Node]()
        self.shapes, self.timed = dict[str, tuple[int, ...]](), dict[str, bool]()
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def add(self, node: ops.Node, *, timed: bool = True) -> str:
        self.shapes[node.name] = node.checked_shape([self.shapes[source] for source in node.inputs])
        self.timed[node.name] = timed
        self.members.append(node)
        return node.name

    def weights(self, *shape: int) -> np.ndarray:
        return self.rng.normal(0, 0.6, shape).astype(np.float32)

    def name(self, kind: str) -> str:
        return f"{kind}{len(self.members)}"


def _conv(g: _Growing, source: str) -> ops.Node:
    channels, axes = g.shapes[source][0], len(g.shapes[source]) - 1
    groups = g.draw(st.sampled_from([n for n in (1, 2, 3, 4) if channels % n == 0]))
    outputs = groups * g.draw(st.integers(1, 3))
    each = st.tuples(*[st.integers(1, 3)] * axes)
    few = st.tuples(*[st.integers(1, 2)] * axes)
    return ops.ConvNode(
        name=g.name("conv"),
        inputs=(source,),
        weight=g.weights(outputs, channels // groups, *g.draw(each)),
        bias=g.draw(st.sampled_from([None, g.weights(outputs)])),
        stride=g.draw(few),
        padding=g.draw(st.tuples(*[st.integers(0, 2)] * axes)),
        dilation=g.draw(few),
        groups=groups,
    )


def _avg_pool(g: _Growing, source: str) -> ops.Node:
    axes = len(g.shapes[source]) - 1
    kernel = g.draw(st.tuples(*[st.sampled_from((1, 2))] * axes))  # averages over 2 or 4 values are exact
    stride = g.draw(st.tuples(*[st.integers(1, 2)] * axes))
    return ops.AvgPoolNode(name=g.name("avg"), inputs=(source,), kernel=kernel, stride=stride, padding=_padding(g, kernel))


def _padding(g: _Growing, kernel: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(g.draw(st.tuples(*[st.integers(0, k - 1)] * 2)) for k in kernel)


def _max_pool(g: _Growing, source: str) -> ops.Node:
    each = st.tuples(*[st.integers(1, 3)] * (len(g.shapes[source]) - 1))
    kernel = g.draw(each)
    return ops.MaxPoolNode(
        name=g.name("max"), inputs=(source,), kernel=kernel, stride=g.draw(each), padding=_padding(g, kernel)
    )


def _neuron(g: _Growing, source: str) -> ops.Node:
    parameters = NeuronParameters(
        g.draw(st.sampled_from((0.0, 0.3, 0.5, 0.9, 1.0))),
        g.draw(st.sampled_from((0.25, 0.5, 1.0))),
        g.draw(st.sampled_from(RESETS)),
    )
    return ops.NeuronNode(name=g.name("fire"), inputs=(source,), parameters=parameters)


def _cuba(g: _Growing, source: str) -> ops.Node:
    low_pass = ops.LowPassNode(name=g.name("current"), inputs=(source,), decay=g.draw(st.sampled_from((0.0, 0.5, 0.7, 1.0))))
    return _neuron(g, g.add(low_pass))


def _delay(g: _Growing, source: str) -> ops.Node:
    return ops.DelayNode(name=g.name("late"), inputs=(source,), steps=g.draw(st.integers(1, 3)))


def _relu(g: _Growing, source: str) -> ops.Node:
    return ops.ReluNode(name=g.name("relu"), inputs=(source,), ceiling=g.draw(st.sampled_from((None, 0.5, 1.0, 6.0))))


def _pad(g: _Growing, source: str) -> ops.Node:
    pads = g.draw(st.tuples(*[st.tuples(*[st.integers(0, 2)] * 2)] * len(g.shapes[source])))
    return ops.PadNode(name=g.name("pad"), inputs=(source,), pads=pads)


def _slice(g: _Growing, source: str) -> ops.Node:
    starts = tuple(g.draw(st.integers(0, size - 1)) for size in g.shapes[source])
    stops = tuple(g.draw(st.integers(start + 1, size)) for start, size in zip(starts, g.shapes[source], strict=True))
    steps = g.draw(st.tuples(*[st.integers(1, 2)] * len(starts)))
    return ops.SliceNode(name=g.name("slice"), inputs=(source,), starts=starts, stops=stops, steps=steps)


def _concat(g: _Growing, source: str) -> ops.Node:
    shape = g.shapes[source]
    axis = g.draw(st.integers(0, len(shape) - 1))
    fitting = [
        name
        for name, other in g.shapes.items()
        if g.timed[name] and (*other[:axis], *other[axis + 1 :]) == (*shape[:axis], *shape[axis + 1 :])
    ]
    others = g.draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=2))
    return ops.ConcatNode(name=g.name("join"), inputs=(source, *others), axis=axis)


def _permute(g: _Growing, source: str) -> ops.Node:
    order = g.draw(st.permutations(range(len(g.shapes[source]))).map(tuple))
    return ops.PermuteNode(name=g.name("turn"), inputs=(source,), order=order)


def _reshape(g: _Growing, source: str) -> ops.Node:
    return ops.ReshapeNode(name=g.name("shape"), inputs=(source,), shape=g.draw(st.permutations(g.shapes[source]).map(tuple)))


def _conv_transpose(g: _Growing, source: str) -> ops.Node:
    channels, axes = g.shapes[source][0], len(g.shapes[source]) - 1
    stride, few = g.draw(st.tuples(*[st.integers(1, 2)] * axes)), st.tuples(*[st.integers(1, 2)] * axes)
    return ops.ConvTransposeNode(
        name=g.name("up"),
        inputs=(source,),
        weight=g.weights(channels, g.draw(st.integers(1, 2)), *g.draw(few)),
        stride=stride,
        padding=g.draw(st.tuples(*[st.integers(0, 1)] * axes)),
        output_padding=tuple(g.draw(st.integers(0, s - 1)) for s in stride),
        dilation=g.draw(few),
        groups=g.draw(st.sampled_from([n for n in (1, 2) if channels % n == 0])),
    )


def _add(g: _Growing, source: str) -> ops.Node:
    alike = [name for name, shape in g.shapes.items() if shape == g.shapes[source] and g.timed[name]]
    return ops.AddNode(name=g.name("sum"), inputs=(source, g.draw(st.sampled_from(alike))))


_MOVES = (_pad, _slice, _concat, _permute, _reshape)
_KINDS = (_conv, _conv, _neuron, _neuron, _add, _avg_pool, _max_pool, _cuba, _delay, _relu, *_MOVES, _conv_transpose)


@st.composite
def graphs(draw: Draw) -> Graph:
    """Up to nine layers, each on any tensor before it; all loose ends meet in the logits."""
    g = _Growing(draw)
    sizes = draw(st.sampled_from([(6,), (5, 4), (4, 6)]))
    static = draw(st.booleans())
    source = g.add(ops.InputNode(name="input", shape=(draw(st.integers(1, 4)), *sizes), timed=not static), timed=not static)
    if static:
        if draw(st.booleans()):
            source = g.add(_fitting(g, _conv, source), timed=False)
        source = g.add(ops.EncodeNode(name="encode", inputs=(source,), steps=3))
    source = g.add(_fitting(g, _conv, source))
    source = g.add(_neuron(g, source))
    for _ in range(draw(st.integers(0, 8))):
        timed = [name for name in g.shapes if g.timed[name] and name not in ("input", "encode")]
        g.add(_fitting(g, draw(st.sampled_from(_KINDS)), draw(st.sampled_from(timed))))
    read = {name for node in g.members for name in node.inputs}
    total = None
    for end in [name for name in g.shapes if name not in read]:
        flat = g.add(ops.FlattenNode(name=g.name("flat"), inputs=(end,)))
        values = g.add(ops.LinearNode(name=g.name("fc"), inputs=(flat,), weight=g.weights(3, g.shapes[flat][0])))
        total = values if total is None else g.add(ops.AddNode(name=g.name("total"), inputs=(total, values)))
    mean = ops.TimeMeanNode(name="mean", inputs=(total,))
    g.add(mean, timed=False)
    g.add(ops.OutputNode(name="logits", inputs=("mean",)), timed=False)
    return Graph(g.members)


def _fitting(g: _Growing, make: Callable[[_Growing, str], ops.Node], source: str) -> ops.Node:
    node = make(g, source)
    try:
        node.checked_shape([g.shapes[name] for name in node.inputs])
    except UserError:
        assume(False)
    return node


@st.composite
def exact_graphs(draw: Draw) -> Graph:
    """Those whose sums are exact in float32, so that all must agree on every spike."""
    try:
        return to_grid(draw(graphs()))
    except UserError:
        assume(False)
        raise


@st.composite
def samples(draw: Draw, graph: Graph) -> np.ndarray:
    """Images in 1/256, or events."""
    leading = (draw(st.integers(1, 6)), draw(st.integers(1, 3))) if graph.input.timed else (draw(st.integers(1, 3)),)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (*leading, *graph.input.shape)
    return (rng.integers(0, 2, shape) if graph.input.timed else rng.integers(0, 257, shape) / 256).astype(np.float32)


MANY = settings(
    max_examples=60, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
)


@MANY
@given(data=st.data())
def test_interpreter_torch_and_onnx_runtime_fire_the_same_spikes(data):
    graph = data.draw(exact_graphs())
    x = data.draw(samples(graph))
    expected = interpreter.run(graph, x)
    model = build(graph, name="random")
    onnx.checker.check_model(model, full_check=True)
    found = Session(model, also=graph.spiking).run({"input": x}, steps=graph.steps)
    module = GraphModule(graph)
    emitted = dict[str, torch.Tensor]()
    for name in graph.spiking:
        module.get_submodule(name).register_forward_hook(lambda _m, _x, y, name=name: emitted.__setitem__(name, y))
    with torch.no_grad():
        logits = module(torch.from_numpy(x))
    for name in graph.spiking:
        assert np.array_equal(found[name], expected[name]), name
        assert np.array_equal(emitted[name].numpy(), expected[name]), name
    largest = max(1.0, float(np.abs(expected["logits"]).max()))
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5 * largest)
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-5 * largest)


@MANY
@given(data=st.data())
def test_the_parts_of_a_random_network_give_what_the_whole_gives_bit_for_bit(data):
    graph = data.draw(exact_graphs())
    x = data.draw(samples(graph))
    try:
        parts = partition(graph).parts
    except UserError:  # values that are no spikes would leave a part
        assume(False)
    whole = Session(build(graph, name="random"), also=graph.spiking).run({"input": x}, steps=graph.steps)
    tensors: dict[str, np.ndarray] = {"input": x}
    for part in parts:
        inside = [name for name in graph.spiking if name in part.members]
        tensors |= Session(build(graph, part, name=part.name), also=inside).run(tensors, steps=graph.steps or len(x))
    for name, values in whole.items():
        assert np.array_equal(tensors[name], values), name


@MANY
@given(data=st.data())
def test_a_random_network_may_be_fed_in_chunks_of_any_length(data):
    graph = data.draw(exact_graphs())
    x = data.draw(samples(graph))
    steps = graph.steps or len(x)
    expected = interpreter.run(graph, x)
    session = Session(build(graph, name="random", streaming=True), also=graph.spiking)
    assume(session.states)
    stream, found, start = session.stream(), dict[str, list[np.ndarray]](), 0
    while start < steps:
        chunk = data.draw(st.integers(1, steps - start))
        answer = stream.step(x[start : start + chunk]) if graph.input.timed else stream.step(x, steps=chunk)
        for name in graph.spiking:
            found.setdefault(name, []).append(answer.tensors[name])
        start += chunk
    for name in graph.spiking:
        assert np.array_equal(np.concatenate(found[name]), expected[name]), name
    largest = max(1.0, float(np.abs(expected["logits"]).max()))
    np.testing.assert_allclose(answer.logits, expected["logits"], atol=1e-5 * largest)


@MANY
@given(data=st.data())
def test_a_model_of_one_step_called_step_after_step_fires_the_same_spikes(data):
    graph = data.draw(exact_graphs())
    x, batch = data.draw(samples(graph)), data.draw(st.integers(1, 3))
    expected = interpreter.run(graph, x)
    model = build_step(graph, name="random", batch=batch)
    onnx.checker.check_model(model, full_check=True)
    session = Session(model, also=graph.spiking)
    found = run_steps(session, step_model(graph, None, model), {"input": x}, graph.steps or len(x), graph.spiking)
    for name in graph.spiking:
        assert np.array_equal(found[name], expected[name]), name
    largest = max(1.0, float(np.abs(expected["logits"]).max()))
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5 * largest)


@MANY
@given(data=st.data())
def test_a_random_network_comes_back_from_a_nir_file_as_it_was_or_is_refused_by_name(data, tmp_path_factory):
    graph = data.draw(exact_graphs())
    path = tmp_path_factory.mktemp("nir") / "random.nir"
    refusal = None
    try:
        nir.write(graph, path)
    except nir.NoNirForm as error:
        refusal = str(error)
    if refusal is None:
        assert differences(nir.read(path), graph) == ()
    else:
        assert refusal.startswith("node ")
        assert not path.exists()


@MANY
@given(data=st.data())
def test_a_random_network_comes_back_from_an_onnx_model_as_it_was(data, as_stored, tmp_path_factory):
    graph = as_stored(data.draw(graphs()))
    streaming, counts = data.draw(st.booleans()), data.draw(st.booleans())
    path = tmp_path_factory.mktemp("onnx") / "random.onnx"
    path.write_bytes(build(graph, name="random", streaming=streaming, spike_counts=counts).SerializeToString())
    assert differences(read_graph(path), graph) == ()
