"""`Losses`: what did not reach the robot, by reason, as one line a minute. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

MINUTE_NS = 60_000_000_000


class Losses:
    """Counts that only grow, reported by what was added. What was counted before construction, by
    earlier incarnations too, is not reported."""

    def __init__(self, dropped: Mapping[str, int], refused: Mapping[str, int], now_ns: int) -> None:
        self._reported = _together(dropped, refused)
        self._reported_ns = now_ns

    def added(self, dropped: Mapping[str, int], refused: Mapping[str, int], now_ns: int) -> str:
        """What came since the last call that was not within its minute; empty if nothing did."""
        if now_ns - self._reported_ns < MINUTE_NS:
            return ""
        counts = _together(dropped, refused)
        added, self._reported, self._reported_ns = counts - self._reported, counts, now_ns
        return ", ".join(f"{what}: {count}" for what, count in added.most_common())


def _together(dropped: Mapping[str, int], refused: Mapping[str, int]) -> Counter[str]:
    return Counter(
        {f"chunk dropped ({why})": n for why, n in dropped.items()}
        | {f"command refused ({why})": n for why, n in refused.items()}
    )
