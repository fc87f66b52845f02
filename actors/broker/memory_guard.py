"""`MemoryGuard`: keeps what peers make the broker hold within `max_growth_bytes`."""

from __future__ import annotations

from logging import Logger

from ...transport.poll import Poll
from ..runtime import allocator
from ..runtime.configs import BrokerConfig
from .listener import Listener
from .memory_bound import max_growth_bytes
from .routing import Routing

REOPEN_NS = 1_000_000_000
"""libzmq needs some of it to free what closed connections held."""


class MemoryGuard:
    """Watches the process's private memory from its construction on, when it serves no peer yet."""

    def __init__(
        self,
        listeners: tuple[Listener, Listener],
        routing: Routing,
        config: BrokerConfig,
        log: Logger,
    ) -> None:
        """`listeners`: the robots', and the replicas'."""
        self._front, self._back = listeners
        self._routing, self._log = routing, log
        self._limit_bytes = None if config.memory_mb is None else config.memory_mb * 1_000_000
        self._watermark = allocator.MemoryWatermark(allocator.private_bytes())
        self._reopened: Listener | None = None
        self._reopened_ns = -REOPEN_NS

    def check(self, poll: Poll, now_ns: int) -> None:
        """Give freed memory back, and end connections where it still grows: libzmq keeps the frames
        of an unfinished message for as long as the sender's connection lasts. `poll` waits for the
        listeners."""
        watermark = self._watermark
        low = watermark.low_bytes
        most = max_growth_bytes(self._routing.sessions, low, self._limit_bytes)
        state = watermark.check(allocator.private_bytes(), most, now_ns)
        if state and now_ns >= watermark.next_trim_ns:
            allocator.give_back()
            watermark.trimmed(allocator.private_bytes(), now_ns)
            state = watermark.check(allocator.private_bytes(), most, now_ns)
        if state == "exceeded" and now_ns >= self._reopened_ns + REOPEN_NS:
            self._reopen(poll, low + most, now_ns)

    def _reopen(self, poll: Poll, most_bytes: int, now_ns: int) -> None:
        # One after the other, robots first: to disconnect replicas may cost a service.
        again = now_ns < self._reopened_ns + 5 * REOPEN_NS and self._reopened is self._front
        listener = self._reopened = self._back if again else self._front
        self._reopened_ns = now_ns
        self._routing.counters.count("doors-reopened")
        self._log.error(
            "peers fill the memory (%d MB, at most %d): all connections to %s end and are made "
            "anew",
            allocator.private_bytes() // 1_000_000,
            most_bytes // 1_000_000,
            listener.endpoint,
        )
        listener.unwatch(poll)
        listener.reopen()
        listener.watch(poll)
        self._watermark.next_trim_ns = now_ns + REOPEN_NS // 2
