"""Operations that run outside of any layer that the counter knows: `torch.matmul` in an attention, `conv2d` with a parameter.

The mode sees every operation that torch runs. It counts those that multiply or accumulate, by the module that runs them, lists
those that it does not know, and carries what is known of a tensor (see `provenance.py`) through the rest.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from neurodeploy_energy.count.counter import Counter
from neurodeploy_energy.count.fanout import Synapses
from neurodeploy_energy.count.recognition import sum_keeping_axes, sum_over_last
from neurodeploy_energy.count.rules import product_of, weighted_sum

aten = torch.ops.aten
Arguments = Sequence[Any]
Handler = Callable[[Counter, Arguments, dict[str, Any], Any], None]
_SYNAPTIC = re.compile(
    r"(^|_)(conv\w*|mm|bmm|matmul|mv|vdot|dot|linear|bilinear|einsum|attention\w*|rnn\w*|lstm\w*|gru\w*|cdist|fft\w*|grouped)(_|$)"
)


class FunctionalOperations(TorchDispatchMode):
    """Hands every operation to its handler while a `Counter` is attached to a model."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counter = counter

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, for seconds, to keep it away from here

    def pause(self) -> bool:
        """See nothing until `resume`, which costs nothing then; whether that was possible (no other mode is on top)."""
        if _get_current_dispatch_mode() is not self:
            return False
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        return True

    def resume(self) -> None:
        """After a `pause` that was possible."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        output = func(*args, **named)
        counter = self._counter
        if not counter.watches:
            return output
        handler = HANDLERS.get(func)
        if handler is not None:
            handler(counter, args, named, output)
        elif not counter.inside_neurons:
            _carry(counter, func, args, output)
        if handler is None and _unknown(func):
            counter.not_known(func.name().removeprefix("aten::"))
        return output


_UNKNOWN: dict[Any, bool] = {}


def _unknown(func: Any) -> bool:
    """Whether the name of an operation without a handler says that it multiplies and accumulates."""
    if func not in _UNKNOWN:
        _UNKNOWN[func] = bool(_SYNAPTIC.search(func.name().split("::")[-1].split(".")[0]))
    return _UNKNOWN[func]


def _carry(counter: Counter, func: Any, args: Arguments, output: Any) -> None:
    """What elementwise operations, copies and joins make of currents is currents, and so on."""
    made = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(made, Tensor) or made.numel() == 0 or not args:
        return
    joined = isinstance(args[0], list | tuple)
    parts = args[0] if joined else args
    origins = [counter.provenance.of(x) for x in parts if isinstance(x, Tensor) and (joined or x.numel() == made.numel())]
    known = [origin for origin in origins if origin is not None]
    if not known:
        return
    changed = func._schema.is_mutable
    if not changed and any(
        isinstance(x, Tensor) and x.untyped_storage()._cdata == made.untyped_storage()._cdata for x in parts
    ):
        return  # a view: known by its storage
    roles = {origin.role for origin in known}
    copies = joined or func in _COPIES
    if "dense" in roles:
        counter.provenance.mark(made, "dense", changes=int(changed))
    elif "currents" in roles:
        layers = tuple(layer for origin in known for layer in origin.layers)
        counter.provenance.mark(made, "currents", tuple(dict.fromkeys(layers)), changes=int(changed))
    elif copies and len(known) == len(origins):
        counter.provenance.mark(made, "messages" if "messages" in roles else "spikes", changes=int(changed))


def _convolution(counter: Counter, args: Arguments, _named: dict[str, Any], output: Tensor) -> None:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    axes = weight.dim() - 2

    def each(value: Sequence[int]) -> tuple[int, ...]:
        return tuple(value) * axes if len(value) == 1 else tuple(value)

    synapses = Synapses(
        "transposed" if transposed else "conv",
        stride=each(stride),
        padding=tuple((p, p) for p in each(padding)),
        dilation=each(dilation),
        output_padding=each(output_padding),
        groups=groups,
    )
    name, tally = counter.operation("convolution", "synapse", weight)
    counter.synapses(name, tally, synapses, x, weight, tuple(output.shape[2:]), bias=bias is not None)
    counter.provenance.mark(output, "currents", (name,))


def _matrices(counter: Counter, one: Tensor, other: Tensor, output: Tensor, *, bias: bool = False) -> None:
    """`[N, K]` by `[K, M]`: a layer of synapses if one of them is a parameter, else a product of activations."""
    if counter.is_parameter(other) or counter.is_parameter(one):
        x, weight = (one, other.t()) if counter.is_parameter(other) else (other.t(), one)
        name, tally = counter.operation("linear", "synapse", weight)
        counter.synapses(name, tally, Synapses("linear"), x, weight, bias=bias)
        counter.provenance.mark(output, "currents", (name,))
    else:
        _activations(counter, one[None], other[None], output)


def _batched(counter: Counter, one: Tensor, other: Tensor, output: Tensor) -> None:
    """`[P, M, K]` by `[P, K, N]`; a parameter that is the same in all P is that of a layer."""
    if counter.is_parameter(other) and (len(other) == 1 or other.stride(0) == 0):
        _matrices(counter, one.flatten(0, 1), other[0], output)
        return
    if counter.is_parameter(one) and len(one) == 1:
        _matrices(counter, one[0], other[0], output)
        return
    _activations(counter, one, other, output)


def _activations(counter: Counter, one: Tensor, other: Tensor, output: Tensor) -> None:
    name, tally = counter.operation("matmul", "matmul")
    origins = [counter.provenance.of(x) for x in (one, other)]
    dense = all(origin is not None and origin.role == "dense" for origin in origins)
    counter.product(tally, product_of(one, other), output.numel(), dense=dense)
    counter.provenance.mark(output, "currents", (name,))


def _product(counter: Counter, args: Arguments, _named: dict[str, Any], output: Tensor, *, summand: int = 0) -> None:
    """Of matrices, of batches of them, or with a vector, which is a matrix of one row or column; 1 `summand` comes first."""
    one, other = args[summand : summand + 2]
    if one.dim() == 3:
        _batched(counter, one, other, output)
        return
    one, other = one if one.dim() == 2 else one[None], other if other.dim() == 2 else other[:, None]
    _matrices(counter, one, other, output, bias=bool(summand) and counter.is_parameter(args[0]))


def _linear(counter: Counter, args: Arguments, _named: dict[str, Any], output: Tensor) -> None:
    x, weight = args[0], args[1]
    _matrices(counter, x.reshape(-1, x.shape[-1]), weight.t(), output, bias=len(args) > 2 and args[2] is not None)


def _attention(counter: Counter, args: Arguments, _named: dict[str, Any], output: Any) -> None:
    query, key, value = (x.flatten(0, -3) for x in args[:3])
    made = output[0]
    dense = all(origin is not None and origin.role == "dense" for origin in map(counter.provenance.of, args[:2]))
    _, tally = counter.operation("attention scores", "matmul")
    scores = query.shape[0] * query.shape[1] * key.shape[1]
    counter.product(tally, product_of(query, key.transpose(1, 2)), scores, dense=dense)
    name, tally = counter.operation("attention values", "matmul")
    counter.product(tally, weighted_sum(value, query.shape[1]), made.numel(), dense=dense)
    counter.provenance.mark(made, "currents", (name,))


def _activation(counter: Counter, _args: Arguments, _named: dict[str, Any], output: Tensor, *, changes: int = 0) -> None:
    if not counter.inside_neurons:
        counter.provenance.mark(output, "dense", changes=changes)
        counter.fires()


def _add(counter: Counter, args: Arguments, named: dict[str, Any], output: Tensor, *, changes: int = 0) -> None:
    if counter.inside_neurons:
        return
    operands = list(args[:2])
    origins = [counter.provenance.of(x) if isinstance(x, Tensor) else None for x in operands]
    roles = [None if origin is None else origin.role for origin in origins]
    together = None not in roles and operands[0].shape == operands[1].shape
    if together and "spikes" in roles and "dense" not in roles:
        _, tally = counter.operation("sum", "sum")
        counter.sum(tally, operands, output, changes=changes)
    elif changes:
        layers = tuple(layer for origin in origins if origin is not None for layer in origin.layers)
        if "dense" in roles or "currents" in roles:
            counter.provenance.mark(output, "dense" if "dense" in roles else "currents", layers, changes=changes)
    else:
        _carry(counter, aten.add.Tensor, args, output)
    del named


def _pool(counter: Counter, args: Arguments, _named: dict[str, Any], output: Any) -> None:
    """A pool by average over windows, other than by a layer: counted, and not folded."""
    origin = counter.provenance.of(args[0])
    if origin is not None and origin.role in ("spikes", "dense") and not counter.inside_neurons:
        name, tally = counter.operation("average pool", "average pool")
        counter.pool(name, tally, args[0], output, None)


def _mean(counter: Counter, args: Arguments, _named: dict[str, Any], output: Tensor) -> None:
    """A mean over the last axes is a global average pool."""
    x, axes, keeps = args[0], args[1], len(args) > 2 and args[2]
    origin = counter.provenance.of(x)
    if origin is None or not axes or counter.inside_neurons:
        return
    places = {axis % x.dim() for axis in axes}
    if origin.role == "dense":
        counter.provenance.mark(output, "dense")
    elif origin.role == "spikes" and places == set(range(x.dim() - len(places), x.dim())) and 0 not in places:
        name, tally = counter.operation("average pool", "average pool")
        sums = partial(sum_keeping_axes if keeps else sum_over_last, axes=len(places))
        counter.pool(name, tally, x, output, (1 + len(places), sums))


def _kept(counter: Counter, args: Arguments, _named: dict[str, Any], output: Any) -> None:
    """Of operations whose outputs are values that they read, or zeros around them."""
    origin = counter.provenance.of(args[0])
    if origin is not None and not counter.inside_neurons:
        counter.provenance.mark(output[0] if isinstance(output, tuple) else output, origin.role, origin.layers)


_COPIES = {aten.clone.default, aten._to_copy.default, aten.repeat.default, aten.copy_.default, aten.contiguous.default}
HANDLERS: dict[Any, Handler] = {
    aten.add.Tensor: _add,
    aten.add_.Tensor: partial(_add, changes=1),
    aten.mean.dim: _mean,
    aten.max.dim: _kept,
}
"""Operation → what counts it or follows it."""
_ATTENTIONS = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
_ACTIVATIONS = ("relu", "gelu", "silu", "sigmoid", "tanh", "hardtanh", "leaky_relu", "elu", "hardswish", "hardsigmoid", "mish")
_BY_NAME: tuple[tuple[Handler, Iterable[str]], ...] = (
    (_convolution, ("convolution",)),
    (_linear, ("linear",)),
    (_product, ("mm", "bmm", "mv", "dot")),
    (partial(_product, summand=1), ("addmm", "baddbmm", "addmv")),
    (_attention, (f"_scaled_dot_product_{name}" for name in _ATTENTIONS)),
    (_pool, ("avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")),
    (_kept, ("max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d", "amax", "constant_pad_nd")),
    (_activation, (*_ACTIVATIONS, "softplus", "_softmax")),
    (partial(_activation, changes=1), (f"{name}_" for name in _ACTIVATIONS if hasattr(aten, f"{name}_"))),
)
HANDLERS |= {getattr(aten, name).default: handler for handler, names in _BY_NAME for name in names}
