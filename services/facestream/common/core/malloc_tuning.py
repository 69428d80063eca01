"""Has the C library keep large buffers for use again, in place of fetching fresh pages each time.

glibc gives every buffer above 128 kB pages of its own and returns them when it is freed, so each
batch of faces (49 kB a face of 128 px, in several copies on its way through gRPC) costs page
faults: measured with 8 faces of 160 px, a request took 2.9 ms of CPU, and 0.6 ms with the pages
kept. Elsewhere than on glibc nothing happens.
"""

from __future__ import annotations

import ctypes
import sys

# Numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT_BYTES = 32 * 1024 * 1024  # glibc refuses more
_MOST_KEPT_BYTES = 64 * 1024 * 1024
# Each arena keeps its own; one per thread, the default, would keep the same buffers many times.
_ARENAS = 2


def retain_large_buffers() -> bool:
    """Do so for this process, once, at its start; False where this C library cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    choices = [
        (_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES),
        (_M_TRIM_THRESHOLD, _MOST_KEPT_BYTES),
        (_M_ARENA_MAX, _ARENAS),
    ]
    taken = [mallopt(name, value) for name, value in choices]
    return all(taken)


def trim_heap() -> None:
    """Return what is free now, once, after something that needed much for a moment."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):  # not glibc
            pass
