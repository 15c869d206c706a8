"""Operations of drawn shapes: numpy and torch compute the same values, and the torch layer becomes the operation again."""

from collections.abc import Callable
from operator import ge
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences, fold_batch_norm
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.graph import read_graph

Draw = Callable[[st.SearchStrategy[Any]], Any]
Shape = tuple[int, ...]


def weights(draw: Draw, *shape: int) -> np.ndarray:
    """Quarters, whose sums are exact in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(-8, 9, shape).astype(np.float32) / 4


def each(least: int, most: int, axes: int) -> st.SearchStrategy[Shape]:
    return st.tuples(*[st.integers(least, most)] * axes)


def _pad(draw: Draw, shape: Shape) -> dict[str, Any]:
    return {"pads": draw(st.tuples(*[each(0, 3, 2)] * len(shape)))}


def _slice(draw: Draw, shape: Shape) -> dict[str, Any]:
    starts = tuple(draw(st.integers(0, size - 1)) for size in shape)
    stops = tuple(draw(st.integers(start + 1, size)) for start, size in zip(starts, shape, strict=True))
    return {"starts": starts, "stops": stops, "steps": draw(each(1, 3, len(shape)))}


def _reshape(draw: Draw, shape: Shape) -> dict[str, Any]:
    return {"shape": draw(st.permutations([*shape, 1]).map(tuple))}


def _pool(draw: Draw, shape: Shape) -> dict[str, Any]:
    axes = len(shape) - 1
    kernel = draw(each(1, 4, axes))
    padding = tuple(draw(each(0, k - 1, 2)) for k in kernel)
    kernel = tuple(min(k, size + sum(pair)) for k, size, pair in zip(kernel, shape[1:], padding, strict=True))
    padding = tuple((min(a, k - 1), min(b, k - 1)) for (a, b), k in zip(padding, kernel, strict=True))
    fits = all(size + sum(pair) >= k for size, pair, k in zip(shape[1:], padding, kernel, strict=True))
    return {"kernel": kernel, "stride": draw(each(1, 3, axes)), "padding": padding if fits else ((0, 0),) * axes}


def _conv(draw: Draw, shape: Shape) -> dict[str, Any]:
    channels, axes = shape[0], len(shape) - 1
    groups = draw(st.sampled_from([n for n in (1, 2, 3) if channels % n == 0]))
    kernel = tuple(draw(st.integers(1, size)) for size in shape[1:])
    outputs = groups * draw(st.integers(1, 2))
    return {
        "weight": weights(draw, outputs, channels // groups, *kernel),
        "bias": draw(st.sampled_from([None, weights(draw, outputs)])),
        "stride": draw(each(1, 2, axes)),
        "padding": draw(each(0, 2, axes)),
        "dilation": (1,) * axes,
        "groups": groups,
    }


def _conv_transpose(draw: Draw, shape: Shape) -> dict[str, Any]:
    channels, axes = shape[0], len(shape) - 1
    groups = draw(st.sampled_from([n for n in (1, 2, 3) if channels % n == 0]))
    kernel, stride, dilation = draw(each(1, 3, axes)), draw(each(1, 3, axes)), draw(each(1, 2, axes))
    outputs = draw(st.integers(1, 2))
    return {
        "weight": weights(draw, channels, outputs, *kernel),
        "bias": draw(st.sampled_from([None, weights(draw, outputs * groups)])),
        "stride": stride,
        "padding": tuple(draw(st.integers(0, (d * (k - 1)) // 2)) for d, k in zip(dilation, kernel, strict=True)),
        "output_padding": tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)),
        "dilation": dilation,
        "groups": groups,
    }


FIELDS: dict[type[ops.Node], Callable[[Draw, Shape], dict[str, Any]]] = {
    ops.PadNode: _pad,
    ops.SliceNode: _slice,
    ops.ConcatNode: lambda draw, shape: {"axis": draw(st.integers(0, len(shape) - 1))},
    ops.ReshapeNode: _reshape,
    ops.PermuteNode: lambda draw, shape: {"order": draw(st.permutations(range(len(shape))).map(tuple))},
    ops.MaxPoolNode: _pool,
    ops.AvgPoolNode: lambda draw, shape: {**_pool(draw, shape), "count_padding": draw(st.booleans())},
    ops.ReluNode: lambda draw, _: {"ceiling": draw(st.sampled_from([None, 0.1, 1.0, 2.5, 6.0]))},
    ops.ConvNode: _conv,
    ops.ConvTransposeNode: _conv_transpose,
}


def example(draw: Draw, kind: type[ops.Node]) -> tuple[Graph, np.ndarray]:
    """A network of one such operation, and what it is run on."""
    timed = draw(st.booleans())
    shape = draw(st.integers(2, 4).flatmap(lambda axes: each(1, 4, axes)))
    if kind is ops.ConvTransposeNode:
        shape = (draw(st.sampled_from([1, 2, 4])), *shape[1:])
    count = draw(st.integers(2, 3)) if kind.variadic else kind.arity
    members: list[ops.Node] = [ops.InputNode(name="input", shape=shape, timed=timed)]
    members.append(kind(name="op", inputs=("input",) * count, **FIELDS[kind](draw, shape)))
    graph = Graph([*members, ops.OutputNode(name="logits", inputs=("op",))])
    return graph, 4 * weights(draw, *((2, 3) if timed else (3,)), *shape)


@pytest.mark.parametrize("kind", FIELDS)
@given(data=st.data())
@settings(max_examples=40)
def test_torch_computes_what_the_reference_computes_and_becomes_the_operation_again(kind, data):
    graph, x = example(data.draw, kind)
    expected = interpreter.run(graph, x)["logits"]
    leading = 2 if graph.input.timed else 1
    assert (expected.dtype, expected.shape) == (np.float32, (*x.shape[:leading], *graph.shape("logits")))
    module = GraphModule(graph)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    assert np.array_equal(found, expected)
    assert differences(trace(module, graph.input.shape, timed=graph.input.timed), graph) == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ops.PadNode(name="op", inputs=("input",), pads=((0, -1),)), r"node op: padding .* slice instead"),
        (lambda: ops.SliceNode(name="op", inputs=("input",), starts=(2,), stops=(2,), steps=(1,)), "node op: slice 2:2:1"),
        (lambda: ops.SliceNode(name="op", inputs=("input",), starts=(0,), stops=(2, 3), steps=(1,)), "as many starts as"),
        (lambda: ops.ConcatNode(name="op", inputs=("input",) * 2, axis=-1), "axis -1 found, a number from 0"),
        (lambda: ops.PermuteNode(name="op", inputs=("input",), order=(0, 0)), r"order \(0, 0\) found, each axis"),
        (lambda: ops.ReluNode(name="op", inputs=("input",), ceiling=0.0), "a ceiling of 0.0 found, a positive number"),
        (lambda: _pool_node(padding=((2, 0),)), r"padding \(\(2, 0\),\) found, numbers from 0 to below"),
        (lambda: _pool_node(padding=((1, 0), (1, 0))), "a pair for each axis"),
    ],
)
def test_fields_without_a_meaning_are_refused_by_name(make, message):
    with pytest.raises(UserError, match=message):
        make()


def _pool_node(**fields: Any) -> ops.Node:
    return ops.MaxPoolNode(name="op", inputs=("input",), kernel=(2,), stride=(2,), **fields)


@pytest.mark.parametrize(
    ("node", "shapes", "message"),
    [
        (ops.PadNode(name="op", inputs=("x",), pads=((0, 1),)), [(2, 3)], r"input of shape \(2, 3\) found, 1 axes"),
        (ops.SliceNode(name="op", inputs=("x",), starts=(0,), stops=(4,), steps=(1,)), [(3,)], "too small for slices"),
        (ops.ConcatNode(name="op", inputs=("x", "y"), axis=0), [(2, 3), (2, 4)], "equal but along axis 0"),
        (ops.ConcatNode(name="op", inputs=("x",), axis=0), [(2, 3)], "1 inputs found, at least 2 expected"),
        (ops.AddNode(name="op", inputs=("x",) * 3), [(2,)] * 3, "3 inputs found, 2 expected"),
        (ops.ReshapeNode(name="op", inputs=("x",), shape=(5,)), [(2, 3)], r"not as many values as \(5,\) has"),
        (ops.PermuteNode(name="op", inputs=("x",), order=(1, 0)), [(2, 3, 4)], "2 axes expected"),
        (_pool_node(), [(2, 1)], "does not fit a pooling window"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(node, shapes, message):
    with pytest.raises(UserError, match=f"^node op: .*{message}"):
        node.checked_shape(shapes)


def test_a_transposed_convolution_is_refused_where_nothing_is_left_or_output_padding_is_too_large():
    fields = {"weight": np.ones((1, 1, 2), np.float32), "stride": (1,), "dilation": (1,)}
    for padding, more, message in (((1,), (0,), "leaves nothing"), ((0,), (1,), "output padding .* less than")):
        node = ops.ConvTransposeNode(name="op", inputs=("x",), padding=padding, output_padding=more, **fields)
        with pytest.raises(UserError, match=f"^node op: .*{message}"):
            node.checked_shape([(1, 1)])


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [(None, ops.Range(3, 40)), (6.0, ops.Range(3, 40)), (2.0, ops.Range(3, 16)), (1.0625, ops.Range(4, 17))],
)
def test_a_ceiling_is_on_the_exact_grid(ceiling, expected):
    """Of values up to 40/8."""
    assert ops.ReluNode(name="op", inputs=("x",), ceiling=ceiling).exact_range([ops.Range(3, 40)]) == expected


def test_a_ceiling_keeps_no_values_but_a_plain_rectifier_does():
    assert ops.ReluNode(name="op", inputs=("x",)).keeps_values
    assert not ops.ReluNode(name="op", inputs=("x",), ceiling=0.5).keeps_values


def test_the_sums_of_a_transposed_convolution_stay_in_its_range():
    """All taps meet in one output: no sum is larger than that of an output's own weights."""
    weight = np.array([[[1.0, -3.0], [0.5, 0.25]], [[2.0, 1.0], [-1.0, 4.0]]], np.float32)
    node = ops.ConvTransposeNode(
        name="op",
        inputs=("x",),
        weight=weight,
        bias=np.array([1.0, 0.5], np.float32),
        stride=(1,),
        padding=(0,),
        output_padding=(0,),
        dilation=(1,),
    )
    assert np.array_equal(node.by_output(), [[[1, -3], [2, 1]], [[0.5, 0.25], [-1, 4]]])
    values = node.exact_range([ops.Range(0, 1)])
    assert values.largest / 2**values.exponent == 8


