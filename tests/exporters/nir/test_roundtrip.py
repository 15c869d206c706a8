"""A graph written as a NIR file and read again is the same graph, bit for bit, and NIR's own package reads the file."""

import json
from functools import partial

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.dynamics.layers import CubaNeuron, ParametricNeuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, fold_batch_norm, interpreter, ops, partition
from neurodeploy.graph.grid import grid_layers, to_grid
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy.networks import SpikingActivations
from neurodeploy_exporters.nir import NoNirForm, read, read_with_conventions, write
from neurodeploy_exporters.nir.content import load
from neurodeploy_exporters.nir.target import graph_of

NEURONS = {
    "lif hard": {"decay": 0.25},
    "lif soft": {"decay": 0.9, "reset": "soft"},
    "if hard": {"decay": 1.0, "threshold": 1.0},
    "if soft": {"decay": 1.0, "reset": "soft"},
}


def traced(small, activations, timed=False):
    return fold_batch_norm(trace(small.build(activations, trained=not timed).eval(), small.shape, timed=timed))


def expressible(graph):
    """The graph, or where NIR cannot express all of it, its spiking body; and what leaves it beside its output."""
    if graph.of(ops.ReluNode) or any(
        not isinstance(graph[node.inputs[0]], ops.NeuronNode) for node in graph.of(ops.MaxPoolNode)
    ):
        body = partition(graph).body
        return graph_of(graph, body), body.outputs[:-1]
    return graph, ()


@pytest.mark.parametrize(("kind", "repact"), [*((kind, False) for kind in NEURONS), ("lif hard", True)])
def test_every_network_comes_back_equal(small, small_named, spiking, tmp_path, kind, repact):
    if repact and small is small_named("resnet ms"):
        pytest.skip("has no partition: its currents bypass the neurons")
    graph, outputs = expressible(traced(small, spiking(repact=repact, **NEURONS[kind])))
    write(graph, tmp_path / "x.nir", outputs=outputs)
    reading = read_with_conventions(tmp_path / "x.nir")
    assert differences(graph, reading.graph) == ()
    assert reading.outputs == outputs
    assert len(nir.read(tmp_path / "x.nir").nodes) >= len(graph.spiking)  # its types fit, as NIR's package sees them


