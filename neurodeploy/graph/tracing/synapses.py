"""How convolutions and linear layers are traced, whatever made their weights."""

from typing import Any

import numpy as np
from torch import Tensor

from neurodeploy.graph import ops
from neurodeploy.graph.ops.synapse import array
from neurodeploy.graph.tracing.rules import Calling, each, function
from neurodeploy.graph.tracing.traced_tensor import TracedTensor


def _constants(c: Calling, weight: Any, bias: Any) -> dict[str, Any]:
    if isinstance(weight, TracedTensor) or isinstance(bias, TracedTensor):
        c.refuse("has a weight or bias that depends on the samples; constant ones expected")
    return {"weight": array(weight), "bias": None if bias is None else array(bias)}


@function("conv1d", "conv2d", "conv3d")
def _convolution(
    c: Calling,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> TracedTensor:
    fields = _constants(c, weight, bias)
    if not isinstance(x, TracedTensor):
        c.refuse("convolves a constant with something that depends on the samples")
    axes = weight.ndim - 2
    c.one_lead(x, axes)
    spread = each(dilation, axes)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(spread, weight.shape[2:], strict=True)]
        both = tuple(total // 2 for total in totals)
        if any(total % 2 for total in totals):  # the odd one is at the end
            pads = ((0, 0), *((total // 2, total - total // 2) for total in totals))
            x, both = c.node(ops.PadNode, x, suffix=".pad", pads=pads), (0,) * axes
    else:
        both = (0,) * axes if padding == "valid" else each(padding, axes)
    return c.node(ops.ConvNode, x, **fields, stride=each(stride, axes), padding=both, dilation=spread, groups=groups)


@function("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed(
    c: Calling,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> TracedTensor:
    fields, axes = _constants(c, weight, bias), weight.ndim - 2
    c.one_lead(x, axes)
    geometry: dict[str, Any] = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    fields |= {name: each(value, axes) for name, value in geometry.items()}
    return c.node(ops.ConvTransposeNode, x, **fields, groups=groups)


@function("linear")
def _linear(c: Calling, x: Any, weight: Any, bias: Any = None) -> TracedTensor:
    fields = _constants(c, weight, bias)
    if len(x.shape) == 1:
        return c.node(ops.LinearNode, x, **fields)
    # over the last of several axes, it is a convolution of size 1 over the others
    last, axes = len(x.shape) - 1, len(x.shape) - 1
    if axes > 3:
        c.refuse(f"reads samples of shape {x.shape}; up to four axes expected")
    fields["weight"] = fields["weight"].reshape(*fields["weight"].shape, *(1,) * axes)
    ones, none = (1,) * axes, (0,) * axes
    first = c.node(ops.PermuteNode, x, suffix=".channels", order=(last, *range(last)))
    made = c.node(ops.ConvNode, first, **fields, stride=ones, padding=none, dilation=ones)
    return c.node(ops.PermuteNode, made, suffix=".last", order=(*range(1, last + 1), 0))


@function("matmul", "mm", "bmm")
def _product(c: Calling, a: Any, b: Any) -> TracedTensor:
    if isinstance(a, TracedTensor) and isinstance(b, TracedTensor):
        if len(a.shape) < 2 or len(a.shape) != len(b.shape) or a.shape[:-2] != b.shape[:-2]:
            c.refuse(f"multiplies {a.shape} and {b.shape}; matrices with equal axes before the last two expected")
        return c.node(ops.MatMulNode, a, b)
    if not isinstance(a, TracedTensor) or not isinstance(b, Tensor) or b.ndim != 2:
        c.refuse("is a product of a constant with a signal; `signal @ matrix` has a form in a graph")
    return _linear(c, a, b.T)


@function("addmm")
def _affine_product(c: Calling, bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> TracedTensor:
    if not isinstance(a, TracedTensor) or not isinstance(b, Tensor) or not isinstance(bias, Tensor) or bias.ndim != 1:
        c.refuse("is no `signal @ matrix + vector`")
    return _linear(c, a, alpha * b.T, beta * bias)


@function("pad")
def _pad(c: Calling, x: TracedTensor, pad: Any, mode: str = "constant", value: float | None = None) -> TracedTensor:
    sizes = [int(size) for size in pad]
    if mode != "constant":
        c.refuse(f'pads with mode "{mode}", zeros expected: train with zero padding, or pad the samples before the network')
    if value:
        c.refuse(f"pads with {value}, zeros expected")
    pairs = list(zip(sizes[0::2], sizes[1::2], strict=True))[::-1]  # torch names the last axis first
    beyond = len(pairs) - len(x.shape)
    if beyond > 0 and any(pair != (0, 0) for pair in pairs[:beyond]):
        c.refuse("pads the batch or time; axes of the sample expected")
    pairs = [(0, 0)] * -beyond + pairs[max(0, beyond) :]
    if any(size < 0 for pair in pairs for size in pair):
        starts = tuple(max(0, -before) for before, _ in pairs)
        stops = tuple(size - max(0, -after) for size, (_, after) in zip(x.shape, pairs, strict=True))
        x = c.node(ops.SliceNode, x, suffix=".cut", starts=starts, stops=stops, steps=(1,) * len(pairs))
        pairs = [(max(0, before), max(0, after)) for before, after in pairs]
    if not np.any(pairs):
        return x
    return c.node(ops.PadNode, x, pads=tuple(pairs))
