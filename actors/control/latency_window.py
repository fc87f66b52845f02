"""`LatencyWindow`: how long requests take, and so how many ticks a chunk will be late.

Keeps the last 100 request latencies in memory that the caller owns, so that they survive a reset
and a restart. The first answer after each connect is excluded: it pays for cold caches and does
not predict the next. The estimate is a high quantile, because a delay that is underestimated
makes the robot play actions that the policy did not take into account.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from math import ceil

import numpy as np
from numpy.typing import NDArray

WINDOW = 100


class LatencyWindow:
    """The latest latencies, in `ring`, int64 with at least WINDOW + 1 items: the one after the
    window counts all of them ever. `initial_ns` is believed until there is one. `quantile` of the
    estimate is in (0, 1]."""

    def __init__(
        self,
        ring: NDArray[np.int64] | None = None,
        initial_ns: int = 200_000_000,
        quantile: float = 0.95,
    ):
        self._ring = np.zeros(WINDOW + 1, np.int64) if ring is None else ring
        self._quantile = quantile
        self._initial_ns = initial_ns
        self._cold = True
        self._p50_ns = self._expected_ns = self._p99_ns = initial_ns
        self._ordered: list[int] = sorted(self._ring[: self.count].tolist())
        self._estimate()

    def connected(self) -> None:
        """A connection was opened: its first latency will be excluded."""
        self._cold = True

    def record(self, latency_ns: int) -> None:
        """One request was answered after `latency_ns`."""
        if self._cold:
            self._cold = False
            return
        count = int(self._ring[WINDOW])
        place = count % WINDOW
        if len(self._ordered) == WINDOW:
            del self._ordered[bisect_left(self._ordered, int(self._ring[place]))]
        self._ring[place] = latency_ns
        self._ring[WINDOW] = count + 1
        insort(self._ordered, latency_ns)
        self._estimate()

    @property
    def count(self) -> int:
        """Latencies in the window."""
        return min(max(int(self._ring[WINDOW]), 0), WINDOW)

    @property
    def expected_ns(self) -> int:
        """The quantile of the window."""
        return self._expected_ns

    def delay_steps(self, dt_ns: int, most: int) -> int:
        """Ticks of `dt_ns` until a chunk asked for now is expected, at most `most`."""
        return max(0, min(ceil(self._expected_ns / dt_ns), most))

    def summary_ms(self) -> dict[str, float | None]:
        """p50 and p99 of the window in ms; None while it is empty."""
        if not self.count:
            return {"p50": None, "p99": None}
        return {"p50": round(self._p50_ns / 1e6, 2), "p99": round(self._p99_ns / 1e6, 2)}

    def _estimate(self) -> None:
        ordered = self._ordered
        if ordered:
            self._p50_ns = _quantile(ordered, 0.5)
            self._expected_ns = _quantile(ordered, self._quantile)
            self._p99_ns = _quantile(ordered, 0.99)


def _quantile(ordered: list[int], q: float) -> int:
    return ordered[max(ceil(q * len(ordered)), 1) - 1]
