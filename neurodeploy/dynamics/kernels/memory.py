"""How kernels lay out memory: page faults, strides, constants in time, and glibc's allocator."""

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from mmap import PAGESIZE
from typing import Literal, TypeVar

import torch
from torch import Tensor

from neurodeploy.io.errors import UserError

MaybeTensor = TypeVar("MaybeTensor", Tensor, Tensor | None)
_VIEWS = {"ExpandBackward0", "ViewBackward0", "UnsqueezeBackward0"}


def repeated(current: Tensor) -> Tensor | None:
    """What `current`, `[T, …]`, repeats: `[1, …]`, whose gradient goes straight to it; None if `current` is no such view.

    Only views are between the two, none of which keeps a gradient of its own, so nothing that autograd would do is left out.
    """
    base = current._base
    if base is None or len(current) < 2 or current.stride(0) != 0 or current.retains_grad or not torch.is_grad_enabled():
        return None
    same = base.numel() == current[0].numel() and base.data_ptr() == current.data_ptr()
    plain = base.is_contiguous() and current[0].is_contiguous()
    ordered = plain or (base.shape == current.shape[1:] and base.stride() == current.stride()[1:])
    if not (same and ordered and base.grad_fn is not None):
        return None
    step = current.grad_fn
    while step is not None and step is not base.grad_fn:
        if step.name() not in _VIEWS:
            return None
        step = step.next_functions[0][0]
    return None if step is None else base.view(1, *current.shape[1:])


@dataclass(frozen=True)
class Layout:
    """In which order the axes of one time step are in memory.

    Attributes:
        axes: of a step, the one with the largest stride first.
    """

    axes: tuple[int, ...]

    @classmethod
    def of(cls, sequence: Tensor) -> "Layout":
        """The order of each step of `[T, …]`; the order of the axes themselves where a step has gaps or repeats its values."""
        plain = cls(tuple(range(sequence.ndim - 1)))
        strides = sequence.stride()[1:]
        ordered = cls(tuple(sorted(plain.axes, key=lambda axis: -strides[axis])))
        return ordered if len(sequence) and ordered.lay(sequence)[0].is_contiguous() else plain

    def lay(self, x: MaybeTensor) -> MaybeTensor:
        """A view of `[T, …]`, or of one step, with its axes in this order; nothing of nothing."""
        if x is None:
            return x
        lead = x.ndim - len(self.axes)
        return x.permute(*range(lead), *(lead + axis for axis in self.axes))

    def restore(self, x: Tensor) -> Tensor:
        """What `lay` was given."""
        lead = x.ndim - len(self.axes)
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return x.permute(*range(lead), *(lead + axis for axis in inverse))


_MADV_HUGEPAGE = 14  # asm-generic/mman-common.h
_LARGE = 8 << 20  # bytes; a few huge pages, so that what is lost at both ends is little


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """`torch.empty` of this shape with the dtype and device of `like`; its values are anything."""
    new = torch.empty(shape, dtype=like.dtype, device=like.device)
    # the first touch of each page of 4 KiB is a fault; huge pages have 2 MiB
    size = new.numel() * new.element_size()
    if size >= _LARGE and type(new) is Tensor and new.device.type == "cpu" and (advise := _advise()) is not None:
        start = -(-new.data_ptr() // PAGESIZE) * PAGESIZE
        advise(start, (new.data_ptr() + size - start) // PAGESIZE * PAGESIZE, _MADV_HUGEPAGE)
    return new


@functools.cache
def _advise() -> Callable[[int, int, int], int] | None:
    """`madvise(address, length, advice)`, or None on other systems than Linux."""
    if sys.platform != "linux":
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes, madvise.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return madvise


Allocator = Literal["default", "tuned"]
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def tune() -> None:
    """Never map a block on its own, never give memory back, grow by 64 MiB.

    Raises:
        UserError: the C library is not glibc, or refuses.
    """
    # glibc maps large blocks anew and gives them back at once: every activation would fault in its pages again
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        raise UserError("allocator: only glibc's, on Linux, can be tuned; leave the option out")
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20)):
        if not library.mallopt(option, value):
            raise UserError(f"allocator: mallopt({option}, {value}) refused by this glibc; leave the option out")