def test_networks_of_event_frames_come_back_equal(small, spiking, tmp_path):
    graph, outputs = expressible(traced(small, spiking(4, "events"), timed=True))
    write(graph, tmp_path / "x.nir", outputs=outputs)
    assert differences(graph, read(tmp_path / "x.nir")) == ()


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("current_decay", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_current_based_neurons_come_back_equal(small_named, tmp_path, reset, current_decay, decay):
    make = partial(CubaNeuron, NeuronParameters(decay, 0.5, reset), current_decay=current_decay)
    graph = traced(small_named("conv"), SpikingActivations(make, 3, False, "direct"))
    write(graph, tmp_path / "x.nir")
    assert differences(graph, read(tmp_path / "x.nir")) == ()
    kinds = [node.kind for node in load(tmp_path / "x.nir").nodes.values()]
    assert kinds.count("CubaLIF") == (3 if decay < 1 and current_decay < 1 else 0)


def test_learned_leaks_and_thresholds_come_back_equal(small_named, tmp_path):
    make = partial(ParametricNeuron, NeuronParameters(0.3, 0.7, "soft"), learn_threshold=True)
    graph = traced(small_named("resnet"), SpikingActivations(make, 3, False, "direct"))
    write(graph, tmp_path / "x.nir")
    assert differences(graph, read(tmp_path / "x.nir")) == ()


def test_other_readers_see_the_same_spikes_by_euler_steps(small_named, spiking, tmp_path):
    """Read as a stranger's file, by the standard alone: the same spikes, as one step is λ v + I in another unit."""
    graph = traced(small_named("resnet"), spiking(decay=0.75))
    write(graph, tmp_path / "x.nir")
    strange = read(tmp_path / "x.nir", convention="nir")
    x = np.random.default_rng(0).random((6, 1, 8, 8), np.float32)
    expected, found = interpreter.run(graph, x), interpreter.run(strange, np.broadcast_to(x, (3, *x.shape)).copy())
    for layer in graph.spiking:
        assert 0 < expected[layer].mean() < 1
        assert np.array_equal(expected[layer], found[layer])
    np.testing.assert_allclose(found["output"], expected["logits"], atol=1e-5)


def test_the_grid_of_the_weights_is_told(small_named, spiking, tmp_path):
    graph = traced(small_named("conv"), spiking())
    exact = to_grid(graph)
    exponents = {layer.name: layer.exponent for layer in grid_layers(graph, exact)}
    write(exact, tmp_path / "x.nir", exponents=exponents)
    assert differences(exact, read(tmp_path / "x.nir")) == ()
    content = load(tmp_path / "x.nir")
    for layer, k in exponents.items():
        scale, weight = content.metadata[f"{layer}.weight_scale"], content.nodes[layer].fields["weight"]
        assert scale == 2.0**-k
        assert content.metadata[f"{layer}.weight_bits"] == 8
        assert (weight / scale == np.rint(weight / scale)).all()
        assert np.abs(weight / scale).max() <= 128


def test_metadata_tell_step_decay_and_reset(small_named, spiking, tmp_path):
    graph = traced(small_named("conv"), spiking(decay=0.25, threshold=0.5, reset="soft"))
    write(graph, tmp_path / "x.nir", dt=0.002)
    content = load(tmp_path / "x.nir")
    assert nir.read(tmp_path / "x.nir").nodes["act1"].metadata == {
        "dt": 0.002,
        "discretisation": "forward Euler",
        "decay": 0.25,
        "threshold": 0.5,
        "comparison": "v > threshold",
        "reset": "subtracts threshold",
    }
    assert content.metadata["dt"] == 0.002
    assert content.metadata["steps"] == 3
    np.testing.assert_allclose(1 - 0.002 / content.nodes["act1"].fields["tau"], 0.25, rtol=1e-12)
    np.testing.assert_allclose(content.nodes["act1"].fields["v_threshold"], 0.5, rtol=1e-12)


def chain(*members):
    made = [ops.InputNode(name="input", shape=members[0][1], timed=True)]
    for kind, fields in ((member[0], member[2]) for member in members):
        made.append(kind(name=f"n{len(made)}", inputs=(made[-1].name,), **fields))
    return Graph([*made, ops.OutputNode(name="out", inputs=(made[-1].name,))])


NEURON = {"parameters": NeuronParameters(0.5, 1.0, "hard")}


@pytest.mark.parametrize(
    "graph",
    [
        chain((ops.NeuronNode, (4, 6), NEURON), (ops.MaxPoolNode, None, {"kernel": (2,), "stride": (2,)})),
        chain((ops.NeuronNode, (4, 6, 6), NEURON), (ops.MaxPoolNode, None, {"kernel": (3, 2), "stride": (2, 1)})),
        chain((ops.AvgPoolNode, (4, 9), {"kernel": (3,), "stride": (2,)})),
        chain((ops.LowPassNode, (5,), {"decay": 1.0}), (ops.LowPassNode, None, {"decay": 0.3})),
        chain((ops.DelayNode, (5,), {"steps": 3})),
        chain((ops.BatchNormNode, (3, 4, 4), {"scale": np.float32([1, 2, 3]), "shift": np.float32([0, -1, 0.5])})),
    ],
)
def test_pools_filters_delays_and_norms_come_back_equal_and_compute_the_same_for_others(graph, tmp_path):
    write(graph, tmp_path / "x.nir")
    assert differences(graph, read(tmp_path / "x.nir")) == ()
    x = (np.random.default_rng(0).random((7, 2, *graph.input.shape)) < 0.5).astype(np.float32)
    strange = read(tmp_path / "x.nir", convention="nir")
    last = strange[strange[strange.output.name].inputs[0]].inputs[0]
    np.testing.assert_allclose(interpreter.run(strange, x)[last], interpreter.run(graph, x)["out"], atol=1e-5)


@st.composite
def convolutions(draw):
    axes, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    inputs, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    size = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    kernel, dilation = size(1, 3), size(1, 2)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    fields = {
        "weight": rng.normal(size=(outputs, inputs // groups, *kernel)).astype(np.float32),
        "bias": rng.normal(size=outputs).astype(np.float32) if draw(st.booleans()) else None,
        "stride": size(1, 3),
        "padding": size(0, 2),
        "dilation": dilation,
        "groups": groups,
    }
    return chain((ops.ConvNode, (inputs, *size(6, 8)), fields), (ops.NeuronNode, None, NEURON))


@given(graph=convolutions())
def test_convolutions_of_any_geometry_come_back_equal_and_compute_the_same_for_others(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("conv") / "x.nir"
    write(graph, path)
    assert differences(graph, read(path)) == ()
    x = (np.random.default_rng(0).random((4, 2, *graph.input.shape)) < 0.5).astype(np.float32)
    strange = read(path, convention="nir")
    np.testing.assert_array_equal(interpreter.run(strange, x)["n2"], interpreter.run(graph, x)["n2"])


@st.composite
def branching(draw):
    """Layers of one width, each reading one earlier tensor or the sum of several."""
    width, rng = 4, np.random.default_rng(draw(st.integers(0, 99)))
    made = [ops.InputNode(name="input", shape=(width,), timed=True)]
    for number in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from(made)).name
        for term in range(draw(st.integers(0, 2))):
            made.append(ops.AddNode(name=f"add{number}.{term}", inputs=(source, draw(st.sampled_from(made)).name)))
            source = made[-1].name
        decay = draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
        neuron = NeuronParameters(decay, draw(st.sampled_from([0.5, 1.0])), draw(st.sampled_from(["hard", "soft"])))
        layer = draw(
            st.sampled_from(
                [
                    ops.LinearNode(
                        name=f"n{number}", inputs=(source,), weight=rng.normal(size=(width, width)).astype(np.float32)
                    ),
                    ops.NeuronNode(name=f"n{number}", inputs=(source,), parameters=neuron),
                    ops.LowPassNode(name=f"n{number}", inputs=(source,), decay=decay),
                    ops.DelayNode(name=f"n{number}", inputs=(source,), steps=2),
                ]
            )
        )
        made.append(layer)
    made.append(ops.TimeMeanNode(name="mean", inputs=(made[-1].name,)))
    return Graph([*made, ops.OutputNode(name="out", inputs=("mean",))])


@given(graph=branching())
def test_branching_graphs_come_back_equal(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("branching") / "x.nir"
    write(graph, path)
    assert differences(graph, read(path)) == ()
    x = np.random.default_rng(0).random((5, 2, 4), np.float32)
    if all(node.parameters.reset == "hard" for node in graph.of(ops.NeuronNode)):
        strange = read(path, convention="nir")  # what is on no way to the output is left out there
        np.testing.assert_allclose(interpreter.run(strange, x)["output"], interpreter.run(graph, x)["out"], atol=1e-4)


def test_a_tensor_added_to_itself_and_several_sums_are_edges(tmp_path):
    made = [ops.InputNode(name="input", shape=(4,), timed=True)]
    for name, a, b in (("twice", "input", "input"), ("thrice", "twice", "input"), ("all", "thrice", "twice")):
        made.append(ops.AddNode(name=name, inputs=(a, b)))
    graph = Graph([*made, ops.NeuronNode(name="n", inputs=("all",), **NEURON), ops.OutputNode(name="out", inputs=("n",))])
    write(graph, tmp_path / "x.nir")
    assert differences(graph, read(tmp_path / "x.nir")) == ()
    strange = read(tmp_path / "x.nir", convention="nir")
    x = np.random.default_rng(0).random((5, 3, 4), np.float32) * 0.3
    np.testing.assert_array_equal(interpreter.run(strange, x)["n"], interpreter.run(graph, x)["n"])


def test_names_that_hdf5_cannot_hold_come_back(tmp_path):
    made = [ops.InputNode(name="a/b", shape=(2,), timed=True), ops.NeuronNode(name="a_b", inputs=("a/b",), **NEURON)]
    graph = Graph([*made, ops.NeuronNode(name=".", inputs=("a_b",), **NEURON), ops.OutputNode(name="out", inputs=(".",))])
    write(graph, tmp_path / "x.nir")
    assert differences(graph, read(tmp_path / "x.nir")) == ()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (chain((ops.ReluNode, (4,), {})), "node n1: a ReLU found, which NIR does not have"),
        (
            chain((ops.MaxPoolNode, (4, 6), {"kernel": (2,), "stride": (2,)})),
            "node n1: the largest of values other than 0 and 1",
        ),
        (chain((ops.NeuronNode, (4,), {"parameters": NeuronParameters(1.0, 1.0, "none")})), "node n1: neurons without reset"),
        (chain((ops.FixedPointNeuronNode, (4,), {"v_decay": 0, "threshold": 64})), "FixedPointNeuron.: has no form in NIR"),
    ],
)
def test_what_nir_cannot_express_is_refused_by_name_and_leaves_no_file(graph, message, tmp_path):
    with pytest.raises(NoNirForm, match=message):
        write(graph, tmp_path / "x.nir")
    assert not list(tmp_path.iterdir())


def test_a_time_step_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="dt: 0 found, a positive number of seconds, or steps, expected"):
        write(chain((ops.NeuronNode, (4,), NEURON)), tmp_path / "x.nir", dt=0)


def test_the_same_graph_makes_the_same_bytes(small_named, spiking, tmp_path):
    graph = traced(small_named("conv"), spiking())
    for name in ("a", "b"):
        write(graph, tmp_path / f"{name}.nir")
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


@pytest.mark.parametrize("padding", [(), ((1, 1), (0, 0))])
def test_the_metadata_of_a_pool_tell_its_padding_if_it_has_one_so_that_earlier_versions_read_others(tmp_path, padding):
    pool = ops.AvgPoolNode(name="pool", inputs=("input",), kernel=(2, 2), stride=(2, 2), padding=padding)
    entry, out = ops.InputNode(name="input", shape=(1, 4, 4), timed=True), ops.OutputNode(name="out", inputs=("pool",))
    write(Graph([entry, pool, out]), tmp_path / "pool.nir")
    told = json.loads(load(tmp_path / "pool.nir").metadata["neurodeploy"])["members"][1]["constants"]
    assert set(told) == {"kernel", "stride"} | ({"padding"} if padding else set())
    assert read(tmp_path / "pool.nir")["pool"].padding == padding
