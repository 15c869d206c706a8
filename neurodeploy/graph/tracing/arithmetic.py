"""How arithmetic, activations and normalisation are traced: sums of branches, constants per channel, ReLU, batch norm."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.graph import ops
from neurodeploy.graph.ops.synapse import array
from neurodeploy.graph.tracing.rules import Calling, function, refused, values
from neurodeploy.graph.tracing.traced_tensor import TracedTensor

_RELU = "a graph has ReLU alone: train the network with it, or fine-tune it after replacing this"
refused(
    *("gelu", "silu", "mish", "sigmoid", "tanh", "elu", "selu", "celu", "softplus", "hardswish", "hardsigmoid", "hardshrink"),
    *("leaky_relu", "prelu", "rrelu", "logsigmoid", "softsign", "tanhshrink", "softshrink", "glu", "exp", "log", "sqrt", "pow"),
    *("sin", "cos", "abs", "square", "rsqrt", "reciprocal", "erf"),
    reason=_RELU,
)
refused(
    *("softmax", "log_softmax", "softmin"),
    reason="let the module answer the logits that it reads: they have the same order",
)
refused(
    *("layer_norm", "group_norm", "rms_norm", "normalize", "local_response_norm", "norm", "cosine_similarity", "std", "var"),
    reason="its statistics are those of each sample, and cannot be folded; use batch norm, or fine-tune without it",
)
refused(
    *("sign", "round", "floor", "ceil", "heaviside", "fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine"),
    *("gt", "ge", "lt", "le", "eq", "ne", "where", "bernoulli", "quantize_per_tensor", "__gt__", "__ge__", "__lt__", "__le__"),
    reason=(
        "it compares or rounds, outside of any loop over time: neurons are followed where the forward loops over steps, or "
        "with steps=… where it computes one step in a call; leave fake quantisation out"
    ),
)
refused(
    *(
        "__bool__",
        "item",
        "tolist",
        "numpy",
        "__float__",
        "__int__",
        "__index__",
        "__array__",
        "equal",
        "allclose",
        "any",
        "all",
    ),
    *("isnan", "isfinite", "isinf", "argmax", "argmin", "max", "min", "sort", "topk", "nonzero", "__contains__", "__format__"),
    reason="the forward reads values of its samples, and may do something else for others; leave that out",
)
refused(
    *("rand_like", "randn_like", "multinomial", "normal", "uniform"), reason="it is random; leave it out in evaluation mode"
)
refused(
    *("scaled_dot_product_attention", "multi_head_attention_forward", "einsum", "lstm", "gru", "rnn_tanh", "rnn_relu"),
    *("embedding", "cumsum", "cumprod", "outer", "bilinear", "baddbmm", "tensordot", "dot", "kron"),
    reason="products of two signals, look-ups and recurrent cells are unsupported; convolutions and linear layers are there",
)
refused(
    *("copy", "__setitem__", "fill", "index_put", "index_copy", "scatter"), reason="values are written into a tensor in place"
)
refused("interpolate", "upsample", "grid_sample", reason="resize before the network, or use a transposed convolution")


@function("add", time_last=True)
def _add(c: Calling, a: Any, b: Any, *, alpha: float = 1) -> TracedTensor:
    if isinstance(a, TracedTensor) and isinstance(b, TracedTensor):
        return _sum(c, a, _scaled(c, b, alpha, ".alpha"))
    if isinstance(a, TracedTensor):
        return _affine(c, a, 1.0, alpha * values(b))
    return _affine(c, b, alpha, values(a))


@function("sub", "subtract", time_last=True)
def _subtract(c: Calling, a: Any, b: Any, *, alpha: float = 1) -> TracedTensor:
    return _add(c, a, b, alpha=-alpha)


@function("rsub", time_last=True)
def _subtract_from(c: Calling, a: Any, b: Any, alpha: float = 1) -> TracedTensor:
    return _subtract(c, b, a, alpha=alpha)


@function("mul", "multiply", time_last=True)
def _multiply(c: Calling, a: Any, b: Any) -> TracedTensor:
    if isinstance(a, TracedTensor) and isinstance(b, TracedTensor):
        return _product(c, a, b)
    return _affine(c, a, values(b), 0.0) if isinstance(a, TracedTensor) else _affine(c, b, values(a), 0.0)


@function("div", "true_divide", "divide", time_last=True)
def _divide(c: Calling, a: Any, b: Any, *, rounding_mode: str | None = None) -> TracedTensor:
    if not isinstance(a, TracedTensor) or isinstance(b, TracedTensor) or rounding_mode is not None:
        c.refuse("divides by a signal, or rounds; only quotients by constants have a form in a graph")
    return _affine(c, a, 1 / values(b).astype(np.float64), 0.0)


@function("neg", "negative", time_last=True)
def _negative(c: Calling, x: TracedTensor) -> TracedTensor:
    return _affine(c, x, -1.0, 0.0)


@function("addcmul", time_last=True)
def _add_product(c: Calling, a: Any, b: Any, other: Any, *, value: float = 1) -> TracedTensor:
    if not (isinstance(b, TracedTensor) and not isinstance(a, TracedTensor) and not isinstance(other, TracedTensor)):
        c.refuse("adds a product that is none of a signal and constants")
    return _affine(c, b, value * values(other), values(a))


def _product(c: Calling, a: TracedTensor, b: TracedTensor) -> TracedTensor:
    if len(a.shape) != len(b.shape) or any(n != m and 1 not in (n, m) for n, m in zip(a.shape, b.shape, strict=True)):
        c.refuse(f"multiplies {a.shape} and {b.shape}; equal shapes expected")
    return c.node(ops.MultiplyNode, a, b)


def _sum(c: Calling, a: TracedTensor, b: TracedTensor) -> TracedTensor:
    if a.shape != b.shape:
        c.refuse(f"sums {a.shape} and {b.shape}; equal shapes expected: branches are not broadcast")
    return c.node(ops.AddNode, a, b)


def _scaled(c: Calling, x: TracedTensor, factor: float, suffix: str) -> TracedTensor:
    return _affine(c, x, factor, 0.0, suffix=suffix)


def _affine(c: Calling, x: TracedTensor, scale: Any, shift: Any, *, suffix: str = "") -> TracedTensor:
    """`scale · x + shift`, with a number each for every channel."""
    both = [_per_channel(c, x, np.asarray(constant, np.float64)) for constant in (scale, shift)]
    if (both[0] == 1).all() and (both[1] == 0).all():
        return x
    factors, offsets = (one.astype(np.float32) for one in both)
    return c.node(ops.BatchNormNode, x, suffix=suffix, scale=factors, shift=offsets)


def _per_channel(c: Calling, x: TracedTensor, constant: NDArray[np.float64]) -> NDArray[np.float64]:
    """One number per channel `[C]` of a constant that is broadcast against a signal."""
    if not x.shape:
        c.refuse("computes on a tensor without an axis of channels")
    whole, axis = c.draft.whole(x), x.channel_axis
    try:
        full = np.broadcast_to(constant, whole)
    except ValueError:
        c.refuse(f"broadcasts a tensor {whole} to the shape of a constant {constant.shape}")
    first = np.moveaxis(full, axis, 0).reshape(whole[axis], -1)[:, :1]
    if not (np.moveaxis(full, axis, 0).reshape(whole[axis], -1) == first).all():
        c.refuse("has a constant that differs between positions, samples or steps; one number per channel expected")
    return first[:, 0].copy()


@function("relu", time_last=True)
def _relu(c: Calling, x: TracedTensor, inplace: bool = False) -> TracedTensor:  # noqa: ARG001
    return c.node(ops.ReluNode, x)


@function("relu6", time_last=True)
def _relu6(c: Calling, x: TracedTensor, inplace: bool = False) -> TracedTensor:  # noqa: ARG001
    return c.node(ops.ReluNode, x, ceiling=6.0)


@function("hardtanh", time_last=True)
def _hard_tanh(c: Calling, x: TracedTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> TracedTensor:  # noqa: ARG001
    return _clamp(c, x, min_val, max_val)


@function("clamp", "clip", time_last=True)
def _clamp(c: Calling, x: TracedTensor, min: Any = None, max: Any = None) -> TracedTensor:
    low, ceiling = (_number(c, bound) for bound in (min, max))
    if low != 0 or (ceiling is not None and ceiling <= 0):
        c.refuse(f"clips to a range from {low} to {ceiling}; a ReLU, from 0 up to nothing or a positive number, expected")
    return c.node(ops.ReluNode, x, ceiling=ceiling)


def _number(c: Calling, bound: Any) -> float | None:
    if isinstance(bound, TracedTensor) or (isinstance(bound, Tensor) and len(bound.unique()) != 1):
        c.refuse("clips to bounds that differ from value to value; numbers expected")
    return None if bound is None else float(bound.flatten()[0] if isinstance(bound, Tensor) else bound)


@function("clamp_min", time_last=True)
def _clamp_min(c: Calling, x: TracedTensor, min: Any) -> TracedTensor:
    return _clamp(c, x, min)


@function("maximum", time_last=True)
def _maximum(c: Calling, a: Any, b: Any) -> TracedTensor:
    if isinstance(a, TracedTensor) and isinstance(b, TracedTensor):
        c.refuse("takes the larger of two signals; pooling and ReLU alone have a form in a graph")
    return _clamp(c, a, b) if isinstance(a, TracedTensor) else _clamp(c, b, a)


@function("threshold", time_last=True)
def _threshold(c: Calling, x: TracedTensor, threshold: float, value: float, inplace: bool = False) -> TracedTensor:  # noqa: ARG001
    if (threshold, value) != (0, 0):
        c.refuse(f"has a threshold of {threshold} and a value of {value}; 0 and 0, a ReLU, expected")
    return c.node(ops.ReluNode, x)


@function(
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_dropout",
    "feature_alpha_dropout",
    time_last=True,
)
def _dropout(c: Calling, x: TracedTensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> TracedTensor:  # noqa: ARG001
    if training and p:
        c.refuse("drops values in evaluation mode too; call it with training=self.training, or use nn.Dropout")
    return x


@function(
    "contiguous",
    "clone",
    "detach",
    "alias",
    "to",
    "float",
    "double",
    "half",
    "bfloat16",
    "cpu",
    "cuda",
    "type_as",
    "data",
    "requires_grad",
    time_last=True,
)
def _same(c: Calling, x: TracedTensor, *others: Any, **options: Any) -> TracedTensor:  # noqa: ARG001
    return x


@function("batch_norm", time_last=True)
def _batch_norm(
    c: Calling,
    x: TracedTensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> TracedTensor:
    if training or running_mean is None or running_var is None:
        c.refuse("batch norm without running statistics has no fixed form; set track_running_stats, and evaluation mode")
    c.one_lead(x)
    scale = (running_var.double() + eps).rsqrt()
    shift = -running_mean.double() * scale
    if weight is not None:
        scale, shift = scale * weight.double(), shift * weight.double()
    if bias is not None:
        shift = shift + bias.double()
    return c.node(ops.BatchNormNode, x, scale=array(scale), shift=array(shift))


@function("instance_norm")
def _instance_norm(
    c: Calling,
    x: TracedTensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> TracedTensor:
    if use_input_stats:
        c.refuse("its statistics are those of each sample, and cannot be folded into weights; use batch norm")
    return _batch_norm(c, x, running_mean, running_var, weight, bias, False, momentum, eps)


@function("cat", "concat", "concatenate", time_last=True)
def _concatenate(c: Calling, tensors: Any, dim: int = 0) -> TracedTensor:
    signals = [one for one in tensors if isinstance(one, TracedTensor)]
    axis = signals[0].sample_axis(dim)
    if axis < 0:
        c.refuse("joins tensors along the batch or time; channels and positions alone can be joined")
    if len(signals) == len(tensors):
        return signals[0] if len(signals) == 1 else c.node(ops.ConcatNode, *signals, axis=axis)
    before, after, seen = 0, 0, False
    for one in tensors:
        if isinstance(one, TracedTensor):
            seen = True
            continue
        if torch.count_nonzero(one):
            c.refuse("joins a signal and a constant that is not 0")
        if seen:
            after += one.shape[dim]
        else:
            before += one.shape[dim]
    if len(signals) > 1:
        c.refuse("joins several signals and zeros; pad one of them instead")
    pads = tuple((before, after) if i == axis else (0, 0) for i in range(len(signals[0].shape)))
    return c.node(ops.PadNode, signals[0], pads=pads)


@function("hstack")
def _side_by_side(c: Calling, tensors: Any) -> TracedTensor:
    return _concatenate(c, tensors, 1)
