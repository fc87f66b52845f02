"""How evenly the robots of a fleet are served, and what of that is chance: pure.

The p99 of few requests is about their maximum, and the maxima of 300 robots differ even where all
wait alike. How much they differ by chance alone is found from the same latencies, dealt to the
robots at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEALS = 21
_SEED = 1

Latencies = Sequence[Sequence[float] | NDArray[np.float64]]
"""Of each robot, in the order of its requests, all in one unit. A robot without any is left out."""


def fairness_of(by_robot: Latencies) -> dict[str, Any]:
    """What the report says of it: the ratios of the robots' p99 and p90, both as dealt at random,
    and whether it is the same robots each time."""
    found = {
        "fairness": ratio_of(by_robot, 99),
        "dealt_fairness": dealt_ratio(by_robot, 99),
        "fairness_p90": ratio_of(by_robot, 90),
        "dealt_fairness_p90": dealt_ratio(by_robot, 90),
        "repeated": repeated(by_robot),
    }
    return {key: None if value is None else round(value, 3) for key, value in found.items()}


def ratio_of(by_robot: Latencies, percentile: float) -> float | None:
    """The slowest robot's `percentile` over the fastest's; None where no robot has a latency, or
    one of them is 0."""
    found = [float(np.percentile(values, percentile)) for values in by_robot if len(values)]
    return max(found) / min(found) if found and min(found) > 0 else None


def dealt_ratio(by_robot: Latencies, percentile: float, deals: int = DEALS) -> float | None:
    """The same ratio where it says nothing of the robots: all latencies dealt to them at random,
    each as many as it has. The median of so many `deals`, the same for the same latencies."""
    served = [values for values in by_robot if len(values)]
    if not served:
        return None
    ends = np.cumsum([len(values) for values in served])[:-1]
    latencies: NDArray[np.float64] = np.concatenate([np.asarray(values) for values in served])
    random = np.random.default_rng(_SEED)
    found = [
        ratio_of(np.split(random.permutation(latencies), ends), percentile) for _ in range(deals)
    ]
    ratios = [ratio for ratio in found if ratio is not None]
    return float(np.median(ratios)) if ratios else None


def repeated(by_robot: Latencies) -> float | None:
    """Whether the robots that wait longer in the first half of the run do so in the second: the
    correlation of their mean latencies in both, over the robots. About 0 (plus or minus one over
    the root of their number) where it is another one each time, and 1 where it is always the same.
    None for fewer than 3 robots with 2 latencies, or where all of a half are alike."""
    halves = [
        (np.mean(values[: len(values) // 2]), np.mean(values[len(values) // 2 :]))
        for values in by_robot
        if len(values) > 1
    ]
    first, second = np.array(halves).reshape(-1, 2).T
    if len(halves) < 3 or not np.ptp(first) or not np.ptp(second):
        return None
    return float(np.corrcoef(first, second)[0, 1])
