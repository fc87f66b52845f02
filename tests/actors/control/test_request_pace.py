"""The slower pace that a service with too many robots gives each of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.tests.actors.control.request_cycles import (
    CHUNK,
    MS,
    TERMS,
    S,
    ask,
    key,
    new_cycle,
    opened,
    streaming,
)

STEP_NS = 100 * MS


def paced(interval_s: float, buffer_time_s: float = 0.5) -> RequestCycle:
    """A cycle with a chunk of a second at the instant S, which the service has given a pace."""
    cycle = opened(new_cycle(plan_settings={"buffer_time_s": buffer_time_s}))
    ask(cycle, S)
    interval_ns = round(interval_s * S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, S, interval_ns=interval_ns) is None
    return cycle


def test_a_robot_keeps_to_the_pace_that_its_service_gives() -> None:
    """It asks later than its buffer time says, and says why in its warnings."""
    own, slowed = streaming(), paced(0.8)
    for cycle in (own, slowed):
        cycle.latency._expected_ns = 10 * MS
        for step in range(6):
            cycle.buffer.pop(S + step * STEP_NS)
    now_ns = S + 6 * STEP_NS
    assert own.ask(now_ns, 16, now_ns) is not None
    assert slowed.ask(now_ns, 16, now_ns) is None
    assert "asks once in 0.8 s" in slowed.warnings[-1] and "s/0" in slowed.warnings[-1]
    assert slowed.ask(now_ns + 2 * STEP_NS, 18, now_ns + 2 * STEP_NS) is not None


def test_a_robot_that_waits_for_its_pace_is_not_degraded() -> None:
    """No chunk is due meanwhile, however long its buffer time is."""
    cycle = paced(0.9, buffer_time_s=1.0)
    cycle.latency._expected_ns = 10 * MS
    for step in range(8):
        cycle.elapse(S + step * STEP_NS)
        cycle.buffer.pop(S + step * STEP_NS)
        assert not cycle._due


def test_a_new_session_begins_without_a_pace() -> None:
    """Another replica may have room; the warning ends."""
    cycle = paced(30.0)
    cycle.session.lost("gone", cycle.session.epoch, 2 * S)
    opened(cycle, 4 * S)
    cycle.buffer.void()
    assert cycle.ask(4 * S, 50, 4 * S) is not None
    assert cycle.warnings == []


@given(
    st.floats(0, 60),
    st.floats(0.1, 0.9),
    st.lists(st.integers(1, 4), min_size=1, max_size=20),
)
def test_a_pace_never_lets_a_plan_run_dry(
    interval_s: float, buffer_time_s: float, latencies: list[int]
) -> None:
    """With answers within what was expected the plan lasts, whatever pace is asked for."""
    cycle = paced(interval_s, buffer_time_s)
    cycle.latency._expected_ns = max(latencies) * STEP_NS
    interval_ns, step, now_ns = round(interval_s * S), 10, S
    for latency_steps in latencies:
        asked = None
        while asked is None:
            asked = cycle.ask(now_ns, step, now_ns)
            if asked is None:
                assert cycle.buffer.pop(now_ns) is not None, "dry, and nothing was asked for"
                step, now_ns = step + 1, now_ns + STEP_NS
        cycle.asked(now_ns)
        for _ in range(latency_steps):
            played = cycle.buffer.pop(now_ns)
            # A buffer shorter than the latency is dry without a pace too.
            assert played is not None or buffer_time_s * 10 <= latency_steps + 1
            step, now_ns = step + 1, now_ns + STEP_NS
        before_ns = cycle.latency.expected_ns
        chunk = np.zeros((TERMS.chunk_size, 2), np.float32)
        cycle.replied(chunk, chunk, key(cycle), step, now_ns, interval_ns=interval_ns)
        cycle.latency._expected_ns = before_ns
