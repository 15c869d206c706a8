"""A network with levels or neurons in training, computed in bfloat16: between its convolutions nothing but one pass each way.

Values are `[T·B, C, H, W]` with the channels last, and stand for `scale · x + bias`: what a spike is worth multiplies the
weights that read it, and a bias is added where the next neurons are charged, in float32. Whatever is no convolution, sum,
maximum or padding is computed by its own layer, in float32.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.dynamics.kernels import bfloat16 as kernel
from neurodeploy.dynamics.kernels.convolution import reads_too_far, writes_too_far
from neurodeploy.dynamics.layers import Conv2d
from neurodeploy.graph import Graph, ops


@dataclass(frozen=True)
class ScaledValue:
    """`scale · x + bias`, in bfloat16.

    Attributes:
        x: `[N, C, H, W]`, channels last; N = T·B, or B where all steps are the same.
        steps: T, or 1 where all steps are the same.
        scale: `[1]` or `[C]`, or None for 1.
        bias: `[C]`, or None for 0.
    """

    x: Tensor
    steps: int
    scale: Tensor | None = None
    bias: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor) -> "ScaledValue":
        """Of `[T, B, C]` or `[T, B, C, H, W]`."""
        flat = x.flatten(0, 1)
        flat = flat if flat.ndim == 4 else flat[..., None, None]
        return cls(flat.to(torch.bfloat16, memory_format=torch.channels_last), len(x))

    @cached_property
    def channels(self) -> int:
        return self.x.shape[1]

    def full(self, axes: int) -> Tensor:
        """`[T, B, C, …]` in float32.

        Args:
            axes: of the result; 3 without space.
        """
        y = self.x.float()
        if self.scale is not None:
            y = y * self.scale[:, None, None]
        if self.bias is not None:
            y = y + self.bias[:, None, None]
        y = y.unflatten(0, (self.steps, -1))
        return y if axes == 5 else y.flatten(2)

    def charging(self, factor: Tensor, offset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Factor and offset `[C]` such that `factor · value + offset` is those of x.

        Args:
            factor, offset: `[1]` or `[C]`.
        """
        added = factor.new_zeros(1) if offset is None else offset
        if self.bias is not None:
            added = added + self.bias * factor
        factor = factor if self.scale is None else factor * self.scale
        return factor.expand(self.channels), added.expand(self.channels)

    def of_steps(self, steps: int) -> "ScaledValue":
        """The same with so many steps."""
        if steps == self.steps:
            return self
        return ScaledValue(self.x.repeat(steps, 1, 1, 1), steps, self.scale, self.bias)


def is_wanted(samples: Tensor) -> bool:
    """Whether autocast is on for bfloat16 on this CPU, and gradients are asked for."""
    return (
        samples.device.type == "cpu"
        and torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and kernel.available()
    )


def convolves(graph: Graph) -> bool:
    """Whether every convolution of a graph can be computed here, and there is one."""
    found = graph.of(ops.ConvNode)
    return bool(found) and all(node.weight.ndim == 4 and not reads_too_far(node.stride, node.dilation) for node in found)


def convolution(layer: Conv2d, value: ScaledValue) -> ScaledValue:
    """`[N, C, H, W]` → `[N, C', H', W']`; the layer's bias is not added yet."""
    weight = layer.weight if value.scale is None else layer.weight * _of_inputs(value.scale, layer)
    narrow = weight.to(torch.bfloat16, memory_format=torch.channels_last)
    x, stride = value.x, layer.stride
    if value.bias is not None:
        x = ScaledValue.of(value.full(5)).x
    if writes_too_far(x, layer.kernel_size, layer.stride, layer.padding):
        x, stride = x[:, :, :: stride[0], :: stride[1]].contiguous(memory_format=torch.channels_last), (1, 1)
    y = functional.conv2d(x, narrow, None, stride, layer.padding, layer.dilation, layer.groups)
    return ScaledValue(y, value.steps, None, layer.bias)


