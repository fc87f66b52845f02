"""`ClientLog`: what a port writes about its clients.

Clients decide how often something happens; they must not decide how much is written: of each kind
of event one line a second, and the next one says how many were left out. No line has a key, a token
or what a client sent in their place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

INTERVAL_NS = 1_000_000_000


@dataclass
class _Kind:
    next_ns: int = 0
    left_out: int = 0


class ClientLog:
    """Of one port. Kinds of events are constants of this package, so that the table of them is
    bounded."""

    def __init__(self, log: logging.Logger, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._log, self._clock = log, clock
        self._kinds: dict[str, _Kind] = {}

    def info(self, kind: str, words: str) -> None:
        self._write(logging.INFO, kind, words)

    def warning(self, kind: str, words: str) -> None:
        self._write(logging.WARNING, kind, words)

    def _write(self, level: int, kind: str, words: str) -> None:
        line, now_ns = self._kinds.setdefault(kind, _Kind()), self._clock()
        if now_ns < line.next_ns:
            line.left_out += 1
            return
        more = f" ({line.left_out} more like it before)" if line.left_out else ""
        line.next_ns, line.left_out = now_ns + INTERVAL_NS, 0
        self._log.log(level, "%s%s", words, more)
