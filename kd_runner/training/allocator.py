"""The C library's allocator, told to keep what it has."""

from __future__ import annotations

import ctypes
import platform

# <malloc.h> of the GNU C library.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_memory() -> bool:
    """Make glibc keep freed memory instead of handing it back to the kernel; whether that was done.

    A training step on a CPU frees and allocates the same activations again and again; by default each
    comes as fresh pages, and zeroing them costs as much as the arithmetic. No effect elsewhere, and none
    on CUDA, whose allocator PyTorch brings itself. The process holds on to its peak memory until it ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    # No mapping of its own for a large block (a threshold would end at 32 MB), and nothing given back below 2 GB.
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * 2**20}
    done = [libc.mallopt(option, value) == 1 for option, value in options.items()]
    return all(done)
