"""Robots that asked at one time do not go on to do so, and none waits longer than the others for as
long as they run."""

from __future__ import annotations

import heapq
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.actors.control.latency_window import LatencyWindow
from holdfast.actors.control.request_pause import RequestPause
from holdfast.actors.inference.schedule import Job, Schedule
from holdfast.tests.actors.control.request_cycles import CHUNK, MS, S, ask, key, new_cycle, opened
from holdfast.tools.bench.fleet_fairness import dealt_ratio, ratio_of, repeated

TICK_NS = S // 30
CHUNK_NS = 50 * TICK_NS
BUFFER_NS = 22 * TICK_NS
BATCH, BATCH_NS = 8, 40 * MS
ROBOTS = 150
"""80 % of what the device does in full batches."""


def waits_of_a_crowd(
    within_ns: int,
    spreads: bool,
    robots: int = ROBOTS,
    buffer_ns: int = BUFFER_NS,
    noise_ns: int = 0,
) -> tuple[list[list[int]], int]:
    """How long each robot's requests wait for the device when all robots first ask `within_ns`, and
    how many answers come after the end of a plan. Each asks at the first of its ticks at which its
    plan is shorter than its buffer time and that its pause does not put off, as `RequestCycle`
    does."""
    schedule: Schedule[int] = Schedule(max_batch=BATCH, max_wait_ns=4 * MS)
    pauses = [RequestPause(crc32(b"r%d" % k)) for k in range(robots)]
    windows = [LatencyWindow() for _ in range(robots)]
    first_ns = [k * within_ns // robots for k in range(robots)]
    arrivals = [(ns, k) for k, ns in enumerate(first_ns)]
    waits: list[list[int]] = [[] for _ in range(robots)]
    plan_ends_ns = [S] * robots
    now_ns = seq = dry = 0
    while now_ns < 20 * S:
        while arrivals and arrivals[0][0] <= now_ns:
            at_ns, k = heapq.heappop(arrivals)
            seq += 1
            schedule.put(Job(str(k), seq, 0, at_ns, at_ns + buffer_ns, at_ns + S, k))
        due_ns = schedule.due_ns(now_ns, robots)
        if due_ns is None or due_ns > now_ns:
            now_ns = min([due_ns or arrivals[0][0]] + [at_ns for at_ns, _ in arrivals[:1]])
            continue
        for job in schedule.take(now_ns, robots):
            k, asked_ns = job.payload, job.arrived_ns
            waits[k].append(now_ns - asked_ns)
            latency_ns = waits[k][-1] + BATCH_NS
            windows[k].record(latency_ns)
            dry += asked_ns + latency_ns > plan_ends_ns[k]
            plan_ends_ns[k] = asked_ns + CHUNK_NS
            if spreads:
                told = waits[k][-1], BATCH_NS, TICK_NS, len(waits[k])
                pauses[k].answered(asked_ns, *told, asked_ns + latency_ns)
            asks_ns = asked_ns + CHUNK_NS - buffer_ns
            while pauses[k].defers(
                asked_ns,
                plan_ends_ns[k] - asks_ns - 1,
                buffer_ns,
                windows[k].expected_ns,
                TICK_NS,
                asks_ns,
            ):
                asks_ns += TICK_NS
            heapq.heappush(arrivals, (max(asks_ns, asked_ns + latency_ns), k))
        now_ns += BATCH_NS + (crc32(b"%d" % seq) % noise_ns if noise_ns else 0)
    return waits, dry


@pytest.mark.parametrize("within_ns", [50 * MS, 300 * MS, 700 * MS])
def test_a_crowd_disperses_when_each_asks_as_much_later_as_it_had_to_wait(within_ns: int) -> None:
    """Robots soon differ as much as by chance, not the same ones always; no plan ends for it."""
    spread, dry = waits_of_a_crowd(within_ns, spreads=True)
    crowded, crowded_dry = waits_of_a_crowd(within_ns, spreads=False)
    assert dry == crowded_dry == 0
    assert min(map(len, spread)) >= 0.9 * min(map(len, crowded))
    alike, unlike = latencies_of(spread), latencies_of(crowded)
    for percentile in (90, 99):
        found, chance = ratio_of(alike, percentile), dealt_ratio(alike, percentile)
        assert found is not None and chance is not None and found <= min(1.7, 1.15 * chance)
        unfair, chance = ratio_of(unlike, percentile), dealt_ratio(unlike, percentile)
        assert unfair is not None and chance is not None and unfair > max(2.5, 1.5 * chance)
    again, always = repeated(alike), repeated(unlike)
    assert again is not None and abs(again) < 4 / ROBOTS**0.5
    assert always is not None and always > 0.99
    assert max(map(max, alike)) <= 3 * BATCH_NS < max(map(max, unlike))


def test_robots_that_ask_often_are_not_served_in_one_order_for_ever() -> None:
    """Three times a second, where a step is a tenth of the time between two requests."""
    often = 50, 40 * TICK_NS, MS // 2
    spread, dry = waits_of_a_crowd(50 * MS, True, *often)
    crowded, crowded_dry = waits_of_a_crowd(50 * MS, False, *often)
    assert dry == crowded_dry == 0
    assert min(map(len, spread)) >= 0.95 * min(map(len, crowded))
    found = ratio_of([each[len(each) // 2 :] for each in latencies_of(spread)], 90)
    assert found is not None and found < 1.5


def latencies_of(waits: list[list[int]]) -> list[list[int]]:
    """Of each robot's requests but for the first few."""
    return [[wait + BATCH_NS for wait in each[6:]] for each in waits]


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
    assert gaps[0] == gaps[1] + 200 * MS and len(set(gaps[1:])) == 1


@pytest.mark.parametrize("names", [("left", "right"), ("r1", "r2"), ("r1", "r3"), ("r4", "r5")])
def test_two_robots_that_asked_at_one_time_soon_ask_a_step_apart(names: tuple[str, str]) -> None:
    """Also those whose names differ little, with requests of the same numbers."""
    asks = []
    for name in names:
        pause, put_off = RequestPause(crc32(name.encode())), []
        for seq in range(1, 13):
            asked_ns, now_ns, plan_ns = seq * S, (seq + 1) * S, BUFFER_NS - 80 * MS - 1
            pause.answered(asked_ns, 80 * MS, 40 * MS, TICK_NS, seq, asked_ns + 120 * MS)
            put_off.append(pause.defers(asked_ns, plan_ns, BUFFER_NS, 120 * MS, TICK_NS, now_ns))
        asks.append(put_off)
    apart = sum(a != b for a, b in zip(*asks, strict=True))
    assert 3 <= apart <= 9
    assert all(3 <= sum(each) <= 9 for each in asks)


@given(
    seq=st.integers(1, 1 << 40),
    period_ns=st.integers(1, 2 * S),
    waited_ns=st.integers(0, S),
    batch_ns=st.integers(1, S),
    net_ns=st.integers(0, S),
    latency_ns=st.integers(1, S),
    step_ns=st.integers(MS, S),
    buffer_ns=st.integers(1, 4 * S),
    later_ns=st.integers(1, S) | st.integers(1, 50 * MS),
)
@example(1, S, 450 * MS, 40 * MS, 0, 60 * MS, TICK_NS, 500 * MS, 400 * MS)
@example(1, S, 260 * MS, 40 * MS, 0, 90 * MS, S // 4, 500 * MS, 250 * MS)
@example(1, S // 3, 13 * MS, 30 * MS, 0, 60 * MS, TICK_NS, S, TICK_NS)
@example(4, S // 3, 13 * MS, 30 * MS, 0, 60 * MS, TICK_NS, S, TICK_NS)
@example(2, S // 10, 80 * MS, 40 * MS, 0, 10 * MS, S // 4, S, 200 * MS)
def test_others_put_a_request_off_by_a_bounded_time_and_never_beyond_what_the_plan_allows(
    seq: int,
    period_ns: int,
    waited_ns: int,
    batch_ns: int,
    net_ns: int,
    latency_ns: int,
    step_ns: int,
    buffer_ns: int,
    later_ns: int,
) -> None:
    """By nothing without a wait, and for one batch by an eighth of the requests at most."""
    later_ns = min(later_ns, buffer_ns)
    plan_ns = buffer_ns - later_ns
    answered_ns = S + period_ns + net_ns + waited_ns + batch_ns
    put_off = set()
    for _ in range(2):
        pause = RequestPause(crc32(b"left"))
        pause.answered(S, 0, batch_ns, step_ns, seq, S + batch_ns)
        pause.answered(S + period_ns, waited_ns, batch_ns, step_ns, seq + 1, answered_ns)
        put_off.add(pause.defers(S + period_ns, plan_ns, buffer_ns, latency_ns, step_ns, 5 * S))
    assert len(put_off) == 1
    crowd_ns, left_ns = max(0, waited_ns - batch_ns), plan_ns - step_ns
    alone_ns = net_ns + min(waited_ns, batch_ns) + batch_ns
    if put_off.pop():
        assert left_ns > latency_ns, "an answer may come after the plan's end"
        assert left_ns > latency_ns + min(alone_ns, latency_ns), "nothing is left for another one"
        assert waited_ns and later_ns <= waited_ns + period_ns // 16
        assert crowd_ns or later_ns <= period_ns // 8
    else:
        assert later_ns > crowd_ns or left_ns <= latency_ns + max(alone_ns, latency_ns - crowd_ns)


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
