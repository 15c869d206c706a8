"""Layers over one spatial axis: in torch, in a graph, and as modules of a graph."""

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.dynamics import layers
from neurodeploy.graph import interpreter
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv1d(3, 4, 5, 2, padding=2),
        layers.BatchNorm1d(3),
        layers.AvgPool1d(3, 2),
        layers.MaxPool1d(2),
        layers.GlobalAvgPool1d(),
        layers.GlobalMaxPool1d(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_over_length_works_step_by_step_and_in_a_graph(layer):
    torch.manual_seed(0)
    x = torch.randn(4, 2, 3, 11)
    for _ in range(3):
        layer(x)  # statistics of the batch norm
    layer.eval()
    y = layer(x)
    torch.testing.assert_close(torch.stack([layer(step.unsqueeze(0))[0] for step in x]), y)
    network = nn.Sequential(layer, layers.TimeMean()).eval()
    graph = trace(network, (3, 11), timed=True)
    expected = network(x).detach().numpy()
    np.testing.assert_allclose(interpreter.run(graph, x.numpy())["logits"], expected, atol=1e-6)
    np.testing.assert_allclose(GraphModule(graph)(x).detach().numpy(), expected, atol=1e-6)


def test_batch_norm_takes_its_statistics_over_time_and_batch_together():
    x = torch.randn(5, 4, 3, 7) * 2 + 1
    y = layers.BatchNorm1d(3)(x)
    torch.testing.assert_close(y.mean((0, 1, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var((0, 1, 3), correction=0), torch.ones(3), atol=1e-3, rtol=0)
