"""Files of others that are not as ours are: what is understood, what is assumed, and what is refused with one line."""

from dataclasses import replace

import h5py
import nir
import numpy as np
import pytest
import torch

from neurodeploy.graph import interpreter, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir import CONVENTIONS, read, read_with_conventions

DT = 1e-4


def lif(*shape, decay=0.5, r=1.0, v_leak=0.0, threshold=1.0, v_reset=0.0):
    full = lambda value: np.broadcast_to(np.asarray(value, np.float64), shape).copy()  # noqa: E731
    tau = DT / (1 - np.asarray(decay))
    return nir.LIF(tau=full(tau), r=full(r), v_leak=full(v_leak), v_threshold=full(threshold), v_reset=full(v_reset))


def affine(outputs, inputs, seed=0):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(0.1, 0.5, (outputs, inputs)), rng.normal(0, 0.1, outputs)
    return nir.Affine(weight.astype(np.float32), bias.astype(np.float32))


@pytest.fixture
def saved(tmp_path):
    """NIR nodes in a chain, or nodes and edges → a file."""

    def save(nodes, edges=None, shape=(3,), out=(3,)):
        if edges is None:
            edges = list(zip(["input", *nodes], [*nodes, "output"], strict=True))
        every = {"input": nir.Input(np.array(shape)), **nodes, "output": nir.Output(np.array(out))}
        nir.write(str(tmp_path / "x.nir"), nir.NIRGraph(every, edges, type_check=False))
        return tmp_path / "x.nir"

    return save


def spikes(*shape):
    return (np.random.default_rng(5).random(shape) < 0.5).astype(np.float32)


def euler(node, x):
    """NIR's equations by Euler's method, as printed, with the fields as arrays."""
    v, emitted = node.v_reset + np.zeros(x.shape[1:]), []
    for current in x:
        v = v + DT / node.tau * (node.v_leak - v + node.r * current)
        s = v > node.v_threshold
        v = np.where(s, node.v_reset, v)
        emitted.append(s)
    return np.array(emitted, np.float32)


@pytest.mark.parametrize(
    "constants",
    [
        {},
        {"r": 3.0, "threshold": 0.7, "decay": 0.8},
        {"v_leak": -0.2, "v_reset": -0.2},
        {"v_leak": 0.3, "v_reset": -0.5, "threshold": 0.8},
        {"threshold": [0.5, 0.9, 1.4]},
        {"r": [0.5, 1.0, 2.5], "v_leak": [0.1, 0.0, -0.1]},
    ],
)
def test_gain_leak_and_reset_of_a_neuron_reduce_to_ours(saved, constants):
    node, x = lif(3, **constants), 2 * spikes(40, 6, 3) * np.float32([1, 1.3, 1.7])
    reading = read_with_conventions(saved({"lif": node}), convention="nir")
    graph = reading.graph
    found = interpreter.run(graph, x)["lif"]
    assert 0.1 < found.mean() < 0.9
    assert np.array_equal(found, euler(node, x))
    one_gain = np.ndim(constants.get("threshold", 0)) == 0 and np.ndim(constants.get("r", 0)) == 0
    assert bool(graph.of(ops.BatchNormNode)) is not (one_gain and constants.get("v_leak", 0) == constants.get("v_reset", 0))


def test_a_gain_per_channel_is_folded_into_the_synapse_before(saved):
    path = saved({"fc": affine(3, 4), "lif": lif(3, threshold=[0.5, 0.9, 1.4])}, shape=(4,))
    graph = read(path, convention="nir")
    assert [node.kind for node in graph.nodes] == ["Input", "Linear", "Neuron", "TimeMean", "Output"]
    assert graph["lif"].parameters.threshold == 1.0


def test_the_current_of_the_step_before_is_a_delay(saved):
    node = nir.CubaLIF(*(np.full(3, value) for value in (2 * DT, 2 * DT, 2.0, 0.0, 1.0, 0.0, 2.0)))
    path = saved({"cuba": node})
    assert not read(path, convention="nir").of(ops.DelayNode)
    reading = read_with_conventions(path, convention=replace(CONVENTIONS["nir"], late_current=True))
    assert [delay.steps for delay in reading.graph.of(ops.DelayNode)] == [1]
    assert "the membrane sees the synaptic current of the step before" in reading.statements


def test_a_graph_in_a_graph_is_opened_and_self_loops_and_loose_ends_are_left_out(saved):
    inner = nir.NIRGraph(
        {"in": nir.Input(np.array([3])), "lif": lif(3), "out": nir.Output(np.array([3]))},
        [("in", "lif"), ("lif", "out"), ("lif", "lif")],
        type_check=False,
    )
    members = {"fc": affine(3, 4), "block": inner, "loose": lif(3), "fc2": affine(2, 3)}
    edges = [("input", "fc"), ("fc", "block"), ("block", "fc2"), ("fc2", "output"), ("fc", "loose")]
    reading = read_with_conventions(saved(members, edges, shape=(4,), out=(2,)), convention="nir")
    assert [node.name for node in reading.graph.nodes] == ["input", "fc", "block.lif", "fc2", "mean", "output"]
    text = "\n".join(reading.statements)
    assert "connection of block.lif to itself left out" in text
    assert "not on the way from input to output, and left out: loose" in text


