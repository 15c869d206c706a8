"""What a torch module is, for counting: synapses, spiking neurons, pooling, a residual sum, or nothing that costs.

Spiking neurons are recognised by the qualified name of their class, so that no framework has to be imported.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as f

from neurodeploy_energy.fanout import is_synapse

Kind = Literal["synapse", "neuron", "average pool", "max pool", "sum", "free"]

_NEURONS: set[str] = {"neurodeploy.layers.Neuron"}
_SUMS = {"neurodeploy.layers.Add"}
_GLOBAL_POOLS = {"neurodeploy.layers.GlobalAvgPool1d": 1, "neurodeploy.layers.GlobalAvgPool2d": 2}
"""Class of a global average pool → number of spatial axes that it sums over."""
_GLOBAL_MAX_POOLS = {"neurodeploy.layers.GlobalMaxPool1d"}
_FREE_NAMES = {
    "neurodeploy.encoding.DirectEncoding",
    "neurodeploy.encoding.EventInput",
    "neurodeploy.encoding.StaticInput",
    "neurodeploy.layers.Flatten",
    "neurodeploy.layers.TimeMean",
}
_FREE: tuple[type[nn.Module], ...] = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.ReLU,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
)
_MAX_POOLS: tuple[type[nn.Module], ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


def register_neuron(qualified_name: str) -> None:
    """Teach the counter a class of spiking neurons, such as `my_package.neurons.LIF`.

    The module is called with the currents of all time steps, `[T, B, …]`, and returns spikes of the same shape.
    """
    _NEURONS.add(qualified_name)


def kind_of(module: nn.Module) -> Kind | None:
    """How a module is counted; None if it is unknown."""
    names = _qualified_names(module)
    if names & _NEURONS:
        return "neuron"
    if is_synapse(module):
        return "synapse"
    if names & _GLOBAL_POOLS.keys() or isinstance(module, nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d):
        return "average pool"
    if isinstance(module, _MAX_POOLS) or names & _GLOBAL_MAX_POOLS:
        return "max pool"
    if names & _SUMS:
        return "sum"
    if isinstance(module, _FREE) or names & _FREE_NAMES:
        return "free"
    return None


def summing_windows(module: nn.Module) -> tuple[int, Callable[[Tensor], Tensor]] | None:
    """An average pool as a sum over windows that do not overlap, and its sample's number of axes.

    Such a pool folds into the next synapse layer. None if windows overlap or are padded: then it does not.
    """
    for name in _qualified_names(module) & _GLOBAL_POOLS.keys():
        return 1 + _GLOBAL_POOLS[name], partial(_sum_over_last, axes=_GLOBAL_POOLS[name])
    if isinstance(module, nn.AvgPool2d):
        kernel, stride, padding = (_pair(value) for value in (module.kernel_size, module.stride, module.padding))
        if padding == (0, 0) and not module.ceil_mode and all(s >= k for k, s in zip(kernel, stride, strict=True)):
            return 3, lambda x: f.avg_pool2d(x, kernel, stride) * prod(kernel)
    return None


def _sum_over_last(x: Tensor, axes: int) -> Tensor:
    return x.flatten(-axes).sum(-1)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _qualified_names(module: nn.Module) -> set[str]:
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__}
