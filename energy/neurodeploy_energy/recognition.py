"""What a torch module is, for counting: synapses, spiking neurons, pooling, a residual sum, or nothing that costs."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as f

from neurodeploy_energy.fanout import synapses_of
from neurodeploy_energy.neurons import neurons_of

Kind = Literal["synapse", "neuron", "average pool", "max pool", "sum", "recurrent", "activation", "seen inside", "free"]
"""`seen inside`: its operations are counted one by one where they run (see `functional.py`), not by the module."""

_SUMS = {"neurodeploy.dynamics.layers.Add", "sinabs.layers.merge.Merge"}
_GLOBAL_POOLS = {"neurodeploy.dynamics.layers.GlobalAvgPool1d": 1, "neurodeploy.dynamics.layers.GlobalAvgPool2d": 2}
"""Class of a global average pool → number of spatial axes that it sums over."""
_GLOBAL_MAX_POOLS = {"neurodeploy.dynamics.layers.GlobalMaxPool1d"}
_FREE_NAMES = {
    "neurodeploy.dynamics.encodings.DirectEncoding",
    "neurodeploy.dynamics.encodings.EventInput",
    "neurodeploy.dynamics.encodings.StaticInput",
    "neurodeploy.dynamics.layers.Delay",
    "neurodeploy.dynamics.layers.Flatten",
    "neurodeploy.dynamics.layers.LowPass",  # the synaptic current of the neurons that read it, part of their update
    "neurodeploy.dynamics.layers.TimeMean",
    "sinabs.layers.pool2d.SumPool2d",
    "sinabs.layers.reshape.UnflattenTime",
    "snntorch._layers.bntt.BatchNormTT1d",
    "snntorch._layers.bntt.BatchNormTT2d",
    "spikingjelly.activation_based.layer.dropout.Dropout",
    "spikingjelly.activation_based.layer.dropout.Dropout2d",
}
_FREE: tuple[type[nn.Module], ...] = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.ZeroPad1d,
    nn.ZeroPad2d,
    nn.ZeroPad3d,
    nn.ChannelShuffle,
    nn.PixelShuffle,
    nn.Embedding,
)
_MAX_POOLS: tuple[type[nn.Module], ...] = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
_AVERAGE_POOLS: tuple[type[nn.Module], ...] = (
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
)
_SEEN_INSIDE: tuple[type[nn.Module], ...] = (nn.MultiheadAttention, nn.RNNCellBase, nn.Bilinear)


def kind_of(module: nn.Module) -> Kind | None:
    """How a module is counted; None if it is unknown."""
    names = _qualified_names(module)
    if neurons_of(module) is not None:
        return "neuron"
    if synapses_of(module) is not None:
        return "synapse"
    if names & _GLOBAL_POOLS.keys() or isinstance(module, _AVERAGE_POOLS):
        return "average pool"
    if isinstance(module, _MAX_POOLS) or names & _GLOBAL_MAX_POOLS:
        return "max pool"
    if names & _SUMS:
        return "sum"
    if isinstance(module, nn.RNNBase):
        return "recurrent"
    if isinstance(module, nn.ReLU):
        return "activation"
    if isinstance(module, _SEEN_INSIDE):
        return "seen inside"
    if isinstance(module, _FREE) or names & _FREE_NAMES:
        return "free"
    return None


def summing_windows(module: nn.Module) -> tuple[int, Callable[[Tensor], Tensor]] | None:
    """An average pool as a sum over windows that do not overlap, and its sample's number of axes.

    Such a pool folds into the next synapse layer. None if windows overlap or are padded: then it does not.
    """
    for name in _qualified_names(module) & _GLOBAL_POOLS.keys():
        return 1 + _GLOBAL_POOLS[name], partial(sum_over_last, axes=_GLOBAL_POOLS[name])
    for axes, (pool, adaptive) in enumerate(_POOLS, start=1):
        if isinstance(module, adaptive) and _each(module.output_size, axes) == (1,) * axes:
            return 1 + axes, partial(sum_keeping_axes, axes=axes)
        if isinstance(module, pool):
            kernel = _each(module.kernel_size, axes)
            stride = _each(module.stride, axes)
            padded = any(_each(module.padding, axes)) or module.ceil_mode
            if not padded and all(s >= k for k, s in zip(kernel, stride, strict=True)):
                return 1 + axes, partial(_sum_windows, average=_FUNCTIONS[axes - 1], kernel=kernel, stride=stride)
    return None


_POOLS: tuple[tuple[type, type], ...] = (
    (nn.AvgPool1d, nn.AdaptiveAvgPool1d),
    (nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    (nn.AvgPool3d, nn.AdaptiveAvgPool3d),
)
_FUNCTIONS: tuple[Callable[..., Tensor], ...] = (f.avg_pool1d, f.avg_pool2d, f.avg_pool3d)


def _sum_windows(x: Tensor, average: Callable[..., Tensor], kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return average(x, kernel, stride) * prod(kernel)


def sum_over_last(x: Tensor, axes: int) -> Tensor:
    """Sum over the last axes."""
    return x.flatten(-axes).sum(-1)


def sum_keeping_axes(x: Tensor, axes: int) -> Tensor:
    """The same, the axes kept with one entry each."""
    return sum_over_last(x, axes)[(..., *(None,) * axes)]


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value or 0),) * axes


def _qualified_names(module: nn.Module) -> set[str]:
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__}
