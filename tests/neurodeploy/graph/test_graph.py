import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.io.errors import UserError

INPUT = ops.InputNode(name="input", shape=(2, 6, 5))


@given(
    groups=st.sampled_from([1, 2]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_interpreters_convolution_equals_torchs(groups, kernel, stride, padding, dilation, bias, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-8, 8, (4, 4 // groups, *kernel)).astype(np.float32)
    offset = rng.integers(-8, 8, 4).astype(np.float32) if bias else None
    x = rng.integers(0, 3, (3, 4, 9, 8)).astype(np.float32)
    conv = ops.ConvNode(
        name="conv",
        inputs=("input",),
        weight=weight,
        bias=offset,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    graph = Graph([ops.InputNode(name="input", shape=(4, 9, 8)), conv, ops.OutputNode(name="logits", inputs=("conv",))])
    expected = torch.conv2d(
        torch.from_numpy(x),
        torch.from_numpy(weight),
        None if offset is None else torch.from_numpy(offset),
        stride,
        padding,
        dilation,
        groups,
    ).numpy()
    assert np.array_equal(interpreter.run(graph, x)["logits"], expected)
    assert graph.shape("conv") == expected.shape[1:]


def test_one_axis_convolutions_and_pools_equal_torchs():
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(3, 2, 3)).astype(np.float32), rng.normal(size=(4, 2, 12)).astype(np.float32)
    conv = ops.ConvNode(name="conv", inputs=("input",), weight=weight, stride=(2,), padding=(1,), dilation=(1,))
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(2, 12)),
            conv,
            ops.MaxPoolNode(name="max", inputs=("conv",), kernel=(2,), stride=(1,)),
            ops.AvgPoolNode(name="mean", inputs=("max",), kernel=(2,), stride=(2,)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    y = torch.conv1d(torch.from_numpy(x), torch.from_numpy(weight), None, 2, 1)
    y = torch.nn.functional.avg_pool1d(torch.nn.functional.max_pool1d(y, 2, 1), 2)
    np.testing.assert_allclose(interpreter.run(graph, x)["logits"], y.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([INPUT, INPUT], "two nodes are named input"),
        ([INPUT, ops.ReluNode(name="r", inputs=("later",))], "reads later, which is no earlier node"),
        ([INPUT], "0 Output nodes found"),
        ([INPUT, ops.AddNode(name="a", inputs=("input",))], "1 inputs found, 2 expected"),
        (
            [INPUT, ops.FlattenNode(name="f", inputs=("input",)), ops.AddNode(name="a", inputs=("f", "input"))],
            "equal shapes expected",
        ),
        ([INPUT, ops.TimeMeanNode(name="m", inputs=("input",))], r"m \(TimeMean\): a static value found"),
        (
            [
                INPUT,
                ops.EncodeNode(name="e", inputs=("input",), steps=2),
                ops.EncodeNode(name="twice", inputs=("e",), steps=2),
            ],
            r"twice \(Encode\): a sequence found",
        ),
        (
            [
                INPUT,
                ops.EncodeNode(name="e", inputs=("input",), steps=2),
                ops.AddNode(name="a", inputs=("e", "input")),
            ],
            "one input is a sequence over time and the other is static",
        ),
        (
            [INPUT, ops.BatchNormNode(name="n", inputs=("input",), scale=np.ones(3, "f"), shift=np.ones(3, "f"))],
            "2 channels found, 3 expected",
        ),
    ],
)
def test_a_graph_that_cannot_run_is_refused_by_node(members, message):
    with pytest.raises(UserError, match=message):
        Graph(members)


def test_samples_of_another_shape_are_refused():
    graph = Graph([INPUT, ops.OutputNode(name="logits", inputs=("input",))])
    with pytest.raises(UserError, match=r"input: shape \(3, 2, 6, 6\) found, \[B, 2, 6, 5\] expected"):
        interpreter.run(graph, np.zeros((3, 2, 6, 6), np.float32))


def test_ancestors_and_consumers_follow_the_edges():
    graph = Graph(
        [
            INPUT,
            ops.EncodeNode(name="encode", inputs=("input",), steps=3),
            ops.NeuronNode(name="fire", inputs=("encode",), parameters=NeuronParameters()),
            ops.AddNode(name="sum", inputs=("fire", "encode")),
            ops.TimeMeanNode(name="mean", inputs=("sum",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    assert graph.ancestors("sum") == {"input", "encode", "fire"}
    assert [node.name for node in graph.consumers("encode")] == ["fire", "sum"]
    assert "fire" in graph
    assert graph.timed("sum")
    assert not graph.timed("mean")


@pytest.mark.parametrize("name", ["forward", "a..b", "graph"])
def test_a_name_that_no_torch_layer_can_have_is_refused(name):
    from neurodeploy.graph.module import GraphModule

    relu = ops.ReluNode(name=name, inputs=("input",))
    graph = Graph([ops.InputNode(name="input", shape=(2,)), relu, ops.OutputNode(name="out", inputs=(name,))])
    with pytest.raises(UserError, match="its name cannot be that of a torch layer; rename it"):
        GraphModule(graph)
