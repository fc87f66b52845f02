"""`FailSafe`, bound by bound; any order of events is in tests/properties."""

from __future__ import annotations

from holdfast.actors.control.failsafe import Bounds, FailSafe
from holdfast.actors.control.supply_state import SupplyEvent, SupplyState

S = 1_000_000_000


def streaming() -> FailSafe:
    machine = FailSafe(Bounds())
    machine.opening(1)
    assert machine.on(SupplyEvent.ACCEPTED, 1) is SupplyState.CONNECTING
    assert machine.on(SupplyEvent.MERGED, S) is SupplyState.STREAMING
    return machine


def test_a_late_chunk_degrades_and_a_dry_plan_stalls() -> None:
    """Late is `degraded_after` while one is due; a merge leads back to STREAMING."""
    machine = streaming()
    assert machine.elapse(2 * S, dry=False, due=True) is SupplyState.STREAMING
    assert machine.elapse(3 * S - 1, dry=False, due=True) is SupplyState.STREAMING
    assert machine.elapse(3 * S, dry=False, due=True) is SupplyState.DEGRADED
    assert machine.elapse(3 * S, dry=True, due=True) is SupplyState.STALLED
    assert machine.on(SupplyEvent.MERGED, 4 * S) is SupplyState.STREAMING


def test_a_chunk_that_is_not_due_is_not_late() -> None:
    """While the plan is full no time leads to DEGRADED."""
    machine = streaming()
    assert machine.elapse(50 * S, dry=False, due=False) is SupplyState.STREAMING


def test_a_request_that_times_out_degrades_and_twice_that_reconnects() -> None:
    """DEGRADED after `request_timeout`, RECONNECTING after twice as long without an answer."""
    machine = streaming()
    machine.asked(2 * S)
    assert not machine.request_timed_out(7 * S - 1)
    assert machine.request_timed_out(7 * S)
    assert machine.state is SupplyState.DEGRADED
    machine.asked(7 * S)
    assert machine.elapse(12 * S - 1, dry=False, due=False) is SupplyState.DEGRADED
    assert machine.elapse(12 * S, dry=False, due=False) is SupplyState.RECONNECTING


def test_an_answer_of_any_kind_shows_that_the_server_lives() -> None:
    """`answered` ends the time without an answer, though no chunk was merged."""
    machine = streaming()
    machine.asked(2 * S)
    assert machine.request_timed_out(7 * S)
    machine.asked(7 * S)
    machine.answered()
    assert machine.elapse(13 * S, dry=False, due=False) is SupplyState.DEGRADED


