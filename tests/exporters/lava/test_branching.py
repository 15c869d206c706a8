"""Bodies that branch: integers that agree spike for spike with the simulated chip, lined up in time, sample after sample."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import Circuit, Matrix, Population, Synapse
from neurodeploy_exporters.lava.circuitfile import read_circuit, write_circuit
from neurodeploy_exporters.lava.layers import CubaConstants
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network, check_hardware
from neurodeploy_exporters.lava.pipeline import run_sequence, run_stream
from neurodeploy_exporters.lava.quantize import QuantizedBody, quantize_body
from neurodeploy_exporters.lava.rounding import split
from neurodeploy_exporters.lava.simulate import simulate_circuit


def conv(name, source, weight, bias=None):
    padding = tuple(k // 2 for k in weight.shape[2:])
    geometry = {"stride": (1, 1), "padding": padding, "dilation": (1, 1)}
    bias = None if bias is None else bias.astype(np.float32)
    return ops.ConvNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias, **geometry)


def lif(name, source, threshold=0.5):
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(0.5, threshold, "hard"))


def add(name, one, other):
    return ops.AddNode(name=name, inputs=(one, other))


def closed(*members, shape=(2, 6, 6)) -> Graph:
    x, mean = ops.InputNode(name="x", shape=shape, timed=True), ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    return Graph([x, *members, mean, ops.OutputNode(name="out", inputs=("mean",))])


def quantized(graph: Graph) -> QuantizedBody:
    return quantize_body(graph, partition(graph).body)


def through_a_file(network: Network | Circuit) -> Network | Circuit:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body"
        if isinstance(network, Circuit):
            write_circuit(network, path)
            return read_circuit(path)
        write(network, path)
        return read(path)


@settings(max_examples=60)
@given(data=st.data(), gap=st.integers(0, 6))
def test_whatever_branches_the_interpreter_and_the_chip_agree_on_every_spike_alone_and_in_a_stream(branching, data, gap):
    graph, spikes = data.draw(branching)
    body = quantized(graph)
    check_hardware(body.network)
    if isinstance(body.network, Circuit):
        assert body.network.aligned
    network = through_a_file(body.network)
    fired = interpreter.spikes(body.graph, interpreter.run(body.graph, spikes))
    together, stream = run_sequence(network, spikes), run_stream(network, spikes, reset_interval=len(spikes) + gap)
    assert [layer.key for layer in body.layers] == list(together.spikes)
    assert together.latencies == stream.latencies == {layer.key: layer.latency for layer in body.layers}
    assert together.latency_steps == max(layer.latency for layer in body.layers)
    for layer in body.layers:
        for replay in (together, stream):
            np.testing.assert_array_equal(replay.spikes_of(layer.key, layer.shape), fired[layer.name], err_msg=layer.name)


@pytest.fixture(scope="module")
def residual(graph, digits) -> tuple[QuantizedBody, np.ndarray]:
    """A residual network trained on digits, in integers, and the spikes that enter its body, `[T, B, …]`."""
    trained = graph("resnet")
    body = quantized(trained)
    return body, interpreter.run(trained, digits[0][:20])[partition(trained).body.inputs[0]]


def test_a_stream_of_digits_through_a_residual_network_with_biases_gives_what_each_gives_alone(residual):
    body, spikes = residual
    assert all(population.bias.any() for population in body.network.populations)
    silent = run_sequence(body.network, np.zeros_like(spikes[:, :1]))
    assert any(fired.any() for fired in silent.spikes.values()), "no bias fires by itself, so that the test shows nothing"
    stream = run_stream(body.network, spikes)
    for sample in range(spikes.shape[1]):
        alone = run_sequence(body.network, spikes[:, sample : sample + 1])
        for key, fired in alone.spikes.items():
            np.testing.assert_array_equal(stream.spikes[key][:, sample], fired[:, 0], err_msg=key)


def test_without_the_staggered_reset_biases_change_what_a_sample_gives(residual):
    from neurodeploy_exporters.lava.simulate import simulate_circuit

    body, spikes = residual
    last, latency = body.layers[-1].key, body.layers[-1].latency
    free = simulate_circuit(body.network, spikes, len(spikes) + latency, record=("s",))[f"{last}_s"][latency:]
    assert (free != run_sequence(body.network, spikes).spikes[last]).any()


def test_populations_answer_as_late_as_their_longest_way_and_shortcuts_wait(residual):
    body, _ = residual
    assert [layer.latency for layer in body.layers] == [1, 2, 3, 4]
    assert {s.name: s.delay for s in body.layers[1].synapses} == {"block1.conv2": 0, "stem>block1.act2": 1}
    assert {s.name: s.delay for s in body.layers[3].synapses} == {"block2.conv2": 0, "block2.shortcut.0": 1}


def test_a_chain_stays_a_net_file_and_a_branch_becomes_a_circuit(graph):
    assert isinstance(quantized(graph("conv")).network, Network)
    assert isinstance(quantized(graph("resnet")).network, Circuit)


# --- one scale for all that flows into a population --------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 32))
def test_parallel_synapses_are_even_within_the_chips_range_and_add_up(seed, parallel):
    rng = np.random.default_rng(seed)
    weight = 2 * rng.integers(-128 * parallel, 127 * parallel + 1, (3, 2, 2, 2))
    parts = split(weight, parallel)
    assert len(parts) == parallel
    np.testing.assert_array_equal(sum(parts), weight)
    for part in parts:
        assert (part % 2 == 0).all()
        assert -256 <= part.min() <= part.max() <= 254
    assert np.ptp(parts, axis=0).max() <= 2


def shortcut_beside(weights: float, *, threshold: float = 0.5) -> QuantizedBody:
    rng = np.random.default_rng(0)
    small = rng.uniform(-weights, weights, (2, 2, 3, 3))
    return quantized(
        closed(
            conv("c", "x", rng.normal(0, 0.5, (2, 2, 3, 3))),
            lif("n", "c"),
            conv("d", "n", small),
            add("sum", "d", "x"),
            lif("m", "sum", threshold),
        )
    )


def test_a_shortcut_beside_small_weights_is_carried_by_several_synapses_so_that_they_keep_their_levels():
    body = shortcut_beside(0.05)
    through, short = body.layers[1].synapses
    assert (through.name, through.parallel) == ("d", 1)
    assert (short.name, short.parallel) == ("x>m", 16)  # 20 would give the small weights all levels; half of that will do
    assert through.weight_error < 0.01
    counts = [sum(s.target == 1 and s.source == source for s in body.network.synapses) for source in (0, -1)]
    assert counts == [1, 16]
    weights = [s.connection.weight for s in body.network.synapses if s.target == 1 and s.source == -1]
    assert sum(int(w[0, 0, 0, 0]) for w in weights) == pytest.approx(body.layers[1].scale, abs=1)


def test_a_shortcut_beside_weights_of_its_own_size_is_one_synapse():
    assert [s.parallel for s in shortcut_beside(1.0).layers[1].synapses] == [1, 1]


def test_a_high_threshold_that_bounds_the_scale_leaves_no_use_for_further_synapses():
    assert [s.parallel for s in shortcut_beside(0.05, threshold=500.0).layers[1].synapses] == [1, 1]


def test_residual_networks_on_the_exact_grid_lose_nothing(graph, digits):
    exact = to_grid(graph("resnet"))
    body = quantized(exact)
    assert all(s.weight_error == 0 for layer in body.layers for s in layer.synapses)
    assert all(layer.bias_error == layer.threshold_error == 0 for layer in body.layers)
    before, after = (interpreter.run(g, digits[0]) for g in (exact, body.graph))
    for layer in exact.spiking:
        np.testing.assert_array_equal(before[layer], after[layer], err_msg=layer)


def test_integers_of_parallel_synapses_are_one_convolution_in_the_graph():
    body = shortcut_beside(0.05)
    shortcut = body.graph["x>m"]
    assert isinstance(shortcut, ops.ConvNode)
    assert shortcut.groups == 2
    np.testing.assert_allclose(shortcut.weight, body.layers[1].scale, atol=1)
    assert isinstance(body.graph["m"], ops.FixedPointNeuronNode)


def test_sums_of_spikes_that_the_head_reads_stay_in_the_graph_and_others_go():
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.5, (2, 2, 3, 3))
    graph = closed(
        conv("c", "x", weight),
        lif("n", "c"),
        conv("e", "n", weight),
        lif("k", "e"),
        add("a", "n", "k"),
        conv("d", "a", weight),
        lif("m", "d"),
        add("b", "m", "a"),
    )
    body = quantized(graph)
    names = {node.name for node in body.graph.nodes}
    assert {"a", "b", "n>d", "k>d"} <= names
    assert "d" not in names
    assert partition(body.graph).head.inputs == partition(graph).head.inputs == ("n", "k", "m")


def test_a_shortcut_past_more_layers_than_a_delay_can_hold_is_refused_by_name():
    members: list[ops.Node] = []
    source = "x"
    for index in range(64):
        members += [conv(f"c{index}", source, np.eye(2).reshape(2, 2, 1, 1)), lif(f"n{index}", f"c{index}")]
        source = f"n{index}"
    members += [add("sum", source, "x"), conv("last", "sum", np.eye(2).reshape(2, 2, 1, 1)), lif("end", "last")]
    with pytest.raises(UserError, match=r"node end: the spikes of x have to wait 64 steps, .*, 62 at most expected on Loihi"):
        quantized(closed(*members, shape=(2, 1, 1)))


# --- circuits that would mix samples -----------------------------------------------------------------------------------

EYE = Matrix(weight=2 * np.eye(2, dtype=np.int64))


def circuit(*synapses: Synapse, recurrent: np.ndarray | None = None) -> Circuit:
    neuron = CubaConstants(4096, 0, 1)
    populations = (
        Population(key="L0_Dense", shape=(2,), neuron=neuron, recurrent=recurrent),
        Population(key="L1_Dense", shape=(2,), neuron=neuron),
    )
    return Circuit(input_shape=(2,), populations=populations, synapses=synapses)


ENTRY, ON = Synapse(source=-1, target=0, connection=EYE), Synapse(source=0, target=1, connection=EYE)
REFUSED = {
    "a shortcut that does not wait": (
        circuit(ENTRY, ON, Synapse(source=-1, target=1, connection=EYE)),
        r"synapse 2: a delay of 0 found, at least 1 expected, .* longest way into L1_Dense",
    ),
    "a delay on the only way": (
        circuit(ENTRY, Synapse(source=0, target=1, connection=EYE, delay=2)),
        r"synapse 1: a delay of 2, 2 more than lines it up .*reach into the next sample",
    ),
    "a delay inside a matrix": (
        circuit(ENTRY, Synapse(source=0, target=1, connection=Matrix(weight=EYE.weight, delay=np.array([[0, 1], [0, 0]])))),
        r"synapse 1: a delay of 1, 1 more than",
    ),
    "recurrent synapses": (circuit(ENTRY, ON, recurrent=EYE.weight), r"population L0_Dense: recurrent synapses found"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_circuit_whose_spikes_would_reach_into_the_next_sample_is_refused_in_a_stream(case):
    network, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        run_stream(network, np.ones((3, 1, 2)))


@pytest.mark.parametrize("case", list(REFUSED)[1:])
def test_of_a_sample_alone_delays_and_recurrent_synapses_are_its_own(case):
    network, _ = REFUSED[case]
    spikes = np.array([[[1, 0]], [[0, 1]], [[0, 0]]])
    alone = run_sequence(network, spikes, steps=6)
    plain = simulate_circuit(network, spikes, 8)
    for key, fired in alone.spikes.items():
        np.testing.assert_array_equal(fired, plain[f"{key}_s"][alone.latencies[key] :][:6])


def test_a_neuron_that_fires_on_its_own_may_not_send_with_a_delay():
    loud = Population(key="L0_Dense", shape=(2,), neuron=CubaConstants(4096, 1024, 1), bias=np.array([0, 1]))
    quiet = Population(key="L0_Dense", shape=(2,), neuron=CubaConstants(4096, 1024, 4), bias=np.array([0, 1]))
    late = Synapse(source=0, target=1, connection=EYE, delay=1)
    for first in (loud, quiet):
        network = replace(circuit(ENTRY, late), populations=(first, circuit(ENTRY, late).populations[1]))
        if first is quiet:
            run_sequence(network, np.ones((3, 1, 2)))
            continue
        with pytest.raises(UserError, match=r"population L0_Dense: its bias makes it fire before .* the delay of synapse 1"):
            run_sequence(network, np.ones((3, 1, 2)))


def test_a_shortcut_that_does_not_wait_is_refused_for_a_sample_alone_too():
    network, message = REFUSED["a shortcut that does not wait"]
    with pytest.raises(UserError, match=message):
        run_sequence(network, np.ones((3, 1, 2)))


def test_a_shortcut_that_waits_within_its_matrix_is_lined_up_too():
    waiting = Matrix(weight=EYE.weight, delay=1)
    network = circuit(ENTRY, ON, Synapse(source=-1, target=1, connection=waiting))
    spikes = np.array([[[1, 0]], [[0, 1]], [[0, 0]]])
    np.testing.assert_array_equal(run_sequence(network, spikes).spikes["L1_Dense"], spikes)
