"""How changes of shape are traced: views, permutations, slices, and what makes a sequence of a static value."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from neurodeploy.graph import ops
from neurodeploy.graph.tracing.rules import Calling, function, refused
from neurodeploy.graph.tracing.traced_tensor import TIME_LAST, TracedTensor

refused(
    "unbind", "__iter__", reason="the forward loops over an axis: over time, let layers of neurons take `[T, B, …]` at once"
)
refused("flip", "roll", "gather", "index_select", "take", "masked_fill", "masked_select", reason="indexing is by slices alone")


_VIEWS = ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel")


@function(*_VIEWS, time_last=True)
def _view(c: Calling, x: TracedTensor, *sizes: Any, **options: Any) -> TracedTensor:  # noqa: ARG001 - the result has the shape
    return c.viewed(x, tuple(c.result.shape))


@function("permute", time_last=True)
def _permute(c: Calling, x: TracedTensor, *dims: Any, **named: Any) -> TracedTensor:
    order = named.get("dims", dims[0] if len(dims) == 1 and isinstance(dims[0], list | tuple) else dims)
    return _ordered(c, x, [int(dim) % x.axes for dim in order])


@function("transpose", "swapaxes", "swapdims", time_last=True)
def _transpose(c: Calling, x: TracedTensor, dim0: int, dim1: int) -> TracedTensor:
    order = list(range(x.axes))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _ordered(c, x, order)


@function("movedim", "moveaxis", time_last=True)
def _move(c: Calling, x: TracedTensor, source: int, destination: int) -> TracedTensor:
    if not isinstance(source, int) or not isinstance(destination, int):
        c.refuse("moves several axes at once; use permute")
    order = [axis for axis in range(x.axes) if axis != source % x.axes]
    order.insert(destination % x.axes, source % x.axes)
    return _ordered(c, x, order)


@function("t", "T", "mT")
def _transposed(c: Calling, x: TracedTensor) -> TracedTensor:  # noqa: ARG001
    c.refuse("exchanges the batch and an axis of the sample; permute the axes of the sample alone")


def _ordered(c: Calling, x: TracedTensor, order: list[int]) -> TracedTensor:
    names = [x.name_of(axis) for axis in order]
    first = len(x.lead)
    lead = tuple(names[:first])
    if names[0] == "B" and names[-1] == "T" and not any(names[1:-1]) and len(names) > 2:
        lead = ("B", TIME_LAST)
    elif not all(lead):
        c.refuse("moves the batch or time among the axes of the sample; they stay first, or time last")
    axes = tuple(x.sample_axis(axis) for axis, name in zip(order, names, strict=True) if not name)
    if axes == tuple(range(len(axes))):
        return TracedTensor(x.node, lead, x.shape)
    return c.node(ops.PermuteNode, x, lead=lead, order=axes)


@function("__getitem__", time_last=True)
def _item(c: Calling, x: TracedTensor, index: Any) -> TracedTensor:
    entries = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(entry, Tensor | TracedTensor | list) for entry in entries):
        c.refuse("is indexed by a tensor or list; slices and numbers expected")
    given = sum(entry is not None and entry is not Ellipsis for entry in entries)
    if Ellipsis not in entries:
        entries.append(Ellipsis)
    at = entries.index(Ellipsis)
    entries[at : at + 1] = [slice(None)] * (x.axes - given)
    leading, own = x.parted([entry for entry in entries if entry is not None])
    skip = 0
    for axis, entry in zip(x.lead, leading, strict=True):
        later = _first_taken(entry, 1 if axis == "1" else c.draft.steps) if axis in ("T", TIME_LAST, "1") else None
        if later is not None:
            skip = later
        elif entry != slice(None) and not (axis == "1" and entry in (0, -1)):
            c.refuse(
                f"takes a part of the {'batch' if 'T' not in axis else 'time steps'}; a graph answers for all of them: take "
                "the mean over time, of all steps or as x[k:].mean(0) of those after the first k"
            )
    bounds = []
    for size, entry in zip(x.shape, own, strict=True):
        if isinstance(entry, bool) or not isinstance(entry, int | slice):
            c.refuse(f"is indexed by {type(entry).__name__}; slices and numbers expected")
        entry = slice(entry % size, entry % size + 1) if isinstance(entry, int) else entry
        bounds.append(entry.indices(size))
    if any(stop <= start for start, stop, _ in bounds):
        c.refuse("takes nothing of an axis")
    if any(bound != (0, size, 1) for bound, size in zip(bounds, x.shape, strict=True)):
        starts, stops, steps = zip(*bounds, strict=True)
        x = c.node(ops.SliceNode, x, starts=starts, stops=stops, steps=steps)
    if not skip:
        return _viewed_after(c, x)
    part = replace(x, skip=skip)
    if tuple(c.result.shape) != c.draft.whole(part):
        c.refuse("takes a part of the time steps, and another shape at once; take the mean over time of the part first")
    return part


def _first_taken(entry: Any, steps: int) -> int | None:
    """Of a slice that takes all time steps from one on: the first one; None of anything else."""
    start, stop, step = entry.indices(steps) if isinstance(entry, slice) else (steps, steps, 1)
    return start if start < stop == steps and step == 1 else None


@function("narrow", time_last=True)
def _narrow(c: Calling, x: TracedTensor, dim: int, start: int, length: int) -> TracedTensor:
    return _part(c, x, dim, start, start + length)


@function("select", time_last=True)
def _select(c: Calling, x: TracedTensor, dim: int, index: int) -> TracedTensor:
    axis = x.sample_axis(dim)
    if axis < 0:
        c.refuse("takes one sample or time step; a graph answers for all of them: take the mean over time")
    start = index % x.shape[axis]
    return _viewed_after(c, _part(c, x, dim, start, start + 1))


@function("chunk", "split", "split_with_sizes", "tensor_split", time_last=True)
def _split(c: Calling, x: TracedTensor, sizes: Any, dim: int = 0) -> list[TracedTensor]:  # noqa: ARG001 - the results have them
    parts, start = [], 0
    for i, part in enumerate(c.result):
        parts.append(_part(c, x, dim, start, start + part.shape[dim], suffix=f".{i}"))
        start += part.shape[dim]
    return parts


def _part(c: Calling, x: TracedTensor, dim: int, start: int, stop: int, *, suffix: str = "") -> TracedTensor:
    axis = x.sample_axis(dim)
    if axis < 0:
        c.refuse("takes a part of the batch or of the time steps; a graph answers for all of them")
    if (start, stop) == (0, x.shape[axis]):
        return x
    starts = tuple(start if i == axis else 0 for i in range(len(x.shape)))
    stops = tuple(stop if i == axis else size for i, size in enumerate(x.shape))
    return c.node(ops.SliceNode, x, suffix=suffix, starts=starts, stops=stops, steps=(1,) * len(x.shape))


def _viewed_after(c: Calling, x: TracedTensor) -> TracedTensor:
    """Axes of one entry are left out, or new ones come in, after a slice."""
    if tuple(c.result.shape) == c.draft.whole(x):
        return x
    return Calling(c.draft, f"{c.name}.shape", False, c.where, c.result).viewed(x, tuple(c.result.shape))


@function("expand", "expand_as", "repeat", "tile", "broadcast_to")
def _repeat(c: Calling, x: TracedTensor, *sizes: Any, **named: Any) -> TracedTensor:  # noqa: ARG001 - the result has the shape
    after, batch = tuple(c.result.shape), c.draft.batch
    if after == c.draft.whole(x):
        return x
    if not x.timed and after[1:] == (batch, *x.shape):
        return _over_steps(c, x, after[0], ("T", "B"))
    if not x.timed and x.lead == ("B",) and x.shape[:1] == (1,) and after[0] == batch and after[2:] == x.shape[1:]:
        return _over_steps(c, c.shaped(x, x.shape[1:], suffix=".once"), after[1], ("B", "T"))
    if not x.timed and x.lead == ("B",) and len(x.shape) > 1 and after[:-1] == (batch, *x.shape[:-1]) and x.shape[-1] == 1:
        return _over_steps(c, c.shaped(x, x.shape[:-1], suffix=".once"), after[-1], ("B", TIME_LAST))
    if not x.timed and x.lead == ("B",) and after[1:] == x.shape and after[0] % batch == 0:
        return _over_steps(c, x, after[0] // batch, ("TB",))
    return c.refuse(f"makes {after} of a tensor {c.draft.whole(x)}; repeating a static value over time alone has a form")


@function("delayed", time_last=True)
def _delayed(c: Calling, x: TracedTensor, steps: Any, *, axis: int) -> TracedTensor:
    if x.name_of(axis) != "T":
        c.refuse("delays along an axis that is not time")
    longest, differ = int(np.max(steps)), np.min(steps) != np.max(steps)
    if not longest:
        return x
    return c.node(ops.DelayNode, x, steps=longest, each=np.asarray(steps, np.int64) if differ else None)


@function("stack")
def _stack(c: Calling, tensors: Any, dim: int = 0) -> TracedTensor:
    if any(one != tensors[0] for one in tensors) or dim != 0 or tensors[0].lead != ("B",):
        c.refuse("stacks tensors; the same static value for every time step alone, or cat over channels, has a form in a graph")
    return _over_steps(c, tensors[0], len(tensors), ("T", "B"))


def _over_steps(c: Calling, x: TracedTensor, steps: int, lead: tuple[str, ...]) -> TracedTensor:
    if steps == 1 and lead == ("T", "B"):
        return TracedTensor(x.node, ("1", "B"), x.shape)
    encoders = [node for node in c.draft.nodes.values() if isinstance(node, ops.EncodeNode)]
    if any(encoder.steps != steps for encoder in encoders):
        c.refuse(f"repeats a value over {steps} time steps, another one has {encoders[0].steps}")
    c.draft.steps = steps
    return c.node(ops.EncodeNode, x, lead=lead, steps=steps)
