"""Spikes that come back are cycles of edges in NIR: written, read again, and read from files as frameworks write them."""

from dataclasses import replace

import h5py
import nir
import numpy as np
import pytest

from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.standard import Leaky, leaky, recurrent_cell
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir import CONVENTIONS, NoNirForm, read, read_with_conventions, write
from neurodeploy_exporters.nir.content import load

N, DT = 8, 1e-4
CELLS = {
    "lif": Leaky(0.75, 1.0, "hard"),
    "lif soft": Leaky(0.75, 1.0, "soft"),
    "if": Leaky(1.0, 1.0, "hard"),
    "cuba": Leaky(0.75, 1.0, "hard", 0.5),
    "lif each": Leaky(np.linspace(0.25, 0.75, N, dtype=np.float32), np.linspace(0.5, 2, N, dtype=np.float32), "hard"),
    "cuba each": Leaky(np.linspace(0.25, 0.75, N, dtype=np.float32), 1.0, "hard", np.linspace(0.5, 0.75, N, dtype=np.float32)),
}
GENERATOR = np.random.default_rng(2)
FORWARD = (GENERATOR.integers(-8, 24, (N, 12)) / 64).astype(np.float32)
BACK = (GENERATOR.integers(-24, 16, (N, N)) / 64).astype(np.float32)
SPIKES = (GENERATOR.random((20, 6, 12)) < 0.4).astype(np.float32)


def network(constants: Leaky, back: np.ndarray = BACK) -> Graph:
    return Graph(
        [
            ops.InputNode(name="input", shape=(12,), timed=True),
            ops.LinearNode(name="fc", inputs=("input",), weight=FORWARD),
            recurrent_cell("neurons", "fc", back, constants, (N,)),
            ops.TimeMeanNode(name="mean", inputs=("neurons",)),
            ops.OutputNode(name="output", inputs=("mean",)),
        ]
    )


@pytest.mark.parametrize("name", CELLS)
def test_a_recurrent_layer_comes_back_equal(name, tmp_path):
    graph = network(CELLS[name])
    write(graph, tmp_path / "x.nir")
    reading = read_with_conventions(tmp_path / "x.nir")
    assert differences(graph, reading.graph) == ()
    assert np.array_equal(reading.graph["neurons"].recurrent, BACK)
    theirs = nir.read(tmp_path / "x.nir")  # NIR's package reads it, with the cycle
    back = next(key for key, node in theirs.nodes.items() if isinstance(node, nir.Affine) and node.weight.shape == (N, N))
    assert {("neurons", back), (back, "neurons")} <= set(theirs.edges)


@pytest.mark.parametrize("name", [name for name in CELLS if not name.endswith("each")])
def test_under_a_convention_the_file_fires_the_same(name, tmp_path):
    graph, reset = network(CELLS[name]), CELLS[name].reset
    write(graph, tmp_path / "x.nir")
    other = read(tmp_path / "x.nir", convention="nir", reset=reset)
    mine, theirs = (interpreter.run(one, SPIKES)["neurons"] for one in (graph, other))
    assert 0.05 < mine.mean() < 0.9
    assert np.array_equal(mine, theirs)
    assert (mine != interpreter.run(network(CELLS[name], np.zeros_like(BACK)), SPIKES)["neurons"]).any()


def test_a_changed_synapse_is_no_longer_ours(tmp_path):
    write(network(CELLS["lif"]), tmp_path / "x.nir")
    with h5py.File(tmp_path / "x.nir", "r+") as file:
        file["node/nodes/neurons.recurrent/weight"][0, 0] += 1
    changed = read_with_conventions(tmp_path / "x.nir").graph["neurons"].recurrent
    assert changed[0, 0] == BACK[0, 0] + 1
    with h5py.File(tmp_path / "x.nir", "r+") as file:
        file["node/nodes/neurons.recurrent/bias"][0] = 1
    with pytest.raises(UserError, match=r"is not what the metadata of neurodeploy tell"):
        read(tmp_path / "x.nir")


