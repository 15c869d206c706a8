"""What single operators of an ONNX file compute: which multiplications meet a zero, how wide integers are, and shapes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neurodeploy_energy.count.layer import SynapseGeometry

if TYPE_CHECKING:
    import onnx

Value = NDArray[Any]


def integer_width(kind: Any) -> int:
    """Bits of an integer type: 4 for those of four, which numpy holds in more."""
    name = str(kind)
    return 4 if name in ("int4", "uint4") else 2 if name in ("int2", "uint2") else 8 * np.dtype(kind).itemsize


def dequantised(inputs: Sequence[Value], axis: int) -> Value:
    value, scale, *zero = inputs
    shape = (
        [-1 if i == axis % max(1, value.ndim) else 1 for i in range(value.ndim)] if scale.ndim == 1 and scale.size > 1 else []
    )
    shift = zero[0].astype(np.float32).reshape(shape) if zero else np.float32(0)
    return np.asarray((value.astype(np.float32) - shift) * scale.reshape(shape), np.float32)


def along(zero: Value, axes: int, side: int) -> Value:
    """Zero points along the axis of the output channels: the first of a convolution's weights, the last of a matrix."""
    if zero.size == 1 or side == 0:
        return zero.reshape(()) if zero.size == 1 else zero
    return zero.reshape([-1] + [1] * (axes - 1)) if axes > 2 else zero


def attribute(node: "onnx.NodeProto", name: str) -> list[int]:
    for one in node.attribute:
        if one.name == name:
            return list(one.ints) or [one.i]
    return []


def _text(node: "onnx.NodeProto", name: str) -> str:
    return next((one.s.decode() for one in node.attribute if one.name == name), "")


def _settings(node: "onnx.NodeProto", axes: int) -> tuple[list[int], list[int], int]:
    """Strides, dilations and groups."""
    stride, dilation = attribute(node, "strides") or [1] * axes, attribute(node, "dilations") or [1] * axes
    return stride, dilation, (attribute(node, "group") or [1])[0]


def convolution_macs(node: "onnx.NodeProto", x: Tensor, weight: Tensor, out: Value) -> float:
    """Multiplications, zeros too, but for those on padding, as a torch module's are counted."""
    every = convolved(node, torch.ones_like(x[:1]), torch.ones_like(weight), out)
    return len(x) * float(every.sum(dtype=torch.float64))


def convolved(node: "onnx.NodeProto", x: Tensor, weight: Tensor, out: Value) -> Tensor:
    """Multiplications of two values that are not zero, at each output."""
    axes = weight.dim() - 2
    stride, dilation, groups = _settings(node, axes)
    if node.op_type == "ConvTranspose":
        made: Tensor = getattr(functional, f"conv_transpose{axes}d")(x, weight, None, stride, 0, 0, groups, dilation)
        return _cropped(node, made, out)
    sides = attribute(node, "pads") or [0] * (2 * axes)
    auto = _text(node, "auto_pad")
    if auto.startswith("SAME"):
        sides = _same(x.shape[2:], out.shape[2:], weight.shape[2:], stride, dilation, upper=auto == "SAME_UPPER")
    pairs = [side for axis in reversed(range(axes)) for side in (sides[axis], sides[axis + axes])]
    found: Tensor = getattr(functional, f"conv{axes}d")(functional.pad(x, pairs), weight, None, stride, 0, dilation, groups)
    return found


def _cropped(node: "onnx.NodeProto", made: Tensor, out: Value) -> Tensor:
    """A transposed convolution without what its padding cuts off."""
    axes = made.dim() - 2
    begins = (attribute(node, "pads") or [0] * (2 * axes))[:axes]
    for axis, (begin, size) in enumerate(zip(begins, out.shape[2:], strict=True), start=2):
        made = made.narrow(axis, begin, min(size, made.shape[axis] - begin))
    return made


def _same(
    size: Sequence[int],
    out: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    *,
    upper: bool,
) -> list[int]:
    """What `auto_pad` adds before and behind, all axes' beginnings first."""
    total = [
        max(0, (o - 1) * s + (k - 1) * d + 1 - n) for n, o, k, s, d in zip(size, out, kernel, stride, dilation, strict=True)
    ]
    less, more = [one // 2 for one in total], [one - one // 2 for one in total]
    return [*less, *more] if upper else [*more, *less]


def convolution_geometry(node: "onnx.NodeProto", x: Tensor, weight: Tensor, out: Value, *, bias: bool) -> SynapseGeometry:
    stride, dilation, groups = _settings(node, weight.dim() - 2)
    kind = "transposed" if node.op_type == "ConvTranspose" else "conv"
    return SynapseGeometry(
        "transposed" if kind == "transposed" else "conv",
        x.shape[1],
        out.shape[1],
        tuple(weight.shape[2:]),
        tuple(stride),
        tuple(dilation),
        groups,
        tuple(x.shape[2:]),
        tuple(out.shape[2:]),
        bias,
    )
