"""Currents with a memory, delays, and scales for every channel: the chip's integers fire what the exported graph fires."""

from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurodeploy_exporters.lava as lava
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.graph.module import GraphModule
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.aware import LoihiTuning
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.quantize import QuantizedBody, quantize_body
from neurodeploy_exporters.lava.rounding import response
from neurodeploy_exporters.lava.wiring import stages
from neurodeploy_exporters.target import TuningSettings
from neurodeploy_exporters.verify import verify

STEPS = 8


def linear(name: str, source: str, weight: Any, bias: Any = None) -> ops.LinearNode:
    bias = None if bias is None else np.asarray(bias, np.float32)
    return ops.LinearNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)


def conv(name: str, source: str, weight: Any) -> ops.ConvNode:
    return ops.ConvNode(
        name=name, inputs=(source,), weight=weight.astype(np.float32), bias=None, stride=(1, 1), padding=(1, 1), dilation=(1, 1)
    )


def low_pass(name: str, source: str, decay: float) -> ops.LowPassNode:
    return ops.LowPassNode(name=name, inputs=(source,), decay=decay)


def late(name: str, source: str, steps: int) -> ops.DelayNode:
    return ops.DelayNode(name=name, inputs=(source,), steps=steps)


def lif(name: str, source: str, decay: float = 0.75, threshold: float = 0.5) -> ops.NeuronNode:
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(decay, threshold, "hard"))


def closed(*members: ops.Node, shape: tuple[int, ...] = (6,)) -> Graph:
    x, mean = ops.InputNode(name="x", shape=shape, timed=True), ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    return Graph([x, *members, mean, ops.OutputNode(name="out", inputs=("mean",))])


