"""`Pace`: the measured rate of a loop's steps."""

from __future__ import annotations

_WINDOW_NS = 1_000_000_000
_FEWEST = 4
_OFF = 0.1


class Pace:
    """Report each step with `step`; a gap longer than `break_ns` is a break, and counts as none of
    them. `hz` is that of the last whole second or so, 0.0 before the first. Allocates nothing."""

    def __init__(self, break_ns: int) -> None:
        self._break_ns = break_ns
        self._since_ns = 0
        self._last_ns = 0
        self._steps = 0
        self._hz = self._hz_before = 0.0

    @property
    def hz(self) -> float:
        return self._hz

    def step(self, now_ns: int) -> None:
        """A step begins."""
        if not self._last_ns or now_ns - self._last_ns > self._break_ns:
            self._since_ns, self._steps = now_ns, 0
        else:
            self._steps += 1
            if now_ns - self._since_ns >= _WINDOW_NS and self._steps >= _FEWEST:
                self._hz_before = self._hz
                self._hz = self._steps * 1e9 / (now_ns - self._since_ns)
                self._since_ns, self._steps = now_ns, 0
        self._last_ns = now_ns

    def differs(self, hz: float) -> bool:
        """Whether the rate was more than a tenth away from `hz` for two windows in a row: one may
        be a hiccup."""
        return (
            all(abs(found - hz) > _OFF * hz for found in (self._hz, self._hz_before) if found)
            and self._hz_before > 0
        )
