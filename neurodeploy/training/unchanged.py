"""Whether a network is still what it was: so that what was found out about it need not be found out again at every call."""

import weakref
from dataclasses import dataclass, fields, is_dataclass
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
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

    What is not seen: a change of what classes of other objects hold, and one of large tensors through `.data`.

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
    if not _is_constant(kind.__module__):
        if not isinstance(kind.forward, FunctionType):
            raise _Unknown
        held += _read_by(kind.forward, kind, set())
    return held


def _is_constant(module: str | None) -> bool:
    """Whether the code of a Python module reads no switches that its user would turn."""
    return (module or "").split(".")[0] in ("torch", "numpy", "math", "neurodeploy", "builtins")


def _read_by(function: FunctionType, kind: type, seen: set[CodeType]) -> list[Any]:
    """What code reads that is no argument: defaults, and values of its closure, its module, its class and other modules.

    Functions that it calls by their names are followed.

    Args:
        function: of the class, or called by one.
        kind: the class.
        seen: code that has been followed.

    Raises:
        _Unknown: something may change without being seen to.
    """
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    places = [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    read = [_followed(value, kind, seen) for value in places]
    for name in _names(function.__code__, seen):
        found = [function.__globals__[name]] if name in function.__globals__ else []
        modules = (
            one for one in function.__globals__.values() if isinstance(one, ModuleType) and not _is_constant(one.__name__)
        )
        found += [vars(one)[name] for one in modules if name in vars(one)]
        own = next((vars(one)[name] for one in kind.__mro__ if name in vars(one)), None)
        if not isinstance(own, property | classmethod | staticmethod):
            found.append(own)
        read += [(name, _followed(value, kind, seen)) for value in found]
    return read


def _is_filled(cell: CellType) -> bool:
    """Whether a variable of a closure has a value; that of `super()`, the class itself, is none."""
    try:
        return not isinstance(cell.cell_contents, type)
    except ValueError:
        return False


def _names(code: CodeType, seen: set[CodeType]) -> list[str]:
    """That code reads, with the functions and comprehensions inside it; none the second time."""
    if code in seen:
        return []
    seen.add(code)
    inside = (one for one in code.co_consts if isinstance(one, CodeType))
    return [*code.co_names, *(name for one in inside for name in _names(one, seen))]


def _followed(value: Any, kind: type, seen: set[CodeType]) -> Any:
    if isinstance(value, FunctionType):
        return weakref.ref(value), () if _is_constant(value.__module__) else tuple(_read_by(value, kind, seen))
    return _plain(value)


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
