"""`Losses`: what did not reach the robot, by reason, as one line a minute. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

MINUTE_NS = 60_000_000_000


class Losses:
    """Counts that only grow, told by what is new in them. What was counted before, by earlier
    incarnations too, is no news."""

    def __init__(self, dropped: Mapping[str, int], refused: Mapping[str, int], now_ns: int) -> None:
        self._told = _together(dropped, refused)
        self._told_ns = now_ns

    def news(self, dropped: Mapping[str, int], refused: Mapping[str, int], now_ns: int) -> str:
        """What came since the last call that was not within its minute; empty if nothing did."""
        if now_ns - self._told_ns < MINUTE_NS:
            return ""
        counts = _together(dropped, refused)
        fresh, self._told, self._told_ns = counts - self._told, counts, now_ns
        return ", ".join(f"{what}: {count}" for what, count in fresh.most_common())


def _together(dropped: Mapping[str, int], refused: Mapping[str, int]) -> Counter[str]:
    return Counter(
        {f"chunk dropped ({why})": n for why, n in dropped.items()}
        | {f"command refused ({why})": n for why, n in refused.items()}
    )
