"""Confidence intervals of success rates, and of the difference of two.

Wilson's score interval: E. B. Wilson, "Probable inference, the law of succession, and statistical
inference", JASA 22 (1927) 209-212. Newcombe's hybrid score interval of a difference, method 10 of
R. G. Newcombe, "Interval estimation for the difference between independent proportions: comparison
of eleven methods", Statistics in Medicine 17 (1998) 873-890; neither is corrected for continuity.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

Z = NormalDist().inv_cdf(0.975)
"""Of an interval that covers 95 %."""


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson(succeeded: int, tried: int) -> Interval:
    """Of the rate `succeeded / tried`; (0, 1) if nothing was tried. Raises ValueError for counts
    that are none."""
    if not 0 <= succeeded <= tried:
        raise ValueError(f"{succeeded} successes of {tried}: expected 0 to {tried}")
    if tried == 0:
        return Interval(0.0, 1.0)
    rate = succeeded / tried
    centre = rate + Z * Z / (2 * tried)
    spread = Z * math.sqrt(rate * (1 - rate) / tried + Z * Z / (4 * tried * tried))
    scale = 1 + Z * Z / tried
    # At 0 and `tried` successes the bound is the rate itself, which rounding would miss.
    low = 0.0 if succeeded == 0 else (centre - spread) / scale
    high = 1.0 if succeeded == tried else (centre + spread) / scale
    return Interval(low, high)


def newcombe(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """Of the rate of `first` minus that of `second`, each (succeeded, tried); (-1, 1) if nothing
    was tried of either."""
    if not (first[1] and second[1]):
        return Interval(-1.0, 1.0)
    (low_a, high_a), (low_b, high_b) = wilson(*first), wilson(*second)
    a, b = first[0] / first[1], second[0] / second[1]
    below = math.hypot(a - low_a, high_b - b)
    above = math.hypot(high_a - a, b - low_b)
    return Interval(a - b - below, a - b + above)
