"""Convolution on a CPU without large copies: with the channels last in memory, or in slices of the batch.

oneDNN reorders input, output and gradients to a layout of its own; for a whole folded batch `[T·B, C, …]` each of these copies
is as large as the activations, and fresh memory every time. Images with their channels last it takes as they are, unless they
have very many channels. Other inputs go through a slice at a time: what is needed beside input and output then fits the cache
and is reused, and the values are those of one call. Where an output or a gradient is so large that the C library would map
it anew for every call, images with their channels last go through slices too, into a buffer that is used again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from neurodeploy.dynamics.kernels import memory

_SLICE = 2 << 20  # bytes of input, per thread
_LAST_SLICE = 8 << 20  # the same where the channels are last, and smaller slices gain nothing
_MAPPED = 32 << 20  # bytes from which on glibc maps every block anew
_MANY_CHANNELS = 512  # measured: from here on oneDNN's own layout is the faster one, copies included


@dataclass(frozen=True)
class ConvolutionSettings:
    """What a convolution is beside its weights, as `torch.nn.functional.conv2d` has it; one number for each spatial axis."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """torch's own convolution of `[N, C, …]`."""
        none = (0,) * len(self.stride)
        result: Tensor = torch.ops.aten.convolution(
            x, weight, bias, self.stride, self.padding, self.dilation, False, none, self.groups
        )
        return result

    def gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, bias_size: list[int] | None, wanted: tuple[bool, ...]
    ) -> tuple[Tensor | None, ...]:
        """Those of input, weight and bias, as far as wanted."""
        none = (0,) * len(self.stride)
        where = (self.stride, self.padding, self.dilation, False, none, self.groups)
        result: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(grad, x, weight, bias_size, *where, wanted)
        return result


def channels_last(x: Tensor, weight: Tensor) -> Tensor:
    """`[N, C, …]` in the order of memory in which it is convolved fastest; the output has the same."""
    if x.ndim != 4 or x.shape[1] >= _MANY_CHANNELS or not _plain(x, weight):
        return x
    return x.contiguous(memory_format=torch.channels_last)


def reads_too_far(stride: tuple[int, ...], dilation: tuple[int, ...]) -> bool:
    """Whether oneDNN, given the channels last, may read beyond the input, and crash.

    It does so (torch 2.13, AVX-512) with a stride, a dilation and padding together where images are as narrow as the padding.
    """
    return max(stride) > 1 and max(dilation) > 1


def writes_too_far(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...] | str) -> bool:
    """Whether oneDNN, given the channels last, may write beyond a gradient, which corrupts the memory of the process.

    It does so (torch 2.13, on AMD's CPUs) with windows of one value that are more than one apart.
    """
    return x.device.type == "cpu" and set(kernel) == {1} and max(stride) > 1 and (padding == "valid" or set(padding) == {0})


def strided_points(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], groups: int) -> Tensor:
    """A convolution with windows of one value: the same of every s-th value, with windows that are one apart."""
    every = x
    for axis, step in enumerate(stride, 2):
        every = every[(*(slice(None),) * axis, slice(None, None, step))]
    ones, none = (1,) * len(stride), (0,) * len(stride)
    return ConvolutionSettings(ones, none, ones, groups).convolve(channels_last(every, weight), weight, bias)


def worth_slicing(x: Tensor, weight: Tensor) -> bool:
    """Whether `sliced` can take these, and there are several slices."""
    large = x.numel() * x.element_size() >= 2 * _SLICE * torch.get_num_threads()
    return large and x.is_contiguous() and _plain(x, weight)


def worth_keeping(x: Tensor, weight: Tensor, geometry: ConvolutionSettings) -> bool:
    """Whether `kept` can take these, and what it keeps is large."""
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and _plain(x, weight)
    return last and max(x.numel(), prod(_size(x, weight, geometry))) * x.element_size() >= _MAPPED


