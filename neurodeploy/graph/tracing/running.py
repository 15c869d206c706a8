"""A module while it runs: what its functions and layers are called, and how it is left as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import resolve_name

from neurodeploy.graph.ops.operation import LAYERS, REFUSED_LAYERS

# fmt: off
FACTS = frozenset((
    *("shape", "size", "dim", "ndim", "ndimension", "dtype", "device", "layout", "numel", "nelement", "element_size"),
    *("is_floating_point", "is_complex", "is_signed", "is_contiguous", "is_cuda", "is_cpu", "is_sparse"),
    *("is_quantized", "is_meta", "is_mps", "is_xla", "requires_grad", "grad_fn", "is_leaf", "grad", "names"),
    *("stride", "storage_offset", "__len__", "__hash__", "get_device", "is_same_size", "itemsize", "nbytes"),
    *("output_nr", "_version", "zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty"),
    *("new_full", "new_tensor"),
))
# fmt: on
"""What is asked of a tensor without reading its values."""

_DUNDERS = {
    **{f"__{form}{name}__": name for name in ("add", "sub", "mul") for form in ("", "i")},
    **{"__radd__": "add", "__rmul__": "mul", "__rsub__": "rsub", "__neg__": "neg", "__matmul__": "matmul"},
    **{"__truediv__": "div", "__itruediv__": "div", "__rtruediv__": "reciprocal", "__rdiv__": "reciprocal"},
}
_PER_CLASS = ("__init__", "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "extra_repr")
_OWN = (*_PER_CLASS, "__static_attributes__", "__firstlineno__", "__annotate_func__", "__annotations_cache__", "__parameters__")
"""What a class may define without computing anything else than the class that it derives from."""


def base_of(module: nn.Module) -> type | None:
    """The class that a layer has, or the next one that it derives from, which becomes a node as a whole."""
    return next((one for one in type(module).__mro__ if full_name(one) in LAYERS), None)


def registered(module: nn.Module) -> str:
    """The registered name that a layer's class, or the next one that it derives from, has."""
    names = (full_name(one) for one in type(module).__mro__)
    return next((name for name in names if name in LAYERS or name in REFUSED_LAYERS), "")


def full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def overridden(module: nn.Module, base: type) -> str:
    """What a layer has that makes it compute something else than a class which it derives from; empty if nothing."""
    before = type(module).__mro__[: type(module).__mro__.index(base)]
    names = [name for kind in before for name in vars(kind) if name not in _OWN and hasattr(base, name)]
    names += [name for name in vars(module) if callable(getattr(base, name, None))]
    return ", ".join(dict.fromkeys(names))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation mode, and with every layer's mode and buffers as they were afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


@contextmanager
def restored(network: nn.Module) -> Iterator[None]:
    """Every layer's own forward is back afterwards."""
    before = [(module, module.__dict__.get("forward")) for module in network.modules()]
    try:
        yield
    finally:
        for module, forward in before:
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


def precision_of(network: nn.Module, samples: Tensor) -> str:
    """What is wrong if the weights are of another precision than samples are."""
    for name, weight in network.named_parameters():
        if weight.is_floating_point() and weight.dtype != samples.dtype:
            return f"tensor {name} is {weight.dtype}, {samples.dtype} expected; call .float() on the module first"
    return ""


def tensors_of(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors_of(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_of(value)


def function_name(function: Callable[..., Any]) -> str:
    """`relu` of `torch.relu_`, `Tensor.relu` and `torch.nn.functional.relu`; `shape` of the property."""
    full = resolve_name(function) or getattr(function, "__name__", str(function))
    if full == "torch.spmm":  # torch.mm is the same object, by the name that everyone knows
        full = "torch.mm"
    parts = full.split(".")
    name = parts[-2] if parts[-1] == "__get__" else parts[-1]
    return _DUNDERS.get(name, name if name.startswith("__") else name.rstrip("_"))


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
