"""The C heap of an actor's process.

By default glibc gives a block as large as an image back to the kernel when it is freed, and takes
a fresh one, zeroed and faulted in page by page, for the next: for the three cameras of a request
that costs more than copying them does (each 900 KB image is 225 faults).
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_BLOCK = 32 << 20
"""The largest threshold that glibc takes: larger blocks go back to the kernel as ever."""
_MOST_KEPT = 64 << 20


def keep_blocks() -> bool:
    """Let this process use its freed blocks again, and hold up to 64 MiB of them; False where the C
    library has no `mallopt` (musl), and nothing is changed. See mallopt(3)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)) and bool(
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
    )
