"""The last synapse on the chip: graded values leave it, the head goes on from them, and what that costs is counted."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import lava
from neurodeploy_exporters.bundle import GradedTensor, read_bundle
from neurodeploy_exporters.lava.headcut import cut
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.pipeline import run_sequence, run_stream
from neurodeploy_exporters.lava.quantize import quantize_body
from neurodeploy_exporters.lava.wiring import readouts
from neurodeploy_exporters.onnx import Session
from neurodeploy_exporters.verify import verify

STEPS = 4


def conv(name, source, weight, bias=None, padding=0, stride=1):
    geometry = {"stride": (stride,) * 2, "padding": (padding,) * 2, "dilation": (1, 1)}
    return ops.ConvNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias, **geometry)


def linear(name, source, weight, bias=None):
    return ops.LinearNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)


def lif(name, source):
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(0.5, 0.5, "hard"))


def closed(*members, shape=(2, 6, 6)) -> Graph:
    x, mean = ops.InputNode(name="x", shape=shape, timed=True), ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    return Graph([x, *members, mean, ops.OutputNode(name="out", inputs=("mean",))])


def cut_late(graph: Graph, steps: int = STEPS):
    parts = partition(graph)
    return quantize_body(graph, parts.body, readouts=readouts(graph, parts.head), steps=steps)


RNG = np.random.default_rng(0)
POOLED = closed(
    conv("c", "x", RNG.normal(0, 0.5, (4, 2, 3, 3)), padding=1),
    lif("n", "c"),
    ops.AvgPoolNode(name="pool", inputs=("n",), kernel=(2, 2), stride=(2, 2)),
    ops.FlattenNode(name="flat", inputs=("pool",)),
    linear("classifier", "flat", RNG.normal(0, 0.3, (5, 36)), RNG.normal(0, 0.3, 5).astype(np.float32)),
)
REPACT = closed(
    conv("c", "x", RNG.normal(0, 0.5, (4, 2, 3, 3)), padding=1),
    lif("n", "c"),
    conv("d", "n", RNG.normal(0, 0.5, (3, 4, 3, 3)), RNG.normal(0, 0.3, 3).astype(np.float32), padding=1, stride=2),
    ops.ReluNode(name="relu", inputs=("d",)),
    ops.AvgPoolNode(name="pool", inputs=("relu",), kernel=(3, 3), stride=(3, 3)),
    ops.FlattenNode(name="flat", inputs=("pool",)),
    linear("classifier", "flat", RNG.normal(0, 0.3, (5, 3)), RNG.normal(0, 0.3, 5).astype(np.float32)),
)


def spikes(steps=STEPS, batch=3, shape=(2, 6, 6), rate=0.4) -> np.ndarray:
    return (np.random.default_rng(1).random((steps, batch, *shape)) < rate).astype(np.float32)


# --- networks of the package -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repact", [False, True])
@pytest.mark.parametrize("kind", ["conv", "resnet"])
def test_the_exported_answers_are_nearly_those_of_the_trained_network_and_its_accuracy_is_measured(
    graph, digits, tmp_path, kind, repact
):
    network, (x, labels) = graph(kind, "hard", repact), digits
    folder = lava.export(network, x[:10], tmp_path / "b", name="n", quantize="exact", test=(x, labels), head_cut="last-synapse")
    assert verify(folder).passed
    early = lava.export(network, x[:10], tmp_path / "c", name="n", quantize="exact", test=(x, labels))
    late, before = (read_bundle(each).manifest for each in (folder, early))
    assert late.latency_steps == before.latency_steps + 1
    assert abs(late.accuracy["exported"].correct - before.accuracy["exported"].correct) <= 4
    logits = [read_bundle(each).sample().logits for each in (folder, early)]
    assert np.abs(logits[0] - logits[1]).max() < 0.02 * np.ptp(logits[1])
    assert (logits[0] != logits[1]).any()


def test_a_mean_over_time_is_read_once_a_sample_and_a_relu_gets_every_step(graph, digits, tmp_path):
    for repact, read_when, shape in ((False, "after the last step", (10,)), (True, "every step", (8, 2, 2))):
        network = graph("conv", "hard", repact)
        folder = lava.export(network, digits[0][:2], tmp_path / read_when, name="n", head_cut="last-synapse")
        manifest = read_bundle(folder).manifest
        body, head = manifest.chain[1:]
        (graded,) = body.graded
        assert (graded.read, graded.shape, graded.latency_steps) == (read_when, shape, manifest.latency_steps)
        assert head.inputs == body.outputs == (graded.name,)
        assert any("Graded read-out: the head reads" in note and "Loihi 1" in note for note in manifest.notes)
        last = read(folder / "body.net").blocks()[-1].neuron
        assert (last.i_decay, last.v_decay, last.threshold) == (0 if read_when.startswith("after") else 4096, 4096, 131071)


# --- what leaves the chip ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [POOLED, REPACT], ids=["integrated", "every step"])
@pytest.mark.parametrize("gap", [0, 3])
def test_graded_values_are_the_sums_of_the_interpreter_alone_and_in_a_stream(network, gap):
    body, x = cut_late(network), spikes()
    (readout,) = body.readouts
    expected = interpreter.run(body.graph, x)[f"{readout.name}.graded"]
    read_when = "after the last step" if readout.i_decay == 0 else "every step"
    leaving = GradedTensor(name="g", population=readout.key, shape=readout.shape, read=read_when, latency_steps=readout.latency)
    for replay in (
        run_sequence(body.network, x, graded=[readout.key]),
        run_stream(body.network, x, graded=[readout.key], reset_interval=len(x) + gap),
    ):
        assert readout.key not in replay.spikes
        np.testing.assert_array_equal(replay.read_out(leaving), expected)
    assert np.abs(expected).max() > 10


@pytest.mark.parametrize("network", [POOLED, REPACT], ids=["integrated", "every step"])
def test_the_parts_together_compute_what_the_quantised_graph_computes(network):
    body, x = cut_late(network), spikes()
    (readout,) = body.readouts
    tensor = f"{readout.name}.graded"
    parts = cut(body.graph, [tensor])
    assert parts.body.outputs == parts.head.inputs == (tensor,)
    from neurodeploy_exporters.onnx import build

    tensors = interpreter.run(body.graph, x)
    answers = Session(build(body.graph, parts.head, name="head")).run({tensor: tensors[tensor]})
    np.testing.assert_allclose(answers["out"], tensors["out"], atol=1e-6)
    trained = interpreter.run(network, x)["out"]
    np.testing.assert_allclose(tensors["out"], trained, atol=0.1 * np.ptp(trained))


@settings(max_examples=30)
@given(st.integers(1, 3000), st.integers(1, 64), st.sampled_from([-1.0, 1.0]), st.integers(0, 2**32 - 1))
def test_no_sum_over_all_steps_leaves_the_chips_registers_even_if_every_input_spikes_always(inputs, steps, sign, seed):
    weight = sign * np.random.default_rng(seed).uniform(0.1, 0.7, (2, inputs))
    graph = closed(linear("fc", "x", np.eye(inputs)[:1]), lif("n", "fc"), shape=(inputs,))
    graph = closed(*graph.nodes[1:3], linear("classifier", "n", weight[:, :1]), shape=(inputs,))
    wide = closed(linear("fc", "x", np.ones((inputs, 1))), lif("n", "fc"), linear("classifier", "n", weight), shape=(1,))
    for network, x in ((graph, np.ones((steps, 1, inputs))), (wide, np.ones((steps, 1, 1)))):
        body = cut_late(network, steps)
        (readout,) = body.readouts
        replay = run_sequence(body.network, x, graded=[readout.key])
        sums = replay.graded[readout.key][-1] / steps
        np.testing.assert_array_equal(sums.astype(np.float32), interpreter.run(body.graph, x)["mean.graded"])


# --- what it costs -----------------------------------------------------------------------------------------------------


def fan_out(node: ops.ConvNode, shape) -> np.ndarray:
    """Synapses of every input position of a convolution, position by position."""
    found = np.zeros(shape)
    for place in np.ndindex(*shape):
        x = np.zeros((1, 1, *shape), np.float32)
        x[(0, 0, *place)] = 1
        ones = type(node)(**{**vars(node), "inputs": ("x",), "weight": np.ones_like(node.weight), "bias": None})
        entry, out = ops.InputNode(name="x", shape=shape, timed=True), ops.OutputNode(name="out", inputs=(node.name,))
        found[place] = interpreter.run(Graph([entry, ones, out]), x)["out"].sum()
    return found


def test_both_costs_of_a_convolution_before_a_relu_are_counted_on_the_sample(tmp_path):
    x = spikes(batch=5)
    manifest = read_bundle(lava.export(REPACT, x, tmp_path / "b", name="n", head_cut="last-synapse")).manifest
    costs, fired = manifest.head_cut, read_bundle(tmp_path / "b").sample().spikes["n"]
    early, late = costs.last_spike, costs.last_synapse
    assert costs.chosen == "last-synapse"
    assert early.spikes == pytest.approx(fired.sum() / 5)
    assert (early.graded_values, early.synaptic_operations, early.neuron_updates) == (0, 0, 0)
    synapses = fan_out(REPACT["d"], (4, 6, 6))
    assert early.multiply_accumulates == STEPS * synapses.sum() < STEPS * 3 * 3 * 3 * 4 * 9  # what meets the padding is none
    assert synapses.min() < synapses.max()
    assert late.synaptic_operations == pytest.approx(float((fired.sum((0, 1)) * synapses).sum()) / 5)
    assert (late.spikes, late.graded_values, late.neuron_updates) == (0, STEPS * 27, STEPS * 27)
    assert late.multiply_accumulates == late.graded_values
    assert 0 < late.neuron_updates_active <= late.neuron_updates


def test_both_costs_of_a_pooled_classifier_are_counted_on_the_sample(tmp_path):
    x = spikes(batch=5)
    folder = lava.export(POOLED, x, tmp_path / "b", name="n")
    costs, fired = read_bundle(folder).manifest.head_cut, read_bundle(folder).sample().spikes["n"]
    assert costs.chosen == "last-spike"
    assert costs.last_spike.multiply_accumulates == STEPS * 5 * 36
    assert costs.last_spike.spikes == pytest.approx(fired.sum() / 5)
    assert costs.last_synapse.synaptic_operations == pytest.approx(5 * fired.sum() / 5)
    assert (costs.last_synapse.graded_values, costs.last_synapse.multiply_accumulates) == (5, 5)


def test_spikes_that_the_head_still_reads_cross_beside_the_graded_values(small_named, spiking, tmp_path):
    from neurodeploy.graph import fold_batch_norm
    from neurodeploy.graph.tracing import trace

    small = small_named("resnet1d")
    graph = fold_batch_norm(trace(small.build(spiking(repact=True, decay=0.5), trained=True), small.shape))
    folder = lava.export(graph, small.samples(4).numpy(), tmp_path / "b", name="n", head_cut="last-synapse")
    bundle = read_bundle(folder)
    body, head = bundle.manifest.chain[1:]
    (graded,) = body.graded
    assert body.outputs == ("block1.act2", graded.name)
    assert set(head.inputs) == {"stem", *body.outputs}
    cost = bundle.manifest.head_cut.last_synapse
    assert cost.spikes == pytest.approx(bundle.sample().spikes["block1.act2"].sum() / 4)
    assert cost.graded_values == 3 * prod(graded.shape)


# --- refusals ----------------------------------------------------------------------------------------------------------

MAXED = closed(
    conv("c", "x", RNG.normal(0, 0.5, (4, 2, 3, 3)), padding=1),
    lif("n", "c"),
    ops.MaxPoolNode(name="pool", inputs=("n",), kernel=(6, 6), stride=(6, 6)),
    ops.FlattenNode(name="flat", inputs=("pool",)),
    linear("classifier", "flat", RNG.normal(0, 0.3, (5, 4))),
)


def test_a_maximum_before_the_last_synapse_keeps_it_on_the_host(tmp_path):
    with pytest.raises(UserError, match=r"head: pool \(MaxPool\) stands between the last spikes and the last synapse"):
        lava.export(MAXED, spikes(), tmp_path / "b", name="n", head_cut="last-synapse")
    assert list(tmp_path.iterdir()) == []
    manifest = read_bundle(lava.export(MAXED, spikes(), tmp_path / "b", name="n")).manifest
    assert manifest.head_cut.last_synapse is None


# --- pooled classifiers ------------------------------------------------------------------------------------------------


def averaged(channels: int, size: int, classes: int) -> Graph:
    """Neurons that pass events on, a global average and a classifier."""
    rng = np.random.default_rng(3)
    return closed(
        conv("c", "x", np.eye(channels).reshape(channels, channels, 1, 1)),
        lif("n", "c"),
        ops.AvgPoolNode(name="pool", inputs=("n",), kernel=(size, size), stride=(size, size)),
        ops.FlattenNode(name="flat", inputs=("pool",)),
        linear("classifier", "flat", rng.uniform(-1, 1, (classes, channels)) / 16),
        shape=(channels, size, size),
    )


def test_weights_of_a_few_units_are_spread_over_their_window_so_that_its_sum_is_right():
    graph = averaged(512, 8, 4)
    body = cut_late(graph)
    weight = body.graph["classifier"].weight.reshape(4, 512, 64)
    (readout,) = body.readouts
    assert np.abs(weight).max() <= 4, "the sums bound the scale, so that nothing else can"
    assert np.ptp(weight, axis=2).max() == 2
    trained = graph["classifier"].weight
    np.testing.assert_allclose(weight.sum(2), trained * readout.scale, atol=1)
    assert readout.synapses[0].weight_error < 0.02
    assert np.abs(weight.sum(1)).max() < 150, "one input of all windows is favoured"


def test_answers_of_a_wide_pooled_classifier_stay_near_those_of_the_trained_one_wherever_the_spikes_are():
    graph = averaged(512, 8, 4)
    body, rng = cut_late(graph), np.random.default_rng(4)
    x = (rng.random((STEPS, 6, 512, 8, 8)) < rng.random((6, 512, 1, 1)) * 0.5).astype(np.float32)
    x[:, :3, :, 4:] = 0  # three samples whose spikes are all in one half
    trained, integers = (interpreter.run(g, x)["out"] for g in (graph, body.graph))
    assert np.abs(trained - integers).max() < 0.05 * np.ptp(trained)


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_whatever_windows_are_pooled_all_their_inputs_get_a_share_and_no_others(kernel, gap, pools, channels, seed):
    rng = np.random.default_rng(seed)
    size = (kernel + gap - 1) ** pools + 2
    members: list[ops.Node] = [conv("c", "x", rng.normal(0, 1, (channels, 1, 1, 1))), lif("n", "c")]
    for number in range(pools):
        before, stride = members[-1].name, kernel + gap - 1
        if size < kernel:
            break
        members.append(ops.AvgPoolNode(name=f"p{number}", inputs=(before,), kernel=(kernel,) * 2, stride=(stride,) * 2))
        size = (size - kernel) // stride + 1
    members.append(ops.FlattenNode(name="flat", inputs=(members[-1].name,)))
    weight = rng.uniform(0.5, 1, (2, channels * size * size))
    first = (kernel + gap - 1) ** pools + 2
    graph = closed(*members, linear("classifier", "flat", weight), shape=(1, first, first))
    (readout,) = readouts(graph, partition(graph).head)
    body = cut_late(graph)
    integers, trained = body.graph["classifier"].weight, readout.afferents[0].node.weight
    assert ((integers == 0) >= (trained == 0)).all()
    assert np.abs(integers - trained * body.readouts[0].scale).max() <= 2
    assert body.readouts[0].synapses[0].weight_error < 0.02
