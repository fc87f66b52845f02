"""`DemandMeter`: what robots ask of a replica, for the decision how many replicas a service needs.

Counts are of this incarnation, for rates. Waits are those of the last `WINDOW_NS`, so that they end
with the load that caused them.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from ...transport.bodies import Demand

WINDOW_NS = 10_000_000_000
MOST = 1024
"""Requests that are remembered."""


class DemandMeter:
    """One replica's. Instants are monotonic ns."""

    def __init__(self) -> None:
        self.requests = self.misses = self.superseded = 0
        """Requests that arrived; those that were answered after their slack or not at all; those
        that a newer one of their robot replaced."""
        self._arrivals_ns: deque[int] = deque(maxlen=MOST)
        self._waits: deque[tuple[int, float]] = deque(maxlen=MOST)

    def arrived(self, now_ns: int) -> None:
        """A request arrived."""
        self.requests += 1
        self._arrivals_ns.append(now_ns)

    def waited(self, queue_s: float, now_ns: int) -> None:
        """The device took a request `queue_s` after it had arrived."""
        self._waits.append((now_ns, queue_s * 1e3))

    def demand(self, now_ns: int, nominal_hz: float, request_s: float) -> Demand:
        """The demand now. Its robots want `nominal_hz` requests per second together, and the device
        takes `request_s` for one.

        The offered load is made of what they want where that is more than what they send: robots
        that wait for their answers, or were given a slower rate, send less."""
        since_ns = now_ns - WINDOW_NS
        while self._arrivals_ns and self._arrivals_ns[0] < since_ns:
            self._arrivals_ns.popleft()
        while self._waits and self._waits[0][0] < since_ns:
            self._waits.popleft()
        measured_hz = len(self._arrivals_ns) * 1e9 / WINDOW_NS
        return Demand(
            requests=self.requests,
            misses=self.misses,
            superseded=self.superseded,
            offered=round(max(nominal_hz, measured_hz) * request_s, 4),
            queue_ms=quantiles([wait_ms for _, wait_ms in self._waits]),
        )


def quantiles(values: list[float]) -> dict[str, float]:
    """`{p50, p95}`, rounded to 0.01; empty without values."""
    if not values:
        return {}
    p50, p95 = np.percentile(values, (50, 95))
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}
