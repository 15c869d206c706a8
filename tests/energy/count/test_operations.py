"""Counts of synaptic operations and MACs equal explicit loops over output positions and kernel taps, written independently."""

from itertools import product
from math import ceil, floor

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from neurodeploy.dynamics.layers import AvgPool2d, Flatten, GlobalAvgPool2d
from neurodeploy.io.errors import UserError
from neurodeploy_energy import account
from neurodeploy_energy.count.layer import InputKinds

Edges = list[tuple[tuple[int, ...], float]]


def edges_of(module: nn.Module, shape: tuple[int, ...]) -> tuple[Edges, int]:
    """Every synapse of one sample as (input position, weight), and the number of dense multiply-accumulates."""
    weight = module.weight.detach().numpy()
    if isinstance(module, nn.Linear):
        found = [((i,), float(weight[o, i])) for o in range(weight.shape[0]) for i in range(weight.shape[1])]
        return found, weight.size
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return _transposed(module, shape, weight)
    return _convolution(module, shape, weight)


def _convolution(module, shape, weight):
    kernel, axes = weight.shape[2:], len(shape) - 1
    if module.padding == "same":
        before = [module.dilation[a] * (kernel[a] - 1) // 2 for a in range(axes)]
        sizes = list(shape[1:])
    else:
        before = [0] * axes if module.padding == "valid" else list(module.padding)
        sizes = [
            floor((shape[1 + a] + 2 * before[a] - module.dilation[a] * (kernel[a] - 1) - 1) / module.stride[a]) + 1
            for a in range(axes)
        ]
    found, dense = [], 0
    per_group_in, per_group_out = shape[0] // module.groups, weight.shape[0] // module.groups
    for out_channel in range(weight.shape[0]):
        for place in product(*(range(size) for size in sizes)):
            for in_channel in range(per_group_in):
                for tap in product(*(range(k) for k in kernel)):
                    dense += 1
                    at = tuple(place[a] * module.stride[a] - before[a] + tap[a] * module.dilation[a] for a in range(axes))
                    if all(0 <= at[a] < shape[1 + a] for a in range(axes)):
                        channel = (out_channel // per_group_out) * per_group_in + in_channel
                        found.append(((channel, *at), float(weight[(out_channel, in_channel, *tap)])))
    return found, dense


def _transposed(module, shape, weight):
    kernel, axes = weight.shape[2:], len(shape) - 1
    sizes = [
        (shape[1 + a] - 1) * module.stride[a]
        - 2 * module.padding[a]
        + module.dilation[a] * (kernel[a] - 1)
        + module.output_padding[a]
        + 1
        for a in range(axes)
    ]
    found, dense = [], 0
    for in_channel in range(shape[0]):
        for place in product(*(range(size) for size in shape[1:])):
            for out_channel in range(weight.shape[1]):
                for tap in product(*(range(k) for k in kernel)):
                    dense += 1
                    at = [place[a] * module.stride[a] - module.padding[a] + tap[a] * module.dilation[a] for a in range(axes)]
                    if all(0 <= at[a] < sizes[a] for a in range(axes)):
                        found.append(((in_channel, *place), float(weight[(in_channel, out_channel, *tap)])))
    return found, dense


def operations(edges: Edges, rows: np.ndarray) -> dict[str, int]:
    """Operations of one layer on rows `[N, *shape]`, one synapse at a time; values are told apart one by one."""
    whole = np.where(rows == np.rint(rows), np.abs(rows), 0).astype(np.int64).sum(0)
    analog, present = (rows != np.rint(rows)).sum(0), (rows != 0).sum(0)
    names = ("sops", "sops_nonzero_weights", "macs", "macs_nonzero_weights", "effective_macs")
    counts = dict.fromkeys(names, 0)
    for position, weight in edges:
        counts["sops"] += int(whole[position])
        counts["macs"] += int(analog[position])
        if weight:
            counts["sops_nonzero_weights"] += int(whole[position])
            counts["macs_nonzero_weights"] += int(analog[position])
            counts["effective_macs"] += int(present[position])
    return counts


def pooled_operations(edges: Edges, before: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int]) -> dict[str, int]:
    """The same with an average pool before the layer: every spike reaches the synapses of the windows that hold it.

    Args:
        edges: of the layer; input positions are flat indices of the pooled array, or (channel, row, column).
        before: spikes before the pool, `[N, C, H, W]`.
        kernel, stride: of the pool.
    """
    channels, height, width = before.shape[1:]
    rows = ceil((height - kernel[0] + 1) / stride[0])
    columns = ceil((width - kernel[1] + 1) / stride[1])
    sops = nonzero = 0
    for position, weight in edges:
        flat = position[0] if len(position) == 1 else int(np.ravel_multi_index(position, (channels, rows, columns)))
        channel, row, column = np.unravel_index(flat, (channels, rows, columns))
        window = before[
            :, channel, row * stride[0] : row * stride[0] + kernel[0], column * stride[1] : column * stride[1] + kernel[1]
        ]
        spikes = int(np.abs(window).sum())
        sops += spikes
        nonzero += spikes if weight else 0
    return {"sops": sops, "sops_nonzero_weights": nonzero}


KINDS = {
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "transposed": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
}
PADDED = {"circular": "wrap", "reflect": "reflect", "replicate": "edge"}
VALUES = {
    "binary": lambda rng, shape: rng.integers(0, 2, shape).astype(np.float32),
    "ternary": lambda rng, shape: rng.integers(-1, 2, shape).astype(np.float32),
    "graded": lambda rng, shape: (rng.integers(-4, 6, shape) * rng.integers(0, 2, shape)).astype(np.float32),
    "analog": lambda rng, shape: (rng.random(shape) * rng.integers(0, 2, shape) + 0.01).astype(np.float32),
    "mixed": lambda rng, shape: rng.choice([0, 0, 1, -1, 3, 0.5, -1.25], shape).astype(np.float32),
    "silent": lambda _rng, shape: np.zeros(shape, np.float32),
}


@st.composite
def layers(draw):
    """A random synapse layer, of four three with some weights of zero, and the shape of one sample."""
    kind, axes = draw(st.sampled_from(["conv", "transposed", "linear"])), draw(st.integers(1, 3))
    whole, zeros = st.integers, draw(st.sampled_from([0.0, 0.4, 0.4, 0.9]))

    def each(low, high):
        return tuple(draw(whole(low, high)) for _ in range(axes))

    if kind == "linear":
        module = nn.Linear(draw(whole(1, 6)), draw(whole(1, 5)))
        with torch.no_grad():
            module.weight.mul_(torch.rand(module.weight.shape) > zeros)
        return module, (module.in_features,)
    groups, kernel, stride, dilation = draw(whole(1, 2)), each(1, 3 if axes < 3 else 2), each(1, 3), each(1, 2)
    channels = groups * draw(whole(1, 2)), groups * draw(whole(1, 2))
    options = {"stride": stride, "dilation": dilation, "groups": groups, "bias": draw(st.booleans())}
    if kind == "conv":
        text = draw(st.sampled_from([None, None, "same", "valid"]))
        options["padding"] = text or each(0, 2)
        if text == "same":
            options["stride"] = (1,) * axes
    else:
        options["padding"] = each(0, 1)
        options["output_padding"] = tuple(draw(whole(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    shape = (channels[0], *each(1, 6 if axes == 1 else 5 - axes + 1))
    module = KINDS[kind][axes - 1](*channels, kernel, **options)
    with torch.no_grad():
        module.weight.mul_(torch.rand(module.weight.shape) > zeros)
    try:
        module(torch.zeros(1, *shape))
    except RuntimeError:
        assume(False)
    return module, shape


def expected(module, values, axes):
    """What a report must say of one layer run on `values`, whose last `axes` axes are one sample's.

    Whole numbers cost synaptic operations and analog values multiply-accumulates; where no value is a spike, all zeros
    are multiplied too. What would meet the padding is no operation of either kind.
    """
    shape = values.shape[values.ndim - axes :]
    edges = edges_of(module, shape)[0]
    rows = values.reshape(-1, *shape)
    counts, dense = operations(edges, rows), len(edges) * len(rows)
    nonzero_macs = counts.pop("macs_nonzero_weights")
    spikes, analog = ((rows == np.rint(rows)) & (rows != 0)).any(), (rows != np.rint(rows)).any()
    if analog and not spikes:
        return counts | {"macs": dense, "dense_macs": dense}
    return counts | {"effective_macs": nonzero_macs, "dense_macs": dense}


def counted(row, samples):
    names = ("sops", "sops_nonzero_weights", "macs", "effective_macs", "dense_macs")
    return {name: round(getattr(row, name) * samples) for name in names}


@settings(max_examples=1000, deadline=None)
@given(layers(), st.sampled_from(sorted(VALUES)), st.integers(0, 2**16))
def test_a_layer_counts_what_a_loop_over_its_synapses_counts(layer, values, seed):
    module, shape = layer
    x = VALUES[values](np.random.default_rng(seed), (2, *shape))
    row = account(nn.Sequential(module), [torch.from_numpy(x)], profiles=[], inputs="events").layer("0")
    assert counted(row, 2) == expected(module, x, len(shape))


class PerStep(nn.Module):
    """Calls its layer once per time step on `[T, B, …]`."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return torch.stack([self.layer(step) for step in x])


class Folded(PerStep):
    """Calls its layer once, time folded into the batch."""

    def forward(self, x):
        return self.layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Whole(PerStep):
    """Calls its layer once on `[T, B, …]`."""

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("values", sorted(VALUES))
@pytest.mark.parametrize(
    ("wrapper", "layer", "shape"),
    [
        (PerStep, nn.Conv2d(2, 3, 3, padding=1, stride=2), (2, 5, 4)),
        (Folded, nn.Conv2d(2, 3, 3, padding=1, stride=2), (2, 5, 4)),
        (PerStep, nn.Linear(6, 3), (6,)),
        (Folded, nn.Linear(6, 3), (6,)),
        (Whole, nn.Linear(6, 3), (6,)),
    ],
)
def test_time_may_be_a_loop_of_calls_or_an_axis_or_folded_into_the_batch(wrapper, layer, shape, values):
    x = VALUES[values](np.random.default_rng(3), (4, 2, *shape))
    row = account(wrapper(layer), [torch.from_numpy(x)], batch_axis=1, inputs="events").layer("layer")
    assert counted(row, 2) == expected(layer, x, len(shape))
    assert row.steps == 4


POOLS = {
    "2x2": (AvgPool2d(2), (2, 2), (2, 2)),
    "2x3": (AvgPool2d((2, 3)), (2, 3), (2, 3)),
    "gaps": (AvgPool2d(2, stride=3), (2, 2), (3, 3)),
    "global": (GlobalAvgPool2d(), (6, 7), (6, 7)),
}


@pytest.mark.parametrize("values", ["binary", "ternary", "graded", "silent"])
@pytest.mark.parametrize("between", [nn.Identity(), nn.Dropout(0.5)])
@pytest.mark.parametrize("pool", sorted(POOLS))
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_pool_before_a_linear_layer_equals_spikes_times_synapses_reached(memory, pool, between, values):
    """Also where the channels lie last in memory, so that flattening copies."""
    module, kernel, stride = POOLS[pool]
    x = VALUES[values](np.random.default_rng(5), (3, 2, 2, 6, 7))
    spikes = torch.from_numpy(x).flatten(0, 1).contiguous(memory_format=memory).unflatten(0, (3, 2))
    flat = module(torch.from_numpy(x)).flatten(2).shape[-1]
    linear = nn.Linear(flat, 3)
    with torch.no_grad():
        linear.weight[0, ::2] = 0
    report = account(nn.Sequential(module, between, Flatten(), linear), [spikes], batch_axis=1, inputs="events")
    row = report.layer("3")
    edges, dense = edges_of(linear, (flat,))
    want = pooled_operations(edges, x.reshape(-1, 2, 6, 7), kernel, stride)
    assert counted(row, 2) == {**want, "macs": 0, "effective_macs": 0, "dense_macs": dense * 6}
    assert report.layer("0").adds == 0
    assert "folded" in report.layer("0").note


@given(layers=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(0, 1), st.integers(1, 2)), seed=st.integers(0, 99))
def test_a_pool_before_a_convolution_equals_spikes_times_synapses_reached(layers, seed):
    kernel, stride, padding, groups = layers
    convolution = nn.Conv2d(2, 4, kernel, stride=stride, padding=padding, groups=groups)
    x = VALUES["binary"](np.random.default_rng(seed), (4, 2, 7, 6))
    report = account(nn.Sequential(nn.AvgPool2d(2), convolution), [torch.from_numpy(x)], inputs="events")
    edges = edges_of(convolution, (2, 3, 3))[0]
    want = pooled_operations(edges, x, (2, 2), (2, 2))
    assert counted(report.layer("1"), 4) == {**want, "macs": 0, "effective_macs": 0, "dense_macs": len(edges) * 4}


class TwoReaders(nn.Module):
    """One pool, read by two layers, as at the start of a residual block."""

    def __init__(self):
        super().__init__()
        self.pool, self.left, self.right = nn.AvgPool2d(2), nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        pooled = self.pool(x)
        return self.left(pooled) + self.right(pooled)


def test_a_pool_that_two_layers_read_is_folded_into_both():
    model, x = TwoReaders(), VALUES["binary"](np.random.default_rng(1), (2, 2, 6, 6))
    report = account(model, [torch.from_numpy(x)], fold=False)  # their sum is one layer, else
    for name, layer in (("left", model.left), ("right", model.right)):
        want = pooled_operations(edges_of(layer, (2, 3, 3))[0], x, (2, 2), (2, 2))
        assert counted(report.layer(name), 2)["sops"] == want["sops"], name
        assert report.layer(name).macs == 0
    assert report.layer("pool").adds == 0
    folded = account(model, [torch.from_numpy(x)])
    assert (folded.layer("right").sops, folded.layer("pool").adds) == (report.layer("right").sops, 0)


def test_a_pool_that_no_layer_reads_is_counted_for_itself():
    x = torch.from_numpy(VALUES["binary"](np.random.default_rng(1), (2, 2, 6, 6)))
    conv = nn.Conv2d(2, 2, 1)
    torch.nn.init.constant_(conv.weight, 0.3)
    report = account(nn.Sequential(conv, nn.Threshold(0.0, 0.0), nn.AvgPool2d(2)), [x])
    assert report.layer("2").analog_adds == 2 * 6 * 6
    report = account(TwoHeads(), [x])
    assert report.layer("pool").adds == x.sum().item() / 2
    assert "summed by the pool itself" in report.layer("pool").note


class TwoHeads(nn.Module):
    """A linear layer and, apart from it, a pool whose output is the answer."""

    def __init__(self):
        super().__init__()
        self.linear, self.pool = nn.Linear(72, 2), nn.AvgPool2d(2)

    def forward(self, x):
        return self.linear(x.flatten(1)), self.pool(x)


@pytest.mark.parametrize(
    "pool", [nn.AvgPool2d(3, stride=2), nn.AvgPool2d(2, padding=1), nn.AvgPool2d(2, ceil_mode=True)], ids=str
)
def test_a_pool_whose_windows_overlap_or_are_padded_is_counted_for_itself(pool):
    x = torch.from_numpy(VALUES["binary"](np.random.default_rng(1), (2, 2, 7, 7)))
    report = account(nn.Sequential(pool, nn.Conv2d(2, 3, 1)), [x], inputs="events")
    assert report.layer("0").adds == x.sum().item() / 2
    assert "not folded" in report.layer("0").note
    means = pool(x).numpy()
    assert counted(report.layer("1"), 2) == expected(nn.Conv2d(2, 3, 1), means, 3)
    assert report.layer("1").macs > 0


def test_a_pool_of_analog_values_costs_one_addition_per_value_and_leaves_the_layer_analog():
    report = account(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(2, 3, 1)), [torch.rand(3, 2, 6, 6)])
    assert report.layer("0").analog_adds == 2 * 6 * 6
    assert report.layer("0").adds == 0
    assert report.layer("1").macs == 3 * 2 * 9


@pytest.mark.parametrize(
    "change", [lambda p: p.transpose(2, 3), lambda p: p[:, :1].expand(-1, 2, -1, -1), lambda p: p.add_(0.5)]
)
def test_a_pool_whose_output_was_rearranged_or_changed_is_not_folded(change):
    class Model(TwoReaders):
        def forward(self, x):
            return self.left(change(self.pool(x)))

    x = torch.from_numpy(VALUES["binary"](np.random.default_rng(1), (2, 2, 6, 6)))
    model = Model()
    report = account(model, [x], inputs="events")
    assert counted(report.layer("left"), 2) == expected(model.left, change(model.pool(x)).numpy(), 3)
    assert report.layer("left").macs > 0
    assert report.layer("pool").adds == x.sum().item() / 2


def test_one_analog_value_in_the_data_costs_its_own_multiply_accumulates_and_no_more():
    whole, analog = torch.ones(1, 3), torch.tensor([[0.0, 0.5, 1.0]])
    layer = nn.Sequential(nn.Linear(3, 2))
    row = account(layer, [whole, analog], inputs="events").layer("0")
    assert (row.sops, row.macs, row.effective_macs) == (8 / 2, 2 / 2, 2 / 2)
    assert row.inputs == InputKinds(zeros=1 / 2, spikes=4 / 2, graded=0, analog=1 / 2)
    assert row.note == "mixed input: 20.0% of the non-zero values are analog, and cost multiply-accumulates"
    assert account(layer, [torch.cat([whole, analog])], inputs="events").layer("0") == row
    assert account(layer, [analog, whole], inputs="events").layer("0") == row


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**53])
def test_a_sample_that_cannot_be_counted_is_refused_by_its_number(value):
    x = torch.ones(5, 4)
    x[3, 1] = value
    with pytest.raises(UserError, match=r"^mine: sample 3 holds a value"):
        account(nn.Sequential(nn.Linear(4, 2)), x.split(2), name="mine")
    with pytest.raises(UserError, match=r"^mine: sample 3 holds a value"):
        account(nn.Sequential(nn.Linear(4, 2)), x.T, name="mine", batch_axis=1)


def test_values_that_grow_beyond_all_bounds_are_refused_by_the_sample_that_they_come_from():
    x = torch.ones(5, 4)
    x[3, 1] = 1e10
    layers = nn.Linear(4, 2, bias=False), nn.Linear(2, 2, bias=False)
    for layer in layers:
        nn.init.constant_(layer.weight, 1e20)
    with pytest.raises(UserError, match=r"^mine: its answer to sample 3 is not finite"):
        account(nn.Sequential(*layers), x / 1e10 + (x > 1) * x, name="mine")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_counts_do_not_depend_on_the_number_format(dtype):
    x = torch.tensor([[0, 1, -1, 3, 0.5, 0.25]])
    layer = nn.Linear(6, 4)
    row = account(nn.Sequential(layer), [x], inputs="events").layer("0")
    assert account(nn.Sequential(layer.to(dtype)), [x.to(dtype)], inputs="events").layer("0") == row
    assert row.inputs == InputKinds(zeros=1, spikes=2, graded=1, analog=2)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@given(geometry=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2)), seed=st.integers(0, 99))
def test_padding_that_repeats_positions_gives_them_more_synapses(mode, geometry, seed):
    """A value in the padding is one of the input: the layer equals one without padding, on an input that was padded before."""
    kernel, stride, dilation, padding = geometry
    x = VALUES["mixed"](np.random.default_rng(seed), (2, 2, 6, 5))
    options = {"stride": stride, "dilation": dilation}
    layer = nn.Conv2d(2, 3, kernel, padding=padding, padding_mode=mode, **options)
    with torch.no_grad():
        layer.weight.mul_(torch.rand(layer.weight.shape) > 0.4)
    bare = nn.Conv2d(2, 3, kernel, **options)
    bare.weight = layer.weight
    padded = np.pad(x, [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2], mode=PADDED[mode])
    row = account(nn.Sequential(layer), [torch.from_numpy(x)], profiles=[], inputs="events").layer("0")
    assert counted(row, 2) == expected(bare, padded, 3)
