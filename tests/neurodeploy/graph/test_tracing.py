from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.dynamics import layers
from neurodeploy.dynamics.layers import CubaNeuron, Delay, Integrator, LowPass, Neuron, ParametricNeuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, fold_batch_norm, interpreter, ops, partition
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.networks import ConvNetSpec, Relu, ResNetSpec, SpikingActivations

SPECS = {"conv": ConvNetSpec(channels=(4, 6, 8), strides=(1, 2, 2)), "resnet": ResNetSpec(channels=(4, 8), blocks=(1, 2))}
ACTIVATIONS = {
    "relu": Relu(),
    "hard": SpikingActivations(partial(Neuron, NeuronParameters(0.5, 1.0)), 4),
    "soft repact": SpikingActivations(partial(Neuron, NeuronParameters(0.25, 0.5, "soft")), 3, repact=True),
    "learned": SpikingActivations(partial(ParametricNeuron, NeuronParameters(0.3, 0.7), learn_threshold=True), 4),
}


def trained(kind: str, activations: str) -> nn.Module:
    """A network whose batch norms have seen data."""
    torch.manual_seed(0)
    network = SPECS[kind].build(1, 10, ACTIVATIONS[activations])
    for _ in range(40):
        network(torch.rand(32, 1, 8, 8))
    return network.eval()


@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("kind", SPECS)
def test_interpreter_folded_graph_and_module_compute_what_the_traced_network_computes(kind, activations):
    network, x = trained(kind, activations), torch.rand(6, 1, 8, 8)
    expected = network(x).logits.detach().numpy()
    graph = trace(network, (1, 8, 8))
    folded = fold_batch_norm(graph)
    assert graph.of(ops.BatchNormNode)
    assert not folded.of(ops.BatchNormNode)
    for answer in (
        interpreter.run(graph, x.numpy())["logits"],
        interpreter.run(folded, x.numpy())["logits"],
        GraphModule(graph)(x).detach().numpy(),
        GraphModule(folded)(x).detach().numpy(),
    ):
        np.testing.assert_allclose(answer, expected, atol=1e-5)


RECURRENT = {
    "a CUBA neuron": (CubaNeuron(NeuronParameters(0.75, 0.5, "soft"), current_decay=0.5), (ops.LowPassNode, ops.NeuronNode)),
    "a leaky current": (LowPass(0.5), (ops.LowPassNode,)),
    "an integrator": (Integrator(), (ops.LowPassNode,)),
    "a delay": (Delay(2), (ops.DelayNode,)),
    "a delay longer than the sequence": (Delay(7), (ops.DelayNode,)),
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_what_carries_a_state_computes_in_a_graph_what_it_computes_in_torch(kind):
    layer, expected = RECURRENT[kind]
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), layer).eval()
    graph = trace(network, (3,), timed=True)
    assert tuple(type(node) for node in graph.nodes[2:-1]) == expected
    x = torch.randn(5, 2, 3)
    for answer in (interpreter.run(graph, x.numpy())["logits"], GraphModule(graph)(x).detach().numpy()):
        np.testing.assert_allclose(answer, network(x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (
            lambda: ops.LowPassNode(name="low", inputs=("input",), decay=1.5),
            "node low: a decay of 1.5 found, a number from 0 to 1",
        ),
        (lambda: ops.DelayNode(name="late", inputs=("input",), steps=0), "node late: a delay of 0 steps found, at least 1"),
    ],
)
def test_impossible_constants_are_refused_by_name(node, reason):
    with pytest.raises(UserError, match=reason):
        node()


EVENTS = SpikingActivations(partial(Neuron, NeuronParameters(0.5, 0.5)), 5, code="events")


