"""What modules keep between calls: put back before each batch and afterwards, so that the same call twice counts the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy_energy.count.recognition import reset_states

_RESETS = ("reset", "reset_state", "reset_states", "reset_mem", "reset_hidden")
_OURS = frozenset(vars(nn.Module()))
"""Attributes of every module, which are none of its state."""


@dataclass(eq=False)
class _TensorBefore:
    """A tensor as it was: itself, its version, and its values, if they are changed in place later."""

    tensor: Tensor
    version: int
    values: Tensor


class States:
    """All that the modules of a model hold beside their parameters, as it is now."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = list(model.modules())
        self._attributes = [_attributes(module) for module in self._modules]
        self._buffers = [{key: _keep(value) for key, value in module._buffers.items()} for module in self._modules]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back."""
        for module, attributes, buffers in zip(self._modules, self._attributes, self._buffers, strict=True):
            own = vars(module)
            for key in own.keys() - _OURS - attributes.keys():
                if _is_state(own[key]):
                    del own[key]
            for key, value in attributes.items():
                if own.get(key, self) is not value or isinstance(value, list | dict):  # most are numbers and as they were
                    own[key] = _back(value, own.get(key))
            for key, value in buffers.items():
                module._buffers[key] = _back(value, None)

    def changed(self) -> Iterator[tuple[nn.Module, str]]:
        """Attributes that held a tensor then and hold other values now."""
        for module, attributes in zip(self._modules, self._attributes, strict=True):
            for key, kept in attributes.items():
                now = vars(module).get(key)
                if isinstance(kept, _TensorBefore) and not (isinstance(now, Tensor) and torch.equal(now, kept.values)):
                    yield module, key


def rest(model: nn.Module) -> None:
    """Set neurons and other modules with a state back to their first one, where they say how."""
    reset_states(model)
    for module in model.modules():
        holds = any(isinstance(value, Tensor) for value in _own(module).values()) or "_memories" in vars(module)
        if holds:
            reset = reset_of(module)
            if reset is not None:
                reset()


def reset_of(module: nn.Module) -> Any:
    """The method of a module that sets its state back, and needs no arguments; None if there is none."""
    for name in _RESETS:
        reset = getattr(module, name, None)
        if callable(reset):
            needed = [one for one in signature(reset).parameters.values() if one.default is Parameter.empty]
            if all(one.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) for one in needed):
                return reset
    return None


def _own(module: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if key not in _OURS}


def _is_state(value: Any) -> bool:
    return value is None or isinstance(value, Tensor | bool | int | float | list | dict | tuple)


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {key: _keep(value) for key, value in _own(module).items() if _is_state(value)}


def _keep(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _TensorBefore(value, value._version, value.detach().clone())
    if type(value) is list:
        return [_keep(one) for one in value]
    if type(value) is dict:
        return {key: _keep(one) for key, one in value.items()}
    return value


def _back(kept: Any, now: Any) -> Any:
    if isinstance(kept, _TensorBefore):
        if kept.tensor._version != kept.version:
            kept.tensor.detach().copy_(kept.values)
            kept.version = kept.tensor._version
        return kept.tensor
    if type(kept) is list:
        values = [_back(one, None) for one in kept]
        if type(now) is not list:
            return values
        now[:] = values
        return now
    if type(kept) is dict:
        entries = {key: _back(one, None) for key, one in kept.items()}
        if type(now) is not dict:
            return entries
        now.clear()
        now.update(entries)
        return now
    return kept
