"""What flows into every population: the same currents as in the graph, whatever way they take; or a refusal by name."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, fold_batch_norm, interpreter, ops, partition
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.wiring import Afferent, Stage, stages

RNG = np.random.default_rng(0)


def conv(name, source, weight, bias=None, *, stride=1, padding=0, groups=1):
    axes = weight.ndim - 2
    plan = {"stride": (stride,) * axes, "padding": (padding,) * axes, "dilation": (1,) * axes, "groups": groups}
    bias = None if bias is None else np.asarray(bias, np.float32)
    return ops.ConvNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias, **plan)


def linear(name, source, weight, bias=None):
    bias = None if bias is None else np.asarray(bias, np.float32)
    return ops.LinearNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias)


def lif(name, source, reset="hard"):
    return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(0.5, 0.5, reset))


def add(name, one, other):
    return ops.AddNode(name=name, inputs=(one, other))


def pool(name, source, kernel=2, stride=2, axes=2):
    return ops.AvgPoolNode(name=name, inputs=(source,), kernel=(kernel,) * axes, stride=(stride,) * axes)


def closed(*members, shape=(2, 8, 8)) -> Graph:
    """A graph fed by events `x`, with a mean over time as its head."""
    x, mean = ops.InputNode(name="x", shape=shape, timed=True), ops.TimeMeanNode(name="mean", inputs=(members[-1].name,))
    return Graph([x, *members, mean, ops.OutputNode(name="out", inputs=("mean",))])


def wired(graph: Graph) -> tuple[Stage, ...]:
    return stages(graph, partition(graph).body)


def current_of(stage: Stage, tensors: dict[str, Any]) -> np.ndarray:
    """What the afferents of a stage deliver together, from the spikes of their sources in a run of the graph."""
    total: Any = 0
    for afferent in stage.afferents:
        spikes = tensors[afferent.source]
        total = total + _delivered(afferent, spikes)
    bias = 0 if stage.bias is None else stage.bias.reshape(-1, *(1,) * (len(stage.shape) - 1))
    return np.asarray(total + bias)


def _delivered(afferent: Afferent, spikes: np.ndarray) -> np.ndarray:
    members: list[ops.Node] = [ops.InputNode(name=afferent.source, shape=afferent.input_shape, timed=True)]
    node = afferent.node
    if afferent.flatten:
        members.append(ops.FlattenNode(name="flat", inputs=(afferent.source,)))
        node = type(node)(**{**vars(node), "inputs": ("flat",)})
    members += [node, ops.OutputNode(name="out", inputs=(node.name,))]
    return interpreter.run(Graph(members), spikes)["out"]


def check_currents(graph: Graph, samples: np.ndarray) -> tuple[Stage, ...]:
    tensors, found = interpreter.run(graph, samples), wired(graph)
    body = partition(graph).body
    assert [stage.neuron.name for stage in found] == [n for n in graph.spiking if n in body.members]
    names = [afferent.node.name for stage in found for afferent in stage.afferents]
    assert len(set(names)) == len(names)
    for stage in found:
        assert all(a.node.weight.dtype == np.float64 and a.node.bias is None for a in stage.afferents)
        assert all(a.node.inputs == (a.source,) for a in stage.afferents)
        expected = tensors[stage.neuron.inputs[0]]
        assert stage.shape == expected.shape[2:]
        np.testing.assert_allclose(current_of(stage, tensors), expected, rtol=1e-4, atol=1e-4, err_msg=stage.neuron.name)
    return found


@pytest.mark.parametrize("repact", [False, True])
def test_the_stages_of_every_network_carry_its_currents_or_it_pools_them(small, spiking, repact):
    graph = fold_batch_norm(trace(small.build(spiking(repact=repact, decay=0.5), trained=True), small.shape))
    if getattr(small.spec, "residual", "standard") == "ms":
        after = "node block2.add: its values are not spikes" if repact else "node stem_pool: average pooling after the synapse"
        with pytest.raises(UserError, match=after):
            wired(graph)
        return
    found = check_currents(graph, small.samples(3).numpy())
    residual = hasattr(small.spec, "residual")
    assert any(len(stage.afferents) > 1 for stage in found) is residual


@pytest.mark.parametrize("repact", [False, True])
def test_the_stages_of_networks_fed_by_events_carry_their_currents(small, spiking, repact):
    if getattr(small.spec, "residual", "standard") == "ms":
        pytest.skip("pools currents")
    network = small.build(spiking(3, "events", repact=repact, decay=0.5)).eval()
    graph = fold_batch_norm(trace(network, small.shape, timed=True))
    check_currents(graph, small.samples(2, steps=3).transpose(0, 1).contiguous().numpy())


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_branches_the_stages_carry_the_currents_of_the_graph(branching, data):
    check_currents(*data.draw(branching))


def test_the_spikes_of_a_sum_that_one_convolution_reads_come_by_one_synapse_each_with_the_same_weights():
    weight = RNG.normal(size=(2, 2, 3, 3))
    graph = closed(
        conv("c", "x", weight, padding=1),
        lif("n", "c"),
        add("sum", "x", "n"),
        conv("d", "sum", weight, [1.0, 2.0]),
        lif("m", "d"),
    )
    _, last = wired(graph)
    assert [(a.source, a.node.name) for a in last.afferents] == [("x", "x>d"), ("n", "n>d")]
    for afferent in last.afferents:
        np.testing.assert_array_equal(afferent.node.weight, weight.astype(np.float32))
    np.testing.assert_array_equal(last.bias, [1.0, 2.0])


def test_a_shortcut_without_a_synapse_is_a_convolution_of_ones_for_each_channel():
    graph = closed(
        conv("c", "x", RNG.normal(size=(2, 2, 3, 3)), padding=1),
        lif("n", "c"),
        conv("d", "n", RNG.normal(size=(2, 2, 3, 3)), padding=1),
        add("sum", "d", "x"),
        lif("m", "sum"),
    )
    _, last = wired(graph)
    through, short = last.afferents
    assert (through.node.name, short.node.name, short.source) == ("d", "x>m", "x")
    assert short.node.groups == 2
    np.testing.assert_array_equal(short.node.weight, np.ones((2, 1, 1, 1)))


def test_a_pool_alone_is_a_strided_convolution_for_each_channel():
    (stage,) = wired(closed(pool("p", "x"), lif("n", "p")))
    (afferent,) = stage.afferents
    assert (afferent.node.name, afferent.node.groups, afferent.node.stride) == ("x>n", 2, (2, 2))
    np.testing.assert_array_equal(afferent.node.weight, np.full((2, 1, 2, 2), 0.25))


def test_a_shortcut_between_layers_of_one_axis_is_a_unit_matrix():
    members = [
        ops.FlattenNode(name="flat", inputs=("x",)),
        linear("fc", "flat", RNG.normal(size=(128, 128))),
        add("sum", "fc", "flat"),
        lif("n", "sum"),
    ]
    (stage,) = check_currents(closed(*members), (RNG.random((3, 2, 2, 8, 8)) < 0.5).astype(np.float32))
    assert [afferent.flatten for afferent in stage.afferents] == [True]  # both read the same spikes: one matrix
    np.testing.assert_allclose(stage.afferents[0].node.weight, members[1].weight + np.eye(128))


def test_two_ways_of_one_geometry_from_the_same_spikes_are_one_synapse():
    one, other = RNG.normal(size=(2, 2, 3, 3)), RNG.normal(size=(2, 2, 3, 3))
    (stage,) = wired(closed(conv("c", "x", one), conv("d", "x", other, [0.5, 0.5]), add("sum", "c", "d"), lif("n", "sum")))
    (afferent,) = stage.afferents
    np.testing.assert_allclose(afferent.node.weight, one + other, atol=1e-6)


def test_two_ways_of_other_geometries_are_two_synapses():
    one, other = RNG.normal(size=(2, 2, 3, 3)), RNG.normal(size=(2, 2, 1, 1))
    members = [conv("c", "x", one, padding=1), conv("d", "x", other), add("sum", "c", "d"), lif("n", "sum")]
    (stage,) = wired(closed(*members))
    assert [a.node.name for a in stage.afferents] == ["c", "d"]


def test_ways_of_one_name_are_numbered():
    members = [
        pool("p", "x", kernel=3, stride=1),
        conv("wide", "x", RNG.normal(size=(2, 2, 3, 3))),
        pool("q", "x", kernel=1, stride=1),
        conv("same", "q", RNG.normal(size=(2, 2, 3, 3))),
        add("a", "p", "wide"),
        add("b", "a", "same"),
        lif("n", "b"),
        add("s", "n", "p"),
        lif("m", "s"),
    ]
    first, second = wired(closed(*members))
    assert [a.node.name for a in first.afferents] == ["x>n", "wide"]
    assert [a.node.name for a in second.afferents] == ["n>m", "x>m"]


def test_currents_that_bypass_neurons_meet_in_the_next_ones():
    """Blocks with a membrane shortcut: each layer of neurons reads the sum of all currents before it."""
    members = [
        conv("c", "x", RNG.normal(size=(2, 2, 3, 3)), [0.1, 0.2], padding=1),
        lif("n", "c"),
        conv("d", "n", RNG.normal(size=(2, 2, 3, 3)), [0.3, 0.4], padding=1),
        add("sum", "d", "c"),
        lif("m", "sum"),
    ]
    _, last = check_currents(closed(*members), (RNG.random((3, 2, 2, 8, 8)) < 0.5).astype(np.float32))
    assert [a.source for a in last.afferents] == ["n", "x"]
    np.testing.assert_allclose(last.bias, [0.4, 0.6], atol=1e-6)


def pad(name, source, *pads):
    return ops.PadNode(name=name, inputs=(source,), pads=pads)


def cut(name, source, *slices):
    starts, stops, steps = (tuple(getattr(each, field) for each in slices) for field in ("start", "stop", "step"))
    return ops.SliceNode(name=name, inputs=(source,), starts=starts, stops=stops, steps=steps)


def joined(name, *sources, axis=0):
    return ops.ConcatNode(name=name, inputs=sources, axis=axis)


def _few(least, most, axes):
    return st.tuples(*[st.integers(least, most)] * axes)


@st.composite
def _moving(draw):
    """One layer of neurons, fed by events through drawn steps, which move and pool them, and a drawn synapse or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    axes = draw(st.integers(1, 2))
    shape = (2, *draw(_few(3, 6, axes)))
    graph = [ops.InputNode(name="x", shape=shape, timed=True)]

    def put(node):
        nonlocal shape
        try:
            shape = node.checked_shape([shape] * len(node.inputs))
        except UserError:
            return
        graph.append(node)

    for number in range(draw(st.integers(0, 3))):
        name, source, kind = f"step{number}", graph[-1].name, draw(st.sampled_from(["pad", "cut", "pool", "join", "order"]))
        if kind == "pad":
            put(pad(name, source, draw(_few(0, 1, 2)), *(draw(_few(0, 3, 2)) for _ in range(axes))))
        elif kind == "cut":
            starts = [draw(st.integers(0, size - 1)) for size in shape]
            stops = [draw(st.integers(start + 1, size)) for start, size in zip(starts, shape, strict=True)]
            put(cut(name, source, *map(slice, starts, stops, draw(_few(1, 2, 1 + axes)))))
        elif kind == "pool":
            pads = tuple(draw(_few(0, 1, 2)) for _ in range(axes))
            kernel, stride = draw(_few(2, 3, axes)), draw(_few(1, 3, axes))
            put(ops.AvgPoolNode(name=name, inputs=(source,), kernel=kernel, stride=stride, padding=pads))
        elif kind == "join":
            put(joined(name, source, source, axis=draw(st.integers(0, axes))))
        else:
            put(ops.PermuteNode(name=name, inputs=(source,), order=(0, *draw(st.permutations(range(1, 1 + axes))))))
    synapse, source = draw(st.sampled_from(["conv", "linear", "none", "joined convs"])), graph[-1].name
    if synapse == "linear":
        put(ops.FlattenNode(name="flat", inputs=(source,)))
        put(linear("fc", "flat", rng.integers(-8, 9, (3, shape[0])) / 8, rng.normal(size=3)))
    elif synapse != "none":
        groups = draw(st.sampled_from([n for n in (1, 2) if shape[0] % n == 0]))
        plan = {"stride": draw(_few(1, 2, axes)), "padding": draw(_few(0, 2, axes)), "dilation": draw(_few(1, 2, axes))}
        for name in ("conv", "other")[: 1 + (synapse == "joined convs")]:
            weight = rng.integers(-8, 9, (2, shape[0] // groups, *draw(st.just((2,) * axes)))).astype(np.float32) / 8
            bias = rng.normal(size=2).astype(np.float32) if draw(st.booleans()) else None
            node = ops.ConvNode(name=name, inputs=(source,), weight=weight, bias=bias, groups=groups, **plan)
            after = node.checked_shape([shape]) if min(shape[1:]) > 2 else None
            if after is None:
                break
            graph.append(node)
        if after is not None:
            shape = after
            if synapse == "joined convs":
                put(joined("both", "conv", "other"))
    graph += [lif("fire", graph[-1].name), ops.TimeMeanNode(name="mean", inputs=("fire",))]
    graph.append(ops.OutputNode(name="out", inputs=("mean",)))
    events = (rng.random((4, 2, *graph[0].shape)) < 0.4).astype(np.float32)
    return Graph(graph), events


@settings(max_examples=150)
@given(case=_moving())
def test_whatever_moves_spikes_before_a_synapse_is_folded_into_it_or_refused_by_name(case):
    graph, events = case
    refusal = None
    try:
        check_currents(graph, events)
    except UserError as error:
        refusal = str(error)
    if refusal is not None:
        assert re.match(r"node (step\d|both|flat|conv|fc|other): .*; .*", refusal)


def test_padding_on_one_side_makes_the_kernel_longer_by_zeros():
    """As TensorFlow pads for a stride of 2."""
    weight = RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)
    graph = closed(pad("same", "x", (0, 0), (0, 1), (0, 1)), conv("c", "same", weight, stride=2), lif("n", "c"))
    (stage,) = check_currents(graph, (RNG.random((3, 2, 2, 8, 8)) < 0.5).astype(np.float32))
    node = stage.afferents[0].node
    assert (node.padding, node.stride, node.weight.shape) == ((1, 1), (2, 2), (3, 2, 4, 4))
    np.testing.assert_array_equal(node.weight[:, :, 1:, 1:], weight)
    assert not node.weight[:, :, 0].any()


def test_a_shortcut_that_skips_pixels_and_pads_channels_is_one_strided_convolution():
    """Option A of He et al. 2016."""
    graph = closed(
        cut("skip", "x", slice(0, 2, 1), slice(0, 8, 2), slice(0, 8, 2)),
        pad("more", "skip", (1, 1), (0, 0), (0, 0)),
        conv("c", "x", RNG.normal(size=(4, 2, 3, 3)), stride=2, padding=1),
        add("sum", "c", "more"),
        lif("n", "sum"),
    )
    (stage,) = check_currents(graph, (RNG.random((3, 2, 2, 8, 8)) < 0.5).astype(np.float32))
    shortcut = stage.afferents[1].node
    assert (shortcut.name, shortcut.stride, shortcut.groups) == ("x>n", (2, 2), 1)
    np.testing.assert_array_equal(shortcut.weight[:, :, 0, 0], [[0, 0], [1, 0], [0, 1], [0, 0]])


def test_layers_side_by_side_are_read_by_a_synapse_each():
    weight = RNG.normal(size=(3, 4, 3, 3)).astype(np.float32)
    graph = closed(
        conv("c", "x", RNG.normal(size=(2, 2, 3, 3)), padding=1),
        lif("n", "c"),
        joined("both", "n", "x"),
        conv("d", "both", weight, [1.0, 2.0, 3.0], padding=1),
        lif("m", "d"),
    )
    _, last = check_currents(graph, (RNG.random((3, 2, 2, 8, 8)) < 0.5).astype(np.float32))
    assert [afferent.source for afferent in last.afferents] == ["n", "x"]
    np.testing.assert_array_equal(last.afferents[0].node.weight, weight[:, :2])
    np.testing.assert_array_equal(last.afferents[1].node.weight, weight[:, 2:])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            [conv("c", "x", np.ones((2, 2, 1, 1))), ops.PermuteNode(name="turn", inputs=("c",), order=(0, 2, 1))],
            "node turn: a Permute after a synapse and before its neurons; move it behind",
        ),
        (
            [conv("c", "x", np.ones((2, 2, 1, 1))), pad("around", "c", (0, 0), (1, 1), (1, 1))],
            "node around: a Pad after a synapse and before its neurons; move it behind",
        ),
        (
            [ops.PermuteNode(name="turn", inputs=("x",), order=(0, 2, 1)), conv("c", "turn", np.ones((2, 2, 1, 1)))],
            "node turn: a Permute between spikes and c has no form on Loihi; put it right before a linear",
        ),
        (
            [
                cut("part", "x", slice(0, 2, 1), slice(0, 4, 1), slice(0, 8, 1)),
                conv("c", "part", np.ones((2, 2, 3, 3)), padding=1),
            ],
            "node part: a slice 0:4:1 of 8 values cannot be folded into c, whose padding would read what is cut off; take no",
        ),
        (
            [
                ops.AvgPoolNode(
                    name="avg",
                    inputs=("x",),
                    kernel=(2, 2),
                    stride=(2, 2),
                    padding=((1, 1), (1, 1)),
                    count_padding=False,
                )
            ],
            "node avg: an average that leaves out its padding is no one kernel; retrain with count_include_pad=True",
        ),
        (
            [
                ops.ConvTransposeNode(
                    name="up",
                    inputs=("x",),
                    weight=np.ones((2, 1, 2, 2), np.float32),
                    stride=(2, 2),
                    padding=(0, 0),
                    output_padding=(0, 0),
                    dilation=(1, 1),
                )
            ],
            "node up: a transposed convolution has no form on Loihi; replace it",
        ),
    ],
)
def test_what_moves_values_and_is_no_one_synapse_is_refused_by_name_with_what_to_do(members, message):
    with pytest.raises(UserError, match=message):
        wired(closed(*members, lif("n", members[-1].name)))


def test_neurons_over_three_spatial_axes_are_refused_by_name():
    weight = np.ones((2, 2, 1, 1, 1))
    with pytest.raises(
        UserError, match="node c: neurons over 3 spatial axes found, 1 or 2 expected on Loihi; replace its layers"
    ):
        wired(closed(conv("c", "x", weight), lif("n", "c"), shape=(2, 3, 3, 3)))
