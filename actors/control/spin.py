"""`SpinWindow`: how long before a deadline a loop wakes up, to spin for the rest.

A core that idles takes its time to wake up, 50 to 200 µs in a virtual machine, and spinning hides
that. A core that others use wakes a sleeper at once, but takes itself back from one that spins:
there, spinning costs milliseconds. So the window follows what is observed:

* its length is the 99th percentile of the oversleep. What exceeds MAX_NS is not learnt from: such
  wake-ups wait for others to leave the core, and no spinning helps.
* it is closed while the typical oversleep is small, because then there is nothing to hide,
* and for a while after the kernel took the core away from the loop (an involuntary context
  switch): somebody else wants it.

Pure: it is told what happened and knows no clock.
"""

from __future__ import annotations

MAX_NS = 400_000
_START_NS = 200_000
_RISE_NS, _FALL_NS = 4_000, 40
"""Up when one of a hundred is beyond the window, down otherwise: where these balance is p99."""

_TYPICAL_STEP_NS = 1_000
"""The typical oversleep is a running median: it moves by so much towards each observation."""

_OPEN_NS, _CLOSE_NS = 55_000, 40_000
CALM_TICKS = 50


class SpinWindow:
    """`ns` is the length to use at the next deadline."""

    def __init__(self) -> None:
        self._length = _START_NS
        self._typical = _START_NS // 2
        self._open = True
        self._calm = 0
        self._switches = -1

    @property
    def ns(self) -> int:
        return self._length if self._open and not self._calm else 0

    def learn(self, oversleep_ns: int, switches: int) -> None:
        """A sleep ended so much later than it was to, and the thread's involuntary context switches
        number `switches` by now."""
        self._calm = max(self._calm - 1, 0)
        if switches > self._switches >= 0:
            self._calm = CALM_TICKS
        self._switches = switches
        if oversleep_ns > MAX_NS:
            return
        if oversleep_ns > self._length:
            self._length = min(self._length + _RISE_NS, MAX_NS)
        else:
            self._length = max(self._length - _FALL_NS, 0)
        self._typical += _TYPICAL_STEP_NS if oversleep_ns > self._typical else -_TYPICAL_STEP_NS
        if self._typical > _OPEN_NS:
            self._open = True
        elif self._typical < _CLOSE_NS:
            self._open = False
