"""How kernels lay out memory: page faults, strides, constants in time, and glibc's allocator."""

import ctypes
import os
import sys
import threading
import weakref
from bisect import bisect
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.io.errors import UserError

if sys.platform != "win32":
    from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
if sys.platform == "linux":
    from mmap import MADV_DONTNEED, MADV_HUGEPAGE

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


def is_followed() -> bool:
    """Whether torch writes down what is computed, to compute it again later: a buffer of now would become a part of that."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


_LARGE = 2 << 20  # bytes, those of a huge page; the C library keeps and reuses smaller blocks itself


def empty(shape: Sequence[int], like: Tensor, *, channels_last: bool = False) -> Tensor:
    """`torch.empty` of this shape with the dtype and device of `like`; its values are anything.

    A large tensor on a CPU is in a buffer that is used again once nothing refers to the tensor's memory any more.

    Args:
        shape: of the tensor.
        like: see above.
        channels_last: `[N, C, H, W]` in memory in the order `[N, H, W, C]`.
    """
    size = prod(shape) * like.element_size()
    plain = type(like) in (Tensor, torch.nn.Parameter) and like.device.type == "cpu"
    if size < _LARGE or not plain or is_followed():
        order = torch.channels_last if channels_last else torch.contiguous_format
        return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)
    flat = torch.from_numpy(BUFFERS.lend(size)).view(like.dtype)[: prod(shape)]
    if channels_last:
        count, channels, *sides = shape
        return flat.view(count, *sides, channels).movedim(-1, 1)
    return flat.view(*shape)


class _Lent(np.ndarray[Any, Any]):
    """A buffer in use: a class of its own, because numpy's takes no weak references."""


@dataclass(eq=False)
class _Chunk:
    """Memory that is mapped at once.

    Attributes:
        memory: `[bytes]`.
        free: first and last + 1 of what nobody uses, in order; no two of them touch.
        block: where the memory is; None where the system maps none for us.
    """

    memory: NDArray[np.uint8]
    free: list[tuple[int, int]]
    block: "mmap | None" = None

    @property
    def idle(self) -> bool:
        return self.free == [(0, len(self.memory))]

    def take(self, size: int) -> int | None:
        """Where `size` bytes begin that are in use from now on: as far to the front as possible, where pages are in place."""
        for number, (start, stop) in enumerate(self.free):
            if stop - start >= size:
                self.free[number : number + 1] = [(start + size, stop)] if stop - start > size else []
                return start
        return None

    def give(self, start: int, stop: int) -> None:
        number = bisect(self.free, (start, stop))
        first, last = number, number
        if number and self.free[number - 1][1] == start:
            first, start = number - 1, self.free[number - 1][0]
        if number < len(self.free) and self.free[number][0] == stop:
            last, stop = number + 1, self.free[number][1]
        self.free[first:last] = [(start, stop)]

    def clear(self) -> None:
        """The pages of what nobody uses go back to the system, and come again, as zeros, when they are touched."""
        if self.block is not None and sys.platform == "linux":
            for start, stop in self.free:
                self.block.madvise(MADV_DONTNEED, start, stop - start)


class Buffers:
    """Large blocks of memory, kept from one step of a training to the next.

    The C library maps such a block anew each time and unmaps it at once, so that every pass would fault in, and clear, all the
    pages of its activations again: at many time steps that takes longer than computing them. What is kept is bounded by what
    was in use at once before, and a little: `_SPARE`.
    """

    _SPARE = 1.125  # buffers of several sizes, one after the other, leave gaps

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self._in_use = self._peak = 0
        self._lock = threading.Lock()
        self._returned: deque[tuple[_Chunk, int, int]] = deque()

    @property
    def mapped(self) -> int:
        """Bytes, in use and free."""
        return sum(len(chunk.memory) for chunk in self._chunks)

    def lend(self, size: int) -> NDArray[np.uint8]:
        """A buffer of at least `size` bytes, which comes back by itself once nobody refers to it."""
        size = -(-size // _LARGE) * _LARGE
        with self._lock:
            self._collect()
            if not self._in_use and len(self._chunks) > 1:  # one for all has no borders at which buffers would not fit
                self._chunks = [_chunk(max(size, self._bound))]
            chunk, start = self._place(size)
            self._in_use += size
            self._peak = max(self._peak, self._in_use)
        lent = chunk.memory[start : start + size].view(_Lent)
        # without the lock, which may be held: the last reference can go in the middle of any line
        weakref.finalize(lent, self._returned.append, (chunk, start, start + size)).atexit = False
        return lent

    def release(self) -> None:
        """Give back to the system what is free, and forget how much was in use."""
        with self._lock:
            self._collect()
            self._chunks = [chunk for chunk in self._chunks if not chunk.idle]
            self._peak = self._in_use

    @property
    def _bound(self) -> int:
        return int(self._peak * self._SPARE) // _LARGE * _LARGE

    def _collect(self) -> None:
        while self._returned:
            chunk, start, stop = self._returned.popleft()
            chunk.give(start, stop)
            self._in_use -= stop - start

    def _place(self, size: int) -> tuple[_Chunk, int]:
        for chunk in self._chunks:
            start = chunk.take(size)
            if start is not None:
                return chunk, start
        if self.mapped + size > max(self._bound, self._in_use + size):
            self._chunks = [chunk for chunk in self._chunks if not chunk.idle]
        chunk = _chunk(size)
        gaps = [one for one in self._chunks if one.free]
        for one in gaps:  # which are too small, and would be kept beside what takes their place
            one.clear()
        self._chunks = [*(one for one in self._chunks if not one.free), chunk, *gaps]  # those with pages in place come first
        start = chunk.take(size)
        assert start is not None
        return chunk, start


BUFFERS = Buffers()
if sys.platform != "win32":
    # another thread, which does not exist in the child, may have held the lock
    os.register_at_fork(after_in_child=lambda: setattr(BUFFERS, "_lock", threading.Lock()))


def _chunk(size: int) -> _Chunk:
    """Fresh memory, by huge pages where the system has them: the first touch of each page of 4 KiB would be a fault."""
    if sys.platform == "win32":
        return _Chunk(np.empty(size, np.uint8), [(0, size)])
    # private: after a fork the child must not write into the parent's activations
    block = mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel without huge pages
            block.madvise(MADV_HUGEPAGE)
    return _Chunk(np.frombuffer(block, np.uint8), [(0, size)], block)


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
