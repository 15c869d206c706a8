"""Transposed convolutions: up-sampling with weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Shape, Weights, traced
from neurodeploy.graph.ops.synapse import Weighted, array
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvTransposeNode(Weighted):
    """`y[o, stride·i + dilation·k − padding] += w[c, o, k] x[c, i]` over all c, i and k, and a bias, as in torch.

    Attributes:
        weight: `[C_in, C_out / groups, *kernel]`.
        bias: `[C_out]` or None.
        stride, padding, dilation: one number per spatial axis.
        output_padding: rows more at the end of each spatial axis, fewer than its stride or dilation.
        groups: number of blocks of channels that do not see each other.
    """

    stride: Shape
    padding: Shape
    output_padding: Shape
    dilation: Shape
    groups: int = 1

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,), (in_channels, out_channels, *kernel) = inputs, self.weight.shape
        if len(shape) != len(kernel) + 1 or shape[0] != in_channels:
            expected = f"{in_channels} channels and {len(kernel)} spatial axes expected"
            raise UserError(f"node {self.name}: input of shape {shape} found, {expected}")
        if any(o >= max(s, d) for o, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True)):
            raise UserError(
                f"node {self.name}: output padding {self.output_padding} found, less than the stride or the dilation expected"
            )
        rest = zip(self._whole(shape[1:]), self.padding, strict=True)
        spatial = tuple(size - 2 * p for size, p in rest)
        if min(spatial) < 1:
            raise UserError(f"node {self.name}: of an input of shape {shape} its padding {self.padding} leaves nothing")
        return (out_channels * self.groups, *spatial)

    def _whole(self, sizes: Shape) -> Shape:
        """Sizes of the output before the padding is cut off."""
        plan = zip(sizes, self.weight.shape[2:], self.stride, self.output_padding, self.dilation, strict=True)
        return tuple((n - 1) * s + d * (k - 1) + 1 + o for n, k, s, o, d in plan)

    def compute(self, *inputs: Array) -> Array:
        """One matrix product per tap of the kernel and group; each adds to every `stride`-th place of the output."""
        (x,), groups = inputs, self.groups
        batch, channels, *sizes = x.shape
        whole: Any = np.zeros((batch, groups, self.weight.shape[1], *self._whole(tuple(sizes))), np.float32)
        rows = x.reshape(batch, groups, channels // groups, -1)
        weight: Any = self.weight.reshape(groups, channels // groups, *self.weight.shape[1:]).swapaxes(1, 2)
        for tap in product(*map(range, self.weight.shape[2:])):
            starts = [k * d for k, d in zip(tap, self.dilation, strict=True)]
            places = (slice(start, start + (n - 1) * s + 1, s) for start, n, s in zip(starts, sizes, self.stride, strict=True))
            made = weight[(..., *tap)] @ rows
            whole[(..., *places)] += made.reshape(batch, groups, -1, *sizes)
        whole = whole.reshape(batch, -1, *whole.shape[3:])
        inside = (slice(p, size - p) for p, size in zip(self.padding, whole.shape[2:], strict=True))
        y: Array = np.ascontiguousarray(whole[(slice(None), slice(None), *inside)])
        return y if self.bias is None else y + self.bias.reshape(1, -1, *(1,) * len(sizes))

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        inputs, outputs, *kernel = self.weight.shape
        layer_type: Any = {1: layers.ConvTranspose1d, 2: layers.ConvTranspose2d, 3: layers.ConvTranspose3d}[len(kernel)]
        geometry: dict[str, Any] = {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }
        layer = layer_type(inputs, outputs * self.groups, tuple(kernel), bias=self.bias is not None, **geometry)
        return self._in_torch(layer)

    def by_output(self) -> Weights:
        grouped = self.weight.reshape(self.groups, -1, *self.weight.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(grouped).reshape(grouped.shape[0] * grouped.shape[1], *grouped.shape[2:])

    def scaled(self, factors: NDArray[np.float64]) -> "ConvTransposeNode":
        per_group = factors.reshape(self.groups, 1, -1, *(1,) * (self.weight.ndim - 2))
        weight = self.weight.reshape(self.groups, -1, *self.weight.shape[1:]) * per_group
        bias = None if self.bias is None else (self.bias * factors).astype(np.float32)
        return replace(self, weight=weight.reshape(self.weight.shape).astype(np.float32), bias=bias)


@traced(*(f"neurodeploy.dynamics.layers.ConvTranspose{axes}d" for axes in (1, 2, 3)))
def _from_torch(layer: "nn.ConvTranspose2d", call: Call) -> Nodes:
    node = ConvTransposeNode(
        name=call.name,
        inputs=call.inputs,
        weight=array(layer.weight),
        bias=None if layer.bias is None else array(layer.bias),
        stride=tuple(layer.stride),
        padding=tuple(int(p) for p in layer.padding),
        output_padding=tuple(layer.output_padding),
        dilation=tuple(layer.dilation),
        groups=layer.groups,
    )
    return [node]
