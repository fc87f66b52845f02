"""The C heap of an actor's process.

By default glibc gives a block as large as an image back to the kernel when it is freed, and takes
a fresh one, zeroed and faulted in page by page, for the next: for the three cameras of a request
that costs more than copying them does (each 900 KB image is 225 faults).
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
"""The largest threshold that glibc takes: larger blocks go back to the kernel as ever."""
_MOST_KEPT = 64 << 20
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TRIM_NS = 1_000_000_000
_LONGEST_TRIM_NS = 60_000_000_000


def keep_blocks() -> bool:
    """Let this process use its freed blocks again, and hold up to 64 MiB of them; False where the C
    library has no `mallopt` (musl), and nothing is changed. See mallopt(3)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)) and bool(
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
    )


def one_arena() -> bool:
    """Let all threads to come allocate from the main heap: of other arenas glibc gives the last 64
    MiB back to nobody. For processes whose threads allocate little; False without `mallopt`."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 1))


def resident_bytes() -> int:
    """What of this process is in memory now."""
    return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES


def give_back() -> bool:
    """Give freed blocks of all arenas back to the kernel, as malloc_trim(3) does; False where the C
    library has none. Takes some milliseconds for each hundred megabytes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))


@dataclass
class Tide:
    """What to do about memory that comes and goes with what peers send. Pure.

    `low` is what the process needs when nothing happens: what it had at first, or after it gave
    back last.
    """

    low: int
    next_trim_ns: int = 0
    _pause_ns: int = _TRIM_NS

    def at(self, resident: int, most: int, now: int) -> Literal["", "trim", "flood"]:
        """`flood` when more than `most` bytes were added, `trim` when more than a process keeps."""
        if resident - self.low > most:
            return "flood"
        if resident - self.low <= _MOST_KEPT // 2:
            self._pause_ns = _TRIM_NS
            return ""
        return "trim" if now >= self.next_trim_ns else ""

    def trimmed(self, resident: int, now: int) -> None:
        """It gave back what it could. What it uses all the time is not given back each time."""
        self.next_trim_ns = now + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_TRIM_NS)
        self.low = min(self.low, resident)
