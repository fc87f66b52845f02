"""`TickClock`: wakes the loop at absolute grid points, as punctually as the machine allows.

Guarantees: the n-th wake-up is due at a fixed grid point; time spent in a tick or overslept is
never made up by ticking faster. A wake-up that is a period late or more skips what it missed.

Does not guarantee: punctuality. That is the kernel's, which the clock helps in three ways. It waits
in `clock_nanosleep(TIMER_ABSTIME)` with a timer slack of 1 ns (Linux adds 50 µs otherwise). It asks
the scheduler for short slices, which wake sooner at the same share of the processor. And where
wake-ups are slow it sleeps to shortly before the deadline and spins the rest (see spin.py).
"""

from __future__ import annotations

import ctypes
from errno import EINTR
from time import monotonic_ns

from .spin import SpinWindow

_TIMER_ABSTIME = 1
_CLOCK_MONOTONIC = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_libc = ctypes.CDLL(None, use_errno=True)


class TickClock:
    """The grid `start + n * period`. `deadline_ns` is the grid point of the next wake-up."""

    def __init__(self, period_ns: int, start_ns: int, spin: bool = True):
        self.period_ns = period_ns
        self.deadline_ns = start_ns
        self.window = SpinWindow() if spin else None
        self._wake = _Timespec()
        self._wake_reference = ctypes.byref(self._wake)

    @property
    def spin_ns(self) -> int:
        """How long before the deadline the next sleep ends."""
        return min(self.window.ns, self.period_ns // 4) if self.window else 0

    def wait(self) -> int:
        """Sleep to the deadline; return how late the wake-up is, in ns, at least 0."""
        deadline_ns, wake_ns = self.deadline_ns, self.deadline_ns - self.spin_ns
        now_ns = monotonic_ns()
        if now_ns < wake_ns:
            self._sleep(wake_ns)
            now_ns = monotonic_ns()
            if self.window:
                self.window.learn(now_ns - wake_ns)
        while now_ns < deadline_ns:
            now_ns = monotonic_ns()
        return now_ns - deadline_ns

    def waited(self, ns: int) -> None:
        """Once a tick: how long the loop waited for its processor since the tick before."""
        if self.window:
            self.window.waited(ns)

    def advance(self, lateness_ns: int) -> int:
        """Move on to the next grid point after a wake-up that was late by `lateness_ns`; return how
        many grid points it missed."""
        missed = lateness_ns // self.period_ns
        self.deadline_ns += (missed + 1) * self.period_ns
        return missed

    def _sleep(self, until_ns: int) -> None:
        self._wake.seconds, self._wake.nanoseconds = divmod(until_ns, 1_000_000_000)
        # Interrupted by a signal it returns early: the handlers run, and it is entered again.
        while (
            _libc.clock_nanosleep(_CLOCK_MONOTONIC, _TIMER_ABSTIME, self._wake_reference, None)
            == EINTR
        ):
            pass


def resume_grid(last_ns: int, period_ns: int, now_ns: int) -> tuple[int, int]:
    """Continue the grid that the previous incarnation left at the deadline `last_ns`: (the next
    deadline, grid points at which no process ran). The newest point that passed is due at once.
    """
    passed = (now_ns - last_ns) // period_ns
    if passed < 1:
        return last_ns + period_ns, 0
    return last_ns + passed * period_ns, passed - 1
