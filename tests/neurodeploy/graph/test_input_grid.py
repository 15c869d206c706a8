"""Inputs of any values: the grid that they are rounded to, and that every runtime then makes the same spikes of them."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, fold_scales, interpreter, ops
from neurodeploy.graph.entry import entering, fold_normalization, without
from neurodeploy.graph.grid import (
    DEFAULT,
    grid_node,
    input_grid,
    input_grids,
    input_peak,
    on,
    quantised,
    saturated,
    to_grid,
    with_peak,
)
from neurodeploy.graph.module import GraphModule, torch_run
from neurodeploy.graph.ops import Range
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build

NORMAL = ops.NormalizeNode(
    name="normalization", inputs=(), mean=np.array([0.4, -3.0], np.float32), std=np.array([0.3, 20.0], np.float32)
)
seeds = st.integers(0, 2**32 - 1)
grids = st.builds(Range, st.integers(-20, 20), st.integers(1, 2**12))
floats = st.floats(-1e6, 1e6, width=32)


def network(seed: int, *, padding: int = 0, timed: bool = False) -> Graph:
    """A convolution of two channels and a linear layer, both spiking, and a head."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.5, size=shape).astype(np.float32)

    size = 4 + 2 * padding
    wide = {"stride": (2, 2), "padding": (padding, padding), "dilation": (1, 1)}
    features = 3 * ((size - 2) // 2 + 1) ** 2
    entry = "input" if timed else "code"
    return Graph(
        [
            ops.InputNode(name="input", shape=(2, 4, 4), timed=timed),
            *([] if timed else [ops.EncodeNode(name="code", inputs=("input",), steps=3)]),
            ops.ConvNode(name="conv", inputs=(entry,), weight=weights(3, 2, 2, 2), bias=weights(3), **wide),
            ops.NeuronNode(name="fire", inputs=("conv",), parameters=NeuronParameters(0.5, 0.4)),
            ops.FlattenNode(name="flat", inputs=("fire",)),
            ops.LinearNode(name="linear", inputs=("flat",), weight=weights(6, features)),
            ops.NeuronNode(name="again", inputs=("linear",), parameters=NeuronParameters(0.5, 0.4)),
            ops.LinearNode(name="head", inputs=("again",), weight=weights(3, 6)),
            ops.TimeMeanNode(name="mean", inputs=("head",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def values(seed: int, scale: float, *, timed: bool = False) -> np.ndarray:
    """Numbers of this size that are no multiples of anything."""
    rng = np.random.default_rng(seed)
    return (scale * rng.normal(size=((3,) if timed else ()) + (4, 2, 4, 4))).astype(np.float32)


def test_multiples_of_1_in_256_keep_their_grid_and_their_network_gets_no_node():
    images = (np.random.default_rng(0).integers(-256, 257, (5, 2, 4, 4)) / 256).astype(np.float32)
    assert input_grid(images) == DEFAULT == Range(8, 256)
    assert input_peak([images]) is None
    graph = with_peak(network(0), [images])
    assert differences(graph, network(0)) == ()
    assert [node.name for node in to_grid(graph).nodes] == [node.name for node in graph.nodes]


@pytest.mark.parametrize(
    ("largest", "bits", "expected"),
    [
        (1.0, 8, Range(8, 256)),
        (1.01, 8, Range(7, 256)),
        (4.0, 8, Range(6, 256)),
        (4.37, 8, Range(5, 256)),
        (255.0, 8, Range(0, 256)),
        (1000.0, 8, Range(-2, 256)),
        (0.3, 8, Range(9, 256)),
        (2**-20 * 1.3, 8, Range(27, 256)),
        (4.0, 4, Range(2, 16)),
        (4.0, 12, Range(10, 4096)),
    ],
)
def test_the_step_is_the_finest_power_of_two_for_which_the_largest_value_fits(largest, bits, expected):
    x = np.array([[largest / 3, -largest]], np.float32)
    grid = input_grid(x, bits) if largest != 1 else input_grid(x * np.float32(1 - 2**-20), bits)
    assert grid == expected
    assert saturated(x, grid) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(floats, min_size=1, max_size=20), grids)
def test_a_rounded_value_is_the_nearest_on_the_grid_and_stays_where_it_is(numbers, grid):
    x, step, end = np.array(numbers, np.float32), 2.0**-grid.exponent, grid.largest * 2.0**-grid.exponent
    made = quantised(x, grid)
    assert made.dtype == np.float32
    assert on(made, grid)
    assert np.array_equal(quantised(made, grid), made)
    within = np.abs(x.astype(np.float64)) <= end
    assert (np.abs(made.astype(np.float64) - x)[within] <= step / 2).all()
    assert np.array_equal(np.abs(made[~within]), np.full(int((~within).sum()), end, np.float32))
    assert saturated(x, grid) == int((np.abs(np.rint(x.astype(np.float64) / step)) > grid.largest).sum())
    node = ops.QuantizeNode(name="q", inputs=("x",), exponent=grid.exponent, largest=grid.largest)
    assert np.array_equal(node.layer()(torch.from_numpy(x)).numpy(), made)


def test_halves_go_to_the_even_neighbour():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 3.5, 9.0], np.float32)
    assert quantised(x, Range(0, 4)).tolist() == [0, 2, 2, 0, -2, 4, 4]


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(-12, 12), st.booleans(), st.sampled_from([3, 8, 11]), st.booleans())
def test_whatever_the_values_are_numpy_torch_and_onnx_runtime_fire_the_same_spikes(seed, power, timed, bits, normalised):
    x = values(seed, 2.0**power, timed=timed)
    graph = network(seed, timed=timed)
    if normalised:
        graph = entering(graph, NORMAL)
    exact = to_grid(with_peak(graph, [x]), input_bits=bits)
    assert exact.input.peak is None
    names = (*exact.spiking, grid_node(exact).name)
    seen = np.concatenate([x, 3 * x], axis=int(timed))  # values beyond the grid too
    expected = interpreter.run(exact, seen)
    found = Session(build(exact, name="test"), also=names).run({"input": seen}, steps=exact.steps)
    again = torch_run(exact)(seen, names)
    for name in exact.spiking:
        assert np.array_equal(found[name], expected[name]), name
        assert np.array_equal(again[name], expected[name]), name
    made = expected[grid_node(exact).name]
    assert np.array_equal(found[grid_node(exact).name].reshape(made.shape), made)
    # and what is rounded before gives the same
    if not normalised:
        given = interpreter.run(exact, quantised(seen, Range(grid_node(exact).exponent, grid_node(exact).largest)))
        assert all(np.array_equal(given[name], expected[name]) for name in exact.spiking)


def test_the_networks_above_do_fire():
    rates = [interpreter.run(to_grid(network(seed)), values(seed, 1))["again"].mean() for seed in range(10)]
    assert 0.05 < np.median(rates) < 0.7


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("timed", [False, True])
def test_a_sample_with_a_value_that_is_not_finite_is_refused_by_its_number(broken, timed):
    x = values(0, 1, timed=timed)
    x[(0, 2) if timed else 2][1, 1, 3] = broken
    with pytest.raises(
        UserError,
        match=r"^inputs: sample 2 holds values .* \(-?(nan|inf) at \[(0, )?1, 1, 3\], of 4 samples\)",
    ):
        with_peak(network(0, timed=timed), [values(1, 1, timed=timed), x])


@pytest.mark.parametrize("largest", [1e30, 1e-30])
def test_values_beyond_what_float32_sums_hold_are_refused_with_what_to_do(largest):
    with pytest.raises(UserError, match=r"inputs: values up to 1e[+-]30 found, 2\^-64 to 2\^64 expected .*; normalise them"):
        input_grid(np.array([largest], np.float32))


def test_a_network_that_rounds_its_inputs_is_put_on_the_grid_once():
    exact = to_grid(with_peak(network(1), [values(1, 5)]))
    assert differences(to_grid(exact), exact) == ()
    assert differences(to_grid(with_peak(exact, [values(2, 50)])), exact) == ()


def test_what_is_known_of_the_data_outlives_what_is_done_to_the_graph():
    graph = with_peak(entering(network(0), NORMAL), [values(0, 10)])
    assert graph.input.peak == fold_normalization(graph).input.peak == input_peak([NORMAL.compute(values(0, 10))])


def test_where_inputs_are_multiples_of_a_power_of_two_biases_are_so_too_and_sums_stay_exact():
    x = np.random.default_rng(3).normal(scale=3000, size=(4, 2, 4, 4)).astype(np.float32)
    exact = to_grid(with_peak(network(0), [x]))
    grid, conv = grid_node(exact), exact["conv"]
    assert grid.exponent < 0
    sums = conv.exact_range([Range(grid.exponent, grid.largest)])
    assert sums.largest <= 2**24
    assert on(conv.bias, sums)
    unrounded = network(0)["conv"].rounded()
    assert conv.bias.tolist() != unrounded.bias.tolist()
    finer = unrounded.exact_range([Range(grid.exponent, grid.largest)])  # says what such biases would need
    assert on(unrounded.bias, finer)
    assert finer.largest == pytest.approx(sums.largest * 2.0 ** (finer.exponent - sums.exponent), rel=0.01)


def test_only_what_rounds_the_inputs_is_their_grid():
    graph = network(0)
    members = [*graph.nodes[:-1], ops.QuantizeNode(name="late", inputs=(graph.output.inputs[0],), exponent=4, largest=255)]
    assert grid_node(Graph([*members, replace(graph.output, inputs=("late",))])) is None
    rounded = to_grid(with_peak(graph, [values(0, 5)]))
    assert [node.name for node in input_grids(rounded.nodes)] == ["input_grid"]


def test_a_name_that_a_layer_has_already_is_not_taken_twice():
    graph = network(0)
    renamed = Graph(
        replace(
            node,
            name="input_grid" if node.name == "conv" else node.name,
            inputs=tuple("input_grid" if source == "conv" else source for source in node.inputs),
        )
        for node in graph.nodes
    )
    exact = to_grid(with_peak(renamed, [values(0, 5)]))
    assert grid_node(exact).name == "input_grid2"
    assert exact["code"].inputs == ("input_grid2",)


def test_a_node_taken_out_leaves_the_network_that_was_there_before():
    graph = network(0)
    assert differences(without(entering(graph, NORMAL), "normalization"), graph) == ()


def test_rounding_comes_after_the_normalisation():
    exact = to_grid(with_peak(entering(network(0), NORMAL), [values(0, 10)]))
    assert [node.name for node in exact.nodes][:3] == ["input", "normalization", "input_grid"]
    assert on(interpreter.run(exact, values(5, 10))["input_grid"], Range(grid_node(exact).exponent, 256))


@pytest.mark.parametrize(("groups", "bias"), [(1, True), (2, True), (2, False)])
def test_a_folded_normalisation_is_the_same_network(groups, bias):
    rng, graph = np.random.default_rng(3), entering(network(3), NORMAL)

    def grouped(node: ops.Node) -> ops.Node:
        if not isinstance(node, ops.ConvNode):
            return node
        made = rng.normal(size=(4, 2 // groups, 2, 2)).astype(np.float32)
        return replace(node, weight=made, bias=rng.normal(size=4).astype(np.float32) if bias else None, groups=groups)

    conv = Graph([*(grouped(graph[name]) for name in ("input", "normalization", "code", "conv")), *head("conv")])
    folded = fold_normalization(conv)
    assert [node.name for node in folded.nodes] == ["input", "code", "conv", "mean", "logits"]
    x = values(0, 10)
    np.testing.assert_allclose(interpreter.run(folded, x)["logits"], interpreter.run(conv, x)["logits"], rtol=1e-4, atol=1e-4)


def head(source: str) -> list[ops.Node]:
    return [ops.TimeMeanNode(name="mean", inputs=(source,)), ops.OutputNode(name="logits", inputs=("mean",))]


def test_a_module_that_normalises_its_samples_itself_is_put_on_the_grid_after_that():
    affine = ops.BatchNormNode(
        name="own", inputs=(), scale=np.array([2.5, 0.05], np.float32), shift=np.array([-1, 0.3], np.float32)
    )
    graph, x = entering(network(0, padding=1), affine), values(1, 0.5)
    made = fold_scales(graph)
    (normal,) = made.of(ops.NormalizeNode)
    np.testing.assert_allclose(interpreter.run(made, x)["own"], interpreter.run(graph, x)["own"], atol=1e-6)
    rounded = to_grid(with_peak(made, [x]))
    assert grid_node(rounded).inputs == (normal.name,)
    fired = interpreter.run(rounded, x)["fire"]
    found = Session(build(rounded, name="own"), also=("fire",)).run({"input": x}, steps=rounded.steps)
    assert np.array_equal(found["fire"], fired)
    assert fired.any()


@pytest.mark.parametrize("scale", [[1, -1], [1, 0], [1, 1e-40]])
def test_what_is_no_normalisation_stays_as_it_is(scale):
    affine = ops.BatchNormNode(name="own", inputs=(), scale=np.array(scale, np.float32), shift=np.ones(2, np.float32))
    assert not fold_scales(entering(network(0, padding=1), affine)).of(ops.NormalizeNode)


def test_a_normalisation_before_a_linear_layer_is_folded_for_every_feature():
    rng = np.random.default_rng(0)
    mean, std = (rng.uniform(1, 3, 5).astype(np.float32) for _ in range(2))
    linear = ops.LinearNode(name="linear", inputs=("n",), weight=rng.normal(size=(3, 5)).astype(np.float32))
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(5,), timed=True),
            ops.NormalizeNode(name="n", inputs=("input",), mean=mean, std=std),
            linear,
            *head("linear"),
        ]
    )
    folded, x = fold_normalization(graph), rng.normal(size=(2, 4, 5)).astype(np.float32)
    assert folded["linear"].inputs == ("input",)
    np.testing.assert_allclose(interpreter.run(folded, x)["logits"], interpreter.run(graph, x)["logits"], atol=1e-5)


