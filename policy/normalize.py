"""From the robot's units to numbers a network likes, and back.

The statistics are measured once over the demonstrations and travel with the checkpoint in
norm_stats.json. Normalising and unnormalising are exact inverses up to float32 rounding, also for
features that never varied. A value outside what training saw stays outside, so that a policy far
from its data can be told from one at the edge of it; only what is absurd is bounded (`bounded`),
because a network makes NaN of it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Mode = Literal["zscore", "quantile"]

# A feature that varied less than this is taken as constant: dividing by its spread would turn
# measurement noise into the loudest input of all.
MIN_SPREAD = 1e-4


class Stats(msgspec.Struct, frozen=True):
    """What was measured of one feature vector, one entry per dimension."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]

    @classmethod
    def of(cls, samples: NDArray[np.floating]) -> Stats:
        """Measure `samples` [N, D]; raises ValueError when none came or some are not finite."""
        if samples.ndim != 2 or len(samples) == 0:
            raise ValueError(f"statistics need samples [N, D] with N > 0, found {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("samples hold values that are not finite; drop those episodes first")
        wide = samples.astype(np.float64)
        low, high = np.quantile(wide, (0.01, 0.99), axis=0)
        return cls(*(tuple(map(float, v)) for v in (wide.mean(0), wide.std(0), low, high)))


class Normalizer:
    """An affine map per dimension: z-score (mean 0, deviation 1), or quantile (the 1 % and the
    99 % quantile go to -1 and 1, so that a few outliers don't squeeze everything else)."""

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
        with np.errstate(over="ignore"):  # float32 has an end, and what is beyond it is infinite
            return (value - self.offset) / self.scale

    def unnormalize(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of `normalize`."""
        return value * self.scale + self.offset


def bounded(normalized: NDArray[np.float32], bound: float) -> tuple[NDArray[np.float32], int]:
    """Values within ±`bound`, and how many were not; infinities too, but no NaN."""
    beyond = int(np.count_nonzero(np.abs(normalized) > bound))
    return (np.clip(normalized, -bound, bound), beyond) if beyond else (normalized, 0)
