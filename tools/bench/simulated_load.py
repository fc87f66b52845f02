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
    period_s, now_ns = chunk_s - BUFFER_TIME_S, 0
    asking = [(ns(float(rng.uniform(0, period_s))), robot, 0) for robot in range(robots)]
    heapq.heapify(asking)
    latencies: list[float] = []
    while now_ns < ns(duration_s):
        while asking and asking[0][0] <= now_ns:
            at_ns, robot, seq = heapq.heappop(asking)
            never_ns = ns(2 * duration_s)
            deadline_ns = at_ns + ns(BUFFER_TIME_S)
            schedule.put(Job(str(robot), seq, None, at_ns, deadline_ns, never_ns, robot))
        due_ns = schedule.due_ns(now_ns, robots)
        if due_ns is None or due_ns > now_ns:
            now_ns = min(t for t in (due_ns, asking[0][0] if asking else None) if t is not None)
            continue
        batch = schedule.take(now_ns, robots)
        seconds = times[len(batch)]
        now_ns += ns(seconds[rng.integers(len(seconds))])
        for job in batch:
            if job.arrived_ns > ns(2 * chunk_s):
                latencies.append((now_ns - job.arrived_ns) / 1e9)
            again_ns = max(now_ns, job.arrived_ns + ns(period_s))
            heapq.heappush(asking, (again_ns, job.payload, job.seq + 1))
    return np.array(latencies or [np.inf])
