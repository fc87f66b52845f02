"""`ordinary_priority`: an encoder that is opened inside stays in its process's scheduling class.

SVT-AV1 (seen with 4.1.0) puts its threads into the real-time class (SCHED_FIFO, priority 99) where
its process is root's, and the thread that opens it too: what is meant to have the lowest priority
would then keep control loops from running. It finds out once per process whether it may.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CAP_SYS_NICE = 23
_VERSION = 0x20080522
"""Of the structures of capget(2) and capset(2), with two words of each set."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """The calling thread may not change scheduling classes inside; threads that it starts there
    never may. Elsewhere than on Linux it does nothing."""
    if sys.platform != "linux":
        yield
        return
    before, without = _sets(), _sets()
    without[0].effective &= ~(1 << _CAP_SYS_NICE)
    _set(without)
    try:
        yield
    finally:
        _set(before)


_libc = ctypes.CDLL(None, use_errno=True)


def _sets() -> ctypes.Array[_Sets]:
    sets = (_Sets * 2)()
    _called(_libc.capget(ctypes.byref(_Header(_VERSION, 0)), sets))
    return sets


def _set(sets: ctypes.Array[_Sets]) -> None:
    _called(_libc.capset(ctypes.byref(_Header(_VERSION, 0)), sets))


def _called(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), "capabilities of the thread cannot be read or set")
