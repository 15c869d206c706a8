"""Average and max pooling."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neurodeploy.graph.ops.flatten import FlattenNode
from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Range, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Padding: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool(Operation):
    """Windows of size `kernel` over one to three spatial axes, moved by `stride`.

    Attributes:
        kernel, stride: one number per spatial axis.
        padding: one (before, after) per spatial axis, each smaller than the window, so that none is of padding alone; empty
            for none.

    Raises:
        UserError: padding that is negative, or as large as a window.
    """

    kernel: Shape
    stride: Shape
    padding: Padding = ()

    def __post_init__(self) -> None:
        if len(self.padding) not in (0, len(self.kernel)):
            raise UserError(f"node {self.name}: padding {self.padding} found, a pair for each axis of {self.kernel} expected")
        if any(not 0 <= number < k for pair, k in zip(self.pads, self.kernel, strict=True) for number in pair):
            raise UserError(
                f"node {self.name}: padding {self.padding} found, numbers from 0 to below the window's {self.kernel} expected"
            )

        if not self.padded:  # one form of what is the same
            object.__setattr__(self, "padding", ())

    @property
    def pads(self) -> Padding:
        """`padding`, with its zeros where there is none."""
        return self.padding or ((0, 0),) * len(self.kernel)

    @property
    def padded(self) -> bool:
        """Whether there is any padding."""
        return any(map(any, self.padding))

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        sizes = tuple(size + sum(pair) for size, pair in zip(shape[1:], self.pads, strict=False))
        if len(shape) != len(self.kernel) + 1 or any(s < k for s, k in zip(sizes, self.kernel, strict=True)):
            raise UserError(f"node {self.name}: input of shape {shape} does not fit a pooling window of {self.kernel}")
        return (shape[0], *((size - k) // s + 1 for size, k, s in zip(sizes, self.kernel, self.stride, strict=True)))

    def layer(self) -> "nn.Module":
        if len(self.kernel) not in (1, 2, 3):
            raise UserError(f"node {self.name}: pooling over {len(self.kernel)} axes found, 1, 2 or 3 expected")
        # what torch's own layers can say
        symmetric = all(a == b and 2 * a <= k for (a, b), k in zip(self.pads, self.kernel, strict=True))
        return self._layer(tuple(before for before, _ in self.pads) if symmetric else None)

    @abstractmethod
    def _layer(self, padding: Shape | None) -> "nn.Module":
        """The torch layer, with torch's own padding, or with `pads` if None."""

    def _windows(self, x: Array, outside: float) -> tuple[Any, tuple[int, ...]]:
        """Views `[N, C, *out, *kernel]`, and the axes of the kernel; `outside` stands in the padding."""
        if self.padded:
            x = np.pad(x, [(0, 0), (0, 0), *self.pads], constant_values=outside)
        windows = sliding_window_view(x, self.kernel, axis=tuple(range(2, x.ndim)))
        windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in self.stride))]
        return windows, tuple(range(-len(self.kernel), 0))


@dataclass(frozen=True, eq=False, kw_only=True)
class AvgPoolNode(_Pool):
    """Mean over windows of size `kernel`, moved by `stride`, over an input with zeros around it.

    Attributes:
        count_padding: whether a window's sum is divided by its size, or else by how many values of the input are in it.
    """

    count_padding: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.padded:
            object.__setattr__(self, "count_padding", True)

    def compute(self, *inputs: Array) -> Array:
        windows, axes = self._windows(inputs[0], 0.0)
        if self.count_padding:
            mean: Array = windows.mean(axes, dtype=np.float32)
            return mean
        counted, _ = self._windows(np.ones((1, 1, *inputs[0].shape[2:]), np.float32), 0.0)
        fewer: Array = windows.sum(axes, dtype=np.float32) / counted.sum(axes, dtype=np.float32)
        return fewer

    def exact_range(self, inputs: Sequence[Range]) -> Range:
        (values,), size = inputs, prod(self.kernel)
        if not self.count_padding:
            raise UserError(
                f"node {self.name}: an average that leaves out its padding is over fewer values at the borders, and no binary "
                "fraction; count the padding (count_include_pad=True), or pool without it"
            )
        if size & (size - 1):
            raise UserError(
                f"node {self.name}: an average over {size} values is no binary fraction; pool over 2, 4, 8, … values"
            )
        return Range(values.exponent + size.bit_length() - 1, values.largest * size)

    def _layer(self, padding: Shape | None) -> "nn.Module":
        from neurodeploy.dynamics import layers

        if padding is None:
            return layers.PaddedAvgPool(self.kernel, self.stride, self.pads, count_padding=self.count_padding)
        own: Any = (layers.AvgPool1d, layers.AvgPool2d, layers.AvgPool3d)[len(self.kernel) - 1]
        layer: nn.Module = own(self.kernel, self.stride, padding, count_include_pad=self.count_padding)
        return layer


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPoolNode(_Pool):
    """Maximum over windows of size `kernel`, moved by `stride`; what is outside of the input is never the largest."""

    @property
    def keeps_values(self) -> bool:
        return True

    def compute(self, *inputs: Array) -> Array:
        windows, axes = self._windows(inputs[0], -np.inf)
        largest: Array = windows.max(axes)
        return largest

    def _layer(self, padding: Shape | None) -> "nn.Module":
        from neurodeploy.dynamics import layers

        if padding is None:
            return layers.PaddedMaxPool(self.kernel, self.stride, self.pads)
        own: Any = (layers.MaxPool1d, layers.MaxPool2d, layers.MaxPool3d)[len(self.kernel) - 1]
        layer: nn.Module = own(self.kernel, self.stride, padding)
        return layer


@traced("neurodeploy.dynamics.layers.PaddedAvgPool")
def _padded_average(layer: Any, call: Call) -> Nodes:
    windows = {"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding}
    return [AvgPoolNode(name=call.name, inputs=call.inputs, **windows, count_padding=layer.count_padding)]


@traced("neurodeploy.dynamics.layers.PaddedMaxPool")
def _padded_maximum(layer: Any, call: Call) -> Nodes:
    windows = {"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding}
    return [MaxPoolNode(name=call.name, inputs=call.inputs, **windows)]


@traced("neurodeploy.dynamics.layers.GlobalAvgPool1d", "neurodeploy.dynamics.layers.GlobalAvgPool2d")
def _global_average(_: "nn.Module", call: Call) -> Nodes:
    return _global(AvgPoolNode, call)


@traced("neurodeploy.dynamics.layers.GlobalMaxPool1d")
def _global_maximum(_: "nn.Module", call: Call) -> Nodes:
    return _global(MaxPoolNode, call)


def _global(kind: type[AvgPoolNode] | type[MaxPoolNode], call: Call) -> Nodes:
    whole = call.shapes[0][1:]
    pooled = kind(name=call.name, inputs=call.inputs, kernel=whole, stride=whole)
    return [pooled, FlattenNode(name=f"{call.name}.flatten", inputs=(call.name,))]
