"""A chunk that comes long after the plan ran dry continues a motion that has ended."""

from __future__ import annotations

from holdfast.actors.control.plan import Drop
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.actors.control.supply_state import SupplyState
from holdfast.tests.actors.control.request_cycles import CHUNK, MS, S, ask, key, streaming

DRY_NS = 2 * S


def dry_cycle(**safety: float) -> RequestCycle:
    """Its plan ran dry at DRY_NS with a request under way, which was made 0.3 s before."""
    cycle = streaming(safety=safety)
    cycle.latency.connected()
    cycle.latency.record(0)  # the first after a connect is not counted
    cycle.latency.record(200 * MS)
    while len(cycle.buffer) > 3:
        cycle.buffer.pop(S)
    ask(cycle, DRY_NS - 300 * MS)
    while cycle.buffer.pop(DRY_NS) is not None:
        pass
    cycle.elapse(DRY_NS)
    assert cycle.state is SupplyState.STALLED
    return cycle


def reply(cycle: RequestCycle, now_ns: int) -> Drop | None:
    """The answer to the request under way comes."""
    return cycle.replied(CHUNK, CHUNK, key(cycle), 10, now_ns)


def test_the_answer_to_a_moving_robot_s_request_is_dropped_once_it_stood_still_for_long() -> None:
    """Another chunk is asked for at once, and the reason is said until it comes."""
    cycle = dry_cycle()
    late_ns = DRY_NS + 501 * MS
    assert reply(cycle, late_ns) is Drop.STALLED
    assert len(cycle.buffer) == 0 and cycle.buffer.dropped == {"stalled": 1}
    assert cycle.latency.expected_ns == 200 * MS, "of an outage"
    assert "before the plan ran dry" in cycle.reason
    ask(cycle, late_ns)
    assert reply(cycle, late_ns + 200 * MS) is None
    assert cycle.state is SupplyState.STREAMING


def test_a_plan_goes_on_after_a_short_stall() -> None:
    """Up to `resume_within_s`, by default 0.5 s."""
    assert reply(dry_cycle(), DRY_NS + 500 * MS) is None
    assert reply(dry_cycle(resume_within_s=1.5), DRY_NS + 1500 * MS) is None
    assert reply(dry_cycle(resume_within_s=0.1), DRY_NS + 101 * MS) is Drop.STALLED


def test_a_robot_that_stood_still_when_it_asked_gets_its_answer_however_late() -> None:
    """Its chunk begins where it stands: no second answer in a row is dropped."""
    cycle = dry_cycle()
    assert reply(cycle, DRY_NS + S) is Drop.STALLED
    ask(cycle, DRY_NS + S)
    assert reply(cycle, DRY_NS + 3 * S) is None


def test_a_service_that_is_always_slower_than_its_chunks_are_long_is_not_held_up() -> None:
    """What comes as late as others do is played."""
    cycle = dry_cycle()
    for _ in range(3):
        cycle.latency.record(1500 * MS)
    assert reply(cycle, DRY_NS + 1600 * MS) is None


def test_a_pause_is_not_time_in_which_a_robot_stood_still_for_want_of_a_chunk() -> None:
    """A stall before it goes on after it."""
    cycle = dry_cycle()
    cycle.pause(DRY_NS + 100 * MS)
    cycle.resume(DRY_NS + 9100 * MS)
    assert reply(cycle, DRY_NS + 9450 * MS) is None
