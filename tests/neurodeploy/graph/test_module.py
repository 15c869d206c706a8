"""A graph as a torch module computes what the interpreter computes, behind the mean over time too."""

import numpy as np
import pytest
import torch

from neurodeploy.graph import Graph, interpreter, nodes
from neurodeploy.graph.module import GraphModule


@pytest.mark.parametrize("timed", [False, True])
def test_layers_with_channels_may_follow_the_mean_over_time(timed):
    rng = np.random.default_rng(0)

    def weights(*shape):
        return rng.normal(0, 1, shape).astype(np.float32)

    entry = nodes.Input(name="input", shape=(2, 6, 6), timed=timed)
    encode = () if timed else (nodes.Encode(name="encode", inputs=("input",), steps=3),)
    plan = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    graph = Graph(
        [
            entry,
            *encode,
            nodes.TimeMean(name="mean", inputs=((*encode, entry)[0].name,)),
            nodes.Conv(name="conv", inputs=("mean",), weight=weights(4, 2, 3, 3), **plan),
            nodes.BatchNorm(name="norm", inputs=("conv",), scale=weights(4), shift=weights(4)),
            nodes.AvgPool(name="pool", inputs=("norm",), kernel=(2, 2), stride=(2, 2)),
            nodes.Flatten(name="flat", inputs=("pool",)),
            nodes.Linear(name="fc", inputs=("flat",), weight=weights(5, 36)),
            nodes.BatchNorm(name="unit", inputs=("fc",), scale=weights(5), shift=weights(5)),
            nodes.Output(name="logits", inputs=("unit",)),
        ]
    )
    x = weights(*((3, 4) if timed else (4,)), 2, 6, 6)
    with torch.no_grad():
        found = GraphModule(graph)(torch.from_numpy(x))
    assert found.shape == (4, 5)
    np.testing.assert_allclose(found.numpy(), interpreter.run(graph, x)["logits"], rtol=1e-4, atol=1e-4)
