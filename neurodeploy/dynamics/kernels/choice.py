"""Which kernel runs the multi-step update: chosen by device and dtype, or by name for a block of code."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from neurodeploy.dynamics.kernels import handwritten, native
from neurodeploy.dynamics.neurons import Dynamics
from neurodeploy.dynamics.surrogates import Surrogate
from neurodeploy.io.errors import UserError

KERNELS = ("reference", "handwritten", "native", "fused", "compiled")
_chosen: ContextVar[str | None] = ContextVar("kernel", default=None)


class _Kernel(Protocol):
    def __call__(
        self, current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
    ) -> tuple[Tensor, Tensor]: ...


@contextmanager
def using(name: str) -> Iterator[None]:
    """Inside, every spiking layer runs the kernel of this name, whatever its device.

    Raises:
        UserError: no such kernel, or what it needs is not installed.
    """
    _kernel(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def multi_step(
    current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """The multi-step update by the best kernel for these tensors; see `kernels.reference.multi_step` for the arguments."""
    chosen = _chosen.get()
    if chosen is None and native.suits(current, v0, parameters) and (library := native.BUILD.now()) is not None:
        return native.run(library, current, v0, parameters, surrogate, detach_reset=detach_reset)
    kernel = _kernel(chosen or _best_for(current))
    return kernel(current, v0, parameters, surrogate, detach_reset=detach_reset)


def _best_for(current: Tensor) -> str:
    """Of those that need nothing built."""
    fits = current.is_cuda and current.dtype in (torch.float32, torch.float64) and find_spec("triton") is not None
    return "fused" if fits else "handwritten"


@functools.cache
def _kernel(name: str) -> _Kernel:
    if name not in KERNELS:
        raise UserError(f"kernel {name!r}: not known; there are {', '.join(KERNELS)}")
    if name == "handwritten":
        return handwritten.multi_step
    try:
        kernel: _Kernel = import_module(f"neurodeploy.dynamics.kernels.{name}").multi_step
    except ModuleNotFoundError as error:
        raise UserError(f"kernel {name!r}: needs the package {error.name}; install it, or choose another kernel") from None
    return kernel