def weights(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(0.05, 0.3, shape)


def spikes(seed: int, *shape: int) -> Any:
    return (np.random.default_rng(seed).random((STEPS, 5, *shape)) < 0.4).astype(np.float32)


def quantised(graph: Graph, **options: Any) -> QuantizedBody:
    return quantize_body(graph, partition(graph).body, steps=STEPS, **options)


def fires_alike(body: QuantizedBody, x: Any) -> int:
    """Compares chip, interpreter and torch; the number of spikes."""
    run = interpreter.run(body.graph, x)
    replay, total = run_sequence(body.network, x), 0
    for layer in body.layers:
        found = replay.spikes_of(layer.key, layer.shape)
        np.testing.assert_array_equal(found, run[layer.name], err_msg=layer.name)
        total += int(found.sum())
    answer = GraphModule(body.graph)(torch.from_numpy(np.ascontiguousarray(x))).detach().numpy()
    np.testing.assert_allclose(answer, run[body.graph.output.name], atol=1e-6)
    return total


def cuba(alpha: float = 0.8, bias: Any = None, seed: int = 0) -> Graph:
    return closed(
        linear("fc1", "x", weights(seed, 7, 6), bias),
        low_pass("n1.current", "fc1", alpha),
        lif("n1", "n1.current"),
        linear("fc2", "n1", weights(seed + 1, 4, 7)),
        low_pass("n2.current", "fc2", 1 - alpha / 2),
        lif("n2", "n2.current", 0.9),
    )


@settings(max_examples=25, deadline=None)
@given(alpha=st.floats(0, 1), biased=st.booleans(), per_channel=st.booleans(), seed=st.integers(0, 99))
def test_current_based_neurons_fire_alike_on_the_chip_in_the_interpreter_and_in_torch(alpha, biased, per_channel, seed):
    bias = weights(seed + 2, 7) if biased else None
    body = quantised(cuba(alpha, bias, seed), per_channel=per_channel)
    assert [layer.i_decay for layer in body.layers] == [round(4096 * (1 - alpha)), round(4096 * alpha / 2)]
    fires_alike(body, spikes(seed, 6))


def test_the_decays_of_both_states_are_in_the_file_and_what_rounding_moved_them_is_told(tmp_path):
    body = quantised(cuba(0.8))
    write(body.network, tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net") as file:
        assert [int(file[f"layer/{n}/neuron/iDecay"][()]) for n in (1, 2)] == [819, 1638]
        assert [int(file[f"layer/{n}/neuron/vDecay"][()]) for n in (1, 2)] == [1024, 410]
    first, second = body.layers
    assert first.decay_errors == pytest.approx((abs(1 - 819 / 4096 - 0.8), 0))
    assert second.decay_errors == pytest.approx((abs(1 - 1638 / 4096 - 0.6), abs(1 - 410 / 4096 - 0.9)))


def test_currents_never_leave_the_24_bits_of_a_neuron_however_long_they_are_kept():
    graph = closed(linear("fc", "x", np.ones((3, 6))), low_pass("i", "fc", 1.0), lif("n", "i", threshold=100.0))
    body = quantised(graph)
    (layer,) = body.layers
    assert isinstance(body.network, Network)
    assert STEPS * 6 * layer.scale <= (1 << 17) - 1
    fires_alike(body, np.ones((STEPS, 1, 6), np.float32))


def test_a_bias_that_a_current_keeps_is_the_constant_that_brings_as_much_over_the_sample():
    bias = np.array([0.2, -0.1, 0, 0, 0, 0, 0.05])
    (first, _), body = stages(cuba(0.8, bias), partition(cuba(0.8, bias)).body), quantised(cuba(0.8, bias))
    assert first.current_decay == 0.8
    grown = response(0.8, STEPS)
    population = body.network.circuit().populations[0]  # type: ignore[union-attr]
    np.testing.assert_allclose(population.bias / body.layers[0].scale, bias * grown.mean(), atol=0.01)
    # the largest difference in any step, as a share of the threshold
    assert body.layers[0].bias_error == pytest.approx(0.2 * (grown.mean() - 1) / 0.5, abs=0.4)


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(1, 12), before=st.booleans(), images=st.booleans(), kept=st.booleans(), seed=st.integers(0, 99))
def test_delayed_spikes_arrive_as_late_on_the_chip_wherever_the_delay_is_written(steps, before, images, kept, seed):
    shape = (2, 4, 4) if images else (6,)
    synapse = conv("s", "d", weights(seed, 3, 2, 3, 3)) if images else linear("s", "d", weights(seed, 5, 6))
    if before:
        members: list[ops.Node] = [late("d", "x", steps), synapse]
    else:
        members = [replace(synapse, inputs=("x",)), late("d", "s", steps)]
    source = "s" if before else "d"
    if kept:
        members.append(low_pass("i", source, 0.5))
        source = "i"
    graph = closed(*members, lif("n", source), shape=shape)
    body, x = quantised(graph), spikes(seed, *shape)
    fires_alike(body, x)
    assert isinstance(body.network, Circuit if images else Network)
    shifted = np.concatenate([np.zeros_like(x[:steps]), x])[:STEPS]
    plain = quantised(
        Graph(
            [replace(n, inputs=("x",)) if n.name == "s" else n for n in graph.nodes if n.name != "d"]
            if before
            else [replace(n, inputs=("s",)) if "d" in n.inputs else n for n in graph.nodes if n.name != "d"]
        )
    )
    key = body.layers[0].key
    np.testing.assert_array_equal(run_sequence(body.network, x).spikes[key], run_sequence(plain.network, shifted).spikes[key])


def test_a_delay_of_a_dense_layer_stands_in_the_net_file(tmp_path):
    body = quantised(
        closed(
            linear("fc", "x", weights(0, 5, 6)),
            lif("a", "fc"),
            late("d", "a", 3),
            linear("e", "d", weights(1, 4, 5)),
            lif("b", "e"),
        )
    )
    write(body.network, tmp_path / "a.net")
    assert [getattr(layer, "delay", 0) for layer in read(tmp_path / "a.net").layers] == [0, 0, 3]
    assert body.delayed
    assert [s.delay for layer in body.layers for s in layer.synapses] == [0, 3]


def test_the_same_spikes_now_and_later_come_through_two_synapses():
    w = weights(0, 5, 6)
    graph = closed(
        linear("now", "x", w),
        late("d", "x", 2),
        linear("then", "d", w),
        ops.AddNode(name="sum", inputs=("now", "then")),
        lif("n", "sum"),
    )
    body = quantised(graph)
    assert sorted(s.delay for s in body.layers[0].synapses) == [0, 2]
    fires_alike(body, spikes(0, 6))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            [linear("s", "x", weights(0, 5, 6)), low_pass("i", "s", 0.5), linear("t", "i", weights(0, 5, 5)), lif("n", "t")],
            r"node i: its synaptic current is read by t \(Linear\), neurons alone expected",
        ),
        (
            [linear("s", "x", weights(0, 5, 6)), low_pass("i", "s", 0.5), low_pass("j", "i", 0.5), lif("n", "j")],
            r"node i: its synaptic current is read by j \(LowPass\)",
        ),
        (
            [linear("s", "x", weights(0, 5, 6), np.ones(5)), late("d", "s", 2), lif("n", "d")],
            "node d: a delay after a bias, which on Loihi acts from the first step on; move it before the synapse",
        ),
        (
            [late("d", "x", 63), linear("s", "d", weights(0, 5, 6)), lif("n", "s")],
            "node n: the spikes of x have to wait 63 steps, 63 of their own and 0 for those of the longest way, 62 at most",
        ),
    ],
)
def test_what_has_no_form_in_loihis_neurons_is_refused_by_name(members, message):
    with pytest.raises(UserError, match=message):
        quantised(closed(*members))


