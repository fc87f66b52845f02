"""Normalization: from the robot's units to those of a network, and back.

The statistics are measured once over the demonstrations and stored in the checkpoint's
norm_stats.json. Normalizing and unnormalizing are inverse up to float32 rounding, also for constant
features. A value outside of the training data stays outside; only absurd values are bounded
(`bounded`), because a network turns them into NaN.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Mode = Literal["zscore", "quantile"]

MIN_SPREAD = 1e-4
"""A feature that varied less counts as constant: a division by its spread would amplify noise."""


class Stats(msgspec.Struct, frozen=True):
    """The statistics of one feature vector, one entry per dimension. Those of other projects may
    lack the quantiles: then they are empty."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    q01: tuple[float, ...] = ()
    q99: tuple[float, ...] = ()

    @classmethod
    def of(cls, samples: NDArray[np.floating]) -> Stats:
        """The statistics of `samples` [N, D]. Raises ValueError for no samples or values that are
        not finite."""
        if samples.ndim != 2 or len(samples) == 0:
            raise ValueError(f"statistics need samples [N, D] with N > 0, found {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("samples hold values that are not finite; drop those episodes first")
        wide = samples.astype(np.float64)
        low, high = np.quantile(wide, (0.01, 0.99), axis=0)
        return cls(*(tuple(map(float, v)) for v in (wide.mean(0), wide.std(0), low, high)))


class Normalizer:
    """An affine map per dimension: z-score (mean 0, deviation 1), or quantile (the 1 % and the
    99 % quantile become -1 and 1, so that outliers have no influence on the scale)."""

    def __init__(self, stats: Stats, mode: Mode) -> None:
        if mode == "zscore":
            offset, scale = np.asarray(stats.mean), np.asarray(stats.std)
        else:
            low, high = np.asarray(stats.q01), np.asarray(stats.q99)
            offset, scale = (high + low) / 2, (high - low) / 2
        self.offset: NDArray[np.float32] = offset.astype(np.float32)
        self.scale: NDArray[np.float32] = np.where(scale < MIN_SPREAD, 1.0, scale).astype(
            np.float32
        )

    def normalize(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        """[..., D] in the robot's units to [..., D] in the network's."""
        with np.errstate(over="ignore"):  # a value beyond float32's range becomes infinite
            return (value - self.offset) / self.scale

    def unnormalize(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        """[..., D] in the network's units to [..., D] in the robot's."""
        return value * self.scale + self.offset


def bounded(normalized: NDArray[np.float32], bound: float) -> tuple[NDArray[np.float32], int]:
    """The values clipped to ±`bound`, and how many were outside. Infinities are clipped, NaN is
    not."""
    beyond = int(np.count_nonzero(np.abs(normalized) > bound))
    return (np.clip(normalized, -bound, bound), beyond) if beyond else (normalized, 0)
