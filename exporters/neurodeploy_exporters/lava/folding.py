"""Folds what happens to spikes before a synapse into it: padding, slices, average pools and other orders of the values.

All of it is linear, so one kernel does the work of two, exactly. Along each spatial axis a convolution is

```
y[o] = Σ_i w[i] x[s o + i − a],    o = 0 … O − 1,    x = 0 outside of its n values
```

with a kernel w, a stride s and the padding a before the first value; what is behind the last one follows from O. Before it

- padding by b values, `x[i] = z[i − b]`, makes it `a + b`;
- a slice, `x[i] = z[t + u i]`, spreads the kernel by u, and makes it `s u` and `u a − t`;
- the mean over windows of k values, stride q, `x[i] = mean_{m<k} z[q i + m]`: `w'[q i + m] += w[i] / k`, `s q` and `q a`.

A slice or a mean holds only where what the convolution reads outside of x is outside of z too. Chips and file formats know one
padding for both ends: `symmetric` makes the kernel longer by zeros instead.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Shape
from neurodeploy.graph.transforms import symmetric, ungrouped
from neurodeploy.io.errors import UserError

Step: TypeAlias = tuple[ops.Node, Shape]
"""An operation on spikes before their synapse, and the shape `(C, …)` that it reads."""


def fold_into_conv(steps: Sequence[Step], conv: ops.ConvNode) -> ops.ConvNode:
    """One convolution, with a float64 kernel, that does what the steps and the convolution do one after the other.

    Args:
        steps: in order of computation: average pools without padding, zeros around, slices.
        conv: reads the last of them.

    Raises:
        UserError: a step has no form in a convolution, or padding makes it impossible; the message names the step.
    """
    if not steps:
        return conv
    last, shape = steps[-1]
    read = last.output_shape([shape])
    folded = _Folding(conv, read)
    for node, shape in reversed(steps):
        if isinstance(node, ops.AvgPoolNode):
            folded.pool(node, shape)
        elif isinstance(node, ops.PadNode):
            folded.pad(node, shape)
        elif isinstance(node, ops.SliceNode):
            folded.slice(node, shape)
        else:
            raise UserError(
                f"node {node.name}: a {node.kind} between spikes and {conv.name} has no form on Loihi; "
                "put it right before a linear layer, or export to ONNX"
            )
    return folded.whole(steps[0][1])


class _Folding:
    """A convolution whose padding may differ between both ends, and be negative; see the module's equation.

    Args:
        conv: to begin with.
        shape: that it reads.
    """

    def __init__(self, conv: ops.ConvNode, shape: Shape) -> None:
        self._conv = conv
        self._weight: Any = np.asarray(conv.weight, np.float64)
        self._stride, self._before, self._dilation = conv.stride, conv.padding, conv.dilation
        self._groups = conv.groups
        self._outputs = conv.output_shape([shape])[1:]

    def pool(self, node: ops.AvgPoolNode, shape: Shape) -> None:
        after = node.output_shape([shape])[1:]
        sizes = zip(shape[1:], after, node.kernel, node.stride, self._reaches(after), self._conv.padding, strict=True)
        for size, count, k, q, (left, right), p in sizes:
            if (left and k > q) or (right and q * count < size):
                raise UserError(
                    f"node {node.name}: average pooling of {size} values by windows of {k}, stride {q}, cannot be folded into "
                    f"{self._conv.name}, whose padding is {p}; use windows that tile the input, or no padding"
                )
        weight = self._spread(node.stride)
        size = tuple(n + k - 1 for n, k in zip(weight.shape[2:], node.kernel, strict=True))
        self._weight = np.zeros((*weight.shape[:2], *size))
        for offset in product(*map(range, node.kernel)):
            spots = tuple(slice(m, m + n) for m, n in zip(offset, weight.shape[2:], strict=True))
            self._weight[(..., *spots)] += weight / prod(node.kernel)
        self._before = tuple(q * a for q, a in zip(node.stride, self._before, strict=True))

    def pad(self, node: ops.PadNode, shape: Shape) -> None:
        first, *spatial = node.pads
        if any(first):
            self._ungroup()
            self._weight = self._weight[:, first[0] : first[0] + shape[0]]
        self._before = tuple(a + before for a, (before, _) in zip(self._before, spatial, strict=True))

    def slice(self, node: ops.SliceNode, shape: Shape) -> None:
        after = node.output_shape([shape])
        first, *spatial = node.slices
        if after[0] != shape[0]:
            self._ungroup()
            weight, self._weight = self._weight, np.zeros((len(self._weight), shape[0], *self._weight.shape[2:]))
            self._weight[:, first] = weight
        for size, count, cut, (left, right) in zip(shape[1:], after[1:], spatial, self._reaches(after[1:]), strict=True):
            if (left and cut.start >= cut.step) or (right and cut.start + cut.step * count < size):
                raise UserError(
                    f"node {node.name}: a slice {cut.start}:{cut.stop}:{cut.step} of {size} values cannot be folded into "
                    f"{self._conv.name}, whose padding would read what is cut off; take no padding there, or export to ONNX"
                )
        if any(cut != slice(0, size, 1) for cut, size in zip(spatial, shape[1:], strict=True)):
            self._weight = self._spread(tuple(cut.step for cut in spatial))
            self._before = tuple(cut.step * a - cut.start for cut, a in zip(spatial, self._before, strict=True))

    def _reaches(self, sizes: Shape) -> list[tuple[bool, bool]]:
        """Of every axis, whether values before the first and behind the last of so many are read."""
        extents = (d * (k - 1) + 1 for d, k in zip(self._dilation, self._weight.shape[2:], strict=True))
        plan = zip(sizes, extents, self._stride, self._before, self._outputs, strict=True)
        return [(a > 0, (count - 1) * s + extent - a > size) for size, extent, s, a, count in plan]

    def _spread(self, steps: Shape) -> Any:
        """The kernel with its weights so many values apart, dilation included; the stride grows too."""
        apart = tuple(step * d for step, d in zip(steps, self._dilation, strict=True))
        size = tuple(step * (n - 1) + 1 for step, n in zip(apart, self._weight.shape[2:], strict=True))
        spread: Any = np.zeros((*self._weight.shape[:2], *size))
        spread[(..., *(slice(None, None, step) for step in apart))] = self._weight
        self._stride = tuple(step * s for step, s in zip(steps, self._stride, strict=True))
        self._dilation = (1,) * len(size)
        return spread

    def _ungroup(self) -> None:
        self._weight, self._groups = ungrouped(self._weight, self._groups), 1

    def whole(self, shape: Shape) -> ops.ConvNode:
        """The convolution of an input of this shape, with one padding for both ends of each axis."""
        plan = self._dilation, self._stride, self._before, self._outputs
        weight, padding, dilation = symmetric(self._weight, shape[1:], *plan)
        return replace(self._conv, weight=weight, stride=self._stride, padding=padding, dilation=dilation, groups=self._groups)


def fold_into_linear(steps: Sequence[Step], weight: Any) -> Any:
    """The matrix `[N_out, C·H·W]`, float64, that does what the steps, a flatten and the matrix `weight` do.

    Args:
        steps: in order of computation: average pools without padding, and whatever only moves values.
        weight: `[N_out, N_in]` over the flattened output of the last step.
    """
    outputs = len(weight)
    folded: Any = np.asarray(weight, np.float64)
    for node, shape in reversed(steps):
        if isinstance(node, ops.AvgPoolNode):
            counts = node.output_shape([shape])[1:]
            pooled = folded.reshape(outputs, shape[0], *counts)
            folded = np.zeros((outputs, *shape))
            for offset in product(*map(range, node.kernel)):
                spots = tuple(slice(m, m + q * (n - 1) + 1, q) for m, q, n in zip(offset, node.stride, counts, strict=True))
                folded[(..., *spots)] += pooled / prod(node.kernel)
        else:
            # where each value comes from; 0 is a zero that the step adds
            numbers: Any = np.arange(1, 1 + prod(shape)).reshape(1, *shape)
            moved = np.zeros((outputs, 1 + prod(shape)))
            moved[:, node.compute(numbers).reshape(-1)] = folded.reshape(outputs, -1)
            folded = moved[:, 1:]
    return folded.reshape(outputs, -1)