def _of_inputs(scale: Tensor, layer: Conv2d) -> Tensor:
    """What each input of a convolution is worth, to multiply `[C', C / groups, …]`."""
    if scale.numel() == 1:
        return scale
    of_groups = scale.view(layer.groups, 1, -1).expand(-1, layer.out_channels // layer.groups, -1)
    return of_groups.reshape(layer.out_channels, -1, 1, 1)


def total(a: ScaledValue, b: ScaledValue) -> ScaledValue:
    """The sum."""
    steps = max(a.steps, b.steps)
    a, b = a.of_steps(steps), b.of_steps(steps)
    if a.scale is not None:
        a, b = b, a
    if a.scale is not None:
        a = ScaledValue(a.x * a.scale.to(torch.bfloat16)[:, None, None], steps, None, a.bias)
    bias = a.bias if b.bias is None else b.bias if a.bias is None else a.bias + b.bias
    y = a.x + b.x if b.scale is None else kernel.add_scaled(a.x, b.x, b.scale.expand(b.channels))
    return ScaledValue(y, steps, None, bias)


def padded(node: ops.PadNode, value: ScaledValue) -> ScaledValue | None:
    """With zeros around it; None if they would not be zeros."""
    if value.bias is not None or not _one_scale(value, moves_channels=node.pads[0] != (0, 0)):
        return None
    pads = [number for pair in reversed(node.pads) for number in pair]
    y = functional.pad(value.x, pads).contiguous(memory_format=torch.channels_last)
    return ScaledValue(y, value.steps, value.scale)


def sliced(node: ops.SliceNode, value: ScaledValue) -> ScaledValue | None:
    """A part; None if channels of their own worth are chosen."""
    whole = (node.starts[0], node.stops[0], node.steps[0]) == (0, value.channels, 1)
    if value.bias is not None or not _one_scale(value, moves_channels=not whole):
        return None
    part = (slice(*bounds) for bounds in zip(node.starts, node.stops, node.steps, strict=True))
    y = value.x[(slice(None), *part)].contiguous(memory_format=torch.channels_last)
    return ScaledValue(y, value.steps, value.scale)


def pooled(layer: nn.Module, value: ScaledValue) -> ScaledValue:
    """The largest of each window: the same of `scale · x + bias` and of x, since no scale is negative."""
    y = layer(value.x.unflatten(0, (value.steps, -1))).flatten(0, 1)
    return ScaledValue(y.contiguous(memory_format=torch.channels_last), value.steps, value.scale, value.bias)


def _one_scale(value: ScaledValue, *, moves_channels: bool) -> bool:
    return value.scale is None or value.scale.numel() == 1 or not moves_channels


def computed(layer: nn.Module, node: ops.Node, reads: list[ScaledValue | Tensor], axes: list[int]) -> ScaledValue | Tensor:
    """What a node that is no activation makes of what it reads, which has so many axes as `[T, B, …]`."""
    first = reads[0]
    if isinstance(node, ops.AddNode) and any(isinstance(value, ScaledValue) for value in reads):
        a, b = (as_scaled(value) for value in reads)
        return total(a, b)
    if isinstance(node, ops.ConvNode) and (isinstance(first, ScaledValue) or len(first) > 1):
        assert isinstance(layer, Conv2d)
        return convolution(layer, as_scaled(first))  # the first one of static samples is computed in float32, once
    known = None
    if isinstance(first, ScaledValue):
        if isinstance(node, ops.PadNode):
            known = padded(node, first)
        elif isinstance(node, ops.SliceNode):
            known = sliced(node, first)
        elif isinstance(node, ops.MaxPoolNode):
            known = pooled(layer, first)
    if known is not None:
        return known
    pairs = zip(reads, axes, strict=True)
    full = [value.full(number) if isinstance(value, ScaledValue) else value for value, number in pairs]
    answer: Tensor = layer(*full)
    return answer


def as_scaled(value: ScaledValue | Tensor) -> ScaledValue:
    return value if isinstance(value, ScaledValue) else ScaledValue.of(value)


class LazyTaps(Mapping[str, Tensor]):
    """Values `[T, B, …]` in float32, each made when it is first asked for.

    Args:
        values: name → value, and the axes of its tensor; or the tensor.
    """

    def __init__(self, values: Mapping[str, tuple[ScaledValue, int] | Tensor]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Tensor:
        value = self._values[name]
        if not isinstance(value, Tensor):
            value = self._values[name] = value[0].full(value[1])
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
