"""What a robot's supply keeps, counts, measures and says, rule by rule."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.plan import Drop
from holdfast.actors.control.plan_memory import PLAN_BYTES, PlanMemory, Word
from holdfast.actors.control.request_cycle import PlannedRequest, RequestCycle
from holdfast.actors.control.supply_state import SupplyState
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.transport.messages import Accept, Reject

MS = 1_000_000
S = 1_000_000_000
SPEC = RobotSpec(("a", "b"), ("a", "b"), ControlMode.POSITION, (-9, -9), (9, 9), (9, 9))
TERMS = Accept(
    session="x",
    replica="s/0",
    model="m",
    revision="1",
    checkpoint="c",
    chunk_size=10,
    fps=10.0,
    action_names=("a", "b"),
    cameras={},
    prefix="guided",
    max_prefix_steps=4,
)
CHUNK = np.zeros((10, 2), np.float32)


def supply(memory: bytearray | None = None, **settings: Any) -> RequestCycle:
    fields = {"robot": "r", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
    safety = {"liveness_s": 1000.0, **settings.pop("safety", {})}
    config = msgspec.convert({**fields, "fps": 10.0, "safety": safety, **settings}, ControlConfig)
    segment = PlanMemory(memory or bytearray(PLAN_BYTES), "r", 2)
    return RequestCycle(config, SPEC, segment, ChunkBuffer(segment, 60 * S))


def opened(robot: RequestCycle, now: int = S, **terms: Any) -> RequestCycle:
    epoch = robot.session.open_epoch(now)
    assert epoch is not None
    robot.session.opening(epoch, now)
    robot.session.accepted(msgspec.structs.replace(TERMS, **terms), epoch, now)
    return robot


def ask(robot: RequestCycle, now: int, step: int = 10) -> PlannedRequest:
    asked = robot.ask(now, step, now)
    assert asked is not None
    robot.asked(now)
    return asked


def key(robot: RequestCycle) -> tuple[int, int, int]:
    asked = robot.buffer.outstanding
    assert asked is not None
    return asked.seq, asked.episode, asked.epoch


def streaming(**settings: Any) -> RequestCycle:
    robot = opened(supply(**settings))
    ask(robot, S)
    assert robot.replied(CHUNK, CHUNK, key(robot), 10, S) is None
    return robot


def test_a_full_plan_is_not_due_for_as_long_as_it_is_not_played_and_a_dry_one_stalls() -> None:
    robot = streaming()
    robot.elapse(2 * S)
    robot.elapse(50 * S)
    assert robot.state is SupplyState.STREAMING
    while robot.buffer.pop(50 * S) is not None:
        pass
    robot.elapse(50 * S)
    assert robot.state is SupplyState.STALLED


def test_a_plan_that_grows_short_is_due_and_late_after_a_second() -> None:
    robot = streaming()
    for _ in range(8):
        robot.buffer.pop(2 * S)
    robot.elapse(2 * S)
    robot.elapse(3 * S - 1)
    assert robot.state is SupplyState.STREAMING
    robot.elapse(3 * S)
    assert robot.state is SupplyState.DEGRADED


def test_the_session_lasts_to_the_last_instant_of_liveness_and_progress_renews_it() -> None:
    robot = opened(supply(safety={"liveness_s": 1.5}))
    for beat in range(1, 4):
        robot.session.heard(beat, 1, beat * S)
    robot.elapse(4 * S + S // 2)
    assert robot.failsafe.session_open
    robot.elapse(4 * S + S // 2 + 1)
    assert not robot.failsafe.session_open


def test_an_answer_is_a_sign_of_life_of_the_session_it_belongs_to() -> None:
    robot = opened(supply(safety={"liveness_s": 1.5}))
    ask(robot, S)
    robot.replied(CHUNK, CHUNK, (99, 0, 1), 10, 2 * S)
    assert robot.buffer.outstanding is not None, "that was another's"
    robot.replied(CHUNK, CHUNK, key(robot), 10, 2 * S)
    robot.elapse(3 * S)
    assert robot.failsafe.session_open


def test_losses_say_what_was_said_of_them() -> None:
    robot = opened(supply())
    robot.session.heard(1, 0, 2 * S)
    assert robot.reason == "the network actor restarted"
    robot = opened(supply())
    robot.session.lost("replica s/0 hung", 1, 2 * S)
    assert robot.reason == "replica s/0 hung"
    robot.elapse(5 * S)
    assert robot.reason == "replica s/0 hung (no session for 3 s)"


def test_why_there_is_no_way_to_the_broker_is_said_until_there_is_a_session() -> None:
    robot = supply()
    robot.session.waiting("the broker is not reachable at tcp://gpu:1")
    assert robot.reason == "the broker is not reachable at tcp://gpu:1"
    opened(robot).session.waiting("the broker is not reachable at tcp://gpu:1")
    assert robot.why.session == ""


def test_a_service_that_is_available_is_asked_at_once() -> None:
    robot = supply()
    robot.session.opening(1, S)
    robot.session.rejected(Reject(reason="capacity", message="full", retry_after_s=30.0), 1, S)
    assert robot.session.open_epoch(5 * S) is None
    robot.session.available(5 * S)
    assert robot.session.open_epoch(5 * S) == 2


def test_a_robot_that_gave_up_says_for_how_long_it_had_no_chunk_and_what_was_last_known() -> None:
    robot = streaming(safety={"max_offline_s": 20.0})
    robot.session.lost("replica s/0 hung", 1, 2 * S)
    while robot.buffer.pop(2 * S) is not None:
        pass
    robot.elapse(2 * S)
    robot.elapse(60 * S)
    assert robot.state is SupplyState.DEAD
    told = "no chunk came for 20 s (max_offline_s); the last that was known: replica s/0 hung"
    assert robot.reason == told


def test_a_new_episode_is_asked_for_after_the_cameras_have_seen_it() -> None:
    """40 ms after the first tick of it; its first request says that it is the first."""
    robot = streaming()
    robot.reset()
    for late in (0, 39):
        assert robot.ask(5 * S, 10, 5 * S + late * MS) is None
    asked = robot.ask(5 * S, 10, 5 * S + 40 * MS)
    assert asked is not None and asked.episode_start
    robot.asked(5 * S + 40 * MS)
    assert robot.replied(CHUNK, CHUNK, key(robot), 10, 5 * S + 50 * MS) is None
    while robot.buffer.pop(5 * S) is not None:
        pass
    following = robot.ask(5 * S + 60 * MS, 10, 5 * S + 60 * MS)
    assert following is not None and not following.episode_start, "without another pause"


def test_a_task_is_kept_for_the_next_incarnation_and_none_leaves_the_one_there_was() -> None:
    memory = bytearray(PLAN_BYTES)
    robot = opened(supply(memory, task="wait"))
    assert robot.reset("pick it up") == 1
    robot.reset()
    assert robot.session.task == "pick it up" == supply(memory, task="wait").session.task
    robot.session.follow_task("put it down")
    asked = robot.ask(5 * S, 10, 5 * S) or robot.ask(6 * S, 10, 6 * S)
    assert asked is not None and asked.task == "put it down"


def test_a_request_takes_from_its_sending_to_its_answer_without_a_pause_between() -> None:
    robot = opened(supply())
    taken = []
    robot.latency.record = taken.append  # type: ignore[method-assign]
    ask(robot, 10 * S)
    robot.pause(11 * S)
    robot.resume(20 * S)
    assert robot.replied(CHUNK, CHUNK, key(robot), 10, 21 * S) is None
    assert taken == [2 * S]


def test_what_was_played_meanwhile_is_trimmed_by_the_clock_where_that_is_asked_for() -> None:
    robot = opened(supply(plan_settings={"trim": "time"}))
    ask(robot, S, step=10)
    assert robot.replied(CHUNK, CHUNK, key(robot), 13, S) is None
    assert len(robot.buffer) == 7


def test_chunks_of_no_use_are_told_apart_and_only_broken_ones_slow_the_robot_down() -> None:
    robot = opened(supply(plan_settings={"trim": "time"}))
    ask(robot, S, step=10)
    assert robot.replied(CHUNK, CHUNK, key(robot), 30, S) is Drop.EXPIRED
    assert robot.why.request == "s/0 answers too late: the chunk was expired"
    ask(robot, S)
    bad = np.full((10, 2), np.nan, np.float32)
    assert robot.replied(bad, bad, key(robot), 10, S) is Drop.NOT_FINITE
    assert robot.why.request == "s/0 sends chunks that cannot be played: not_finite"
    assert robot.ask(S, 10, S + 99 * MS) is None
    assert robot.ask(S, 10, S + 100 * MS) is not None


def test_a_driver_s_gaps_are_counted_and_nothing_is_due_in_one() -> None:
    robot = streaming()
    for gaps in (1, 2, 3):
        robot.driver_lost("its cable is out")
        assert robot._words[Word.DRIVER_GAPS] == gaps
        assert robot.ask(gaps * S, 10, gaps * S) is None
        assert robot.reason == "its cable is out"
        robot.driver_found()
        assert "cable" not in robot.reason
        ask(robot, gaps * S)


def test_an_end_in_order_is_no_time_offline_for_the_next_start() -> None:
    memory = bytearray(PLAN_BYTES)
    robot = opened(supply(memory))
    assert robot._words[Word.SUPPLIED_NS] == S
    robot.session.forget()
    assert robot._words[Word.SUPPLIED_NS] == 0
    assert supply(memory).session.enabled, "what was agreed is still agreed"


@pytest.mark.parametrize("steps", [1, "capacity", 0, "more"])
def test_chunks_of_one_step_up_to_all_that_the_plan_holds_are_accepted(steps: int | str) -> None:
    robot = supply()
    capacity = robot.buffer.capacity
    size = {"capacity": capacity, "more": capacity + 1}.get(str(steps), steps)
    opened(robot, chunk_size=size)
    assert robot.failsafe.session_open is (steps in (1, "capacity"))
    if not robot.failsafe.session_open:
        told = f"the service's chunks have {size} steps; this robot's plan holds 1 to {capacity}"
        assert robot.reason == f"{told}: use a policy of shorter chunks"


def test_a_service_of_the_same_joints_in_another_order_is_refused_with_both_orders() -> None:
    robot = opened(supply(), action_names=("b", "a"))
    assert robot.state is SupplyState.DEAD
    told = "the service's actions are b, a; this robot's are a, b: use a service that was trained"
    assert robot.reason == f"{told} for it"


def test_a_prefix_is_what_is_left_of_the_plan_in_both_spaces_where_the_policy_goes_on_with_it() -> (
    None
):
    for merge, prefix, length in (
        ("replace", "guided", 4),
        ("replace", "none", 0),
        ("append", "guided", 0),
    ):
        robot = opened(supply(plan_settings={"merge": merge}), prefix=prefix)
        ask(robot, S)
        model = np.arange(20, dtype=np.float32).reshape(10, 2)
        assert robot.replied(model, -model, key(robot), 10, S) is None
        for _ in range(6):
            robot.buffer.pop(S)
        asked = ask(robot, S)
        if length:
            np.testing.assert_array_equal(asked.prefix, model[6:])
            np.testing.assert_array_equal(asked.prefix_robot, -model[6:])
        else:
            assert asked.prefix is None and asked.prefix_robot is None


def test_requests_are_counted_over_all_incarnations_and_each_has_the_next_seed() -> None:
    memory = bytearray(PLAN_BYTES)
    seeds = []
    for sent in (1, 2, 3):
        robot = opened(supply(memory), now=sent * 10 * S)
        seeds.append(ask(robot, sent * 10 * S).seed)
        assert robot._words[Word.REQUESTS] == sent
    assert seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]


def test_a_request_that_could_not_be_sent_is_tried_again_in_50_ms_and_says_so() -> None:
    robot = opened(supply())
    assert robot.ask(S, 10, S) is not None
    robot.unsent(S)
    assert robot.reason == "the network actor takes no request at e"
    assert robot.ask(S, 10, S + 49 * MS) is None
    assert robot.ask(S, 10, S + 50 * MS) is not None


def test_a_state_of_exactly_the_greatest_age_is_asked_from_and_an_older_one_says_why_not() -> None:
    robot = opened(supply(safety={"max_state_age_s": 0.5}))
    assert robot.ask(S, 10, S + 500 * MS + 1) is None
    told = "the robot's state is more than 0.5 s old (max_state_age_s): no request is made from it"
    assert robot.reason == told
    assert robot.ask(S, 10, S + 500 * MS) is not None


def test_the_bounds_of_the_fail_safe_are_those_of_the_robot_s_settings() -> None:
    robot = supply(
        safety={
            "open_timeout_s": 3.0,
            "backoff_s": 1.0,
            "max_backoff_s": 4.0,
            "max_offline_s": 90.0,
        }
    )
    opened(robot)
    robot.session.lost("gone", 1, 2 * S)
    now, waits = 2 * S, []
    for _ in range(5):
        began = now
        while (epoch := robot.session.open_epoch(now)) is None:
            now += S // 10
        waits.append(round((now - began) / S, 1))
        robot.session.opening(epoch, now)
    assert waits == [1.0, 5.0, 7.0, 7.0, 7.0], "3 s for an answer, and a pause of 2, then 4"


def test_a_task_of_the_configuration_holds_until_another_is_given() -> None:
    assert supply(task="wait").session.task == "wait"
