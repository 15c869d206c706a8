"""How pools are traced, and means, sums and maxima over axes."""

from math import prod
from typing import Any

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Shape
from neurodeploy.graph.tracing.rules import Calling, each, function, refused
from neurodeploy.graph.tracing.traced_tensor import TIME_LAST, TracedTensor

refused(
    *(f"{kind}max_pool{axes}d_with_indices" for kind in ("", "adaptive_") for axes in (1, 2, 3)),
    *("max_unpool1d", "max_unpool2d", "max_unpool3d", "fractional_max_pool2d"),
    reason="take plain average or max pools, without indices",
)


@function("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(
    c: Calling,
    x: TracedTensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,  # noqa: ARG001 - the result has the size that it makes
    return_indices: bool = False,
) -> TracedTensor:
    axes = len(x.shape) - 1
    if return_indices or set(each(dilation, axes)) != {1}:
        c.refuse("is a pool with dilation or indices, which has no form in a graph; leave them out")
    kernel, stride = _windows(c, x, kernel_size, stride)
    pads = _padding(c, x, kernel, stride, each(padding, axes))
    return c.node(ops.MaxPoolNode, x, kernel=kernel, stride=stride, padding=pads)


@function("lp_pool1d", "lp_pool2d", "lp_pool3d")
def _sum_pool(
    c: Calling, x: TracedTensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> TracedTensor:
    if norm_type != 1 or ceil_mode:
        c.refuse(f"is a pool of the norm {norm_type:g}; the norm 1, a sum, without ceil_mode expected")
    kernel, stride = _windows(c, x, kernel_size, stride)
    mean = c.node(ops.AvgPoolNode, x, kernel=kernel, stride=stride)
    size = np.full(x.shape[0], prod(kernel), np.float32)
    return c.node(ops.BatchNormNode, mean, suffix=".sum", scale=size, shift=np.zeros_like(size))


@function("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(
    c: Calling,
    x: TracedTensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,  # noqa: ARG001
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> TracedTensor:
    kernel, stride = _windows(c, x, kernel_size, stride)
    given = each(padding, len(kernel))
    pads = _padding(c, x, kernel, stride, given)
    if divisor_override is not None and divisor_override != prod(kernel):
        c.refuse("has a divisor_override, which has no form in a graph; multiply by a constant instead")
    counted = count_include_pad
    if any(after > before for (_, after), before in zip(pads, given, strict=bool(pads))):
        # in ceil_mode windows reach beyond the padding, and what is there does not count
        if count_include_pad and any(given):
            c.refuse("is a padded average pool in ceil_mode, whose windows count some of the padding; leave ceil_mode out")
        counted = False
    return c.node(ops.AvgPoolNode, x, kernel=kernel, stride=stride, padding=pads, count_padding=counted)


def _windows(c: Calling, x: TracedTensor, kernel_size: Any, stride: Any) -> tuple[Shape, Shape]:
    axes = len(c.result.shape) - len(x.lead) - 1
    c.one_lead(x)
    if axes < 1 or len(x.shape) != axes + 1:
        c.refuse(f"pools samples of shape {x.shape}; channels and 1 to 3 spatial axes expected")
    kernel = each(kernel_size, axes)
    if len(kernel) != axes:
        c.refuse(f"has a window of {kernel} for samples of shape {x.shape}: they need an axis of channels")
    return kernel, kernel if stride is None or stride == () or stride == [] else each(stride, axes)


def _padding(c: Calling, x: TracedTensor, kernel: Shape, stride: Shape, given: Shape) -> tuple[tuple[int, int], ...]:
    """Before and after each axis, so that the result has the size that torch gave it; empty if there is none."""
    pads = []
    for size, made, k, s, before in zip(x.shape[1:], c.result.shape[-len(kernel) :], kernel, stride, given, strict=True):
        needed = (made - 1) * s + k - size - before
        pads.append((before, max(before if needed > before or before else 0, needed, 0) if needed > 0 or before else 0))
    return tuple(pads) if np.any(pads) else ()


@function("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def _adaptive_average(c: Calling, x: TracedTensor, output_size: Any) -> TracedTensor:  # noqa: ARG001 - the result has it
    kernel = _adapted(c, x)
    return c.node(ops.AvgPoolNode, x, kernel=kernel, stride=kernel)


@function("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_maximum(c: Calling, x: TracedTensor, output_size: Any, return_indices: bool = False) -> TracedTensor:  # noqa: ARG001
    if return_indices:
        c.refuse("answers indices, which have no form in a graph")
    kernel = _adapted(c, x)
    return c.node(ops.MaxPoolNode, x, kernel=kernel, stride=kernel)


def _adapted(c: Calling, x: TracedTensor) -> Shape:
    c.one_lead(x)
    sizes = tuple(c.result.shape[2:])
    if len(x.shape) != len(sizes) + 1:
        c.refuse(f"pools samples of shape {x.shape}; they need an axis of channels")
    for size, made in zip(x.shape[1:], sizes, strict=True):
        if size % made:
            c.refuse(f"makes {sizes} of {x.shape[1:]} by windows of different sizes; a size that divides evenly expected")
    return tuple(size // made for size, made in zip(x.shape[1:], sizes, strict=True))


@function("mean", time_last=True)
def _mean(c: Calling, x: TracedTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> TracedTensor:  # noqa: ARG001
    return _reduced(c, x, dim, keepdim, ops.AvgPoolNode)


@function("amax", time_last=True)
def _maximum(c: Calling, x: TracedTensor, dim: Any = (), keepdim: bool = False) -> TracedTensor:
    return _reduced(c, x, dim, keepdim, ops.MaxPoolNode)


@function("sum", time_last=True)
def _sum(c: Calling, x: TracedTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> TracedTensor:  # noqa: ARG001
    axes = _axes(c, x, dim)
    if -len(x.lead) <= min(axes) < 0:
        if len(axes) > 1 or keepdim or x.skip or x.lead[axes[0] + len(x.lead)] not in ("T", TIME_LAST):
            c.refuse("sums over the batch, or over time and other axes at once")
        return c.draft.total(x, c.draft.free_name(c.name, layer=c.of_layer))
    mean = _reduced(c, x, dim, keepdim, ops.AvgPoolNode, suffix=".mean")
    count = prod(x.shape[axis] for axis in axes)
    factors = np.full(mean.shape[0], count, np.float32)
    return c.node(ops.BatchNormNode, mean, scale=factors, shift=np.zeros_like(factors))


def _axes(c: Calling, x: TracedTensor, dim: Any) -> tuple[int, ...]:
    if dim is None or dim in ((), []):
        c.refuse("reduces the batch too; name the axes")
    return tuple(sorted(x.sample_axis(int(one)) for one in (dim if isinstance(dim, list | tuple) else (dim,))))


def _reduced(c: Calling, x: TracedTensor, dim: Any, keepdim: bool, pool: Any, *, suffix: str = "") -> TracedTensor:
    axes = _axes(c, x, dim)
    if axes[0] < 0:
        return _over_time(c, x, axes, keepdim, pool)
    if x.skip:
        c.refuse_part()
    kept = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
    if not kept:
        c.refuse("reduces all axes of a sample")
    final = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape) if keepdim or axis not in axes)
    if kept == (0,) and len(axes) <= 3:  # over all positions: what a global pool does
        whole = x.shape[1:]
        pooled = c.node(pool, x, suffix=suffix, kernel=whole, stride=whole)
        return c.shaped(pooled, final, suffix=f"{suffix}.flatten")
    rows = prod(x.shape[axis] for axis in kept)
    columns = prod(x.shape[axis] for axis in axes)
    order = (*kept, *axes)
    if order != tuple(range(len(x.shape))):
        x = c.node(ops.PermuteNode, x, suffix=f"{suffix}.order", order=order)
    x = c.shaped(x, (rows, columns), suffix=f"{suffix}.rows")
    pooled = c.node(pool, x, suffix=suffix, kernel=(columns,), stride=(columns,))
    return c.shaped(pooled, final, suffix=f"{suffix}.shape")


def _over_time(c: Calling, x: TracedTensor, axes: tuple[int, ...], keepdim: bool, pool: Any) -> TracedTensor:
    reduced = x.lead[axes[0] + len(x.lead)]
    if len(axes) > 1 or keepdim or reduced not in ("T", "1", TIME_LAST) or pool is not ops.AvgPoolNode:
        c.refuse("reduces the batch, or time other than by its mean alone")
    if reduced == "1":
        return TracedTensor(x.node, ("B",), x.shape)
    return c.node(ops.TimeMeanNode, x, lead=("B",), skip=x.skip)
