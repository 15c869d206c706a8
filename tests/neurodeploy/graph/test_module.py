"""A graph as a torch module computes what the interpreter computes, behind the mean over time too."""

import numpy as np
import pytest
import torch

from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.module import GraphModule


@pytest.mark.parametrize("timed", [False, True])
def test_layers_with_channels_may_follow_the_mean_over_time(timed):
    rng = np.random.default_rng(0)

    def weights(*shape):
        return rng.normal(0, 1, shape).astype(np.float32)

    entry = ops.InputNode(name="input", shape=(2, 6, 6), timed=timed)
    encode = () if timed else (ops.EncodeNode(name="encode", inputs=("input",), steps=3),)
    plan = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    graph = Graph(
        [
            entry,
            *encode,
            ops.TimeMeanNode(name="mean", inputs=((*encode, entry)[0].name,)),
            ops.ConvNode(name="conv", inputs=("mean",), weight=weights(4, 2, 3, 3), **plan),
            ops.BatchNormNode(name="norm", inputs=("conv",), scale=weights(4), shift=weights(4)),
            ops.AvgPoolNode(name="pool", inputs=("norm",), kernel=(2, 2), stride=(2, 2)),
            ops.FlattenNode(name="flat", inputs=("pool",)),
            ops.LinearNode(name="fc", inputs=("flat",), weight=weights(5, 36)),
            ops.BatchNormNode(name="unit", inputs=("fc",), scale=weights(5), shift=weights(5)),
            ops.OutputNode(name="logits", inputs=("unit",)),
        ]
    )
    x = weights(*((3, 4) if timed else (4,)), 2, 6, 6)
    with torch.no_grad():
        found = GraphModule(graph)(torch.from_numpy(x))
    assert found.shape == (4, 5)
    np.testing.assert_allclose(found.numpy(), interpreter.run(graph, x)["logits"], rtol=1e-4, atol=1e-4)