def test_the_pause_between_handshakes_doubles_from_half_a_second_to_ten() -> None:
    """The first one after a loss goes out at once."""
    machine = streaming()
    now_ns = 2 * S
    machine.on(SupplyEvent.LOST, now_ns)
    waits = []
    for _ in range(8):
        start = now_ns
        while not machine.should_open(now_ns):
            now_ns += S // 100
        waits.append(round((now_ns - start) / S, 1))
        machine.opening(now_ns)
        machine.open_failed(now_ns)
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_server_that_is_lost_again_before_it_sent_a_chunk_gets_a_pause() -> None:
    """Only a merged chunk resets the backoff, an accepted handshake does not."""
    machine = streaming()
    machine.on(SupplyEvent.LOST, 2 * S)
    assert machine.should_open(2 * S)
    machine.opening(2 * S)
    machine.on(SupplyEvent.ACCEPTED, 2 * S)
    machine.on(SupplyEvent.LOST, 2 * S)
    assert not machine.should_open(2 * S + S // 4)
    assert machine.should_open(2 * S + S // 2)


def test_a_session_that_is_lost_long_after_its_handshake_without_a_chunk_pauses_from_then() -> None:
    """The pause begins at the loss, not at the handshake."""
    machine = streaming()
    machine.on(SupplyEvent.LOST, 2 * S)
    machine.opening(2 * S)
    machine.on(SupplyEvent.ACCEPTED, 2 * S)
    machine.on(SupplyEvent.LOST, 10 * S)
    assert not machine.should_open(10 * S + S // 2 - 1)
    assert machine.should_open(10 * S + S // 2)


def test_a_request_times_out_once_and_never_before_it_was_sent() -> None:
    """`request_timed_out` is True once per request."""
    machine = streaming()
    assert not machine.request_timed_out(100 * S)
    machine.asked(100 * S)
    assert machine.request_timed_out(105 * S)
    assert not machine.request_timed_out(110 * S)


def test_a_dry_plan_stalls_at_once_after_the_first_chunk_of_an_episode() -> None:
    """The grace of a reset ends with the first merge."""
    machine = streaming()
    machine.reset()
    machine.on(SupplyEvent.MERGED, 2 * S)
    assert machine.elapse(2 * S + 1, dry=True, due=True) is SupplyState.STALLED


def test_a_robot_that_was_accepted_and_gets_no_chunk_gives_up_however_often_it_is_accepted() -> (
    None
):
    """The offline budget counts from the first handshake; a later one does not renew it."""
    machine = FailSafe(Bounds())
    machine.on(SupplyEvent.ACCEPTED, S)
    machine.elapse(S, dry=True, due=True)
    for now_s in range(10, 61, 10):
        machine.on(SupplyEvent.LOST, now_s * S)
        machine.on(SupplyEvent.ACCEPTED, now_s * S)
        assert machine.elapse(now_s * S, dry=True, due=True) is SupplyState.CONNECTING
    assert machine.elapse(61 * S, dry=True, due=True) is SupplyState.CONNECTING
    assert machine.elapse(61 * S + 1, dry=True, due=True) is SupplyState.DEAD


def test_an_unanswered_handshake_is_repeated() -> None:
    """The next one goes out after `open_timeout` and a pause."""
    machine = FailSafe(Bounds())
    assert machine.should_open(S)
    machine.opening(S)
    for tenths in range(10, 30):
        assert not machine.should_open(tenths * S // 10)
    assert not machine.should_open(3 * S - 1)
    assert not machine.should_open(3 * S), "first a pause"
    assert machine.should_open(3 * S + S // 2)


def test_a_robot_that_was_never_enabled_asks_every_second_without_an_end() -> None:
    """The offline budget begins with the first accepted handshake."""
    machine = FailSafe(Bounds())
    now_ns = S
    for handshake in range(300):
        assert machine.elapse(now_ns, dry=True, due=True) is SupplyState.CONNECTING
        assert machine.should_open(now_ns)
        machine.opening(now_ns)
        machine.open_failed(now_ns)
        assert not machine.should_open(now_ns + (S if handshake else S // 2) - 1)
        now_ns += S


def test_the_offline_budget_counts_from_the_last_merge_and_stands_still_while_paused() -> None:
    """DEAD after `max_offline` without a merge, pauses excluded."""
    machine = streaming()
    machine.elapse(S, dry=False, due=True)
    machine.on(SupplyEvent.LOST, 2 * S)
    machine.pause(30 * S)
    assert machine.elapse(500 * S, dry=True, due=True) is SupplyState.RECONNECTING
    machine.resume(500 * S)
    assert machine.elapse(531 * S, dry=True, due=True) is SupplyState.RECONNECTING
    assert machine.elapse(531 * S + 1, dry=True, due=True) is SupplyState.DEAD


def test_a_pause_moves_every_deadline_by_its_length() -> None:
    """Late chunk, time-out and reconnection come later by exactly the pause."""
    late, asked, unanswered = streaming(), streaming(), streaming()
    late.elapse(2 * S, dry=False, due=True)
    for machine in (asked, unanswered):
        machine.asked(2 * S)
    assert unanswered.request_timed_out(7 * S)
    for machine, now_ns in ((late, S // 2 * 5), (asked, 4 * S), (unanswered, 8 * S)):
        machine.pause(now_ns)
        machine.resume(now_ns + 100 * S)
    assert late.elapse(103 * S - 1, dry=False, due=True) is SupplyState.STREAMING
    assert late.elapse(103 * S, dry=False, due=True) is SupplyState.DEGRADED
    assert not asked.request_timed_out(107 * S - 1)
    assert asked.request_timed_out(107 * S)
    assert unanswered.elapse(112 * S - 1, dry=False, due=False) is SupplyState.DEGRADED
    assert unanswered.elapse(112 * S, dry=False, due=False) is SupplyState.RECONNECTING


def test_an_action_is_due_from_the_first_chunk_on_also_for_the_next_incarnation() -> None:
    """A tick counts as stalled only after the first chunk ever, or the first of an episode."""
    machine = FailSafe(Bounds())
    due = [machine.action_due]
    for event in (SupplyEvent.ACCEPTED, SupplyEvent.MERGED):
        machine.on(event, S)
        due.append(machine.action_due)
    assert due == [False, False, True]
    assert FailSafe(Bounds(), machine.supplied_ns).action_due


def test_the_next_incarnation_continues_the_offline_budget() -> None:
    """`supplied_ns` carries it over a restart."""
    restarted = FailSafe(Bounds(), supplied_ns=S)
    assert restarted.elapse(50 * S, dry=True, due=True) is SupplyState.CONNECTING
    assert restarted.elapse(61 * S, dry=True, due=True) is SupplyState.CONNECTING
    assert restarted.elapse(61 * S + 1, dry=True, due=True) is SupplyState.DEAD


def test_the_offline_budget_and_the_pause_outlive_the_process() -> None:
    """A restart during a pause is still paused, and resumes with the budget that was left."""
    machine = streaming()
    machine.pause(30 * S)
    restarted = FailSafe(Bounds(), machine.supplied_ns, machine.paused_ns)
    assert restarted.paused
    restarted.resume(100 * S)
    restarted.elapse(100 * S, dry=True, due=True)
    assert restarted.elapse(131 * S, dry=True, due=True) is SupplyState.CONNECTING
    assert restarted.elapse(131 * S + 1, dry=True, due=True) is SupplyState.DEAD


def test_without_a_bound_a_robot_waits_without_an_end() -> None:
    """`max_offline_ns` None never leads to DEAD."""
    machine = FailSafe(Bounds(max_offline_ns=None), supplied_ns=S)
    machine.on(SupplyEvent.LOST, 2 * S)
    for now_s in range(2, 10**6, 1000):
        assert machine.elapse(now_s * S, dry=True, due=True) is not SupplyState.DEAD


def test_an_available_service_ends_the_pause_and_resets_the_backoff() -> None:
    """The next handshake goes out at once, the one after it half a second later."""
    machine = streaming()
    machine.on(SupplyEvent.LOST, 2 * S)
    for now_ns in (10 * S, 20 * S, 30 * S):
        machine.opening(now_ns)
        machine.open_failed(now_ns)
    assert not machine.should_open(31 * S)
    machine.available(31 * S)
    assert machine.should_open(31 * S)
    machine.opening(31 * S)
    machine.open_failed(32 * S)
    assert machine.should_open(32 * S + S // 2)


def test_the_first_chunk_of_an_episode_may_take_degraded_after_before_the_plan_stalls() -> None:
    """A reset makes the plan dry by intention."""
    machine = streaming()
    machine.reset()
    assert machine.elapse(2 * S, dry=True, due=True) is SupplyState.STREAMING
    assert machine.elapse(3 * S, dry=True, due=True) is SupplyState.STALLED