@pytest.mark.parametrize("kind", SPECS)
def test_a_network_of_event_frames_becomes_a_graph_with_a_timed_input_and_no_encoder(kind):
    torch.manual_seed(0)
    network = SPECS[kind].build(2, 4, EVENTS).eval()
    x = torch.randint(0, 2, (3, 5, 2, 8, 8)).float()
    graph = fold_batch_norm(trace(network, (2, 8, 8), timed=True))
    answer = interpreter.run(graph, x.transpose(0, 1).contiguous().numpy())["logits"]
    np.testing.assert_allclose(answer, network(x).logits.detach().numpy(), atol=1e-5)
    assert partition(graph).encoder is None
    with pytest.raises(UserError, match=r"layer entry \(EventInput\): a static sample found"):
        trace(network, (2, 8, 8))


def test_a_static_network_is_not_traced_as_one_of_sequences():
    with pytest.raises(UserError, match=r"layer entry \(StaticInput\): event frames found"):
        trace(trained("conv", "hard"), (1, 8, 8), timed=True)


@pytest.mark.parametrize("code", ["poisson", "latency"])
def test_spikes_that_a_host_makes_have_no_form_in_a_graph(code):
    network = SPECS["conv"].build(1, 10, SpikingActivations(partial(Neuron, NeuronParameters()), 3, code=code))
    assert network(torch.rand(2, 1, 8, 8)).step_logits.shape == (3, 2, 10)
    with pytest.raises(UserError, match=r"layer entry .*: has no form in a graph; a host encodes the samples"):
        trace(network, (1, 8, 8))


def test_spiking_layers_keep_the_names_that_they_have_in_the_model():
    network, x = trained("resnet", "hard"), torch.rand(3, 1, 8, 8)
    graph = trace(network, (1, 8, 8))
    taps = network(x).taps
    emitted = interpreter.spikes(graph, interpreter.run(graph, x.numpy()))
    assert all(0.01 < spikes.mean() < 0.9 for spikes in emitted.values())
    assert set(emitted) == set(taps)
    for name, tap in taps.items():
        assert np.array_equal(emitted[name], tap.detach().numpy())


def test_a_graph_can_be_run_with_other_steps_than_it_was_trained_with():
    graph = trace(trained("conv", "hard"), (1, 8, 8))
    assert graph.steps == 4
    assert interpreter.run(graph, np.zeros((2, 1, 8, 8), np.float32), steps=9)["act2"].shape == (9, 2, 6, 4, 4)


def test_the_partition_cuts_at_spikes_and_repact_moves_the_last_synapse_to_the_head():
    plain = partition(fold_batch_norm(trace(trained("conv", "hard"), (1, 8, 8))))
    assert plain.encoder.members == ("conv1", "encoding", "act1")
    assert plain.body.members == ("conv2", "act2", "conv3", "act3")
    assert plain.head.members == ("pool", "pool.flatten", "classifier", "readout", "logits")
    repact = partition(fold_batch_norm(trace(trained("conv", "soft repact"), (1, 8, 8))))
    assert repact.body.members == ("conv2", "act2")
    assert repact.head.members[:2] == ("conv3", "act3")


def test_the_head_of_a_residual_repact_net_reads_two_spike_tensors():
    parts = partition(fold_batch_norm(trace(trained("resnet", "soft repact"), (1, 8, 8))))
    assert parts.head.inputs == ("block2.act2", "block3.act1")
    assert parts.body.outputs == parts.head.inputs


def test_a_relu_network_and_an_analog_skip_have_no_partition():
    with pytest.raises(UserError, match="no spiking layer"):
        partition(trace(trained("conv", "relu"), (1, 8, 8)))
    p = NeuronParameters()
    members = [
        ops.InputNode(name="input", shape=(3,)),
        ops.EncodeNode(name="encode", inputs=("input",), steps=2),
        ops.NeuronNode(name="fire", inputs=("encode",), parameters=p),
        ops.AddNode(name="sum", inputs=("fire", "encode")),
        ops.TimeMeanNode(name="mean", inputs=("sum",)),
        ops.OutputNode(name="logits", inputs=("mean",)),
    ]
    with pytest.raises(UserError, match="node encode: its values are not spikes and leave the encoder for sum"):
        partition(Graph(members))


