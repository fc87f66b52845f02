"""How many robots one replica carries, from the service times it measured: pure.

A replica that runs one request at a time in `t` seconds carries
`N = min(0.8 / (r t), (H dt / 2 - RTT) / t)` robots: at most 80 % of the device's time for the rate
`r` at which each robot asks, and a whole round through all of them within half the execution
horizon `H`, so that the chunk of a robot that is served last still continues its plan. In batches
of `b`, one batch costs `t(b)`:

    N(b) = min(0.8 b / (r t(b)), b floor((H dt / 2 - RTT) / t(b)))

where only sizes count that the robots can fill (`N(b) >= b`); the best of them is the capacity.

More robots than the device serves at their own pace are given a slower one, down to that at which
their plans still last: a robot that asks again when its chunk has arrived gets one in each round,
and plays half of it meanwhile and half of it in the next, so that a round may take half a chunk.

An estimate for robots of one kind with steady requests. Bursts and other work on the device are
not considered: keep the measured times current.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

UTILISATION = 0.8
"""Share of the device's time that may be planned for; the rest absorbs jitter."""


@dataclass(frozen=True, slots=True)
class Load:
    """One robot's demand: requests per second, for how long a chunk can continue the plan (its
    execution horizon, the whole chunk where it continues none), and the round-trip time."""

    rate_hz: float
    horizon_s: float
    rtt_s: float = 0.0


def request_rate_hz(chunk_s: float, buffer_time_s: float, latency_s: float) -> float:
    """Requests per second of a self-clocked robot.

    It merges a chunk of which `latency_s` has passed, plays it down to `buffer_time_s`, sends the
    next request, and plays for another `latency_s` until the reply arrives.
    """
    return 1.0 / max(chunk_s - buffer_time_s, latency_s, 1e-3)


def request_s(service_s: Mapping[int, float]) -> float:
    """How long the device takes for one request, in the batches that it does best."""
    return min(seconds / size for size, seconds in service_s.items())


def capacity(service_s: Mapping[int, float], load: Load) -> int:
    """The robots that a replica can serve whose batches of `b` take `service_s[b]` seconds; 0 if
    none."""
    round_s = load.horizon_s / 2 - load.rtt_s
    best = 0
    for size, seconds in service_s.items():
        by_device = UTILISATION * size / (load.rate_hz * seconds)
        by_round = size * math.floor(round_s / seconds)
        robots = math.floor(min(by_device, by_round))
        if robots >= size:
            best = max(best, robots)
    return best


def slowed_capacity(service_s: Mapping[int, float], chunk_s: float, rtt_s: float = 0.0) -> int:
    """The robots that a replica can serve at the slowest rate at which plans of `chunk_s` still
    last; at least 1, because a first robot takes the place of none."""
    round_s = chunk_s / 2 - rtt_s
    carried = ((size, math.floor(round_s * size / seconds)) for size, seconds in service_s.items())
    return max((robots for size, robots in carried if robots >= size), default=1)


def slowed_interval_s(
    service_s: Mapping[int, float], robots: int, load: Load, chunk_s: float
) -> float:
    """The time between two requests of each of so many robots; 0 if the device serves them at their
    own rate, or there is only one. Never longer than their plans last until the answer."""
    each_s = request_s({b: s for b, s in service_s.items() if b <= max(1, robots)})
    round_s = robots * each_s
    needed_s = round_s / UTILISATION
    if robots < 2 or needed_s <= 1 / load.rate_hz:  # one robot delays no other
        return 0.0
    return max(0.0, min(needed_s, chunk_s - load.rtt_s - round_s))
