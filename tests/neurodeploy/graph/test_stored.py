import json

import pytest
import torch
from torch import nn

from neurodeploy.graph.stored import StoredNode, restored, stored
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError


class Plain(nn.Module):
    """Padding, a join, a slice, a pool, a ceiling and weights with and without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.side = nn.Conv2d(1, 4, 3, bias=False), nn.Conv2d(1, 2, 3, 2, 1)
        self.norm, self.relu, self.head = nn.BatchNorm2d(4), nn.ReLU6(), nn.Linear(96, 3)

    def forward(self, x):
        x = nn.functional.pad(x, (0, 1, 0, 1))
        left = self.relu(self.norm(self.conv(x)))[:, :, ::2, ::2]
        both = torch.cat([left, self.side(x)[:, :, :4, :4]], 1)
        return self.head(nn.functional.max_pool2d(both, 3, 1, 1).flatten(1))


def through_json(nodes):
    return tuple(StoredNode.model_validate(json.loads(node.model_dump_json())) for node in nodes)


def test_a_graph_is_the_same_after_it_was_stored():
    graph = trace(Plain().eval(), (1, 8, 8))
    nodes, arrays = stored(graph)
    assert {"conv/weight", "side/bias", "head/weight"} <= arrays.keys()
    assert not differences(graph, restored(through_json(nodes), arrays))


def test_graphs_of_networks_are_the_same_too(small, spiking):
    network = small.build(spiking(), trained=True)
    graph = trace(network, small.shape)
    nodes, arrays = stored(graph)
    assert not differences(graph, restored(through_json(nodes), arrays))


def test_what_no_graph_has_is_refused_by_its_node():
    nodes, arrays = stored(trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (3,)))
    with pytest.raises(UserError, match=r"node 0: 'Unknown' found, one of"):
        restored(tuple(node.model_copy(update={"kind": "Unknown"}) if node.name == "0" else node for node in nodes), arrays)
    with pytest.raises(UserError, match=r"node 0: its weight is missing"):
        restored(nodes, {name: array for name, array in arrays.items() if name != "0/weight"})
