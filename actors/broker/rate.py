"""A rate from a count that only grows."""

from __future__ import annotations

from collections import deque

WINDOW_NS = 5_000_000_000


class Rate:
    """Events per second over the last few seconds of readings."""

    def __init__(self) -> None:
        self._readings: deque[tuple[int, int]] = deque()

    def of(self, count: int, now: int) -> float:
        """Take a reading of `count`; the rate since the oldest reading within the window."""
        self._readings.append((now, count))
        while now - self._readings[0][0] > WINDOW_NS:
            self._readings.popleft()
        then, before = self._readings[0]
        return round((count - before) * 1e9 / (now - then), 2) if now > then else 0.0
