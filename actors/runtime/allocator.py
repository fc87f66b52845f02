"""The C heap of an actor's process.

By default glibc gives a block as large as an image back to the kernel when it is freed, and maps a
new one, zeroed and faulted in page by page, for the next. For the three cameras of a request that
costs more than copying them does (each 900 KB image is 225 faults).
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_LARGEST_BLOCK = 32 << 20
"""The largest threshold that glibc accepts: larger blocks always go back to the kernel."""
_MOST_KEPT = 64 << 20
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TRIM_NS = 1_000_000_000
_LONGEST_TRIM_NS = 60_000_000_000


def keep_blocks() -> bool:
    """Let this process reuse its freed blocks, and hold up to 64 MiB of them (mallopt(3)). Returns
    False, and changes nothing, where the C library has no `mallopt` (musl)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)) and bool(
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
    )


def one_arena() -> bool:
    """Let all threads started later allocate from the main heap, because glibc keeps up to 64 MiB
    of each other arena. For processes whose threads allocate little; False without `mallopt`."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 1))


def private_bytes() -> int:
    """The resident size of this process without shared segments and files, as the supervisor
    counts it."""
    _, resident, shared, *_ = map(int, _STATM.read_bytes().split())
    return (resident - shared) * _PAGE_BYTES


def give_back() -> bool:
    """Give freed blocks of all arenas back to the kernel (malloc_trim(3)). Returns False where the
    C library has no `malloc_trim`. Takes some milliseconds per hundred megabytes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))


@dataclass
class MemoryWatermark:
    """Decides when a process gives memory back that it took for what its peers sent. Pure.

    `low_bytes` is what the process needs without traffic: its size at first, or after its last
    trim.
    """

    low_bytes: int
    next_trim_ns: int = 0
    _pause_ns: int = _TRIM_NS

    def check(
        self, used_bytes: int, max_growth_bytes: int, now_ns: int
    ) -> Literal["", "trim", "exceeded"]:
        """`exceeded` when the process has grown by more than `max_growth_bytes`, `trim` when it
        holds more than it may keep and a trim is due."""
        growth = used_bytes - self.low_bytes
        if growth > max_growth_bytes:
            return "exceeded"
        if growth <= _MOST_KEPT // 2:
            self._pause_ns = _TRIM_NS
            return ""
        return "trim" if now_ns >= self.next_trim_ns else ""

    def trimmed(self, used_bytes: int, now_ns: int) -> None:
        """Record a trim after which the process uses `used_bytes`."""
        # Memory in constant use cannot be given back: trying twice as seldom each time.
        self.next_trim_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_TRIM_NS)
        self.low_bytes = min(self.low_bytes, used_bytes)
