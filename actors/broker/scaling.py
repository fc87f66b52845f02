"""`Scaling`: how many replicas a service should have. Pure: signals and the time in, a number out.

Upwards it goes at once, to what the offered load needs at `UTILISATION`, and by one where answers
come close to the service's objective although the device has room on paper: the share at which that
happened is then taken for the most that a replica carries. Downwards it goes by one, after the load
has fitted one replica less, with headroom, for longer than a replica takes to load.

Guarantees: never outside the bounds; more load never gives fewer replicas; under constant load the
number goes up and then stays. It does not foresee a load that grows faster than replicas load.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..runtime.configs import ServiceTarget

UTILISATION = 0.8
"""The share of a replica's device that may be planned for, until the objective says less."""
LEAST_SHARE = 0.1
"""Below this share of their devices more replicas do not make answers faster."""
HEADROOM = 0.75
"""Of what one replica less carries, so much may be used for the number to go down."""
NEAR = 0.8
"""Answers are close to the objective from this share of it."""
MISSES = 0.01
"""Without an objective, this share of requests that are answered after their slack is close."""
PRESSED_NS = 10_000_000_000
"""For how long answers must be close to the objective: longer than a burst, and than what a new
replica needs to take its share."""
ADOPTED_NS = 60_000_000_000
"""For how long after its start replicas that register are taken for wanted."""


@dataclass(frozen=True, slots=True)
class Signals:
    """Of one service: `ready` replicas that take robots, the `offered` load and the `seats` that
    robots need, both in replicas, the rates of requests and of those that missed their slack, the
    95th percentile of the time to an answer (None: no recent one), and how long a replica takes to
    load."""

    ready: int
    offered: float
    seats: float = 0.0
    requests_per_s: float = 0.0
    misses_per_s: float = 0.0
    p95_ms: float | None = None
    load_s: float = 0.0


class Scaling:
    """One service's number of replicas, `wanted`. It begins at the fewest, or at those that
    register within a minute: a broker that restarts finds its service as it was."""

    def __init__(self, target: ServiceTarget) -> None:
        self.target = target
        self.wanted = target.fewest
        self.why = "the fewest"
        """What `wanted` follows from, in words."""
        self._share = UTILISATION
        self._adopts_until_ns: int | None = None
        self._pressed_since_ns: int | None = None
        self._fits_since_ns: int | None = None

    def step(self, signals: Signals, now_ns: int) -> int:
        """Let the signals count; returns `wanted`. Call it about once a second."""
        if self._adopts_until_ns is None:
            self._adopts_until_ns = now_ns + ADOPTED_NS
        if signals.ready > self.wanted and now_ns < self._adopts_until_ns:
            self._go_to(signals.ready, "those that were there")
        if self._pressed(signals, now_ns):
            share = signals.offered / signals.ready
            self._share = max(LEAST_SHARE, min(self._share, share))
            self._go_to(signals.ready + 1, f"answers come late at {share:.0%} of each device")
        needed = self._needed(signals)
        if needed > self.wanted:
            offered, seats = signals.offered, signals.seats
            self._go_to(needed, f"load of {offered:.2f} devices, robots for {seats:.2f} replicas")
        if self._fits_fewer(signals):
            if self._fits_since_ns is None:
                self._fits_since_ns = now_ns
            patience_ns = round(1e9 * max(self.target.down_after_s, 2 * signals.load_s))
            if now_ns - self._fits_since_ns >= patience_ns:
                self._go_to(self.wanted - 1, f"load of {signals.offered:.2f} devices fits fewer")
                self._fits_since_ns = now_ns
        else:
            self._fits_since_ns = None
        return self.wanted

    def aim(self, target: ServiceTarget) -> None:
        """The fleet file may say another target now."""
        if target != self.target:
            self.target = target
            self._go_to(self.wanted, self.why)

    def _needed(self, signals: Signals) -> int:
        # Rounded, so that a load of exactly n replicas does not need n + 1.
        by_load = math.ceil(round(signals.offered / self._share, 6))
        return max(by_load, math.ceil(round(signals.seats, 6)))

    def _fits_fewer(self, signals: Signals) -> bool:
        fewer = self.wanted - 1
        if fewer < self.target.fewest or signals.seats > fewer:
            return False
        return signals.offered <= HEADROOM * self._share * fewer

    def _pressed(self, signals: Signals, now_ns: int) -> bool:
        """Whether answers have been close to the objective for long enough while every wanted
        replica was there, so that one more would help."""
        slo_ms, p95_ms = self.target.slo_ms, signals.p95_ms
        if slo_ms is None:
            near = signals.misses_per_s > MISSES * signals.requests_per_s
        else:
            near = p95_ms is not None and p95_ms > NEAR * slo_ms
        helps = signals.ready >= self.wanted and signals.offered >= LEAST_SHARE * signals.ready
        if not (near and helps and signals.ready):
            self._pressed_since_ns = None
            return False
        if self._pressed_since_ns is None:
            self._pressed_since_ns = now_ns
        return now_ns - self._pressed_since_ns >= PRESSED_NS

    def _go_to(self, wanted: int, why: str) -> None:
        before = self.wanted
        self.wanted = min(max(wanted, self.target.fewest), self.target.most)
        if self.wanted == before:
            return
        self.why = why
        self._pressed_since_ns = self._fits_since_ns = None
        if self.wanted == self.target.fewest:
            self._share = UTILISATION  # learned from a load that is gone
