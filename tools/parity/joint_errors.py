"""The errors of predicted chunks against recorded actions, by joint and by group of steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def step_groups(horizon: int) -> list[range]:
    """Step 0, the rest of the first quarter of a chunk, of the first half, and the others."""
    bounds = sorted({0, 1, -(-horizon // 4), -(-horizon // 2), horizon})
    return [range(a, b) for a, b in pairwise(bounds)]


@dataclass(frozen=True)
class JointErrors:
    """`errors` [N, H, A], not negative, NaN where an episode had ended; `spans` [A], how far each
    joint moved in the recordings (from the 1 % to the 99 % quantile)."""

    names: tuple[str, ...]
    errors: NDArray[np.float64]
    spans: NDArray[np.float64]

    @property
    def near(self) -> NDArray[np.float64]:
        """[A]: the mean error over the first quarter of the chunk, in the joint's units."""
        return np.asarray(np.nanmean(self.errors[:, : -(-self.errors.shape[1] // 4)], axis=(0, 1)))

    @property
    def relative(self) -> NDArray[np.float64]:
        """[A]: `near` as a share of the joint's span."""
        return self.near / self.spans

    @property
    def score(self) -> float:
        """The mean of all joints' relative errors: how far the whole is from the recordings."""
        return float(self.relative.mean())

    def rows(self) -> list[dict[str, object]]:
        """By joint, for people and for JSON."""
        return [
            {
                "name": name,
                "span": float(self.spans[k]),
                "relative": float(self.relative[k]),
                "steps": [self._group(k, steps) for steps in step_groups(self.errors.shape[1])],
            }
            for k, name in enumerate(self.names)
        ]

    def _group(self, joint: int, steps: range) -> dict[str, object]:
        values = self.errors[:, steps.start : steps.stop, joint]
        values = values[np.isfinite(values)]
        last = steps.stop - 1
        group = f"{steps.start}" if last == steps.start else f"{steps.start}-{last}"
        if not len(values):
            return {"steps": group, "n": 0}
        return {
            "steps": group,
            "n": len(values),
            "mean": float(values.mean()),
            "p95": float(np.quantile(values, 0.95)),
            "max": float(values.max()),
        }


def spans(actions: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far each joint moves in `actions` [N, A]; of one that does not move, its size, or 1."""
    low, high = np.quantile(actions.astype(np.float64), (0.01, 0.99), axis=0)
    size = np.abs(actions).max(axis=0)
    moved = high - low
    still = np.where(size > 0, size, 1.0)
    return np.where(moved > 1e-3 * still, moved, still)
