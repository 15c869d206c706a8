"""glibc's allocator, tuned for large activations: opt-in, for the whole process, before it computes anything.

By default glibc maps every block of 32 MiB or more anew and returns it when freed, so that each pass over a batch pays for page
faults on all its large activations. Tuned, memory is kept for reuse: the process is faster, and never gives any back.
"""

import ctypes
import sys
from typing import Literal

from neurodeploy.errors import UserError

Allocator = Literal["default", "tuned"]
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def tune() -> None:
    """Never map a block on its own, never give memory back, grow by 64 MiB.

    Raises:
        UserError: the C library is not glibc, or refuses.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        raise UserError("allocator: only glibc's, on Linux, can be tuned; leave the option out")
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20)):
        if not library.mallopt(option, value):
            raise UserError(f"allocator: mallopt({option}, {value}) refused by this glibc; leave the option out")
