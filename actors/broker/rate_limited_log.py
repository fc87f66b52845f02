"""`RateLimitedLog`: one log line per event and second, with the count of those left out.

Peers decide how often an event happens; they must not decide how much the broker writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .effects import Log

INTERVAL_NS = 1_000_000_000


@dataclass
class _Line:
    next_ns: int = 0
    suppressed: int = 0


class RateLimitedLog:
    """Turns events into `Log` effects. The events are constants of this package, so the table of
    them is bounded."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def note(self, now_ns: int, level: int, event: str, **fields: Any) -> list[Log]:
        """The line to write for `event`, or none when one was written within the last second."""
        line = self._lines.setdefault(event, _Line())
        if now_ns < line.next_ns:
            line.suppressed += 1
            return []
        suppressed, line.suppressed = line.suppressed, 0
        line.next_ns = now_ns + INTERVAL_NS
        return [Log(level, event, fields, suppressed)]
