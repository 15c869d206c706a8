"""Average and max pooling."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neurodeploy.graph.ops.flatten import FlattenNode
from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Range, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool(Operation):
    """Windows of size `kernel` over one or two spatial axes, moved by `stride`, without padding."""

    kernel: Shape
    stride: Shape

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,) = inputs
        if len(shape) != len(self.kernel) + 1 or any(s < k for s, k in zip(shape[1:], self.kernel, strict=True)):
            raise UserError(f"node {self.name}: input of shape {shape} does not fit a pooling window of {self.kernel}")
        sizes = zip(shape[1:], self.kernel, self.stride, strict=True)
        return (shape[0], *((size - k) // s + 1 for size, k, s in sizes))

    def layer(self) -> "nn.Module":
        kinds = self._layers()
        if len(self.kernel) not in kinds:
            raise UserError(f"node {self.name}: pooling over {len(self.kernel)} axes found, 1 or 2 expected")
        layer: nn.Module = kinds[len(self.kernel)](self.kernel, self.stride)
        return layer

    @abstractmethod
    def _layers(self) -> dict[int, Any]:
        """Number of spatial axes → torch layer."""

    def _windows(self, x: Array) -> tuple[Any, tuple[int, ...]]:
        """Views `[N, C, *out, *kernel]`, and the axes of the kernel."""
        windows = sliding_window_view(x, self.kernel, axis=tuple(range(2, x.ndim)))
        windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in self.stride))]
        return windows, tuple(range(-len(self.kernel), 0))


@dataclass(frozen=True, eq=False, kw_only=True)
class AvgPoolNode(_Pool):
    """Mean over windows of size `kernel`, moved by `stride`, without padding."""

    def compute(self, *inputs: Array) -> Array:
        windows, axes = self._windows(inputs[0])
        mean: Array = windows.mean(axes, dtype=np.float32)
        return mean

    def exact_range(self, inputs: Sequence[Range]) -> Range:
        (values,), size = inputs, prod(self.kernel)
        if size & (size - 1):
            raise UserError(
                f"node {self.name}: an average over {size} values is no binary fraction; pool over 2, 4, 8, … values"
            )
        return Range(values.exponent + size.bit_length() - 1, values.largest * size)

    def _layers(self) -> dict[int, Any]:
        from neurodeploy.dynamics import layers

        return {1: layers.AvgPool1d, 2: layers.AvgPool2d}


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPoolNode(_Pool):
    """Maximum over windows of size `kernel`, moved by `stride`, without padding."""

    keeps_values: ClassVar[bool] = True

    def compute(self, *inputs: Array) -> Array:
        windows, axes = self._windows(inputs[0])
        largest: Array = windows.max(axes)
        return largest

    def _layers(self) -> dict[int, Any]:
        from neurodeploy.dynamics import layers

        return {1: layers.MaxPool1d, 2: layers.MaxPool2d}


@traced("torch.nn.modules.pooling.AvgPool1d", "torch.nn.modules.pooling.AvgPool2d")
def _average(layer: "nn.AvgPool2d", call: Call) -> Nodes:
    return [AvgPoolNode(name=call.name, inputs=call.inputs, **_windows_of(layer, call))]


@traced("torch.nn.modules.pooling.MaxPool1d", "torch.nn.modules.pooling.MaxPool2d")
def _maximum(layer: "nn.MaxPool2d", call: Call) -> Nodes:
    return [MaxPoolNode(name=call.name, inputs=call.inputs, **_windows_of(layer, call))]


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


def _windows_of(layer: "nn.AvgPool2d | nn.MaxPool2d", call: Call) -> dict[str, Shape]:
    axes = 1 if any(kind.__name__.endswith("Pool1d") for kind in type(layer).__mro__) else 2
    plain = not any(_each(layer.padding, axes)) and not layer.ceil_mode
    if not plain or set(_each(getattr(layer, "dilation", 1), axes)) != {1} or getattr(layer, "divisor_override", None):
        raise UserError(
            f"layer {call.name}: pooling with padding, dilation, ceil_mode or divisor_override has no form in a graph"
        )
    return {"kernel": _each(layer.kernel_size, axes), "stride": _each(layer.stride, axes)}


def _each(value: int | tuple[int, ...], axes: int) -> Shape:
    return (value,) * axes if isinstance(value, int) else tuple(value)
