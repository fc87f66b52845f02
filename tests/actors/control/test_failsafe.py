"""`FailSafe`, bound by bound; any order of events is in tests/properties."""

from __future__ import annotations

from holdfast.actors.control.failsafe import Bounds, FailSafe
from holdfast.actors.control.supply_state import SupplyEvent, SupplyState

S = 1_000_000_000


def streaming() -> FailSafe:
    machine = FailSafe(Bounds())
    machine.opening(1)
    machine.on(SupplyEvent.ACCEPTED, 1)
    assert machine.state is SupplyState.CONNECTING
    machine.on(SupplyEvent.MERGED, S)
    assert machine.state is SupplyState.STREAMING
    return machine


def test_a_late_chunk_degrades_and_a_dry_plan_stalls() -> None:
    machine = streaming()
    assert machine.elapse(2 * S, dry=False, due=True) is SupplyState.STREAMING
    assert machine.elapse(3 * S - 1, dry=False, due=True) is SupplyState.STREAMING
    assert machine.elapse(3 * S, dry=False, due=True) is SupplyState.DEGRADED
    assert machine.elapse(3 * S, dry=True, due=True) is SupplyState.STALLED
    assert machine.on(SupplyEvent.MERGED, 4 * S) is SupplyState.STREAMING


def test_a_chunk_that_is_not_due_is_not_late() -> None:
    machine = streaming()
    assert machine.elapse(50 * S, dry=False, due=False) is SupplyState.STREAMING


def test_a_request_that_times_out_degrades_and_twice_that_reconnects() -> None:
    machine = streaming()
    machine.asked(2 * S)
    assert not machine.request_timed_out(7 * S - 1)
    assert machine.request_timed_out(7 * S)
    assert machine.state is SupplyState.DEGRADED
    machine.asked(7 * S)
    assert machine.elapse(12 * S - 1, dry=False, due=False) is SupplyState.DEGRADED
    assert machine.elapse(12 * S, dry=False, due=False) is SupplyState.RECONNECTING


def test_an_answer_of_any_kind_shows_that_the_server_lives() -> None:
    machine = streaming()
    machine.asked(2 * S)
    assert machine.request_timed_out(7 * S)
    machine.asked(7 * S)
    machine.answered()
    assert machine.elapse(13 * S, dry=False, due=False) is SupplyState.DEGRADED


