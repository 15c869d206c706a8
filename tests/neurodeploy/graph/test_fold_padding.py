"""Padding in the convolution after it: the same values, whatever the sizes."""

from itertools import product

import numpy as np
import pytest

from neurodeploy.graph import Graph, fold_padding, interpreter, ops

RNG = np.random.default_rng(0)


def graph(pads, *, size=(7,), kernel=(3,), stride=(1,), padding=(0,), dilation=(1,), groups=1, channels=(0, 0)) -> Graph:
    weight = RNG.integers(-4, 5, (2, (2 + sum(channels)) // groups, *kernel)).astype(np.float32)
    plan = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Graph(
        [
            ops.InputNode(name="input", shape=(2, *size)),
            ops.PadNode(name="pad", inputs=("input",), pads=(channels, *pads)),
            ops.ConvNode(name="conv", inputs=("pad",), weight=weight, bias=np.ones(2, np.float32), **plan),
            ops.OutputNode(name="out", inputs=("conv",)),
        ]
    )


def check(padded: Graph) -> ops.ConvNode:
    """Without the padding, and with the values that there were."""
    folded = fold_padding(padded)
    assert [node.kind for node in folded.nodes] == ["Input", "Conv", "Output"]
    x = RNG.integers(-4, 5, (2, *padded.input.shape)).astype(np.float32)
    np.testing.assert_array_equal(interpreter.run(folded, x)["out"], interpreter.run(padded, x)["out"])
    return folded.of(ops.ConvNode)[0]


@pytest.mark.parametrize("size", range(5, 9))
def test_padding_in_the_kernel_computes_the_same_for_every_geometry(size):
    for before, after, k, stride, padding, dilation in product(range(4), range(4), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2)):
        plan = {"kernel": (k,), "stride": (stride,), "padding": (padding,), "dilation": (dilation,)}
        check(graph([(before, after)], size=(size,), **plan))


def test_padding_alike_on_both_ends_leaves_the_kernel_as_it_was():
    padded = graph([(2, 2), (1, 1)], size=(6, 6), kernel=(3, 3), stride=(1, 1), padding=(1, 0), dilation=(2, 1), groups=2)
    folded = check(padded)
    assert (folded.padding, folded.dilation, folded.weight.shape) == ((3, 1), (2, 1), (2, 1, 3, 3))


def test_padding_at_an_end_makes_the_kernel_longer_at_the_other():
    folded = check(graph([(0, 1)], size=(8,), stride=(2,)))
    assert (folded.padding, folded.weight.shape) == ((1,), (2, 2, 4))
    assert not folded.weight[:, :, 0].any()


def test_padding_of_channels_or_that_others_read_too_stays():
    assert len(fold_padding(graph([(1, 1)], channels=(1, 0))).nodes) == 4
    padded = graph([(1, 1)])
    branch = ops.ConvNode(**{**vars(padded["conv"]), "name": "other"})
    total = ops.AddNode(name="sum", inputs=("conv", "other"))
    twice = Graph([*padded.nodes[:3], branch, total, ops.OutputNode(name="out", inputs=("sum",))])
    assert fold_padding(twice).nodes == twice.nodes
