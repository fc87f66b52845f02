"""What a request cycle keeps, counts, measures and reports, rule by rule."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.actors.control.plan import Drop
from holdfast.actors.control.plan_memory import PLAN_BYTES, Word
from holdfast.actors.control.supply_state import SupplyState
from holdfast.tests.actors.control.request_cycles import (
    CHUNK,
    MS,
    S,
    ask,
    key,
    new_cycle,
    opened,
    streaming,
)
from holdfast.transport.messages import Reject


def test_a_full_plan_is_not_due_for_as_long_as_it_is_not_played_and_a_dry_one_stalls() -> None:
    cycle = streaming()
    cycle.elapse(2 * S)
    cycle.elapse(50 * S)
    assert cycle.state is SupplyState.STREAMING
    while cycle.buffer.pop(50 * S) is not None:
        pass
    cycle.elapse(50 * S)
    assert cycle.state is SupplyState.STALLED


def test_a_plan_that_grows_short_is_due_and_late_after_a_second() -> None:
    cycle = streaming()
    for _ in range(8):
        cycle.buffer.pop(2 * S)
    cycle.elapse(2 * S)
    cycle.elapse(3 * S - 1)
    assert cycle.state is SupplyState.STREAMING
    cycle.elapse(3 * S)
    assert cycle.state is SupplyState.DEGRADED


def test_the_session_lasts_to_the_last_instant_of_liveness_and_progress_renews_it() -> None:
    cycle = opened(new_cycle(safety={"liveness_s": 1.5}))
    for beat in range(1, 4):
        cycle.session.heard(beat, 1, beat * S)
    cycle.elapse(4 * S + S // 2)
    assert cycle.failsafe.session_open
    cycle.elapse(4 * S + S // 2 + 1)
    assert not cycle.failsafe.session_open


def test_an_answer_is_a_sign_of_life_of_the_session_it_belongs_to() -> None:
    cycle = opened(new_cycle(safety={"liveness_s": 1.5}))
    ask(cycle, S)
    cycle.replied(CHUNK, CHUNK, (99, 0, 1), 10, 2 * S)
    assert cycle.buffer.outstanding is not None, "that was another's"
    cycle.replied(CHUNK, CHUNK, key(cycle), 10, 2 * S)
    cycle.elapse(3 * S)
    assert cycle.failsafe.session_open


def test_losses_say_what_was_said_of_them() -> None:
    cycle = opened(new_cycle())
    cycle.session.heard(1, 0, 2 * S)
    assert cycle.reason == "the network actor restarted"
    cycle = opened(new_cycle())
    cycle.session.lost("replica s/0 hung", 1, 2 * S)
    assert cycle.reason == "replica s/0 hung"
    cycle.elapse(5 * S)
    assert cycle.reason == "replica s/0 hung (no session for 3 s)"


def test_why_there_is_no_way_to_the_broker_is_said_until_there_is_a_session() -> None:
    cycle = new_cycle()
    cycle.session.waiting("the broker is not reachable at tcp://gpu:1")
    assert cycle.reason == "the broker is not reachable at tcp://gpu:1"
    opened(cycle).session.waiting("the broker is not reachable at tcp://gpu:1")
    assert cycle.why.session == ""


def test_a_service_that_is_available_is_asked_at_once() -> None:
    cycle = new_cycle()
    cycle.session.opening(1, S)
    cycle.session.rejected(Reject(reason="capacity", message="full", retry_after_s=30.0), 1, S)
    assert cycle.session.open_epoch(5 * S) is None
    cycle.session.available(5 * S)
    assert cycle.session.open_epoch(5 * S) == 2


def test_a_robot_that_gave_up_says_for_how_long_it_had_no_chunk_and_what_was_last_known() -> None:
    cycle = streaming(safety={"max_offline_s": 20.0})
    cycle.session.lost("replica s/0 hung", 1, 2 * S)
    while cycle.buffer.pop(2 * S) is not None:
        pass
    cycle.elapse(2 * S)
    cycle.elapse(60 * S)
    assert cycle.state is SupplyState.DEAD
    told = "no chunk came for 20 s (max_offline_s); the last that was known: replica s/0 hung"
    assert cycle.reason == told


def test_a_new_episode_is_asked_for_after_the_cameras_have_seen_it() -> None:
    """40 ms after the first tick of it; its first request says that it is the first."""
    cycle = streaming()
    cycle.reset()
    for late in (0, 39):
        assert cycle.ask(5 * S, 10, 5 * S + late * MS) is None
    asked = cycle.ask(5 * S, 10, 5 * S + 40 * MS)
    assert asked is not None and asked.episode_start
    cycle.asked(5 * S + 40 * MS)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, 5 * S + 50 * MS) is None
    while cycle.buffer.pop(5 * S) is not None:
        pass
    following = cycle.ask(5 * S + 60 * MS, 10, 5 * S + 60 * MS)
    assert following is not None and not following.episode_start, "without another pause"


def test_a_task_is_kept_for_the_next_incarnation_and_none_leaves_the_one_there_was() -> None:
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory, task="wait"))
    assert cycle.reset("pick it up") == 1
    cycle.reset()
    assert cycle.session.task == "pick it up" == new_cycle(memory, task="wait").session.task
    cycle.session.follow_task("put it down")
    asked = cycle.ask(5 * S, 10, 5 * S) or cycle.ask(6 * S, 10, 6 * S)
    assert asked is not None and asked.task == "put it down"


def test_a_request_takes_from_its_sending_to_its_answer_without_a_pause_between() -> None:
    cycle = opened(new_cycle())
    taken: list[int] = []
    cycle.latency.record = taken.append  # type: ignore[method-assign,assignment]
    ask(cycle, 10 * S)
    cycle.pause(11 * S)
    cycle.resume(20 * S)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 10, 21 * S) is None
    assert taken == [2 * S]


def test_what_was_played_meanwhile_is_trimmed_by_the_clock_where_that_is_asked_for() -> None:
    cycle = opened(new_cycle(plan_settings={"trim": "time"}))
    ask(cycle, S, step=10)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 13, S) is None
    assert len(cycle.buffer) == 7


def test_chunks_of_no_use_are_told_apart_and_only_broken_ones_slow_the_robot_down() -> None:
    cycle = opened(new_cycle(plan_settings={"trim": "time"}))
    ask(cycle, S, step=10)
    assert cycle.replied(CHUNK, CHUNK, key(cycle), 30, S) is Drop.EXPIRED
    assert cycle.why.request == "s/0 answers too late: the chunk was expired"
    ask(cycle, S)
    bad = np.full((10, 2), np.nan, np.float32)
    assert cycle.replied(bad, bad, key(cycle), 10, S) is Drop.NOT_FINITE
    assert cycle.why.request == "s/0 sends chunks that cannot be played: not_finite"
    assert cycle.ask(S, 10, S + 99 * MS) is None
    assert cycle.ask(S, 10, S + 100 * MS) is not None


def test_a_driver_s_gaps_are_counted_and_nothing_is_due_in_one() -> None:
    cycle = streaming()
    for gaps in (1, 2, 3):
        cycle.driver_lost("its cable is out")
        assert cycle._words[Word.DRIVER_GAPS] == gaps
        assert cycle.ask(gaps * S, 10, gaps * S) is None
        assert cycle.reason == "its cable is out"
        cycle.driver_found()
        assert "cable" not in cycle.reason
        ask(cycle, gaps * S)


def test_an_end_in_order_is_no_time_offline_for_the_next_start() -> None:
    memory = bytearray(PLAN_BYTES)
    cycle = opened(new_cycle(memory))
    assert cycle._words[Word.SUPPLIED_NS] == S
    cycle.session.forget()
    assert cycle._words[Word.SUPPLIED_NS] == 0
    assert new_cycle(memory).session.enabled, "what was agreed is still agreed"


@pytest.mark.parametrize("steps", [1, "capacity", 0, "more"])
def test_chunks_of_one_step_up_to_all_that_the_plan_holds_are_accepted(steps: int | str) -> None:
    cycle = new_cycle()
    capacity = cycle.buffer.capacity
    size = {"capacity": capacity, "more": capacity + 1}.get(str(steps), steps)
    opened(cycle, chunk_size=size)
    assert cycle.failsafe.session_open is (steps in (1, "capacity"))
    if not cycle.failsafe.session_open:
        told = f"the service's chunks have {size} steps; this robot's plan holds 1 to {capacity}"
        assert cycle.reason == f"{told}: use a policy of shorter chunks"


def test_a_service_of_the_same_joints_in_another_order_is_refused_with_both_orders() -> None:
    cycle = opened(new_cycle(), action_names=("b", "a"))
    assert cycle.state is SupplyState.DEAD
    told = "the service's actions are b, a; this robot's are a, b: use a service that was trained"
    assert cycle.reason == f"{told} for it"


def test_a_prefix_is_what_is_left_of_the_plan_in_both_spaces_where_the_policy_goes_on_with_it() -> (
    None
):
    for merge, prefix, length in (
        ("replace", "guided", 4),
        ("replace", "none", 0),
        ("append", "guided", 0),
    ):
        cycle = opened(new_cycle(plan_settings={"merge": merge}), prefix=prefix)
        ask(cycle, S)
        model = np.arange(20, dtype=np.float32).reshape(10, 2)
        assert cycle.replied(model, -model, key(cycle), 10, S) is None
        for _ in range(6):
            cycle.buffer.pop(S)
        asked = ask(cycle, S)
        if length:
            np.testing.assert_array_equal(asked.prefix, model[6:])
            np.testing.assert_array_equal(asked.prefix_robot, -model[6:])
        else:
            assert asked.prefix is None and asked.prefix_robot is None


def test_requests_are_counted_over_all_incarnations_and_each_has_the_next_seed() -> None:
    memory = bytearray(PLAN_BYTES)
    seeds = []
    for sent in (1, 2, 3):
        cycle = opened(new_cycle(memory), now_ns=sent * 10 * S)
        seeds.append(ask(cycle, sent * 10 * S).seed)
        assert cycle._words[Word.REQUESTS] == sent
    assert seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]


def test_a_request_that_could_not_be_sent_is_tried_again_in_50_ms_and_says_so() -> None:
    cycle = opened(new_cycle())
    assert cycle.ask(S, 10, S) is not None
    cycle.unsent(S)
    assert cycle.reason == "the network actor takes no request at e"
    assert cycle.ask(S, 10, S + 49 * MS) is None
    assert cycle.ask(S, 10, S + 50 * MS) is not None


def test_a_state_of_exactly_the_greatest_age_is_asked_from_and_an_older_one_says_why_not() -> None:
    cycle = opened(new_cycle(safety={"max_state_age_s": 0.5}))
    assert cycle.ask(S, 10, S + 500 * MS + 1) is None
    told = "the robot's state is more than 0.5 s old (max_state_age_s): no request is made from it"
    assert cycle.reason == told
    assert cycle.ask(S, 10, S + 500 * MS) is not None


def test_the_bounds_of_the_fail_safe_are_those_of_the_robot_s_settings() -> None:
    cycle = new_cycle(
        safety={
            "open_timeout_s": 3.0,
            "backoff_s": 1.0,
            "max_backoff_s": 4.0,
            "max_offline_s": 90.0,
        }
    )
    opened(cycle)
    cycle.session.lost("gone", 1, 2 * S)
    now, waits = 2 * S, []
    for _ in range(5):
        began = now
        while (epoch := cycle.session.open_epoch(now)) is None:
            now += S // 10
        waits.append(round((now - began) / S, 1))
        cycle.session.opening(epoch, now)
    assert waits == [1.0, 5.0, 7.0, 7.0, 7.0], "3 s for an answer, and a pause of 2, then 4"


def test_a_task_of_the_configuration_holds_until_another_is_given() -> None:
    assert new_cycle(task="wait").session.task == "wait"