def test_handshakes_follow_each_other_at_half_a_second_doubling_to_ten() -> None:
    machine = streaming()
    now = 2 * S
    machine.on(SupplyEvent.LOST, now)
    waits = []
    for _ in range(8):
        start = now
        while not machine.should_open(now):
            now += S // 100
        waits.append(round((now - start) / S, 1))
        machine.opening(now)
        machine.open_failed(now)
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_server_that_is_lost_again_before_it_sent_a_chunk_is_not_hammered() -> None:
    machine = streaming()
    machine.on(SupplyEvent.LOST, 2 * S)
    assert machine.should_open(2 * S)
    machine.opening(2 * S)
    machine.on(SupplyEvent.ACCEPTED, 2 * S)
    machine.on(SupplyEvent.LOST, 2 * S)
    assert not machine.should_open(2 * S + S // 4)
    assert machine.should_open(2 * S + S // 2)


def test_a_session_that_is_lost_long_after_its_handshake_without_a_chunk_pauses_from_then() -> None:
    machine = streaming()
    machine.on(SupplyEvent.LOST, 2 * S)
    machine.opening(2 * S)
    machine.on(SupplyEvent.ACCEPTED, 2 * S)
    machine.on(SupplyEvent.LOST, 10 * S)
    assert not machine.should_open(10 * S + S // 2 - 1)
    assert machine.should_open(10 * S + S // 2)


def test_without_a_request_none_times_out_and_each_does_so_once() -> None:
    machine = streaming()
    assert not machine.request_timed_out(100 * S)
    machine.asked(100 * S)
    assert machine.request_timed_out(105 * S)
    assert not machine.request_timed_out(110 * S)


def test_once_an_episode_s_first_chunk_came_a_dry_plan_stalls_at_once() -> None:
    machine = streaming()
    machine.reset()
    machine.on(SupplyEvent.MERGED, 2 * S)
    assert machine.elapse(2 * S + 1, dry=True, due=True) is SupplyState.STALLED


def test_a_robot_that_was_accepted_and_gets_no_chunk_gives_up_however_often_it_is_accepted() -> (
    None
):
    """The budget counts from the first handshake; those after it are no supply."""
    machine = FailSafe(Bounds())
    machine.on(SupplyEvent.ACCEPTED, S)
    machine.elapse(S, dry=True, due=True)
    for now in range(10, 61, 10):
        machine.on(SupplyEvent.LOST, now * S)
        machine.on(SupplyEvent.ACCEPTED, now * S)
        assert machine.elapse(now * S, dry=True, due=True) is SupplyState.CONNECTING
    assert machine.elapse(61 * S, dry=True, due=True) is SupplyState.CONNECTING
    assert machine.elapse(61 * S + 1, dry=True, due=True) is SupplyState.DEAD


def test_a_handshake_that_nobody_answers_is_tried_again() -> None:
    machine = FailSafe(Bounds())
    assert machine.should_open(S)
    machine.opening(S)
    for tenths in range(10, 30):
        assert not machine.should_open(tenths * S // 10)
    assert not machine.should_open(3 * S - 1)
    assert not machine.should_open(3 * S), "first a pause"
    assert machine.should_open(3 * S + S // 2)


def test_a_robot_that_was_never_enabled_asks_every_second_and_never_dies_of_waiting() -> None:
    machine = FailSafe(Bounds())
    now = S
    for handshake in range(300):
        assert machine.elapse(now, dry=True, due=True) is SupplyState.CONNECTING
        assert machine.should_open(now)
        machine.opening(now)
        machine.open_failed(now)
        assert not machine.should_open(now + (S if handshake else S // 2) - 1)
        now += S


def test_the_offline_budget_counts_from_the_last_merge_and_stands_still_while_paused() -> None:
    machine = streaming()
    machine.elapse(S, dry=False, due=True)
    machine.on(SupplyEvent.LOST, 2 * S)
    machine.pause(30 * S)
    assert machine.elapse(500 * S, dry=True, due=True) is SupplyState.RECONNECTING
    machine.resume(500 * S)
    assert machine.elapse(531 * S, dry=True, due=True) is SupplyState.RECONNECTING
    assert machine.elapse(531 * S + 1, dry=True, due=True) is SupplyState.DEAD


def test_a_pause_moves_what_is_due_asked_and_unanswered_by_its_length() -> None:
    late, asked, unanswered = streaming(), streaming(), streaming()
    late.elapse(2 * S, dry=False, due=True)
    for machine in (asked, unanswered):
        machine.asked(2 * S)
    assert unanswered.request_timed_out(7 * S)
    for machine, now in ((late, S // 2 * 5), (asked, 4 * S), (unanswered, 8 * S)):
        machine.pause(now)
        machine.resume(now + 100 * S)
    assert late.elapse(103 * S - 1, dry=False, due=True) is SupplyState.STREAMING
    assert late.elapse(103 * S, dry=False, due=True) is SupplyState.DEGRADED
    assert not asked.request_timed_out(107 * S - 1)
    assert asked.request_timed_out(107 * S)
    assert unanswered.elapse(112 * S - 1, dry=False, due=False) is SupplyState.DEGRADED
    assert unanswered.elapse(112 * S, dry=False, due=False) is SupplyState.RECONNECTING


def test_an_action_is_due_from_the_first_chunk_on_also_for_the_next_incarnation() -> None:
    machine = FailSafe(Bounds())
    assert not machine.action_due
    machine.on(SupplyEvent.ACCEPTED, S)
    assert not machine.action_due
    machine.on(SupplyEvent.MERGED, S)
    assert machine.action_due
    assert FailSafe(Bounds(), machine.supplied_ns).action_due


def test_the_next_incarnation_goes_on_with_the_budget_that_was_left() -> None:
    heir = FailSafe(Bounds(), supplied_ns=S)
    assert heir.elapse(50 * S, dry=True, due=True) is SupplyState.CONNECTING
    assert heir.elapse(61 * S, dry=True, due=True) is SupplyState.CONNECTING
    assert heir.elapse(61 * S + 1, dry=True, due=True) is SupplyState.DEAD


def test_the_offline_budget_and_the_pause_outlive_the_process() -> None:
    machine = streaming()
    machine.pause(30 * S)
    heir = FailSafe(Bounds(), machine.supplied_ns, machine.paused_ns)
    assert heir.paused
    heir.resume(100 * S)
    heir.elapse(100 * S, dry=True, due=True)
    assert heir.elapse(131 * S, dry=True, due=True) is SupplyState.CONNECTING
    assert heir.elapse(131 * S + 1, dry=True, due=True) is SupplyState.DEAD


def test_without_a_bound_a_robot_waits_without_an_end() -> None:
    machine = FailSafe(Bounds(max_offline_ns=None), supplied_ns=S)
    machine.on(SupplyEvent.LOST, 2 * S)
    for now in range(2, 10**6, 1000):
        assert machine.elapse(now * S, dry=True, due=True) is not SupplyState.DEAD


def test_a_service_that_is_available_ends_the_pause_and_makes_the_next_one_short() -> None:
    machine = streaming()
    machine.on(SupplyEvent.LOST, 2 * S)
    for now in (10 * S, 20 * S, 30 * S):
        machine.opening(now)
        machine.open_failed(now)
    assert not machine.should_open(31 * S)
    machine.available(31 * S)
    assert machine.should_open(31 * S)
    machine.opening(31 * S)
    machine.open_failed(32 * S)
    assert machine.should_open(32 * S + S // 2)


def test_an_episode_s_first_chunk_may_take_a_moment_before_that_is_a_stall() -> None:
    machine = streaming()
    machine.reset()
    assert machine.elapse(2 * S, dry=True, due=True) is SupplyState.STREAMING
    assert machine.elapse(3 * S, dry=True, due=True) is SupplyState.STALLED
