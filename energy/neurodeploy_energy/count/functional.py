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

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.counter import Counter
from neurodeploy_energy.count.fanout import Synapses
from neurodeploy_energy.count.following import follow
from neurodeploy_energy.count.provenance import Origin, in_spikes
from neurodeploy_energy.count.rules import product_of, weighted_sum
from neurodeploy_energy.count.synapses import Read
from neurodeploy_energy.count.tally import Tally

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
        if func is aten.add_.Tensor and self._counter.watches:
            self._counter.before_change(args[0])
        output = func(*args, **named)
        counter = self._counter
        if isinstance(output, Tensor) and output.layout != torch.strided:
            raise UserError(
                f"layer {counter.running}: {func.name().removeprefix('aten::')} makes a sparse tensor, whose zeros cannot be "
                f"counted; make a dense one, such as with torch.zeros(…).scatter_(…)"
            )
        if not counter.watches or _is_view(func, args, output):  # a view is known by its storage
            return output
        handler = HANDLERS.get(func)
        if handler is None:
            follow(counter, func, args, output)
            if _unknown(func):
                counter.not_known(func.name().removeprefix("aten::"))
        else:
            handler(counter, args, named, output)
        return output


_VIEWS: dict[Any, bool] = {}


def _is_view(func: Any, args: Arguments, output: Any) -> bool:
    """Whether an operation has made a view, in the memory of what it reads, and nothing else."""
    if func not in _VIEWS:
        _VIEWS[func] = bool(func.is_view) and not _unknown(func)
    made = output[0] if isinstance(output, tuple | list) and output else output
    if not _VIEWS[func] or not isinstance(made, Tensor) or not args or not isinstance(args[0], Tensor):
        return False
    return made.untyped_storage()._cdata == args[0].untyped_storage()._cdata  # some of them copy where they must


_UNKNOWN: dict[Any, bool] = {}


def _unknown(func: Any) -> bool:
    """Whether the name of an operation without a handler says that it multiplies and accumulates."""
    if func not in _UNKNOWN:
        _UNKNOWN[func] = bool(_SYNAPTIC.search(func.name().split("::")[-1].split(".")[0]))
    return _UNKNOWN[func]


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
    name, _ = counter.operation("convolution", "synapse", weight)
    if not counter.is_weight(weight):
        counter.uncounted[name] = "a convolution with a kernel that is no weight of the model, but computed of its data"
    counter.synapses(name, Read(synapses, x, weight, tuple(output.shape[2:]), bias is not None), output)


def _matrices(counter: Counter, one: Tensor, other: Tensor, output: Tensor, *, bias: bool = False) -> None:
    """`[N, K]` by `[K, M]`: a layer of synapses if one of them is a weight, else a product of activations."""
    if counter.is_weight(other) or counter.is_weight(one):
        x, weight = (one, other.t()) if counter.is_weight(other) else (other.t(), one)
        name, _ = counter.operation("linear", "synapse", weight)
        counter.synapses(name, Read(Synapses("linear"), x, weight, bias=bias), output)
    else:
        _activations(counter, one[None], other[None], output)


def _batched(counter: Counter, one: Tensor, other: Tensor, output: Tensor) -> None:
    """`[P, M, K]` by `[P, K, N]`; a weight that is the same in all P is that of a layer."""
    if counter.is_weight(other) and (len(other) == 1 or other.stride(0) == 0):
        _matrices(counter, one.flatten(0, 1), other[0], output)
        return
    if counter.is_weight(one) and len(one) == 1:
        _matrices(counter, one[0], other[0], output)
        return
    _activations(counter, one, other, output)


def _activations(counter: Counter, one: Tensor, other: Tensor, output: Tensor) -> None:
    name, tally = counter.operation("matmul", "matmul")
    origins = [counter.provenance.of(x) for x in (one, other)]
    dense = (_is_dense(origins[0]), _is_dense(origins[1]))
    one, other = (in_spikes(x, origin) for x, origin in zip((one, other), origins, strict=True))
    counter.product(tally, product_of(one, other, dense), output.numel())
    _read(counter, tally, origins)
    counter.provenance.mark(output, Origin("currents", frozenset({name}), True))


def _is_dense(origin: Origin | None) -> bool:
    return origin is not None and origin.role in ("currents", "dense", "weight", "constant")


def _read(counter: Counter, tally: Tally, origins: Sequence[Origin | None]) -> None:
    counter.uses(origins)
    for origin in filter(None, origins):
        tally.reads |= origin.reads
        if origin.role in ("spikes", "mixed"):
            counter.membranes.read(origin.reads)


def _product(counter: Counter, args: Arguments, _named: dict[str, Any], output: Tensor, *, summand: int = 0) -> None:
    """Of matrices, of batches of them, or with a vector, which is a matrix of one row or column; 1 `summand` comes first."""
    one, other = args[summand : summand + 2]
    if one.dim() == 3:
        _batched(counter, one, other, output)
        return
    one, other = one if one.dim() == 2 else one[None], other if other.dim() == 2 else other[:, None]
    _matrices(counter, one, other, output, bias=bool(summand) and counter.is_weight(args[0]))


def _linear(counter: Counter, args: Arguments, _named: dict[str, Any], output: Tensor) -> None:
    x, weight = args[0], args[1]
    _matrices(counter, x.reshape(-1, x.shape[-1]), weight.t(), output, bias=len(args) > 2 and args[2] is not None)


def _attention(counter: Counter, args: Arguments, _named: dict[str, Any], output: Any) -> None:
    origins = [counter.provenance.of(x) for x in args[:3]]
    units = [in_spikes(x, origin) for x, origin in zip(args[:3], origins, strict=True)]
    query, key, value = (x.flatten(0, -3) for x in units)
    made = output[0]
    _, tally = counter.operation("attention scores", "matmul")
    _read(counter, tally, origins[:2])
    scores = query.shape[0] * query.shape[1] * key.shape[1]
    dense = (_is_dense(origins[0]), _is_dense(origins[1]))
    counter.product(tally, product_of(query, key.transpose(1, 2), dense), scores)
    name, tally = counter.operation("attention values", "matmul")
    counter.product(tally, weighted_sum(value, query.shape[1], dense=_is_dense(origins[2])), made.numel())
    _read(counter, tally, origins)
    counter.provenance.mark(made, Origin("currents", frozenset({name}), True))


def _pool(counter: Counter, args: Arguments, _named: dict[str, Any], output: Any) -> None:
    """A pool by average over windows, other than by a layer: counted, and not folded."""
    origin = counter.provenance.of(args[0])
    if origin is not None and (origin.is_events or origin.role == "dense") and not counter.inside_neurons:
        name, tally = counter.operation("average pool", "average pool")
        counter.pool(name, tally, args[0], output, None)
    elif origin is not None and origin.is_data:
        counter.provenance.mark(output, Origin(origin.role, origin.reads, origin.fired))


HANDLERS: dict[Any, Handler] = {}
"""Operation → what counts it; the others are followed (see `following.py`)."""
_ATTENTIONS = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
_BY_NAME: tuple[tuple[Handler, Iterable[str]], ...] = (
    (_convolution, ("convolution",)),
    (_linear, ("linear",)),
    (_product, ("mm", "bmm", "mv", "dot")),
    (partial(_product, summand=1), ("addmm", "baddbmm", "addmv")),
    (_attention, (f"_scaled_dot_product_{name}" for name in _ATTENTIONS)),
    (_pool, ("avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")),
)
HANDLERS |= {getattr(aten, name).default: handler for handler, names in _BY_NAME for name in names}
