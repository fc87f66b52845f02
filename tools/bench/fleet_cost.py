"""What the broker's CPU time and memory are made of, found from fleets of several sizes: pure.

A broker that is woken for each message needs time for each wake-up too (the poll, both threads'
switches, cold caches); one that finds several at once needs it once for all of them. Few robots
send rarely, so that nearly each message is a wake-up; of 300, several have arrived whenever it
looks. So the time by message falls with the number of robots, though neither part of it changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LEAST_ROWS = 3
"""Two parts fit two rows whatever they are."""
_MOST_OFF = 1000.0


def cost_of(rows: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """`us_wake` and `us_each`: the parts of `us_message` that come with each wake-up and with each
    message, so that `us_message` is about `us_wake * wakes_message + us_each` in every row; `off`:
    the largest over the smallest of what was measured over that, 1 where it fits. None for too few
    rows. Each row counts alike, and no part is negative."""
    found = [row for row in rows if row["us_message"] > 0]
    if len(found) < LEAST_ROWS:
        return None
    measured = np.array([row["us_message"] for row in found])
    # Less than none is what the idle turns of a busy machine leave.
    wakes = np.maximum([row["wakes_message"] for row in found], 0.0)
    # By their shares of what was measured, so that each row counts alike.
    parts = np.column_stack((wakes, np.ones(len(found)))) / measured[:, None]
    us_wake, us_each = (float(part) for part in np.linalg.lstsq(parts, np.ones(len(found)))[0])
    if us_wake < 0 or us_each < 0:
        only = parts[:, 0] if us_each < 0 else parts[:, 1]
        part = float(only.sum() / (only @ only)) if only.any() else 0.0
        us_wake, us_each = (part, 0.0) if us_each < 0 else (0.0, part)
    ratios = measured / np.maximum(us_wake * wakes + us_each, measured / _MOST_OFF)
    return {
        "us_wake": round(us_wake, 1),
        "us_each": round(us_each, 1),
        "off": round(float(max(ratios) / min(ratios)), 3),
    }


def memory_of(rows: Sequence[dict[str, Any]]) -> float | None:
    """The broker's private memory by robot, in kB, between the smallest and the largest fleet; None
    for fleets of one size."""
    least, most = (pick(rows, key=lambda row: int(row["robots"])) for pick in (min, max))
    robots = most["robots"] - least["robots"]
    return round((most["broker_mb"] - least["broker_mb"]) / robots * 1e3, 1) if robots else None