@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norm_folds_into_a_transposed_convolution(groups):
    rng = np.random.default_rng(0)
    conv = ops.ConvTransposeNode(
        name="up",
        inputs=("input",),
        weight=rng.integers(-4, 5, (2, 3, 2, 2)).astype(np.float32),
        stride=(2, 1),
        padding=(0, 0),
        output_padding=(0, 0),
        dilation=(1, 1),
        groups=groups,
    )
    channels = 3 * groups
    scale, shift = (rng.integers(-4, 5, channels).astype(np.float32) for _ in range(2))
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(2, 3, 3)),
            conv,
            ops.BatchNormNode(name="norm", inputs=("up",), scale=scale, shift=shift),
            ops.OutputNode(name="logits", inputs=("norm",)),
        ]
    )
    folded = fold_batch_norm(graph)
    assert [node.kind for node in folded.nodes] == ["Input", "ConvTranspose", "Output"]
    x = rng.integers(-3, 4, (2, 2, 3, 3)).astype(np.float32)
    assert np.array_equal(interpreter.run(folded, x)["logits"], interpreter.run(graph, x)["logits"])


@pytest.mark.parametrize("kind", FIELDS)
@given(data=st.data())
@settings(max_examples=15)
def test_onnx_runtime_computes_what_the_reference_computes_and_the_model_is_the_graph_again(kind, data, tmp_path_factory):
    graph, x = example(data.draw, kind)
    (node,) = graph.of(kind)
    if isinstance(node, ops.ConvTransposeNode) and any(map(ge, node.output_padding, node.stride)):
        with pytest.raises(UserError, match=r"^node op: output padding .* train with less than the stride"):
            build(graph, name="example")
        return
    model = build(graph, name="example")
    onnx.checker.check_model(model, full_check=True)
    found = Session(model).run({"input": x}, steps=graph.steps)["logits"]
    assert np.array_equal(found, interpreter.run(graph, x)["logits"])
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert differences(read_graph(path), graph) == ()


def test_fields_that_say_nothing_are_left_out_of_a_node_s_content():
    pool = ops.AvgPoolNode(name="op", inputs=("x",), kernel=(2,), stride=(2,), padding=((0, 0),), count_padding=False)
    assert ops.content(pool) == {"name": "op", "inputs": ("x",), "kernel": (2,), "stride": (2,)}
    assert ops.content(_pool_node(padding=((1, 0),)))["padding"] == ((1, 0),)
    assert ops.content(ops.ReluNode(name="op", inputs=("x",), ceiling=6.0))["ceiling"] == 6
