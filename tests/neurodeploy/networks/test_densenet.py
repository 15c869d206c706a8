import pytest
import torch

from neurodeploy.graph import ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.networks import DenseNetSpec, Relu

SPEC = DenseNetSpec(growth=4, blocks=(2, 3), stem="conv")


def test_each_block_adds_growth_channels_per_layer_and_transitions_halve_them():
    with torch.device("meta"):
        output = DenseNetSpec().build(3, 1000, Relu())(torch.empty(1, 3, 224, 224))
    assert {name: tuple(tap.shape[2:]) for name, tap in output.taps.items()} == {
        "stem": (64, 112, 112),
        "transition1.act": (256, 56, 56),
        "transition2.act": (512, 28, 28),
        "transition3.act": (1024, 14, 14),
        "act": (1024, 7, 7),
    }
    assert output.features.shape == (1, 1, 1024)


def test_a_layer_keeps_what_it_reads_and_appends_what_it_computes():
    torch.manual_seed(0)
    layer = SPEC.build(1, 5, Relu()).get_submodule("block1_layer1")
    x = torch.rand(1, 2, 8, 4, 4)
    y = layer(x)
    assert y.shape == (1, 2, 12, 4, 4)
    assert torch.equal(y[:, :, :8], x)


def test_a_teacher_of_event_frames_averages_over_them():
    network = SPEC.build(2, 5, Relu(events=True)).eval()
    output = network(torch.rand(3, 4, 2, 8, 8))
    assert output.step_logits.shape == (4, 3, 5)
    torch.testing.assert_close(output.logits, output.step_logits.mean(0))


def test_a_spiking_densenet_is_refused(spiking):
    with pytest.raises(UserError, match='kind = "densenet": spiking activations found, ReLU expected; it is a teacher only'):
        SPEC.build(1, 5, spiking())


def test_its_concatenations_are_in_its_graph():
    torch.manual_seed(0)
    network, x = SPEC.build(1, 5, Relu()).eval(), torch.rand(3, 1, 8, 8)
    graph = trace(network, (1, 8, 8))
    assert graph.of(ops.ConcatNode)
    torch.testing.assert_close(GraphModule(graph)(x), network(x).logits)


def test_a_resolution_that_runs_out_is_refused_with_the_name_of_the_pool():
    with pytest.raises(UserError, match=r"layer transition1\.pool: a resolution of 1×1"):
        SPEC.build(1, 5, Relu())(torch.rand(2, 1, 1, 1))
