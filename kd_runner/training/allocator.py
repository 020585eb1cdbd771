"""The C library's allocator, set to keep freed memory."""

from __future__ import annotations

import ctypes
import platform

# <malloc.h> of the GNU C library.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_memory() -> bool:
    """Make glibc keep freed memory instead of returning it to the kernel; returns True where that was done.

    A training step on a CPU frees and allocates the same activations again and again. By default each allocation is
    made of fresh pages, and zeroing them costs as much as the arithmetic. The process keeps its peak memory until it
    ends. No effect with another C library, and none on CUDA, for which PyTorch has an allocator of its own.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    # No separate mapping for a large block (a threshold would end at 32 MB), and nothing returned below 2 GB.
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * 2**20}
    done = [libc.mallopt(option, value) == 1 for option, value in options.items()]
    return all(done)
