"""`RunningStats`: mean, deviation and quantiles of a dataset that is seen once, in parts.

The quantiles are openpi's (`src/openpi/shared/normalize.py`, `RunningStats`): the left edge of the
bin, of 5000 between the least and the greatest value, at which the count reaches the quantile.
Where the range grows, the counts move to the new bins. What differs: sums are float64 and centred
on the mean, also for float32 values; and no count is lost when the range grows, whereas openpi's
drops the bin of the least value.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..normalize import Stats

BINS = 5000
_MARGIN = 1e-10

Vector = NDArray[np.float64]


class RunningStats:
    """The statistics of the vectors seen so far.

    >>> seen = RunningStats()
    >>> seen.update([[1.0], [2.0]])
    >>> seen.update([[[3.0]], [[6.0]]])
    >>> seen.count, seen.stats().mean
    (4, (3.0,))
    """

    def __init__(self) -> None:
        self.count = 0
        """How many vectors were seen."""
        self._mean: Vector = np.zeros(0)
        self._squares: Vector = np.zeros(0)  # the sum of squared distances from the mean
        self._low: Vector = np.zeros(0)
        self._high: Vector = np.zeros(0)
        self._edges: list[Vector] = []
        self._counts: list[Vector] = []

    def update(self, batch: ArrayLike) -> None:
        """Add the vectors of `batch` [..., D]. Raises ValueError for another D than before, and for
        values that are not finite."""
        values = np.asarray(batch, np.float64)
        count = math.prod(values.shape[:-1])
        if values.ndim < 2 or count == 0:
            raise ValueError(f"statistics need vectors [..., D], found {values.shape}")
        values = values.reshape(count, values.shape[-1])
        if not np.isfinite(values).all():
            raise ValueError("the vectors hold values that are not finite; drop those episodes")
        if self.count and values.shape[1] != len(self._mean):
            raise ValueError(f"vectors of {values.shape[1]} values after {len(self._mean)}")
        self._widen(values.min(axis=0), values.max(axis=0))
        for place, column in enumerate(values.T):
            self._counts[place] += np.histogram(column, self._edges[place])[0]
        self._add(len(values), values.mean(axis=0), values.var(axis=0) * len(values))

    def stats(self) -> Stats:
        """The statistics. Raises ValueError for fewer than two vectors."""
        if self.count < 2:
            raise ValueError(f"statistics need two vectors or more, {self.count} were seen")
        deviation = np.sqrt(self._squares / self.count)
        columns = (self._mean, deviation, self._quantile(0.01), self._quantile(0.99))
        return Stats(*(tuple(map(float, column)) for column in columns))

    def _add(self, count: int, mean: Vector, squares: Vector) -> None:
        """Merge the sums of two parts (Chan, Golub, LeVeque 1979)."""
        if not self.count:
            self._mean, self._squares = np.zeros_like(mean), np.zeros_like(mean)
        total, between = self.count + count, mean - self._mean
        self._squares = self._squares + squares + between**2 * (self.count * count / total)
        self._mean = self._mean + between * (count / total)
        self.count = total

    def _widen(self, low: Vector, high: Vector) -> None:
        """Make the bins of every column reach from the least to the greatest value."""
        if not self.count:
            self._low, self._high = low, high
            ends = zip(low - _MARGIN, high + _MARGIN, strict=True)
            self._edges = [np.linspace(a, b, BINS + 1) for a, b in ends]
            self._counts = [np.zeros(BINS) for _ in self._edges]
            return
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        for place, old in enumerate(self._edges):
            bottom, top = min(old[0], self._low[place]), max(old[-1], self._high[place])
            if (bottom, top) != (old[0], old[-1]):
                new = np.linspace(bottom, top, BINS + 1)
                self._counts[place] = np.histogram(old[:-1], new, weights=self._counts[place])[0]
                self._edges[place] = new

    def _quantile(self, part: float) -> Vector:
        wanted = part * self.count
        return np.array(
            [
                edges[np.searchsorted(np.cumsum(counts), wanted)]
                for edges, counts in zip(self._edges, self._counts, strict=True)
            ]
        )