def test_several_edges_into_a_node_add_up(saved):
    edges = [("input", "a"), ("input", "b"), ("a", "c"), ("b", "c"), ("input", "c"), ("c", "output")]
    graph = read(saved({"a": affine(3, 3), "b": affine(3, 3, 1), "c": lif(3)}, edges), convention="nir")
    assert len(graph.of(ops.AddNode)) == 2
    x = spikes(9, 4, 3)
    a, b = (graph[name] for name in "ab")
    total = x @ a.weight.T + a.bias + (x @ b.weight.T + b.bias) + x
    np.testing.assert_allclose(interpreter.run(graph, x)["c"], euler(lif(3), total), atol=0)


@pytest.mark.parametrize(("start", "assumed"), [(0, False), (1, True)])
def test_flatten_counts_a_batch_axis_or_not(saved, start, assumed):
    flatten = nir.Flatten(np.array([2, 3, 3]), start_dim=start)
    reading = read_with_conventions(saved({"flatten": flatten, "fc": affine(3, 18)}, shape=(2, 3, 3)), convention="nir")
    assert reading.graph.shape("flatten") == (18,)
    assert any("taken to count a batch axis" in statement for statement in reading.statements) is assumed


def test_pools_scales_delays_and_thresholds_have_forms(saved):
    two = np.array([2, 2])
    members = {
        "sum": nir.SumPool2d(two, two, np.array([0, 0])),
        "threshold": nir.Threshold(np.full((2, 3, 3), 1.5)),
        "avg": nir.AvgPool2d(two, np.array([1, 1]), np.array([1, 1])),
        "scale": nir.Scale(np.full((2, 4, 4), 3.0)),
        "delay": nir.Delay(np.full((2, 4, 4), 2 * DT)),
    }
    graph = read(saved(members, shape=(2, 6, 6), out=(2, 4, 4)), convention="nir")
    x = spikes(6, 3, 2, 6, 6)
    pooled = (x.reshape(6, 3, 2, 3, 2, 3, 2).sum((4, 6)) > 1.5).astype(np.float32)
    padded = np.pad(pooled, [(0, 0)] * 3 + [(1, 1)] * 2)
    mean = sum(padded[..., i : i + 4, j : j + 4] for i in (0, 1) for j in (0, 1)) / 4
    expected = np.concatenate([np.zeros_like(mean[:2]), 3 * mean[:-2]])
    np.testing.assert_allclose(interpreter.run(graph, x)["delay"], expected, rtol=1e-6)


