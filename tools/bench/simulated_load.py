"""How many robots a device with known times carries: the replica's own scheduler, simulated time.

Robots ask as real ones do: when half a second of their playback is left, and not before the last
answer came.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from ...actors.inference.schedule import Job, Order, Schedule
from ...policy.base import PolicySpec
from .bare_service import BUFFER_TIME_S, MAX_WAIT_S, ns

LATE_ALLOWED = 0.01
MAX_ROBOTS = 512


def carried(times: dict[int, list[float]], order: Order, spec: PolicySpec) -> int:
    """The largest number of robots that are served in time; 0 if not even one is."""

    def fits(robots: int) -> bool:
        latencies = simulate(robots, times, order, spec.chunk_size / spec.fps)
        return float(np.mean(latencies > BUFFER_TIME_S)) <= LATE_ALLOWED

    good, bad = 0, 1
    while bad <= MAX_ROBOTS and fits(bad):
        good, bad = bad, bad * 2
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def simulate(
    robots: int,
    times: dict[int, list[float]],
    order: Order,
    chunk_s: float,
    duration_s: float = 40.0,
    seed: int = 0,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Seconds from request to reply of the requests made after the first two chunks.

    A robot asks when `BUFFER_TIME_S` of its plan is left, and not before the last answer came.
    """
    rng = np.random.default_rng(seed)
    schedule: Schedule[int] = Schedule(
        max_batch=max(times), max_wait_ns=ns(MAX_WAIT_S), order=order
    )
    period, now = chunk_s - BUFFER_TIME_S, 0
    asking = [(ns(float(rng.uniform(0, period))), robot, 0) for robot in range(robots)]
    heapq.heapify(asking)
    latencies: list[float] = []
    while now < ns(duration_s):
        while asking and asking[0][0] <= now:
            at, robot, seq = heapq.heappop(asking)
            never = ns(2 * duration_s)
            schedule.put(Job(str(robot), seq, None, at, at + ns(BUFFER_TIME_S), never, robot))
        due = schedule.due(now, robots)
        if due is None or due > now:
            now = min(t for t in (due, asking[0][0] if asking else None) if t is not None)
            continue
        batch = schedule.take(now, robots)
        seconds = times[len(batch)]
        now += ns(seconds[rng.integers(len(seconds))])
        for job in batch:
            if job.arrived_ns > ns(2 * chunk_s):
                latencies.append((now - job.arrived_ns) / 1e9)
            again = max(now, job.arrived_ns + ns(period))
            heapq.heappush(asking, (again, job.payload, job.seq + 1))
    return np.array(latencies or [np.inf])