def _size(x: Tensor, weight: Tensor, geometry: ConvolutionSettings) -> tuple[int, ...]:
    """Shape of the output."""
    sides = (
        (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, padding, dilation in zip(
            x.shape[2:], weight.shape[2:], geometry.stride, geometry.padding, geometry.dilation, strict=True
        )
    )
    return (len(x), len(weight), *sides)


def _plain(x: Tensor, weight: Tensor) -> bool:
    """Whether these are ordinary float tensors on a CPU, outside autocast and compilers."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and type(x) is Tensor
        and not torch.is_autocast_enabled("cpu")
        and not memory.is_followed()
    )


def sliced(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: ConvolutionSettings) -> Tensor:
    """`[N, C, …]` → `[N, C', …]`: one convolution with one gradient, computed slice by slice."""
    result: Tensor = _SlicedConvolution.apply(x, weight, bias, geometry)  # type: ignore[no-untyped-call]
    return result


def kept(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: ConvolutionSettings) -> Tensor:
    """`[N, C, H, W]` → `[N, C', H', W']`, channels last: torch's own values and gradients, in buffers that are used again."""
    result: Tensor = _KeptConvolution.apply(x, weight, bias, geometry)  # type: ignore[no-untyped-call]
    return result


class _KeptConvolution(torch.autograd.Function):
    """The gradients of the weights are sums over all images, so that they are computed in one call: in slices they would be
    rounded in another way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: ConvolutionSettings) -> Tensor:
        _remember(ctx, x, weight, bias, geometry)
        result = memory.empty(_size(x, weight, geometry), x, channels_last=True)
        for part in _slices(x, _LAST_SLICE):
            result[part] = geometry.convolve(x[part], weight, bias)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, x, wanted = _remembered(ctx)
        if torch.is_grad_enabled():  # these gradients are to be differentiated in their turn
            return *ctx.geometry.gradients(grad, x, weight, ctx.bias_size, wanted), None
        grad = grad.contiguous(memory_format=torch.channels_last)
        of_weights = (False, *wanted[1:])
        _, *others = ctx.geometry.gradients(grad, x, weight, ctx.bias_size, of_weights) if any(of_weights) else (None,) * 3
        grad_x = memory.empty(ctx.shape, weight, channels_last=True) if wanted[0] else None
        if grad_x is not None:
            for part in _slices(grad_x, _LAST_SLICE):
                grad_x[part] = ctx.geometry.gradients(grad[part], x[part], weight, None, (True, False, False))[0]
        return grad_x, *others, None


def _remember(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: ConvolutionSettings) -> None:
    """Keep what the gradients need."""
    ctx.save_for_backward(weight, *((x,) if ctx.needs_input_grad[1] else ()))
    ctx.geometry, ctx.shape, ctx.bias_size = geometry, x.shape, None if bias is None else list(bias.shape)


def _remembered(ctx: Any) -> tuple[Tensor, Tensor, tuple[bool, ...]]:
    """Weight, input (of its shape alone, where nothing needs its values), and which gradients are wanted."""
    weight, *saved = ctx.saved_tensors
    return weight, saved[0] if saved else weight.new_empty(()).expand(ctx.shape), ctx.needs_input_grad[:3]


class _SlicedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: ConvolutionSettings) -> Tensor:
        result = None
        for part in _slices(x):
            y = geometry.convolve(x[part], weight, bias)
            result = memory.empty((len(x), *y.shape[1:]), y) if result is None else result
            result[part] = y
        assert result is not None
        _remember(ctx, x, weight, bias, geometry)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, x, wanted = _remembered(ctx)
        grad_x = memory.empty(ctx.shape, weight) if wanted[0] else None
        grad_weight = torch.zeros_like(weight) if wanted[1] else None
        grad_bias = weight.new_zeros(ctx.bias_size) if wanted[2] else None
        if torch.is_grad_enabled():  # these gradients are to be differentiated in their turn
            return *ctx.geometry.gradients(grad, x, weight, ctx.bias_size, wanted), None
        for part in _slices(x):
            by_x, by_weight, by_bias = ctx.geometry.gradients(grad[part], x[part], weight, ctx.bias_size, wanted)
            if grad_x is not None:
                grad_x[part] = by_x
            if grad_weight is not None:
                grad_weight += by_weight
            if grad_bias is not None:
                grad_bias += by_bias
        return grad_x, grad_weight, grad_bias, None


def _slices(x: Tensor, size: int = _SLICE) -> Iterator[slice]:
    """Slices of the first axis, of sizes that differ by one at most: a very small last one would be computed in another way."""
    count = min(len(x), -(-x.numel() * x.element_size() // (size * torch.get_num_threads())))
    for i in range(count):
        yield slice(len(x) * i // count, len(x) * (i + 1) // count)
