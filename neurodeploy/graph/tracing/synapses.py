"""How convolutions and linear layers are traced, whatever made their weights."""

from typing import Any

import numpy as np
from torch import Tensor

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Shape
from neurodeploy.graph.ops.operation import Weights
from neurodeploy.graph.ops.synapse import array
from neurodeploy.graph.tracing.rules import Calling, each, function
from neurodeploy.graph.tracing.traced_tensor import TracedTensor


def _constants(c: Calling, weight: Any, bias: Any) -> dict[str, Any]:
    if isinstance(weight, TracedTensor) or isinstance(bias, TracedTensor):
        c.refuse("has a weight or bias that depends on the samples; constant ones expected")
    return {"weight": array(weight), "bias": None if bias is None else array(bias)}


@function("conv1d", "conv2d", "conv3d", time_last=True)
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
    geometry = {"stride": each(stride, axes), "dilation": each(dilation, axes)}
    if not isinstance(padding, str):
        geometry["padding"] = each(padding, axes)
    if x.time_last:
        fields["weight"], geometry = _without_time(c, fields["weight"], geometry)
        axes -= 1
    c.one_lead(x, axes)
    spread, padding = geometry["dilation"], geometry.get("padding", padding)
    weight = fields["weight"]
    if x.time_last and groups == 1 and x.shape[1:] == weight.shape[2:] and not np.any(geometry.get("padding", 0)):
        return _whole_window(c, x, fields)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(spread, weight.shape[2:], strict=True)]
        both = tuple(total // 2 for total in totals)
        if any(total % 2 for total in totals):  # the odd one is at the end
            pads = ((0, 0), *((total // 2, total - total // 2) for total in totals))
            x, both = c.node(ops.PadNode, x, suffix=".pad", pads=pads), (0,) * axes
    else:
        both = (0,) * axes if padding == "valid" else each(padding, axes)
    return c.node(ops.ConvNode, x, **fields, stride=geometry["stride"], padding=both, dilation=spread, groups=groups)


def _without_time(c: Calling, weight: Weights, geometry: dict[str, Shape]) -> tuple[Weights, dict[str, Shape]]:
    """Kernel and geometry of a convolution over `[B, C, …, T]` that keeps the steps apart, without the axis of time."""
    plain = {"stride": 1, "padding": 0, "output_padding": 0}
    wrong = [f"{name} {value[-1]}" for name, value in geometry.items() if value[-1] != plain.get(name, value[-1])]
    if weight.shape[-1] != 1 or wrong:
        found = wrong[0] if weight.shape[-1] == 1 else f"a kernel of {weight.shape[-1]} steps"
        c.refuse(f"convolves over time, its last axis, with {found}; a kernel of one step, stride 1 and no padding expected")
    return weight[..., 0].copy(), {name: value[:-1] for name, value in geometry.items()}


def _whole_window(c: Calling, x: TracedTensor, fields: dict[str, Any]) -> TracedTensor:
    """A convolution whose kernel is as large as the sample is a linear layer of it."""
    weight = fields["weight"].reshape(len(fields["weight"]), -1)
    made = c.node(ops.LinearNode, c.shaped(x, (weight.shape[1],), suffix=".view"), weight=weight, bias=fields["bias"])
    return c.shaped(made, (len(weight), *(1,) * (len(x.shape) - 1)), suffix=".view")


@function("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", time_last=True)
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
    given: dict[str, Any] = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    geometry = {name: each(value, axes) for name, value in given.items()}
    if x.time_last:
        fields["weight"], geometry = _without_time(c, fields["weight"], geometry)
        axes -= 1
    c.one_lead(x, axes)
    fields |= geometry
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


@function("pad", time_last=True)
def _pad(c: Calling, x: TracedTensor, pad: Any, mode: str = "constant", value: float | None = None) -> TracedTensor:
    sizes = [int(size) for size in pad]
    if mode != "constant":
        c.refuse(f'pads with mode "{mode}", zeros expected: train with zero padding, or pad the samples before the network')
    if value:
        c.refuse(f"pads with {value}, zeros expected")
    pairs = list(zip(sizes[0::2], sizes[1::2], strict=True))[::-1]  # torch names the last axis first
    leading, pairs = x.parted([(0, 0)] * (x.axes - len(pairs)) + pairs)
    if np.any(leading):
        c.refuse("pads the batch or time; axes of the sample expected")
    if any(size < 0 for pair in pairs for size in pair):
        starts = tuple(max(0, -before) for before, _ in pairs)
        stops = tuple(size - max(0, -after) for size, (_, after) in zip(x.shape, pairs, strict=True))
        x = c.node(ops.SliceNode, x, suffix=".cut", starts=starts, stops=stops, steps=(1,) * len(pairs))
        pairs = [(max(0, before), max(0, after)) for before, after in pairs]
    if not np.any(pairs):
        return x
    return c.node(ops.PadNode, x, pads=tuple(pairs))