def test_a_shape_that_a_file_does_not_tell_comes_from_what_reads_the_input_or_is_asked_for(tmp_path):
    def write(**members):
        edges = list(zip(members, [*members, ""][1:], strict=False))[:-1]
        nir.write(str(tmp_path / "x.nir"), nir.NIRGraph({**members}, edges, type_check=False))
        return tmp_path / "x.nir"

    reading = read_with_conventions(write(fc=affine(3, 4), lif=lif(3)), convention="nir")
    assert reading.graph.input.shape == (4,)
    assert any("taken from what reads it: (4,)" in statement for statement in reading.statements)
    pool = write(pool=nir.SumPool2d(*(np.array([2, 2]),) * 2, np.array([0, 0])))
    with pytest.raises(UserError, match="shape of a sample is unknown; give it"):
        read(pool, convention="nir")
    assert read(pool, convention="nir", input_shape=(1, 4, 4)).input.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ({"n": lif(3, threshold=[0.5, 1.0, -1.0])}, {}, "node n: v_threshold of -1 found, one above v_reset expected"),
        ({"n": lif(3, r=-2.0)}, {}, "node n: an input gain of -1 found, a positive one expected"),
        ({"n": lif(3)}, {"dt": 1.0}, r"node n: a time constant of 0\.0002 found, shorter than dt = 1; give another dt"),
        ({"n": lif(3, v_leak=0.1)}, {"reset": "soft"}, r"node n: v_leak of 0\.1 found beside a reset that subtracts"),
        ({"n": lif(5)}, {}, None),
        ({"n": lif(3)}, {"convention": "xyz"}, "convention 'xyz': not known; there are: nir, spikingjelly, snntorch, norse"),
        ({"n": lif(3)}, {"dt": -1.0}, "dt: -1.0 found, a positive number expected"),
        ({"n": nir.Delay(np.full(3, 0.5 * DT))}, {}, r"node n: a delay of 0\.5 time steps found, whole numbers expected"),
        ({"n": nir.Scale(np.arange(4.0))}, {}, r"node n: scale: shape \(4,\) found, \(3,\) expected"),
        ({"n": affine(3, 7)}, {}, r"node n: input of shape \(3,\) found, \(7,\) expected"),
        ({"n": nir.Threshold(np.zeros(3))}, {}, "node n: threshold of 0 found, a positive one expected"),
    ],
)
def test_what_has_no_form_here_is_refused_with_the_node_and_what_to_do(saved, members, options, message):
    path = saved(members)
    if message is None:
        assert read(path, **{"convention": "nir", **options}).shape("n") == (3,)  # all alike: they need not fit
        return
    with pytest.raises(UserError, match=message) as caught:
        read(path, **{"convention": "nir", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "constants",
    [
        {"threshold": np.arange(1.0, 10.0).reshape(1, 3, 3) / 8},
        {"decay": np.linspace(0.1, 0.9, 18).reshape(2, 3, 3), "r": np.linspace(1, 4, 18).reshape(2, 3, 3)},
        {"decay": np.array([0.25, 0.75])[:, None, None], "threshold": np.array([0.5, 0.25])[:, None, None]},
        {"decay": np.array([0.25, 0.75])[:, None, None], "v_leak": 0.5, "v_reset": 0.25},
    ],
)
def test_neurons_of_a_layer_may_differ_in_time_constant_resistance_and_threshold(saved, constants):
    node = lif(2, 3, 3, **constants)
    x = spikes(16, 4, 2, 3, 3)
    graph = read(saved({"n": node}, shape=(2, 3, 3)), convention="nir")
    found, expected = interpreter.run(graph, x)["n"], euler(node, x.astype(np.float64))
    assert 0.02 < expected.mean() < 0.98
    assert (found != expected).mean() < 1e-3  # of another order of operations


def test_a_constant_input_that_differs_within_a_channel_is_refused(saved):
    node = lif(2, 3, 3, v_leak=np.arange(9.0).reshape(1, 3, 3) / 16)
    with pytest.raises(UserError, match="node n: v_leak: differs within a channel"):
        read(saved({"n": node}, shape=(2, 3, 3)), convention="nir")


def test_synaptic_currents_may_differ_within_a_layer_and_w_in_is_1_where_it_is_left_out(saved):
    tau_syn, tau_mem = DT / (1 - np.array([0.25, 0.5, 0.75])), DT / (1 - np.array([0.5, 0.75, 0.9]))
    node = nir.CubaLIF(tau_syn, tau_mem, tau_mem / DT, np.zeros(3), np.full(3, 0.4), np.zeros(3), np.ones(3))
    path = saved({"n": node})
    with h5py.File(path, "r+") as file:
        del file["node/nodes/n/w_in"]
    x, i, v, expected = spikes(16, 4, 3), 0.0, 0.0, []
    for current in x.astype(np.float64):
        i = i + DT / tau_syn * (current - i)
        v = v + DT / tau_mem * (tau_mem / DT * i - v)
        expected.append(v > 0.4)
        v = np.where(expected[-1], 0.0, v)
    found = interpreter.run(read(path, convention="nir"), x)["n"]
    assert 0.05 < np.mean(expected) < 0.95
    assert (found != np.array(expected)).mean() < 1e-2


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")], "recurrent connections found between a, b"),
        ([("input", "a"), ("b", "output")], "no way leads from input to output|0 Input"),
    ],
)
def test_cycles_and_gaps_are_refused_by_name(saved, edges, message):
    with pytest.raises(UserError, match=message):
        read(saved({"a": lif(3), "b": lif(3)}, edges), convention="nir")


def test_a_file_of_ours_that_was_changed_elsewhere_is_refused_unless_a_convention_is_named(tmp_path):
    import h5py

    from neurodeploy.dynamics.neurons import NeuronParameters
    from neurodeploy.graph import Graph
    from neurodeploy_exporters.nir import write

    entry = ops.InputNode(name="input", shape=(3,), timed=True)
    neuron = ops.NeuronNode(name="n", inputs=("input",), parameters=NeuronParameters(0.5, 1.0, "soft"))
    write(Graph([entry, neuron, ops.OutputNode(name="out", inputs=("n",))]), tmp_path / "x.nir")
    with h5py.File(tmp_path / "x.nir", "r+") as file:
        file["node/nodes/n/tau"][:] = 1e-3
    with pytest.raises(UserError, match="node n, field tau is not what the metadata of neurodeploy tell"):
        read(tmp_path / "x.nir")
    assert read(tmp_path / "x.nir", convention="nir")["n"].parameters.decay == pytest.approx(0.9)


def test_names_that_torch_keeps_for_itself_are_changed(saved):
    from neurodeploy.graph.module import GraphModule

    graph = read(saved({"forward": affine(3, 3), "a..b": lif(3), "graph": affine(3, 3), "é ü": lif(3)}), convention="nir")
    assert [node.name for node in graph.nodes][1:5] == ["forward_", "a._.b", "graph_", "é_ü"]
    x = torch.from_numpy(spikes(4, 2, 3))
    np.testing.assert_allclose(GraphModule(graph)(x).numpy(), interpreter.run(graph, x.numpy())["output"], atol=1e-6)
