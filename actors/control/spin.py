"""`SpinWindow`: how long before a deadline a loop wakes up, to spin for the rest.

A core that idles takes its time to wake up, 50 to 200 µs in a virtual machine, and spinning hides
that. Where others want the core, spinning is paid for: what a loop uses by spinning, the scheduler
takes from it at one of the next ticks, for milliseconds. What a machine does changes by the minute,
so the window follows what is observed:

* its length is the 99.75th percentile of the oversleep: of the 99th, one tick of a hundred would be
  late by construction. What exceeds LOST_NS is not learnt from: no spinning helps against that.
* it is closed for some ticks whenever the loop waited for its processor for LONG_WAIT_NS or more,
  as the kernel counts: another process had it, whether during the spin or before it. Each wait
  doubles the number of ticks for the next, each tick without one lets it decay, so that it
  grows where more than one tick of 92 has such a wait and is small where they are rarer.
  A pause of the machine is no such wait: spinning neither causes nor ends it.

Under a real-time priority a loop does not wait, and its window stays open on a busy machine too.

Pure: what happened comes from the caller; it reads no clock. Where the kernel does not count
(`ProcessorWait`), the window is never closed.
"""

from __future__ import annotations

LOST_NS = 400_000
"""An oversleep of more is not the time in which a core wakes up. No window is longer."""

_START_NS = 200_000
_RISE_NS, _FALL_NS = 16_000, 40
"""Up when one of 400 is beyond the window, down otherwise: where these balance is p99.75."""

LONG_WAIT_NS = 200_000
LEAST_REST, MOST_REST = 1, 256
_DECAY = 2 ** (-1 / 92)


class SpinWindow:
    """`ns` is the length to use at the next deadline."""

    def __init__(self) -> None:
        self._length_ns = _START_NS
        self._rest = 0
        self._next_rest = float(LEAST_REST)

    @property
    def ns(self) -> int:
        return 0 if self._rest else self._length_ns

    def learn(self, oversleep_ns: int) -> None:
        """The sleep before a deadline ended `oversleep_ns` later than asked."""
        if oversleep_ns > LOST_NS:
            return
        if oversleep_ns > self._length_ns:
            self._length_ns = min(self._length_ns + _RISE_NS, LOST_NS)
        else:
            self._length_ns = max(self._length_ns - _FALL_NS, 0)

    def waited(self, ns: int) -> None:
        """Once a tick: the loop was ready to run and waited for its processor for `ns` since the
        tick before."""
        if ns >= LONG_WAIT_NS:
            self._rest = round(self._next_rest)
            self._next_rest = min(2 * self._next_rest, MOST_REST)
            return
        if self._rest:
            self._rest -= 1
        self._next_rest = max(self._next_rest * _DECAY, LEAST_REST)
