"""Whether a network is still what it was: so that what was found out about it need not be found out again at every call."""

import weakref
from dataclasses import dataclass, fields, is_dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_OF_TORCH = frozenset(vars(nn.Module()))
_PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, type(None), type(Ellipsis))
_CODE = (type, ModuleType, BuiltinFunctionType)
"""What is taken for constant: nobody changes it between two calls."""


_SMALL = 64  # values


class _Unknown(Exception):
    """Something that may change without being seen to."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """What a network was: its modules with their attributes, its tensors, and the global values that its code reads.

    What is not seen: a change of what a network's classes, or functions that these call, hold or read elsewhere; and one of
    large tensors through `.data`.

    Attributes:
        values: of attributes and global names, in the order of the modules.
        tensors: each with the version that it had.
    """

    values: tuple[Any, ...]
    tensors: tuple[tuple["weakref.ref[Tensor]", int], ...]

    @classmethod
    def of(cls, network: nn.Module) -> "Likeness | None":
        """None if it holds something that may change without being seen to."""
        try:
            values = tuple(value for name, module in network.named_modules() for value in (name, id(module), *_held(module)))
        except _Unknown:
            return None
        named = (*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False))
        tensors = [tensor for _, tensor in named]
        # `.data` passes the version by: what is small is more likely a switch than weights, and is compared itself
        small = tuple(tuple(tensor.flatten().tolist()) for tensor in tensors if tensor.numel() <= _SMALL)
        return cls((*values, small), tuple((weakref.ref(tensor), tensor._version) for tensor in tensors))

    def same(self, other: "Likeness") -> bool:
        """Whether nothing has changed."""
        if self.values != other.values or len(self.tensors) != len(other.tensors):
            return False
        pairs = zip(self.tensors, other.tensors, strict=True)
        return all(before() is not None and before() is now() and version == newer for (before, version), (now, newer) in pairs)


def _held(module: nn.Module) -> list[Any]:
    """The class, the attributes and the global values of one module.

    Raises:
        _Unknown: one of them may change without being seen to.
    """
    kind = type(module)
    held = [kind, module.training, *((name, _plain(value)) for name, value in vars(module).items() if name not in _OF_TORCH)]
    if not kind.__module__.startswith("torch."):
        code = getattr(kind.forward, "__code__", None)
        known = getattr(kind.forward, "__globals__", {})
        if code is None:
            raise _Unknown
        held += [(name, _plain(known[name])) for name in code.co_names if name in known]
    return held


def _plain(value: Any) -> Any:
    """Something equal to a value as long as that does not change.

    Raises:
        _Unknown: there is nothing like that.
    """
    if isinstance(value, FunctionType):  # which may hold the network, and would keep it
        return weakref.ref(value)
    if isinstance(value, (*_PLAIN, *_CODE)):
        return type(value), value
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_plain, value))
    if isinstance(value, dict):
        return dict, tuple((_plain(key), _plain(each)) for key, each in value.items())
    if is_dataclass(value):  # compared by what it holds, whether or not that may change
        return type(value), tuple(_plain(getattr(value, one.name)) for one in fields(value))
    raise _Unknown
