"""Convolutions over one to three spatial axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Shape, traced
from neurodeploy.graph.ops.synapse import Weighted, array
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvNode(Weighted):
    """`y[o] = b[o] + Σ_c,k w[o, c, k] x[c, stride·i + dilation·k − padding]`, zero-padded cross-correlation as in torch.

    Attributes:
        weight: `[C_out, C_in / groups, *kernel]`.
        bias: `[C_out]` or None.
        stride, padding, dilation: one number per spatial axis.
        groups: number of blocks of channels that do not see each other.
    """

    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int = 1

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,), (out_channels, in_channels, *kernel) = inputs, self.weight.shape
        expected = in_channels * self.groups
        if len(shape) != len(kernel) + 1 or shape[0] != expected:
            raise UserError(
                f"node {self.name}: input of shape {shape} found, {expected} channels and {len(kernel)} spatial axes expected"
            )
        spatial = tuple(
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(shape[1:], kernel, self.stride, self.padding, self.dilation, strict=True)
        )
        if min(spatial) < 1:
            raise UserError(f"node {self.name}: input of shape {shape} is smaller than the kernel {tuple(kernel)}")
        return (out_channels, *spatial)

    def compute(self, *inputs: Array) -> Array:
        """One matrix product per group, over windows that are views of the padded input."""
        (x,), kernel = inputs, self.weight.shape[2:]
        axes = tuple(range(2, x.ndim))
        padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in self.padding)])
        extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, self.dilation, strict=True))
        windows: Any = sliding_window_view(padded, extent, axis=axes)
        windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in self.stride))]
        windows = windows[(..., *(slice(None, None, d) for d in self.dilation))]
        batch, channels = x.shape[:2]
        spatial, groups = windows.shape[2 : 2 + len(axes)], self.groups
        # [B, C, *out, *kernel] → [groups, B·out, C/groups·kernel]
        windows = windows.reshape(batch, groups, channels // groups, *spatial, *kernel)
        order = (1, 0, *range(3, 3 + len(axes)), 2, *range(3 + len(axes), 3 + 2 * len(axes)))
        rows = windows.transpose(order).reshape(groups, batch * int(np.prod(spatial)), -1)
        y = rows @ self.weight.reshape(groups, len(self.weight) // groups, -1).transpose(0, 2, 1)
        y = y.reshape(groups, batch, *spatial, -1)
        y = np.moveaxis(y, (0, -1), (1, 2)).reshape(batch, len(self.weight), *spatial)
        return y if self.bias is None else y + self.bias.reshape(1, -1, *(1,) * len(axes))

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import layers

        outputs, inputs, *kernel = self.weight.shape
        layer_type: Any = {1: layers.Conv1d, 2: layers.Conv2d, 3: layers.Conv3d}[len(kernel)]
        geometry = (tuple(kernel), self.stride, self.padding, self.dilation, self.groups)
        return self._in_torch(layer_type(inputs * self.groups, outputs, *geometry, bias=self.bias is not None))


@traced(*(f"neurodeploy.dynamics.layers.Conv{axes}d" for axes in (1, 2, 3)))
def _from_torch(layer: "nn.Conv2d", call: Call) -> Nodes:
    totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    padding = layer.padding
    if isinstance(padding, str):
        padding = tuple(0 if layer.padding == "valid" else total // 2 for total in totals)
    if layer.padding_mode != "zeros" or (layer.padding == "same" and any(total % 2 for total in totals)):
        raise UserError(
            f"layer {call.name}: padding {layer.padding!r} ({layer.padding_mode}) found, equal numbers of zeros at both ends "
            "expected"
        )
    node = ConvNode(
        name=call.name,
        inputs=call.inputs,
        weight=array(layer.weight),
        bias=None if layer.bias is None else array(layer.bias),
        stride=tuple(layer.stride),
        padding=tuple(padding),
        dilation=tuple(layer.dilation),
        groups=layer.groups,
    )
    return [node]