def test_two_layers_of_one_name_keep_their_own_synapses(tmp_path):
    cell = CELLS["lif"]
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(N,), timed=True),
            recurrent_cell("a", "input", BACK, cell, (N,)),
            ops.LinearNode(name="a.recurrent", inputs=("a",), weight=np.eye(N, dtype=np.float32)),
            recurrent_cell("b", "a.recurrent", 2 * BACK, cell, (N,)),
            ops.TimeMeanNode(name="mean", inputs=("b",)),
            ops.OutputNode(name="output", inputs=("mean",)),
        ]
    )
    write(graph, tmp_path / "x.nir")
    assert differences(graph, read(tmp_path / "x.nir")) == ()
    assert len(load(tmp_path / "x.nir").nodes) == 7


def theirs(path, neuron, *, bias=None):
    """A file of somebody else's: an inner graph of a neuron and its synapse, as snnTorch writes one."""
    synapse = nir.Linear(BACK) if bias is None else nir.Affine(BACK, bias)
    ends = {"input": nir.Input({"input": np.array([N])}), "output": nir.Output({"output": np.array([N])})}
    circle = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    inner = nir.NIRGraph({**ends, "lif": neuron, "w_rec": synapse}, circle)
    nodes = {
        "input": nir.Input({"input": np.array([12])}),
        "fc": nir.Linear(FORWARD),
        "layer": inner,
        "output": nir.Output({"output": np.array([N])}),
    }
    nir.write(path, nir.NIRGraph(nodes, [("input", "fc"), ("fc", "layer"), ("layer", "output")]))


def cuba(*, r=4.0, w_in=2.0, v_leak=0.0):
    full = lambda value: np.full(N, value)  # noqa: E731
    return nir.CubaLIF(
        tau_syn=full(2 * DT), tau_mem=full(4 * DT), r=full(r), v_leak=full(v_leak), v_threshold=full(1.0), w_in=full(w_in)
    )


def test_cuba_lif_neurons_in_an_inner_graph_are_stepped_as_their_equations_say(tmp_path):
    bias = np.linspace(-0.25, 0.25, N, dtype=np.float32)
    theirs(tmp_path / "x.nir", cuba(w_in=1.0), bias=bias)
    graph = read(tmp_path / "x.nir", convention="nir")
    found = interpreter.run(graph, SPIKES)["layer.lif"]
    i = v = s = np.zeros((6, N))
    for t in range(20):
        i = 0.5 * i + 0.5 * (SPIKES[t] @ FORWARD.T + s @ BACK.T + bias)  # w_in dt / tau_syn
        v = 0.75 * v + i  # r dt / tau_mem = 1
        s = (v > 1).astype(np.float64)
        v = v * (1 - s)
        assert np.array_equal(found[t], s)
    assert found.any()


def test_a_current_of_the_step_before_takes_what_comes_back_with_it(tmp_path):
    theirs(tmp_path / "x.nir", cuba())
    graph = read(tmp_path / "x.nir", convention=replace(CONVENTIONS["nir"], late_current=True))
    constants = leaky(graph["layer.lif"])
    assert constants is not None
    assert constants.late
    with pytest.raises(NoNirForm, match=r"node layer\.lif: neurons that read their current a step late"):
        write(graph, tmp_path / "y.nir")


def test_what_has_no_form_is_refused_by_name(tmp_path):
    path = tmp_path / "x.nir"
    theirs(path, cuba(v_leak=0.5))
    with pytest.raises(UserError, match=r"node layer\.lif: v_leak beside v_reset found on neurons whose spikes come back"):
        read(path, convention="nir")
    synapse = nir.Linear(np.ones((N, N), np.float32))
    edges = [("input", "fc"), ("fc", "a"), ("a", "mid"), ("mid", "b"), ("b", "back"), ("back", "a"), ("b", "output")]
    nodes = {
        "input": nir.Input({"input": np.array([12])}),
        "fc": nir.Linear(FORWARD),
        "a": cuba(),
        "mid": synapse,
        "b": cuba(),
        "back": synapse,
        "output": nir.Output({"output": np.array([N])}),
    }
    nir.write(path, nir.NIRGraph(nodes, edges))
    with pytest.raises(
        UserError, match=r"recurrent connections found between a, b, back, mid; what a layer of neurons fires can"
    ):
        read(path, convention="nir")
    with pytest.raises(NoNirForm, match="without leak found, which NIR's CubaLIF do not have"):
        write(network(Leaky(1.0, 1.0, "hard", 0.5)), path)
