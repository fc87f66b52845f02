"""`Histogram`: how often what happened, in fixed bins: nothing is allocated, nothing forgotten.

Bins are logarithmic, 16 to each doubling, from 1 µs to 16.7 s: a quantile is read out at most 4.5 %
too high and 0.1 % too low. The counts live in memory that the caller owns, so that they outlive it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PER_DOUBLING = 16
DOUBLINGS = 24
BINS = PER_DOUBLING * DOUBLINGS + 1
"""The first bin holds everything below 1 µs; the last everything from 2**24 µs on."""

_EDGES_US = 2.0 ** (np.arange(BINS) / PER_DOUBLING)
WINDOW_S = 60
"""What `Recent` looks back on."""
_PIECES = 6
_QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


class Histogram:
    """Durations, counted in `counts`, int64 with at least BINS + 1 items; the one after the bins
    holds the largest duration in ns."""

    def __init__(self, counts: NDArray[np.int64] | None = None):
        if counts is None:
            counts = np.zeros(BINS + 1, np.int64)
        if len(counts) <= BINS:
            raise ValueError(f"{len(counts)} counts are too few for {BINS} bins and a maximum")
        self._counts = counts.data  # item access costs a third of numpy's

    def record(self, duration_ns: int) -> None:
        """Count one duration; a negative one counts as none."""
        counts = self._counts
        place = _place(duration_ns)
        counts[place] += 1
        if duration_ns > counts[BINS]:  # noqa: PLR1730 in the tick, faster than a call
            counts[BINS] = duration_ns

    @property
    def total(self) -> int:
        return int(np.asarray(self._counts[:BINS]).sum())

    @property
    def max_us(self) -> float:
        return self._counts[BINS] / 1000

    @property
    def bins(self) -> NDArray[np.int64]:
        """A view of the counts, [BINS]."""
        return np.asarray(self._counts[:BINS])

    def quantile_us(self, q: float) -> float:
        """The duration that a share `q` of all do not exceed: the upper edge of its bin; 0 if
        nothing was counted."""
        return min(_quantile_us(self.bins, q), self.max_us)

    def buckets_us(self) -> list[list[int]]:
        """[edge, how many were below it] for each doubling from 16 µs to 1 s: exact, since every
        such edge is one of a bin's. The last one, 16.7 s, counts all."""
        running = np.cumsum(np.asarray(self._counts[:BINS]))
        return [[2**k, int(running[k * PER_DOUBLING])] for k in (*range(4, 21), DOUBLINGS)]

    def summary_us(self) -> dict[str, float]:
        """p50, p99, p999 and max, in µs."""
        found = {name: round(self.quantile_us(q), 1) for name, q in _QUANTILES.items()}
        return {**found, "max": round(self.max_us, 1)}


class Recent:
    """The newest part of a histogram that never forgets: what was counted since a snapshot that is
    `WINDOW_S` old, at most a sixth of that older, or as old as this object."""

    def __init__(self, histogram: Histogram, now_ns: int) -> None:
        self._histogram = histogram
        self._snapshots = np.zeros((_PIECES + 1, BINS), np.int64)
        self._taken_ns = [now_ns] * (_PIECES + 1)
        self._snapshots[:] = histogram.bins
        self._newest = 0

    def summary_us(self, now_ns: int) -> dict[str, float]:
        """p50, p99, p999 and max, in µs: upper edges of bins; 0 if nothing was counted."""
        oldest = (self._newest + 1) % len(self._taken_ns)
        if now_ns - self._taken_ns[self._newest] >= WINDOW_S * 1_000_000_000 // _PIECES:
            self._newest = oldest
            self._snapshots[oldest] = self._histogram.bins
            self._taken_ns[oldest] = now_ns
            oldest = (oldest + 1) % len(self._taken_ns)
        counted = self._histogram.bins - self._snapshots[oldest]
        quantiles = {**_QUANTILES, "max": 1.0}
        most = self._histogram.max_us
        return {n: round(min(_quantile_us(counted, q), most), 1) for n, q in quantiles.items()}


def _quantile_us(bins: NDArray[np.int64], q: float) -> float:
    running = np.cumsum(bins)
    if running[-1] <= 0:
        return 0.0
    place = int(np.searchsorted(running, q * running[-1]))
    return float(_EDGES_US[min(place, BINS - 1)])


def _place(duration_ns: int) -> int:
    """The bin of a duration: 0 below 1 µs, then one per sixteenth of a doubling. Integer arithmetic
    only: the octave from the bit length, the sixteenth from a table over the next bits."""
    if duration_ns < 1000:
        return 0
    octave = (duration_ns // 1000).bit_length() - 1
    # Position within the octave in 1024ths, 0 to 1023.
    within = (duration_ns * 1024 // (1000 << octave)) - 1024
    return min(octave * PER_DOUBLING + _SIXTEENTH[within] + 1, BINS - 1)


_SIXTEENTH = tuple(
    min(int(PER_DOUBLING * np.log2(1 + n / 1024)), PER_DOUBLING - 1) for n in range(1024)
)
