"""`SpinWindow`: how long before a deadline a loop wakes up, to spin for the rest.

A core that idles takes its time to wake up, 50 to 200 µs in a virtual machine, and spinning hides
that. Where others want the core, spinning is paid for: the kernel takes the core from a loop that
spins, or lets one wait that has used more than it would by sleeping, for milliseconds. What a
machine does changes by the minute, so the window follows what is observed:

* its length is the 99.75th percentile of the oversleep: of the 99th, one tick of a hundred would be
  late by construction. What exceeds LOST_NS is not learnt from: such
  wake-ups wait for others to leave the core, and no spinning helps.
* it is closed for a few ticks when the loop lost the core twice within CLEAN_SPINS, and for twice
  as many when that happens again soon. A single loss is a pause of the machine, which spinning
  neither causes nor ends: a window closed for it would only make the ticks after it late.

Pure: what happened comes from the caller; it reads no clock.
"""

from __future__ import annotations

LOST_NS = 400_000
"""A wake-up or the end of a spin that is so late means that other processes had the core, for a
millisecond or more. No window is longer."""

_START_NS = 200_000
_RISE_NS, _FALL_NS = 16_000, 40
"""Up when one of 400 is beyond the window, down otherwise: where these balance is p99.75."""

LEAST_REST, MOST_REST = 2, 256
CLEAN_SPINS = 32
"""So many spins in a row that kept the core make up for those before: a virtual machine's own
pauses are rarer than that, the claims of others are not. Within so many the second loss counts."""


class SpinWindow:
    """`ns` is the length to use at the next deadline."""

    def __init__(self) -> None:
        self._length_ns = _START_NS
        self._rest = 0
        self._next_rest = 0
        self._clean = 0

    @property
    def ns(self) -> int:
        return 0 if self._rest else self._length_ns

    def learn(self, oversleep_ns: int) -> None:
        """The sleep before a deadline ended `oversleep_ns` later than asked."""
        if self._rest:
            self._rest -= 1
        elif oversleep_ns > LOST_NS:
            self._lost()
        if oversleep_ns > LOST_NS:
            return
        if oversleep_ns > self._length_ns:
            self._length_ns = min(self._length_ns + _RISE_NS, LOST_NS)
        else:
            self._length_ns = max(self._length_ns - _FALL_NS, 0)

    def spun(self, lateness_ns: int) -> None:
        """A spin to the deadline ended `lateness_ns` after it."""
        if lateness_ns > LOST_NS:
            self._lost()
            return
        self._clean += 1
        if self._clean >= CLEAN_SPINS:
            self._next_rest = 0

    def _lost(self) -> None:
        self._rest, self._clean = self._next_rest, 0
        self._next_rest = min(max(2 * self._next_rest, LEAST_REST), MOST_REST)
