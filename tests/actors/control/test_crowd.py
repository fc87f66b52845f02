"""Robots that asked at one time do not go on to do so, and none waits longer than the others for as
long as they run."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.latency_window import LatencyWindow
from holdfast.actors.control.request_pause import RequestPause
from holdfast.actors.inference.schedule import Job, Schedule
from holdfast.tests.actors.control.request_cycles import CHUNK, MS, S, ask, key, new_cycle, opened

TICK_NS = S // 30
CHUNK_NS = 50 * TICK_NS
BUFFER_NS = 22 * TICK_NS
BATCH, BATCH_NS = 8, 40 * MS
ROBOTS = 150
"""80 % of what the device does in full batches."""


def waits_of_a_crowd(within_ns: int, spreads: bool) -> list[list[int]]:
    """How long each robot's requests wait for the device when all robots first ask `within_ns`.
    Each asks at the first of its ticks at which its plan is shorter than its buffer time and that
    its pause does not put off, as `RequestCycle` does."""
    schedule: Schedule[int] = Schedule(max_batch=BATCH, max_wait_ns=4 * MS)
    pauses = [RequestPause(k) for k in range(ROBOTS)]
    windows = [LatencyWindow() for _ in range(ROBOTS)]
    first_ns = [k * within_ns // ROBOTS for k in range(ROBOTS)]
    arrivals = [(ns, k) for k, ns in enumerate(first_ns)]
    waits: list[list[int]] = [[] for _ in range(ROBOTS)]
    now_ns = seq = 0
    while now_ns < 20 * S:
        while arrivals and arrivals[0][0] <= now_ns:
            at_ns, k = heapq.heappop(arrivals)
            seq += 1
            schedule.put(Job(str(k), seq, 0, at_ns, at_ns + BUFFER_NS, at_ns + S, k))
        due_ns = schedule.due_ns(now_ns, ROBOTS)
        if due_ns is None or due_ns > now_ns:
            now_ns = min([due_ns or arrivals[0][0]] + [at_ns for at_ns, _ in arrivals[:1]])
            continue
        for job in schedule.take(now_ns, ROBOTS):
            k, asked_ns = job.payload, job.arrived_ns
            waits[k].append(now_ns - asked_ns)
            latency_ns = waits[k][-1] + BATCH_NS
            windows[k].record(latency_ns)
            if spreads:
                pauses[k].answered(asked_ns, waits[k][-1], BATCH_NS, TICK_NS, len(waits[k]))
            asks_ns = asked_ns + CHUNK_NS - BUFFER_NS
            while pauses[k].defers(
                asked_ns,
                asked_ns + CHUNK_NS - asks_ns - 1,
                BUFFER_NS,
                windows[k].expected_ns,
                asks_ns,
            ):
                asks_ns += TICK_NS
            heapq.heappush(arrivals, (max(asks_ns, asked_ns + latency_ns), k))
        now_ns += BATCH_NS
    return waits


@pytest.mark.parametrize("within_ns", [50 * MS, 300 * MS, 700 * MS])
def test_a_crowd_disperses_when_each_asks_as_much_later_as_it_had_to_wait(within_ns: int) -> None:
    """However they began the slowest soon waits little longer than the fastest; without it not."""
    fair, latest_ns, requests = served(waits_of_a_crowd(within_ns, spreads=True))
    unfair, late_ns, most = served(waits_of_a_crowd(within_ns, spreads=False))
    assert fair < 1.7 and latest_ns <= 3 * BATCH_NS
    assert unfair > 2.5 and late_ns > 3 * BATCH_NS
    assert requests >= 0.9 * most


def served(waits: list[list[int]]) -> tuple[float, int, int]:
    """Of each robot's requests but for the first few: the slowest robot's p99 latency over the
    fastest's, the longest latency, and the fewest requests."""
    latencies = [[wait + BATCH_NS for wait in each[6:]] for each in waits]
    p99 = [float(np.percentile(each, 99)) for each in latencies]
    return max(p99) / min(p99), max(map(max, latencies)), min(map(len, waits))


def test_a_robot_that_waited_for_others_asks_that_much_later_once() -> None:
    """Its next request that does not wait is the last that is put off."""
    cycle = opened(new_cycle())  # chunks of 10 steps of 0.1 s, half of them buffer
    ask(cycle, S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S, waited_ns=200 * MS) is None
    cycle.latency._expected_ns = 10 * MS
    asked = []
    now_ns = S
    for step in range(11, 40):
        now_ns += S // 10
        cycle.buffer.pop(now_ns)
        if cycle.ask(now_ns, step, now_ns) is not None:
            cycle.asked(now_ns)
            asked.append(now_ns)
            assert cycle.replied(CHUNK, CHUNK, key(cycle), step, now_ns) is None
            cycle.latency._expected_ns = 10 * MS
    gaps = [later - earlier for earlier, later in zip([S, *asked], asked, strict=False)]
    assert gaps[0] - gaps[1] in (200 * MS, 300 * MS) and len(set(gaps[1:])) == 1


@given(
    seq=st.integers(1, 1 << 40),
    period_ns=st.integers(1, 2 * S),
    waited_ns=st.integers(0, S),
    batch_ns=st.integers(1, S),
    latency_ns=st.integers(1, S),
    buffer_ns=st.integers(1, 2 * S),
    share=st.floats(0.0, 1.0),
)
def test_others_put_a_request_off_by_a_bounded_time_and_never_beyond_what_the_plan_allows(
    seq: int,
    period_ns: int,
    waited_ns: int,
    batch_ns: int,
    latency_ns: int,
    buffer_ns: int,
    share: float,
) -> None:
    """By nothing without a wait; for one batch by at most a sixteenth of the period and a step."""
    plan_ns = int(share * (buffer_ns - 1))
    put_off = set()
    for _ in range(2):
        pause = RequestPause(7)
        pause.answered(S, 0, batch_ns, TICK_NS, seq)
        pause.answered(S + period_ns, waited_ns, batch_ns, TICK_NS, seq + 1)
        put_off.add(pause.defers(S + period_ns, plan_ns, buffer_ns, latency_ns, 5 * S))
    assert len(put_off) == 1
    crowd_ns = max(0, waited_ns - batch_ns)
    if put_off.pop():
        assert plan_ns > latency_ns, "an answer may come after the plan's end"
        assert waited_ns and buffer_ns - plan_ns <= waited_ns + TICK_NS
        assert crowd_ns or buffer_ns - plan_ns <= period_ns // 16 + TICK_NS
    else:
        assert buffer_ns - plan_ns > crowd_ns or plan_ns <= 2 * latency_ns - min(
            crowd_ns, latency_ns
        )


@pytest.mark.parametrize("learnt", [{"waited_ns": S}, {"interval_ns": 30 * S}])
def test_the_first_request_of_a_new_session_waits_neither_for_a_crowd_nor_for_a_pace(
    learnt: dict[str, int],
) -> None:
    """Another replica may be free: it is asked as soon as the plan is shorter than the buffer."""
    cycle = opened(new_cycle())  # chunks of 10 steps of 0.1 s, half of them buffer
    ask(cycle, S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S, **learnt) is None
    cycle.latency._expected_ns = 10 * MS
    for _ in range(6):
        cycle.buffer.pop(S)
    now_ns = S + 600 * MS
    assert cycle.ask(now_ns, 16, now_ns) is None
    cycle.session.lost("gone", cycle.session.epoch, now_ns)
    now_ns += 3 * S  # The next handshake waits a while.
    opened(cycle, now_ns)
    assert cycle.warnings == []
    assert cycle.ask(now_ns, 17, now_ns) is not None
