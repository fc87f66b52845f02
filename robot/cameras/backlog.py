"""`Backlog`: which frames of a stream are old on arrival."""

from __future__ import annotations

_GAP_PERIODS = 3.0
_LEAST_GAP_NS = 150_000_000
_QUICK = 0.5
"""A frame that came after less than this share of a period had been waiting."""
_SHARE = 0.25
"""Of a new interval in the estimate of the period."""
_LONGEST_NS = 1_000_000_000
"""Of a queue. A reader that is slower than its stream always finds a frame waiting."""


class Backlog:
    """After a stall of the network or of this process, and at the start, frames that queued arrive
    at once: they are old, and nothing in them says so. Pure: instants come from the caller."""

    def __init__(self, period_ns: int) -> None:
        """`period_ns` is that of the rate that is expected; the real one is learnt."""
        self._period_ns = float(period_ns)
        self._arrival_ns = 0
        self._draining_ns: int | None = 0
        """Since when frames are dropped; 0 at the start, None while they are taken."""

    def is_old(self, asked_ns: int, arrival_ns: int) -> bool:
        """Whether the frame that was asked for at `asked_ns` and came at `arrival_ns` had been
        waiting, or is the first after a stall: the next one is to be read in its place."""
        interval_ns, self._arrival_ns = arrival_ns - self._arrival_ns, arrival_ns
        quick = arrival_ns - asked_ns < _QUICK * self._period_ns
        if self._draining_ns is not None and quick:
            self._draining_ns = self._draining_ns or arrival_ns
            if arrival_ns - self._draining_ns < _LONGEST_NS:
                return True
        stalled = interval_ns > max(_GAP_PERIODS * self._period_ns, _LEAST_GAP_NS)
        learnt_ns = min(interval_ns, 4 * self._period_ns)
        self._period_ns += _SHARE * (learnt_ns - self._period_ns)
        if self._draining_ns is not None:
            self._draining_ns = None
            return False
        if stalled:
            self._draining_ns = arrival_ns
        return stalled
