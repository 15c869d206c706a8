"""Large new tensors on huge pages, where Linux gives them on request.

A tensor of many MiB is fresh memory to the process: its first writing pays one page fault for every 4 KiB, which can cost more
than computing it (measured on a virtual machine: 83 ms for 128 MiB, 14 ms with huge pages, 5 ms to write it again). Linux
gives pages of 2 MiB to those who ask by `madvise` (`/sys/kernel/mm/transparent_hugepage/enabled`); it is a hint, so a refusal
changes nothing but the speed.
"""

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from mmap import PAGESIZE

import torch
from torch import Tensor

_MADV_HUGEPAGE = 14  # asm-generic/mman-common.h
_LARGE = 8 << 20  # bytes; a few huge pages, so that what is lost at both ends is little


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """`torch.empty` of this shape with the dtype and device of `like`; its values are anything."""
    new = torch.empty(shape, dtype=like.dtype, device=like.device)
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