def test_a_sequence_of_events_needs_no_encoder():
    network = nn.Sequential(layers.Flatten(), nn.Linear(8, 5), layers.Neuron(NeuronParameters()), layers.TimeMean())
    graph = trace(network, (2, 2, 2), timed=True)
    parts = partition(graph)
    assert parts.encoder is None
    x = (torch.rand(6, 3, 2, 2, 2) > 0.5).float()
    expected = network(x).detach().numpy()
    np.testing.assert_allclose(interpreter.run(graph, x.numpy())["logits"], expected, atol=1e-6)
    np.testing.assert_allclose(GraphModule(graph)(x).numpy(), expected, atol=1e-6)


class Timed(nn.Sequential):
    """Layers of the toolkit take a time axis."""

    def forward(self, x):
        return super().forward(x.unsqueeze(0))


class _Loops(nn.Module):
    def forward(self, x):
        return torch.stack([frame for frame in x]).mean(0)  # noqa: C416


class _Two(nn.Module):
    def forward(self, x, y):
        return x + y


class _Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (_Loops(), r"operation unbind in _Loops: has no form in a graph; the forward loops over an axis"),
        (_Two(), "second input, y"),
        (_Sine(), "operation sin"),
        (nn.Sequential(nn.GELU()), r"layer 0 \(torch.nn.modules.activation.GELU\): has no form"),
        (nn.Sequential(nn.Linear(5, 2)), r"layer 0 \(torch.nn.modules.linear.Linear\): does not run on samples \(2, 4\)"),
        (
            nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)),
            "layer 0 .*: batch norm without running",
        ),
        (nn.Sequential(layers.Neuron(NeuronParameters())), "a static value found at its input"),
    ],
)
def test_what_has_no_form_in_a_graph_is_refused_by_name(network, message):
    with pytest.raises(UserError, match=message):
        trace(network, (4,))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), 'layer 0 .*: pads with mode "circular", zeros expected'),
        (layers.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "layer 0: padding .* \\(circular\\) found"),
        (nn.MaxPool2d(2, dilation=2), "layer 0 .*: is a pool with dilation"),
        (nn.MaxPool2d(2, return_indices=True), "layer 0 .*: .* pools, without indices"),
        (nn.AvgPool2d(2, divisor_override=3), "layer 0 .*: has a divisor_override"),
        (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), "layer 0 .*: is a padded average pool in ceil_mode"),
        (nn.AdaptiveAvgPool2d(3), r"layer 0 .*: makes \(3, 3\) of \(8, 8\) by windows of different sizes"),
        (nn.Conv2d(3, 2, 3), r"layer 0 .*: does not run on samples \(2, 2, 8, 8\): .* to have 3 channels"),
        (nn.MaxPool2d(9), "layer 0 .*: does not run on samples"),
        (nn.Conv2d(2, 2, 9), "layer 0 .*: does not run on samples"),
    ],
)
def test_geometry_that_a_graph_cannot_hold_is_refused_by_layer(layer, message):
    network = nn.Sequential(layer) if type(layer).__module__.startswith("torch") else Timed(layer)
    with pytest.raises(UserError, match=message):
        trace(network, (2, 8, 8))


def test_tracing_leaves_training_mode_and_weights_as_they_were():
    network = trained("conv", "hard").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trace(network, (1, 8, 8))
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_batch_norm_whose_synapse_is_read_elsewhere_stays():
    weight = np.ones((2, 2), np.float32)
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(2,)),
            ops.LinearNode(name="linear", inputs=("input",), weight=weight),
            ops.BatchNormNode(name="norm", inputs=("linear",), scale=weight[0] * 2, shift=weight[0]),
            ops.AddNode(name="sum", inputs=("norm", "linear")),
            ops.OutputNode(name="logits", inputs=("sum",)),
        ]
    )
    assert fold_batch_norm(graph).of(ops.BatchNormNode)