@settings(max_examples=20, deadline=None)
@given(outputs=st.integers(1, 6), spread=st.floats(0, 3), seed=st.integers(0, 99), images=st.booleans())
def test_scales_for_every_channel_lose_no_more_than_one_for_all_and_fire_alike(outputs, spread, seed, images):
    shape = (2, 4, 4) if images else (6,)
    weight = weights(seed, outputs, *((2, 3, 3) if images else (6,)))
    weight *= np.exp(np.random.default_rng(seed).normal(0, spread, (outputs, *(1,) * (weight.ndim - 1))))
    synapse = conv("s", "x", weight) if images else linear("s", "x", weight, weights(seed + 1, outputs) / 10)
    graph = closed(synapse, lif("n", "s"), shape=shape)
    one, own = quantised(graph), quantised(graph, per_channel=True)
    assert own.layers[0].synapses[0].parallel == one.layers[0].synapses[0].parallel
    assert np.shape(own.layers[0].threshold) == (outputs,)
    fires_alike(own, spikes(seed, *shape))
    lost = [_lost(body, weight) for body in (one, own)]
    assert (lost[1] <= lost[0] * (1 + 1e-9) + 1e-6).all() or lost[1].sum() <= lost[0].sum()


def _lost(body: QuantizedBody, weight: Any) -> Any:
    """Squared error of every channel's weights."""
    scale = np.broadcast_to(body.layers[0].scale, (len(weight),)).reshape(-1, *(1,) * (weight.ndim - 1))
    made = body.graph["s"].weight / scale  # type: ignore[attr-defined]
    return np.square(made - weight).reshape(len(weight), -1).sum(1)


def test_a_channel_of_zeros_keeps_the_scale_of_its_layer():
    weight = weights(0, 4, 6)
    weight[2] = 0
    body = quantised(closed(linear("s", "x", weight), lif("n", "s")), per_channel=True)
    assert len(np.unique(body.layers[0].scale)) == 4
    fires_alike(body, spikes(0, 6))


DELAYED = closed(
    late("d", "x", 2),
    conv("s", "d", weights(0, 3, 2, 3, 3)),
    lif("n", "s"),
    ops.FlattenNode(name="flat", inputs=("n",)),
    linear("fc", "flat", weights(1, 4, 48)),
    lif("m", "fc"),
    shape=(2, 4, 4),
)


@pytest.mark.parametrize("options", [{}, {"scales": "channel"}])
@pytest.mark.parametrize("graph", [cuba(0.8, weights(5, 7)), DELAYED])
def test_a_bundle_of_such_a_network_is_verified(graph, options, tmp_path):
    x = spikes(3, *graph.input.shape)
    bundle = lava.export(graph, x, tmp_path / "bundle", name="net", calibration=x, **options)
    outcome = verify(bundle)
    assert outcome.passed, str(outcome)


def test_scales_for_every_channel_are_not_for_a_grid_that_loses_nothing(tmp_path):
    graph = closed(linear("s", "x", np.eye(6)), lif("n", "s", 0.5))
    with pytest.raises(UserError, match='scales: "channel" found with quantize "exact"'):
        lava.export(graph, spikes(0, 6), tmp_path / "b", name="net", quantize="exact", scales="channel")


def test_fine_tuning_of_currents_with_a_memory_is_refused_by_name():
    with pytest.raises(UserError, match="node n1: its synaptic current has a memory, with which fine-tuning does not compute"):
        LoihiTuning(cuba(), TuningSettings(exact=False, reset=False, calibration=None, neuron=None, batch_first=False))
