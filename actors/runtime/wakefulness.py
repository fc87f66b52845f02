"""What a process asks of the kernel's scheduler, so that it wakes up sooner, or lets others do so.

It needs no privilege and changes no share of the processor.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from pathlib import Path

_PR_SET_TIMERSLACK = 29
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
_SYSCALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""The numbers of sched_setattr and sched_getattr, for which the C library has no functions."""

SLICE_NS = 100_000
LONG_SLICE_NS = 10_000_000
"""Of a process that computes for milliseconds at a time: longer ones gained a control loop nothing
more, and made its greatest lateness worse."""

_libc = ctypes.CDLL(None, use_errno=True)


def set_timer_slack(ns: int = 1) -> bool:
    """Let the kernel delay this thread's timers by at most `ns`; False where it cannot be set."""
    return bool(_libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(ns), 0, 0, 0) == 0)


def set_slice(ns: int = SLICE_NS, thread: int = 0) -> bool:
    """Ask for scheduler slices of `ns` (Linux 6.12: EEVDF): a process with a shorter one has the
    earlier deadline when it wakes up. Its share of the processor stays the same, so it needs no
    privilege. `thread` is the id of one, 0 the caller's. False where the kernel does not know
    slices, or where there is no such ordinary thread."""
    fields = _attributes(thread)
    if not fields or fields[1] != 0:  # real-time threads have no slices
        return False
    fields[0], fields[5] = _SCHED_ATTR.size, ns
    asked = ctypes.create_string_buffer(_SCHED_ATTR.pack(*fields), _SCHED_ATTR.size)
    setattr_number, _ = _SYSCALLS[platform.machine()]
    return _libc.syscall(setattr_number, thread, asked, 0) == 0 and slice_ns(thread) == ns


def set_slices(ns: int) -> None:
    """Ask for slices of `ns` for every thread that this process has now; those that they start
    later have them too."""
    for thread in Path("/proc/self/task").iterdir():
        set_slice(ns, int(thread.name))


def slice_ns(thread: int = 0) -> int:
    """The slice of a thread; 0 where the kernel does not know slices, or there is no such one."""
    fields = _attributes(thread)
    return fields[5] if fields else 0


def _attributes(thread: int) -> list[int]:
    """The fields of its `struct sched_attr`; none where they cannot be read."""
    if platform.machine() not in _SYSCALLS:
        return []
    _, getattr_number = _SYSCALLS[platform.machine()]
    attr = ctypes.create_string_buffer(_SCHED_ATTR.size)
    if _libc.syscall(getattr_number, thread, attr, _SCHED_ATTR.size, 0):
        return []
    return list(_SCHED_ATTR.unpack(attr.raw))
