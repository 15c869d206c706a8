"""Recurrent layers, delays of each neuron and SLAYER's whole numbers: the chip fires what the exported graph fires."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import neurodeploy as nd
from checks.foreign.recorded import read as recorded
from neurodeploy.dynamics.delays import delayed
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.standard import Leaky, recurrent_cell
from neurodeploy.graph.tracing.slayer import Constants, spike_step
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava import export
from neurodeploy_exporters.lava.aware import LoihiTuning
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Matrix, Population, Synapse
from neurodeploy_exporters.lava.graphs import chip_graph, differing, float_graph
from neurodeploy_exporters.lava.layers import CubaConstants, DenseLayer
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.pipeline import run_sequence, run_stream
from neurodeploy_exporters.lava.quantize import QuantizedBody, quantize_body
from neurodeploy_exporters.lava.simulate import simulate
from neurodeploy_exporters.target import TuningSettings

STEPS, FILES = 10, Path(__file__).parents[2] / "files" / "foreign"


def weights(seed: int, *shape: int, mean: float = 0.05) -> Any:
    return np.random.default_rng(seed).normal(mean, 0.3, shape).astype(np.float32)


def linear(name: str, source: str, weight: Any, bias: Any = None) -> ops.LinearNode:
    return ops.LinearNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)


def lif(name: str, source: str) -> ops.NeuronNode:
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(0.75, 0.5, "hard"))


def closed(*members: ops.Node, shape: tuple[int, ...] = (6,)) -> Graph:
    x, mean = ops.InputNode(name="x", shape=shape, timed=True), ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    return Graph([x, *members, mean, ops.OutputNode(name="out", inputs=("mean",))])


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


def looped(name: str, source: str, seed: int, current_decay: float | None = None, size: int = 7) -> ops.CellNode:
    constants = Leaky(0.75, 0.5, "hard", current_decay)
    return recurrent_cell(name, source, weights(seed, size, size, mean=-0.1), constants, (size,))


def chain(seed: int = 0, current_decay: float | None = None) -> Graph:
    return closed(
        linear("fc1", "x", weights(seed, 7, 6)),
        looped("n1", "fc1", seed + 1, current_decay),
        linear("fc2", "n1", weights(seed + 2, 5, 7)),
        looped("n2", "fc2", seed + 3, size=5),
        linear("fc3", "n2", weights(seed + 4, 4, 5)),
        lif("n3", "fc3"),
    )


@settings(max_examples=20, deadline=None)
@given(current_decay=st.none() | st.floats(0, 1), per_channel=st.booleans(), calibrated=st.booleans(), seed=st.integers(0, 99))
def test_recurrent_layers_fire_alike_on_the_chip_in_the_interpreter_and_in_torch(current_decay, per_channel, calibrated, seed):
    x = spikes(seed, 6)
    body = quantised(chain(seed, current_decay), per_channel=per_channel, calibration=x if calibrated else None)
    assert [layer.key for layer in body.layers] == ["L0_RecurrentDense", "L1_RecurrentDense", "L2_Dense"]
    assert body.recurrent
    fires_alike(body, x)


def test_the_weights_that_bring_spikes_back_share_the_layers_scale_and_one_synapse_carries_them():
    graph = closed(linear("fc", "x", 0.01 * weights(0, 7, 6)), looped("n", "fc", 1))
    body = quantised(graph)
    (layer,) = body.layers
    assert isinstance(body.network, Network | Circuit)
    node = body.graph["n"]
    cell = graph["n"]
    assert isinstance(node, ops.FixedPointNeuronNode)
    assert isinstance(cell, ops.CellNode)
    assert node.recurrent is not None
    assert cell.recurrent is not None
    assert not (node.recurrent % 2).any()
    assert np.abs(node.recurrent - layer.scale * cell.recurrent).max() <= 1
    assert layer.recurrent_error is not None
    assert 0 < layer.recurrent_error < 0.02


def test_the_file_has_a_recurrent_layer_that_reads_back_and_runs_the_same(tmp_path):
    body, x = quantised(chain(3, 0.5)), spikes(1, 6)
    assert isinstance(body.network, Network)
    write(body.network, tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net") as file:
        kinds = [file[f"layer/{n}/type"][0].decode() for n in range(4)]
        assert kinds == ["input", "dense_rec", "dense_rec", "dense"]
        assert "delay" not in file["layer/1"]
    again = read(tmp_path / "a.net")
    one, other = (simulate(network, x.astype(np.int64), STEPS + 4) for network in (body.network, again))
    assert one["L0_RecurrentDense_s"].any()
    assert all(np.array_equal(one[key], other[key]) for key in one)
    with pytest.raises(UserError, match="recurrent synapses found, whose spikes would reach into the next sample"):
        run_stream(again, x)


@pytest.mark.parametrize(
    "members",
    [
        [linear("fc1", "x", weights(0, 7, 6)), lif("n1", "fc1"), ops.DelayNode(name="late", inputs=("n1",), steps=1)],
        [linear("fc1", "x", weights(0, 7, 6)), looped("n1", "fc1", 3), ops.AddNode(name="late", inputs=("n1", "n1"))],
    ],
)
def test_what_netx_cannot_hold_of_a_recurrent_layer_becomes_a_circuit(members):
    graph = closed(*members, linear("fc2", "late", weights(1, 7, 7)), looped("n2", "fc2", 2))
    body = quantised(graph)
    assert isinstance(body.network, Circuit) == isinstance(members[-1], ops.DelayNode)
    assert fires_alike(body, spikes(0, 6)) > 0


def test_what_lava_has_no_form_for_is_refused_by_name_with_what_to_change():
    def refused(message: str, *members: ops.Node, shape: tuple[int, ...] = (7,)) -> None:
        with pytest.raises(UserError, match=message):
            quantised(closed(*members, shape=shape))

    back = weights(0, 7, 7)
    late = recurrent_cell("n", "x", back, Leaky(0.5, 1.0, "hard", 0.5, late=True), (7,))
    entry = linear("fc", "x", weights(2, 7, 7))
    refused("node n: its membrane reads the current of the step before", entry, replace(late, inputs=("fc",)))
    soft = recurrent_cell("n", "fc", back, Leaky(0.5, 1.0, "soft"), (7,))
    refused('node n: reset "soft" found; Loihi', entry, soft)
    each = recurrent_cell("n", "fc", back, Leaky(np.linspace(0.1, 0.9, 7), 1.0, "hard"), (7,))
    refused("node n: its decay differs between neurons, one for the layer expected", entry, each)
    plane = recurrent_cell("n", "x", weights(0, 8, 8), Leaky(0.5, 1.0, "hard"), (2, 2, 2))
    one = ops.ConvNode(
        name="conv", inputs=("x",), weight=weights(0, 2, 2, 1, 1), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1
    )
    refused(
        r"node n: spikes of neurons \(2, 2, 2\) come back through weights; .*: flatten what the layer reads",
        one,
        replace(plane, inputs=("conv",)),
        shape=(2, 2, 2),
    )
    filtered = ops.LowPassNode(name="i", inputs=("fc",), decay=0.5)
    refused("node i: a synaptic current with a memory found before the neurons n", entry, filtered, looped("n", "i", 0))
    with pytest.raises(UserError, match="node n1: its own spikes come back to it, with which fine-tuning does not compute"):
        LoihiTuning(chain(), TuningSettings(neuron=nd.LIF(), exact=False, reset=False, calibration=None, batch_first=True))


def test_a_bias_that_fires_before_the_sample_is_refused_beside_recurrence():
    loud = closed(linear("fc", "x", weights(0, 7, 6), np.full(7, 0.4, np.float32)), looped("n", "fc", 1))
    with pytest.raises(UserError, match="its bias makes it fire before the first spike of a sample arrives, and its recurrent"):
        run_sequence(quantised(loud).network, spikes(0, 6))


@pytest.mark.parametrize("flat", [False, True])
def test_delays_of_each_neuron_become_those_of_its_synapses(flat, tmp_path):
    shape = (2, 2, 2) if flat else (8,)
    steps = np.arange(8).reshape(shape) % 4
    members: list[ops.Node] = [ops.ReshapeNode(name="plane", inputs=("x",), shape=shape)] if flat else []
    members += [
        ops.DelayNode(name="late", inputs=("x",), steps=3, each=steps),
        *([ops.FlattenNode(name="flat", inputs=("late",))] if flat else []),
        linear("fc", "flat" if flat else "late", weights(0, 5, 8)),
        lif("n", "fc"),
        ops.DelayNode(name="later", inputs=("n",), steps=4, each=np.array([4, 1, 2, 3, 1])),
        linear("fc2", "later", weights(1, 5, 5)),
        lif("n2", "fc2"),
    ]
    graph = closed(*members[1:] if flat else members, shape=shape)
    body, x = quantised(graph), spikes(0, *shape)
    assert fires_alike(body, x) > 0
    assert [layer.synapses[0].delay for layer in body.layers] == [3, 4]
    assert isinstance(body.network, Network)
    write(body.network, tmp_path / "a.net")
    dense = [layer for layer in read(tmp_path / "a.net").layers if isinstance(layer, DenseLayer)]
    assert np.array_equal(np.unique(dense[0].delay), np.arange(4))


def test_delays_of_each_neuron_before_a_convolution_are_refused_by_name():
    conv = ops.ConvNode(
        name="conv", inputs=("late",), weight=weights(0, 3, 2, 1, 1), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1
    )
    late = ops.DelayNode(name="late", inputs=("x",), steps=2, each=np.array([[[0]], [[2]]]))
    with pytest.raises(UserError, match="node conv: reads spikes of x that are 0 to 2 steps late, each neuron's own; a convol"):
        quantised(closed(late, conv, lif("n", "conv"), shape=(2, 4, 4)))


def whole(weight: Any, recurrent: Any = None, **constants: Any) -> Graph:
    settings = {"v_decay": 128, "threshold": 80, "i_decay": 1024} | constants
    return closed(
        linear("fc", "x", weight),
        ops.FixedPointNeuronNode(name="n", inputs=("fc",), recurrent=recurrent, **settings),
        linear("fc2", "n", 2 * np.eye(7)),
        ops.FixedPointNeuronNode(name="n2", inputs=("fc2",), v_decay=np.arange(7) * 100, threshold=3, i_decay=4096),
    )


EVEN = 2 * np.random.default_rng(0).integers(-20, 40, (7, 6))
BACK = 2 * np.random.default_rng(1).integers(-40, 20, (7, 7))


@pytest.mark.parametrize("bias", [0, -5, np.arange(-7, 0)])
def test_neurons_in_a_chips_integers_stay_what_they_are(bias):
    graph, x = whole(EVEN, BACK, bias=bias), spikes(0, 6)
    body = quantised(graph)
    before, after = interpreter.run(graph, x), interpreter.run(body.graph, x)
    assert fires_alike(body, x) > 0
    assert all(np.array_equal(before[name], after[name]) for name in ("n", "n2"))
    (first, second) = body.layers
    assert (first.scale, first.synapses[0].weight_error, first.recurrent_error) == (1.0, 0.0, 0.0)
    assert second.v_decay == [100 * n for n in range(7)]
    calibrated = quantised(graph, calibration=x)
    assert calibrated.layers == body.layers


def test_integers_that_a_chip_does_not_hold_are_refused_by_name():
    with pytest.raises(UserError, match="node fc: the weight 3 of neurons in whole numbers found, even numbers expected"):
        quantised(whole(np.full((7, 6), 3)))
    with pytest.raises(UserError, match="node n: a threshold of 200000, a bias of 0 or recurrent weights up to"):
        quantised(whole(EVEN, threshold=200_000))
    biased = closed(
        linear("fc", "x", EVEN, np.ones(7, np.float32)),
        ops.FixedPointNeuronNode(name="n", inputs=("fc",), v_decay=0, threshold=9, i_decay=9),
    )
    with pytest.raises(UserError, match="node n: a bias in the synaptic current of neurons in whole numbers"):
        quantised(biased)
    with pytest.raises(UserError, match="node n: it is in the chip's integers already, as SLAYER trained it"):
        LoihiTuning(whole(EVEN), TuningSettings(neuron=nd.LIF(), exact=False, reset=False, calibration=None, batch_first=True))


def test_a_grid_that_would_move_a_chips_integers_is_refused(tmp_path):
    weight = EVEN.copy()
    weight[0, 0] = -256  # of steps of 4 on the grid of 8 bits
    weight[1, 1] = 2
    with pytest.raises(UserError, match='node fc: its weights are the chip\'s integers already, which quantize "exact" would'):
        export(whole(weight), spikes(0, 6), tmp_path / "b", name="n", quantize="exact")
    export(whole(weight), spikes(0, 6), tmp_path / "b", name="n")


def test_a_recurrent_file_is_a_graph_in_integers_and_one_in_floats():
    neuron = CubaConstants(1024, 512, 90)
    first = Population(key="a", shape=(7,), neuron=neuron, recurrent=BACK)
    last = Population(key="b", shape=(7,), neuron=CubaConstants(4096, 512, np.arange(20, 27)), recurrent=BACK)
    entry = Synapse(source=INPUT, target=0, connection=Matrix(weight=EVEN))
    between = Synapse(source=0, target=1, connection=Matrix(weight=BACK.T.copy()))
    circuit, x = Circuit(input_shape=(6,), populations=(first, last), synapses=(entry, between)), spikes(2, 6)
    chip, floats = chip_graph(circuit), float_graph(circuit)
    replay, run = run_sequence(circuit, x), interpreter.run(chip, x)
    assert all(np.array_equal(replay.spikes[key], run[key]) for key in ("a", "b"))
    assert replay.spikes["b"].any()
    wrong, total = differing(chip, floats, x)
    assert wrong < 0.02 * total


class Block(nn.Module):
    """With the weights and constants of a recording; `[B, N, T]`."""

    def __init__(self, found: Any, block: str) -> None:
        super().__init__()
        back = found.weights.get(f"{block}.recurrent_synapse.weight")
        self.weight = self._rounded(found.weights[f"{block}.{'synapse' if back is None else 'input_synapse'}.weight"])
        self.back = None if back is None else self._rounded(back).reshape(10, 10).t()
        late = found.weights.get(f"{block}.delay.delay")
        self.delays = 0 if late is None else np.trunc(late).astype(np.int64)
        own = found.layers[f"{block}.neuron"].constants
        decays = [torch.as_tensor(own[name]).reshape(-1).float() for name in ("current_decay", "voltage_decay")]
        kept, scale = [4096 - torch.round(decay) for decay in decays], own["s_scale"]
        self.constants = Constants(
            (kept[0], kept[1]), scale, True, own["threshold"] * scale, None, None, graded=False, by_call=back is not None
        )

    def _rounded(self, weight: Any) -> torch.Tensor:
        return (32 * torch.from_numpy(weight)).round().clamp(-128, 127) / 32

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = functional.conv3d(x.reshape(len(x), -1, 1, 1, x.shape[-1]), self.weight).reshape(len(x), -1, x.shape[-1])
        state, made = dict[str, Any](), list[torch.Tensor]()
        for t in range(z.shape[-1]):
            now = z[..., t]
            if self.back is not None:
                now = now + torch.matmul(made[-1] if made else torch.zeros_like(now), self.back)
            made.append(spike_step(self.constants, state, now))
        return delayed(delayed(torch.stack(made, -1), 1, axis=-1), self.delays, axis=-1)


@pytest.mark.parametrize("name", ["dense", "dense-channels", "delays", "recurrent"])
def test_a_network_of_slayers_fires_on_the_chip_what_slayer_fired(name, tmp_path):
    found = recorded(FILES / f"slayer-{name}.npz")
    blocks = nn.Sequential(*(Block(found, f"blocks.{number}") for number in range(2)))
    x = torch.from_numpy(np.moveaxis(found.inputs, 0, -1).astype(np.float32))
    model = nd.deploy(blocks, x, time_axis=-1)
    bundle = nd.export(model, "lava", tmp_path / "lava")
    sample = np.load(tmp_path / "lava" / "sample.npz")
    fired = [sample[key] for key in sample.files if key.startswith("spikes/")]
    assert len(fired) == len(found.spikes) == 2
    for mine, theirs in zip(fired, found.spikes.values(), strict=True):
        assert np.array_equal(mine, theirs)
    network = read(tmp_path / "lava" / "body.net")
    assert [type(layer).__name__ for layer in network.layers] == ["InputLayer", "DenseLayer", "DenseLayer"]
    if name == "recurrent":
        assert nd.verify(bundle).passed
        report = nd.energy(bundle)
        first = fired[0][:-1].sum() * 10 / fired[0].shape[1]
        (back,) = [layer for layer in report.layers if layer.name.endswith("linear recurrent")]
        assert back.sops == pytest.approx(first)
        assert not any("matmul" in layer.name for layer in report.layers)
