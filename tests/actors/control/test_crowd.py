"""Robots that asked at one time do not go on to do so."""

from __future__ import annotations

import heapq

import pytest

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
    pauses = [RequestPause() for _ in range(ROBOTS)]
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
            waits[job.payload].append(now_ns - job.arrived_ns)
            if spreads:
                pauses[job.payload].crowd_ns = max(0, waits[job.payload][-1] - BATCH_NS)
            asks_ns = job.arrived_ns + CHUNK_NS - BUFFER_NS
            while pauses[job.payload].defers(
                job.arrived_ns,
                job.arrived_ns + CHUNK_NS - asks_ns - 1,
                BUFFER_NS,
                2 * BATCH_NS,
                asks_ns,
            ):
                asks_ns += TICK_NS
            heapq.heappush(arrivals, (max(asks_ns, now_ns + BATCH_NS), job.payload))
        now_ns += BATCH_NS
    return waits


@pytest.mark.parametrize("within_ns", [50 * MS, 300 * MS, 700 * MS])
def test_a_crowd_disperses_when_each_asks_as_much_later_as_it_had_to_wait(within_ns: int) -> None:
    """After a few requests none waits for longer than two batches; without it some always do."""
    spread = waits_of_a_crowd(within_ns, spreads=True)
    crowded = waits_of_a_crowd(within_ns, spreads=False)
    assert max(max(each[6:]) for each in spread) <= 2 * BATCH_NS
    assert max(max(each[6:]) for each in crowded) > 2 * BATCH_NS
    assert min(map(len, spread)) >= 0.9 * min(map(len, crowded))


def test_a_robot_that_waited_for_others_asks_that_much_later_once() -> None:
    """Its next request that does not wait is the last that is put off."""
    cycle = opened(new_cycle())  # chunks of 10 steps of 0.1 s, half of them buffer
    ask(cycle, S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S, crowd_ns=200 * MS) is None
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
    assert gaps[0] == gaps[1] + 200 * MS and len(set(gaps[1:])) == 1


@pytest.mark.parametrize("learnt", [{"crowd_ns": S}, {"interval_ns": 30 * S}])
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
