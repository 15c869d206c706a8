"""Every network becomes a graph that computes the same, with batch norms folded, and is cut into parts or refused by name."""

import numpy as np
import pytest
import torch

from neurodeploy.graph import fold_batch_norm, interpreter, ops, partition
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.networks import Relu, ResNet1dSpec, ResNetSpec


@pytest.mark.parametrize("kind", ["relu", "hard", "soft repact"])
def test_interpreter_folded_graph_and_module_compute_what_the_network_computes(small, spiking, kind):
    activations = {
        "relu": Relu(),
        "hard": spiking(4, decay=0.5, threshold=1.0),
        "soft repact": spiking(3, reset="soft", repact=True),
    }[kind]
    network, x = small.build(activations, trained=True), small.samples(4)
    expected = network(x).logits.detach().numpy()
    assert expected.std(0).min() > 0, "the answer does not depend on the sample"
    graph = trace(network, small.shape)
    folded = fold_batch_norm(graph)
    assert not folded.of(ops.BatchNormNode)
    for answer in (
        interpreter.run(graph, x.numpy())["logits"],
        interpreter.run(folded, x.numpy())["logits"],
        GraphModule(graph)(x).detach().numpy(),
        GraphModule(folded)(x).detach().numpy(),
    ):
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_spiking_layers_of_the_graph_are_the_taps_of_the_network(small, spiking):
    network, x = small.build(spiking(4), trained=True), small.samples(3)
    graph, taps = trace(network, small.shape), network(x).taps
    emitted = interpreter.spikes(graph, interpreter.run(graph, x.numpy()))
    assert set(emitted) == set(taps)
    for name, tap in taps.items():
        np.testing.assert_array_equal(emitted[name], tap.detach().numpy())


def test_networks_of_event_frames_become_graphs_with_a_timed_input(small, spiking):
    network, x = small.build(spiking(4, "events")).eval(), small.samples(3, steps=4)
    graph = fold_batch_norm(trace(network, small.shape, timed=True))
    answer = interpreter.run(graph, x.transpose(0, 1).contiguous().numpy())["logits"]
    np.testing.assert_allclose(answer, network(x).logits.detach().numpy(), atol=1e-5)


CHAINS = ["conv", "vgg plain", "vgg batch-norm", "vgg without hidden layers", "conv-linear", "svgg"]
RESIDUAL = ["resnet", "resnet12", "resnet20-wide", "resnet34", "resnet1d standard"]


@pytest.mark.parametrize("repact", [False, True])
@pytest.mark.parametrize("name", CHAINS + RESIDUAL)
def test_networks_whose_sums_are_fired_on_have_encoder_body_and_head(small_named, spiking, name, repact):
    small = small_named(name)
    graph = fold_batch_norm(trace(small.build(spiking(repact=repact), trained=True), small.shape))
    parts = partition(graph)
    first = next(iter(graph.spiking))
    assert parts.encoder.outputs == (first,)
    assert set(parts.body.outputs) == set(parts.head.inputs) <= set(graph.spiking)
    assert len(parts.head.inputs) == (2 if repact and name in RESIDUAL else 1)
    assert any(isinstance(graph[member], ops.ReluNode) for member in parts.head.members) is repact


@pytest.mark.parametrize("repact", [False, True])
@pytest.mark.parametrize("axes", [1, 2])
def test_where_a_sew_network_of_several_blocks_is_cut_its_spikes_cross_and_both_parts_add_them_up(spiking, axes, repact):
    spec = ResNet1dSpec(channels=(3, 3), blocks=(3,)) if axes == 1 else ResNetSpec(channels=(3,), blocks=(3,), residual="sew")
    graph = fold_batch_norm(trace(spec.build(1, 5, spiking(repact=repact)).eval(), (1,) + (8,) * axes))
    parts = partition(graph)
    crossing = ("stem", "block1.act2", "block2.act2", "block3.act1" if repact else "block3.act2")
    assert parts.encoder.outputs == ("stem",)
    assert parts.head.inputs == crossing
    assert parts.body.outputs == crossing[1:]
    assert {"block1.add", "block2.add"} <= set(parts.body.members) & set(parts.head.members)


def test_a_sew_network_of_one_block_has_a_partition(spiking):
    graph = trace(ResNetSpec(channels=(3,), blocks=(1,), residual="sew").build(1, 5, spiking()).eval(), (1, 8, 8))
    assert partition(fold_batch_norm(graph)).head.inputs == ("stem", "block1.act2")


def test_an_ms_network_has_no_partition_because_its_currents_bypass_the_neurons(spiking):
    graph = trace(ResNetSpec(channels=(3,), blocks=(2,), residual="ms").build(1, 5, spiking()).eval(), (1, 8, 8))
    with pytest.raises(UserError, match=r"node encoding: its values are not spikes and leave the encoder for block1\.add"):
        partition(fold_batch_norm(graph))


def test_an_odd_resolution_beside_a_pooled_shortcut_is_refused_in_the_graph_too(spiking):
    network = ResNetSpec(channels=(3, 4), blocks=(1, 1), shortcut="avg-pool").build(1, 5, spiking())
    with pytest.raises(UserError, match=r"layer block2\.shortcut\.0: a resolution of 7×7 found, even sides expected"):
        trace(network, (1, 7, 7))


def test_dropout_is_no_node(spiking, small_named):
    small = small_named("vgg plain")
    network = small.build(spiking())
    assert any(name.startswith("hidden_dropout") for name, _ in network.named_modules())
    assert not [node.name for node in trace(network, small.shape).nodes if "dropout" in node.name]


def test_samples_of_another_size_are_refused_before_they_are_traced(spiking, small_named):
    network = small_named("svgg").build(spiking()).eval()
    assert torch.equal(network.samples(torch.ones(1, 2, 16, 16)), torch.ones(1, 2, 16, 16))
    with pytest.raises(UserError, match="samples of 32×32 pixels found, 16×16 expected"):
        trace(network, (2, 32, 32))
