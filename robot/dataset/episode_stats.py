"""Statistics of recorded columns and images, in the definitions of lerobot 0.6.1
(`lerobot/datasets/compute_stats.py`), so that its own recomputation gives the same.

Per feature: `min`, `max`, `mean`, `std` (of the population), `count` (of frames) and the quantiles
`q01`, `q10`, `q50`, `q90`, `q99`. A quantile is interpolated within one of 5000 bins between
minimum and maximum; that of several episodes is the mean of theirs, weighted by their counts. The
values of images are those of each channel, from 0 to 1, at a resolution of about 150 pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stats = dict[str, NDArray[np.float64]]
"""The statistics of one feature: `count` [1], all others [n], for images [3, 1, 1]."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_BINS = 5000
_EDGE = 1e-10
_SMALL, _TARGET = 300, 150


def of_column(values: NDArray[Any]) -> Stats:
    """Of [T] or [T, n] numbers, T at least 1."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    low, high, mean = columns.min(axis=0), columns.max(axis=0), columns.mean(axis=0)
    made = {"min": low, "max": high, "mean": mean, "std": columns.std(axis=0)}
    made["count"] = np.array([len(values)], np.float64)
    if len(values) == 1:
        return made | {name: mean.copy() for name in QUANTILES}
    bounds = zip(columns.T, low.tolist(), high.tolist(), strict=True)
    found = [_quantiles(column, start, end) for column, start, end in bounds]
    return made | dict(zip(QUANTILES, np.array(found).T, strict=True))


class PixelStats:
    """The statistics of one camera's images, gathered image by image."""

    def __init__(self) -> None:
        self.images = 0
        self._counts = np.zeros((3, 256), np.int64)

    def add(self, image: NDArray[np.uint8]) -> None:
        """uint8 [height, width, 3]."""
        height, width, _ = image.shape
        if max(height, width) >= _SMALL:
            step = max(height, width) // _TARGET
            image = image[::step, ::step]
        for channel in range(3):
            self._counts[channel] += np.bincount(image[..., channel].ravel(), minlength=256)
        self.images += 1

    def stats(self) -> Stats:
        """Of the images so far, at least one."""
        made: dict[str, list[float]] = {}
        for counts in self._counts:
            for name, value in _of_counts(counts).items():
                made.setdefault(name, []).append(value / 255.0)
        shaped = {name: np.array(values).reshape(3, 1, 1) for name, values in made.items()}
        return shaped | {"count": np.array([self.images], np.float64)}


def merged(parts: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """The statistics of all episodes, from those of each."""
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: _merged([part[key] for part in parts if key in part]) for key in keys}


def _merged(parts: Sequence[Stats]) -> Stats:
    total = np.sum([part["count"] for part in parts], axis=0)

    def weighted(values: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        shares = [
            value * (part["count"] / total) for value, part in zip(values, parts, strict=True)
        ]
        return np.asarray(np.sum(shares, axis=0))

    mean = weighted(part["mean"] for part in parts)
    variance = weighted(part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts)
    made = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": total,
    }
    return made | {name: weighted(part[name] for part in parts) for name in QUANTILES}


def _quantiles(column: NDArray[np.float64], low: float, high: float) -> list[float]:
    if not high > low:
        return [low] * len(QUANTILES)
    counts, edges = np.histogram(column, _BINS, (low - _EDGE, high + _EDGE))
    reached = np.cumsum(counts)
    made = []
    for share in QUANTILES.values():
        target = share * len(column)
        place = min(int(np.searchsorted(reached, target)), _BINS - 1)
        inside = counts[place]
        before = reached[place] - inside
        within = (target - before) / inside if inside and place else 0.0
        made.append(float(edges[place] + within * (edges[place + 1] - edges[place])))
    return made


def _of_counts(counts: NDArray[np.int64]) -> dict[str, float]:
    values = np.arange(256)
    total = counts.sum()
    mean = float((counts * values).sum() / total)
    present = np.flatnonzero(counts)
    reached = np.cumsum(counts)
    found = {name: float(np.searchsorted(reached, q * total)) for name, q in QUANTILES.items()}
    return {
        "min": float(present[0]),
        "max": float(present[-1]),
        "mean": mean,
        "std": float(np.sqrt((counts * (values - mean) ** 2).sum() / total)),
        **found,
    }
