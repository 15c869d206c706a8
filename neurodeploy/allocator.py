"""glibc's allocator, tuned for large activations: opt-in, at process start, for all subjects alike.

By default glibc maps every block of 32 MiB or more anew and returns it when freed, so each pass pays for page faults on all its
large activations; frameworks that step through time allocate smaller blocks and are spared. Tuned, memory is kept for reuse.
"""

import ctypes
import sys
from typing import Literal

Allocator = Literal["default", "tuned"]
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def tune() -> None:
    """Never map a block on its own, never give memory back, grow by 64 MiB.

    Raises:
        OSError: the C library is not glibc, or refuses.
    """
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        raise OSError("allocator: glibc expected for --allocator tuned")
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20)):
        if not mallopt(option, value):
            raise OSError(f"allocator: mallopt({option}, {value}) refused")