@pytest.mark.parametrize("reader", ["padded convolution", "sum"])
def test_a_normalisation_that_zeros_around_or_another_reader_depend_on_stays(reader):
    graph = entering(network(0, padding=1), NORMAL)
    if reader == "sum":
        nodes = [*entering(network(0), NORMAL).nodes]
        graph = Graph([*nodes[:2], ops.AddNode(name="twice", inputs=("normalization",) * 2), *nodes[2:]])
    assert fold_normalization(graph) is graph


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), r"node normalization: mean \(3,\) and std \(3,\) found, \(2,\) of both expected"),
        ((0.0, 0.0), (1.0, 1e-60), "node normalization: finite means, and standard deviations above 0, expected in float32"),
        ((0.0, np.nan), (1.0, 1.0), "node normalization: finite means"),
    ],
)
def test_a_normalisation_that_does_not_fit_is_refused(mean, std, message):
    node = replace(NORMAL, mean=np.array(mean, np.float32), std=np.array(std, np.float32))
    with pytest.raises(UserError, match=message):
        entering(network(0), node)


@pytest.mark.parametrize(("exponent", "largest"), [(101, 1), (-101, 1), (0, 0), (0, 2**24 + 1)])
def test_a_grid_that_float32_does_not_have_is_refused(exponent, largest):
    with pytest.raises(UserError, match="node q: a grid of integers up to"):
        entering(network(0), ops.QuantizeNode(name="q", inputs=(), exponent=exponent, largest=largest))


def test_huge_values_are_brought_to_the_end_of_the_grid_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quantised(np.array([3e38, -3e38], np.float32), Range(20, 256)).tolist() == [2**-12, -(2**-12)]
        assert saturated(np.array([3e38, -3e38], np.float32), Range(20, 256)) == 2
        assert not on(np.array([3e38], np.float32), Range(20, 256))


def test_torch_normalises_as_the_reference_does_bit_for_bit():
    graph, x = entering(network(0), NORMAL), values(0, 100)
    seen = torch_run(graph)(x, ["normalization"])["normalization"][0]
    assert np.array_equal(seen, interpreter.run(graph, x)["normalization"])
    assert isinstance(GraphModule(graph).get_submodule("normalization"), torch.nn.Module)
