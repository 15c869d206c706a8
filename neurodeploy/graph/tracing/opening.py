"""Layers of other frameworks that are opened: computed by functions of torch that a tracer sees.

Many frameworks compute their neurons by compiled code, or by kernels of their own. For each such layer there is here the same
computation in torch's functions, in the same order, so that it can be followed; that both do the same is checked on the samples
(`neurodeploy.graph.agreement`). A framework's file registers its layers by the full names of their classes; a class that
derives from one of them and overrides something is not opened, but followed as it is.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import nn

from neurodeploy.graph.tracing.running import full_name, overridden
from neurodeploy.io.errors import UserError

State: TypeAlias = dict[str, Any]
Opened: TypeAlias = Callable[..., Any]
"""`(layer, state, *arguments) → answer`; the state is what the layer keeps from call to call, empty at first."""


class Refusal(Exception):
    """Why an opened layer has no form in a graph, and what to do; raised by the function that opens it."""


class RefusedLayerError(UserError):
    """An opened layer has no form in a graph."""


_OPENED: dict[str, Opened] = {}


class Memory:
    """What opened layers keep from call to call in a run."""

    def __init__(self) -> None:
        self._states: dict[int, State] = {}

    def of(self, module: nn.Module) -> State:
        return self._states.setdefault(id(module), {})


def opens(*layers: str) -> Callable[[Opened], Opened]:
    """Registers how layers are computed, by the full names of their classes."""

    def register(function: Opened) -> Opened:
        _OPENED.update(dict.fromkeys(layers, function))
        return function

    return register


def opened(module: nn.Module) -> Opened | None:
    """How a layer is computed where a tracer can see it; None if it is followed as it is."""
    base = next((one for one in type(module).__mro__ if full_name(one) in _OPENED), None)
    if base is None or overridden(module, base):
        return None
    return _OPENED[full_name(base)]


_FORGETS: dict[str, Callable[[Any], None]] = {}


def forgets(*layers: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Registers how a layer's state is reset to what it is before a first step, by full names of classes and their bases."""

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        _FORGETS.update(dict.fromkeys(layers, function))
        return function

    return register


def forget(network: nn.Module) -> nn.Module:
    """Reset the states of all layers, as their frameworks do between samples."""
    for module in network.modules():
        base = next((one for one in type(module).__mro__ if full_name(one) in _FORGETS), None)
        if base is not None:
            _FORGETS[full_name(base)](module)
    return network


_FOLDED: dict[str, Callable[[Any, int, int], None]] = {}


def folds(*layers: str) -> Callable[[Callable[[Any, int, int], None]], Callable[[Any, int, int], None]]:
    """Registers layers that take batch and time as one axis, `[B·T, …]`, and how they are told `(layer, B, T)`."""

    def register(function: Callable[[Any, int, int], None]) -> Callable[[Any, int, int], None]:
        _FOLDED.update(dict.fromkeys(layers, function))
        return function

    return register


def folded(network: nn.Module) -> bool:
    """Whether a module takes batch and time as one axis."""
    return any(full_name(one) in _FOLDED for module in network.modules() for one in type(module).__mro__)


def tell_sizes(network: nn.Module, batch: int, steps: int) -> None:
    """Tell layers that take batch and time as one axis how long both are."""
    for module in network.modules():
        for one in type(module).__mro__:
            if full_name(one) in _FOLDED:
                _FOLDED[full_name(one)](module, batch, steps)
