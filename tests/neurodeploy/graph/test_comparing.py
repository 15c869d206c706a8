from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, fold_batch_norm, ops
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences


def graph_of(small, spiking):
    return fold_batch_norm(trace(small.build(spiking()).eval(), small.shape))


def test_two_tracings_of_one_network_do_not_differ(small, spiking):
    assert differences(graph_of(small, spiking), graph_of(small, spiking)) == ()


CHANGES = {
    "a weight by its last bit": (lambda n: replace(n, weight=np.nextafter(n.weight, np.float32(9))), "field weight differs"),
    "a lost bias": (lambda n: replace(n, bias=None), "field bias differs"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_difference_is_named_with_its_node_and_field(small_named, spiking, change):
    graph = graph_of(small_named("conv"), spiking)
    edit, expected = CHANGES[change]
    conv = graph.of(ops.ConvNode)[0]
    changed = [edit(node) if node is conv else node for node in graph.nodes]
    assert f"node {conv.name}: {expected}" in differences(graph, Graph(changed))


def chain(*middle):
    return Graph([ops.InputNode(name="input", shape=(2,), timed=True), *middle, ops.OutputNode(name="logits", inputs=("b",))])


def test_other_kinds_orders_and_missing_nodes_are_told_apart():
    low, late = (ops.LowPassNode(name="a", inputs=("input",), decay=0.5), ops.DelayNode(name="b", inputs=("input",), steps=1))
    neuron = ops.NeuronNode(name="b", inputs=("input",), parameters=NeuronParameters())
    assert differences(chain(late), chain(neuron)) == ("node b: Delay and Neuron",)
    assert differences(chain(low, late), chain(late, low)) == ("the nodes come in another order",)
    assert differences(chain(late), chain(low, late)) == ("node a: in one graph alone",)
