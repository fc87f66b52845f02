"""What a process asks of the kernel's scheduler, so that it wakes up sooner. It needs no privilege
and takes nothing from others.
"""

from __future__ import annotations

import ctypes
import platform
import struct

_PR_SET_TIMERSLACK = 29
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
_SYSCALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""The numbers of sched_setattr and sched_getattr, for which the C library has no functions."""

SLICE_NS = 100_000

_libc = ctypes.CDLL(None, use_errno=True)


def set_timer_slack(ns: int = 1) -> bool:
    """Let the kernel delay this thread's timers by at most `ns`; False where it cannot be set."""
    return bool(_libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(ns), 0, 0, 0) == 0)


def set_slice(ns: int = SLICE_NS) -> bool:
    """Ask for scheduler slices of `ns` (Linux 6.12: EEVDF): a process with a shorter one has the
    earlier deadline when it wakes up. Its share of the processor stays the same, so it needs no
    privilege. False where the kernel does not know them."""
    numbers = _SYSCALLS.get(platform.machine())
    if numbers is None:
        return False
    setattr_number, getattr_number = numbers
    attr = ctypes.create_string_buffer(_SCHED_ATTR.size)

    def current() -> list[int]:
        if _libc.syscall(getattr_number, 0, attr, _SCHED_ATTR.size, 0):
            return []
        return list(_SCHED_ATTR.unpack(attr.raw))

    fields = current()
    if not fields or fields[1] != 0:  # not an ordinary process: real-time ones have no slices
        return False
    fields[0], fields[5] = _SCHED_ATTR.size, ns
    attr.raw = _SCHED_ATTR.pack(*fields)
    return _libc.syscall(setattr_number, 0, attr, 0) == 0 and current()[5] == ns
