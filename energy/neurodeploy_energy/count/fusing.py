"""Two layers of synapses as one that computes the same, and whether it does."""

from dataclasses import replace
from math import gcd, prod

import torch
from torch import Tensor
from torch.nn import functional as f

from neurodeploy_energy.count.fanout import Synapses

Layer = tuple[Synapses, Tensor]
"""How it connects, and its weight `[O, I / groups, …]`, float64."""
_CLOSE = 1e-4
"""Of the largest value: what rounding may change where two layers are computed as one."""
_TRIED = 2
"""Rows on which a layer is tried."""


def _whole(weight: Tensor, groups: int) -> Tensor:
    """The weight of a grouped layer as that of one group, with zeros between."""
    if groups == 1:
        return weight
    blocks = weight.unflatten(0, (groups, -1))
    made = weight.new_zeros(groups, blocks.shape[1], groups, *weight.shape[1:])
    for group in range(groups):
        made[group, :, group] = blocks[group]
    return made.flatten(2, 3).flatten(0, 1)


def _grouped(weight: Tensor, groups: int) -> Tensor:
    """The reverse, of a weight that is 0 between the groups."""
    if groups == 1:
        return weight
    split = weight.unflatten(1, (groups, -1)).unflatten(0, (groups, -1))
    return torch.cat([split[group, :, group] for group in range(groups)])


def one_after(first: Layer, pads: tuple[tuple[int, int], ...], then: Layer) -> Layer | None:
    """A layer behind another; None if that would be no convolution with one distance between its taps.

    Args:
        first: the one that runs first.
        pads: zeros before and after, per spatial axis, between the two.
        then: the other.
    """
    (before, one), (after, other) = first, then
    if after.kind == "linear":
        return after, other @ one
    if after.kind == "transposed":
        return None
    kernels, others = one.shape[2:], other.shape[2:]
    stride, padding, dilation = [], [], []
    for axis, (k, m) in enumerate(zip(kernels, others, strict=True)):
        step = before.stride[axis]
        if k > 1 and m > 1 and (step, before.dilation[axis], after.dilation[axis]) != (1, 1, 1):
            return None
        stride.append(step * after.stride[axis])
        dilation.append(before.dilation[axis] if k > 1 else after.dilation[axis] * step)
        ends = [before.padding[axis][end] + step * (pads[axis][end] + after.padding[axis][end]) for end in (0, 1)]
        padding.append((ends[0], ends[1]))
    groups = gcd(before.groups, after.groups)
    one, other = _whole(one, before.groups), _whole(other, after.groups)
    made = one.new_zeros(other.shape[0], one.shape[1], *(k + m - 1 for k, m in zip(kernels, others, strict=True)))
    for at in torch.cartesian_prod(*map(torch.arange, others)).reshape(-1, len(others)).tolist():
        taps = tuple(slice(a, a + k) for a, k in zip(at, kernels, strict=True))
        made[(slice(None), slice(None), *taps)] += torch.tensordot(other[(slice(None), slice(None), *at)], one, 1)
    return Synapses("conv", tuple(stride), tuple(padding), tuple(dilation), groups=groups), _grouped(made, groups)


def side_by_side(one: Layer, other: Layer) -> Layer | None:
    """Two layers of the same input whose outputs are added; None if the taps of one are none of the other's."""
    if one[0].kind == "linear":
        return one[0], one[1] + other[1]
    if one[0].kind == "transposed" or one[0].stride != other[0].stride:
        return None
    (large, a), (small, b) = (one, other) if prod(one[1].shape[2:]) >= prod(other[1].shape[2:]) else (other, one)
    wide, narrow = _whole(a, large.groups).clone(), _whole(b, small.groups)
    at = []
    for axis, (k, m) in enumerate(zip(wide.shape[2:], narrow.shape[2:], strict=True)):
        first, rest = divmod(large.padding[axis][0] - small.padding[axis][0], large.dilation[axis])
        if rest or first < 0 or first + m > k or (m > 1 and small.dilation[axis] != large.dilation[axis]):
            return None
        at.append(slice(first, first + m))
    wide[(slice(None), slice(None), *at)] += narrow
    groups = gcd(large.groups, small.groups)
    return replace(large, groups=groups), _grouped(wide, groups)


def computes(synapses: Synapses, weight: Tensor, x: Tensor, output: Tensor) -> bool:
    """Whether a layer, with some bias, computes what a chain of them has, on the first rows that hold anything."""
    rows = x.detach().reshape(-1, *x.shape[x.dim() - synapses.axes :])
    made = output.detach().reshape(len(rows), -1, *output.shape[output.dim() - synapses.axes + 1 :]) if len(rows) else output
    held = rows.flatten(1).any(1).nonzero()[:_TRIED, 0]
    rows, made = (rows[held], made[held]) if len(held) else (rows[:1], made[:1])
    if synapses.kind == "linear":
        ours = rows.double() @ weight.T
        return _constant(made.reshape(ours.shape).double() - ours, made, 1)
    run = (f.conv1d, f.conv2d, f.conv3d)[synapses.axes - 2]
    pads = [pad for pair in synapses.padding[::-1] for pad in pair]
    padded = f.pad(rows.double(), pads)
    ours = run(padded, weight, stride=synapses.stride, dilation=synapses.dilation, groups=synapses.groups)
    return ours.shape == made.shape and _constant(made.double() - ours, made, ours.dim() - 1)


def _constant(difference: Tensor, values: Tensor, axes: int) -> bool:
    """Whether a difference is the same number in all of a channel: a bias."""
    by_channel = difference.transpose(0, 1).flatten(1) if axes > 1 else difference.T
    spread = float((by_channel - by_channel[:, :1]).abs().max())
    return spread <= _CLOSE * max(float(values.abs().max()), 1e-30)
