"""Log lines at a bounded rate: one per event and second, and how many of it were left out.

Peers decide how often things happen to a broker; they must not decide how much it writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .effects import Log

INTERVAL_NS = 1_000_000_000


@dataclass
class _Line:
    next_at: int = 0
    suppressed: int = 0


class RateLimitedLog:
    """Turns events into `Log` effects. Events are words of this package: their table is bounded."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def note(self, now: int, level: int, event: str, **fields: Any) -> list[Log]:
        """The line to write for `event`, or none when one was written within the last second."""
        line = self._lines.setdefault(event, _Line())
        if now < line.next_at:
            line.suppressed += 1
            return []
        suppressed, line.suppressed = line.suppressed, 0
        line.next_at = now + INTERVAL_NS
        return [Log(level, event, fields, suppressed)]
