"""What a replica counts about itself: outcomes by reason, durations, how busy its device is.

Percentiles are over the last `WINDOW` values, so that they describe now; counts are for ever, and a
next incarnation goes on from them.
"""

from __future__ import annotations

from collections import Counter, deque

import numpy as np

WINDOW = 512


class Percentiles:
    """Of the last WINDOW values."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)

    def add(self, value: float) -> None:
        self._values.append(value)

    def summary(self) -> dict[str, float]:
        """`{p50, p99}`, rounded to 0.01; empty before the first value."""
        if not self._values:
            return {}
        p50, p99 = np.percentile(self._values, (50, 99))
        return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


class Busyness:
    """Share of the last `window_ns` in which the device worked, 0 to 1."""

    def __init__(self, window_ns: int = 5_000_000_000) -> None:
        self._window_ns = window_ns
        self._spans: deque[tuple[int, int]] = deque()
        self._worked_ns = 0
        """Their sum: there are thousands of spans, and each reply says the load."""

    def add(self, start: int, end: int) -> None:
        """The device worked from `start` to `end`; spans come in order and do not overlap."""
        self._spans.append((start, end))
        self._worked_ns += end - start
        self._trim(end)

    def load(self, now: int) -> float:
        """At `now`, which is no earlier than the end of the last span."""
        self._trim(now)
        outside = max(0, now - self._window_ns - self._spans[0][0]) if self._spans else 0
        return (self._worked_ns - outside) / self._window_ns

    def _trim(self, now: int) -> None:
        while self._spans and self._spans[0][1] <= now - self._window_ns:
            start, end = self._spans.popleft()
            self._worked_ns -= end - start


class Meters:
    """All of one replica's."""

    def __init__(self, previous: dict[str, int] | None = None) -> None:
        self.counts: Counter[str] = Counter(previous or {})
        """Outcomes: `served`, `superseded`, `expired`, `rejected:<reason>`, `error:<reason>`..."""
        self.batches: Counter[int] = Counter()
        """How many batches of each size were run by this incarnation."""
        self.inference_ms = Percentiles()
        self.wait_ms = Percentiles()
        self.busy = Busyness()

    def ran(self, batch: int, start: int, end: int) -> None:
        """A batch of this size occupied the device between these instants."""
        self.batches[batch] += 1
        self.inference_ms.add((end - start) / 1e6)
        self.busy.add(start, end)
