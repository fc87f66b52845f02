"""Handshakes, requests and answers, case by case; the interleavings are in tests/properties."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.plan import Drop
from holdfast.actors.control.plan_memory import PLAN_BYTES, PlanMemory
from holdfast.actors.control.request_cycle import RequestCycle
from holdfast.actors.control.supply_state import SupplyState
from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.transport.messages import Accept, Reject

S = 1_000_000_000
SPEC = RobotSpec(("a",), ("a",), ControlMode.POSITION, (-9,), (9,), (9,))
TERMS = Accept(
    session="x",
    replica="s/0",
    model="m",
    revision="1",
    checkpoint="c",
    chunk_size=10,
    fps=10.0,
    action_names=("a",),
    cameras={},
    prefix="guided",
    max_prefix_steps=4,
)


def supply(memory: bytearray | None = None, **settings: Any) -> RequestCycle:
    fields = {"robot": "r", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
    config = msgspec.convert({**fields, "fps": 10.0, **settings}, ControlConfig)
    segment = PlanMemory(memory or bytearray(PLAN_BYTES), "r", 1)
    return RequestCycle(config, SPEC, segment, ChunkBuffer(segment, 3 * S))


def opened(robot: RequestCycle, now: int = S, **terms: Any) -> RequestCycle:
    epoch = robot.session.open_epoch(now)
    assert epoch is not None
    robot.session.opening(epoch, now)
    robot.session.accepted(msgspec.structs.replace(TERMS, **terms), epoch, now)
    return robot


def chunk(length: int = 10) -> np.ndarray:
    return np.zeros((length, 1), np.float32)


def test_a_policy_that_cannot_continue_a_plan_replaces_it_unless_appending_was_asked_for() -> None:
    for merge in ("replace", "append", "blend"):
        robot = opened(supply(plan_settings={"merge": merge}), prefix="none")
        assert robot.rule.mode == merge
        ask = robot.ask(S, 10, S)
        assert ask is not None and ask.prefix is None


def test_a_prefix_capability_that_is_lost_across_a_reconnection_is_the_end() -> None:
    robot = opened(supply())
    robot.session.lost("gone", 1, 2 * S)
    opened(robot, now=3 * S, prefix="trained")
    assert robot.failsafe.session_open, "guided or trained: both continue a plan"
    robot.session.lost("gone", 2, 4 * S)
    opened(robot, now=10 * S, prefix="none")
    assert robot.state is SupplyState.DEAD
    assert "continues_a_plan True became False" in robot.reason


def test_a_service_of_other_motors_is_refused_with_both_orders_named() -> None:
    robot = opened(supply(), action_names=("b",))
    assert robot.state is SupplyState.DEAD and not robot.session.enabled
    assert "actions are b; this robot's are a" in robot.reason


def test_a_chunk_that_the_plan_could_never_hold_is_refused_at_the_handshake() -> None:
    robot = opened(supply(), chunk_size=100_000)
    assert robot.state is SupplyState.DEAD
    assert "100000 steps" in robot.reason


def test_an_answer_that_is_later_than_the_next_try_still_opens_the_session() -> None:
    robot = supply()
    robot.session.opening(1, S)
    assert robot.session.open_epoch(4 * S) is None, "given up, and waiting"
    robot.session.accepted(TERMS, 1, 4 * S)
    assert robot.failsafe.session_open


def test_a_final_rejection_is_for_good_and_another_is_not() -> None:
    robot = supply()
    robot.session.opening(1, S)
    robot.session.rejected(Reject(reason="capacity", message="full", retry_after_s=3.0), 1, S)
    assert robot.state is SupplyState.CONNECTING
    assert robot.session.open_epoch(4 * S - 1) is None and robot.session.open_epoch(4 * S) == 2
    robot.session.opening(2, 4 * S)
    robot.session.rejected(Reject(reason="fps", message="train it anew", final=True), 2, 4 * S)
    assert (robot.state, robot.reason) == (SupplyState.DEAD, "fps: train it anew")


def test_requests_are_made_when_less_than_the_buffer_time_is_left() -> None:
    robot = opened(supply())
    ask = robot.ask(S, 10, S)
    assert ask is not None and ask.prefix is None and ask.episode_start
    robot.asked(S)
    key = (ask.asked.seq, ask.asked.episode, ask.asked.epoch)
    assert robot.replied(chunk(), chunk(), key, 11, S) is None
    assert robot.state is SupplyState.STREAMING
    played = 0
    while (ask := robot.ask(S, 11, S)) is None:
        assert robot.buffer.pop(S) is not None
        played += 1
    assert played == 6, "0.4 s of 1 s are less than 0.5 s"
    assert ask.prefix is not None and ask.prefix.shape == (4, 1)
    assert ask.slack_s == 0.4 and not ask.episode_start


def test_a_state_that_is_too_old_is_not_asked_from() -> None:
    """The world has died: a chunk for what it last said would be about a robot that moved on."""
    robot = opened(supply())
    assert robot.ask(S, 10, S + 600_000_000) is None


def fails(robot: RequestCycle, now: int, **how: Any) -> None:
    ask = robot.ask(now, 10, now)
    assert ask is not None
    robot.asked(now)
    robot.failed("policy: it said no", (ask.asked.seq, 0, 1), now, **how)


def pause_ms(robot: RequestCycle, now: int) -> int:
    """How long the robot waits before it asks again."""
    for ms in range(0, 60_000, 10):
        if robot.ask(now + ms * 1_000_000, 10, now + ms * 1_000_000) is not None:
            robot.buffer.settle(Drop.TIMEOUT)
            return ms
    raise AssertionError("it never asks again")


def test_errors_slow_a_robot_down_until_one_of_its_requests_succeeds() -> None:
    robot, now, pauses = opened(supply(safety={"liveness_s": 1000.0})), S, []
    for _ in range(8):
        fails(robot, now)
        pauses.append(pause_ms(robot, now))
        now += 10 * S
    assert pauses == [100, 200, 400, 800, 1600, 3200, 5000, 5000]
    assert robot.why.request == "policy: it said no"
    ask = robot.ask(now, 10, now)
    assert ask is not None
    robot.replied(chunk(1), chunk(1), (ask.asked.seq, 0, 1), 10, now)
    assert robot.reason == ""
    fails(robot, now)
    assert pause_ms(robot, now) == 100


def test_what_the_robot_s_own_network_actor_refuses_is_asked_for_again_soon() -> None:
    """A camera's old frame costs nobody else: the robot looks again in a tenth of a second."""
    robot, now = opened(supply()), S
    for _ in range(5):
        fails(robot, now, near=True)
        assert pause_ms(robot, now) == 100
        now += 10 * S
    assert robot.buffer.dropped == {"error": 5, "timeout": 5}


def test_a_handshake_that_gets_nowhere_says_why_and_the_reason_goes_with_it() -> None:
    robot = supply()
    robot.elapse(S)
    assert robot.reason == "the handshake with service 's' is not answered"
    robot.session.unopened()
    assert robot.reason == "the network actor does not answer at e"
    robot.session.opening(1, S)
    robot.session.lost("the broker at tcp://gpu:8801 does not answer", 1, S + 1)
    robot.elapse(13 * S)
    told = "the broker at tcp://gpu:8801 does not answer (no session for 12 s)"
    assert robot.state is SupplyState.CONNECTING and robot.reason == told
    robot.session.opening(2, 13 * S)
    assert robot.session.open_epoch(15 * S) is None
    assert "the broker took the handshake with service 's'" in robot.reason
    opened(robot, now=20 * S)
    assert robot.reason == "a chunk is awaited from s/0"


def test_waiting_for_a_chunk_says_on_what_and_for_how_long() -> None:
    robot = opened(supply(safety={"request_timeout_s": 2.0, "liveness_s": 1000.0}))
    robot.ask(S, 10, S), robot.asked(S)
    robot.elapse(2 * S)
    assert robot.reason == "a chunk is awaited from s/0 (no chunk for 1 s)"
    robot.elapse(3 * S)
    assert robot.reason == "s/0 did not answer a request within 2 s (no chunk for 2 s)"
    robot.ask(3 * S, 10, 3 * S), robot.asked(3 * S)
    robot.elapse(5 * S)
    assert robot.state is SupplyState.RECONNECTING
    assert robot.reason == "s/0 has not answered for 4 s"


def test_an_unbounded_wait_is_spelled_as_people_spell_it() -> None:
    for spelled in (None, "none"):
        robot = opened(supply(safety={"max_offline_s": spelled, "liveness_s": 1e8}))
        robot.elapse(10**6 * S)
        robot.elapse(10**7 * S)
        assert robot.state is not SupplyState.DEAD


def test_an_action_is_as_old_as_the_oldest_of_the_inputs_that_it_was_made_from() -> None:
    """A frame may be older than the robot's state: its age bounds how long the chunk is played."""
    for age_s, played in ((0.0, 3), (0.2, 1)):
        robot = opened(supply())
        ask = robot.ask(S, 10, S + S // 20)
        assert ask is not None
        robot.asked(S + S // 20)
        key = (ask.asked.seq, 0, 1)
        assert robot.replied(chunk(), chunk(), key, 10, 2 * S, round(age_s * S)) is None
        ages = [4 * S - 150_000_000, 4 * S - 50_000_000, 4 * S]
        assert sum(robot.buffer.pop(now) is not None for now in ages) == played


def test_a_reset_that_no_replica_acknowledges_is_warned_of_until_one_does() -> None:
    robot = opened(supply(), warnings=("camera wrist is not used",))
    robot.elapse(S)
    robot.reset()
    robot.elapse(2 * S - 1)
    assert robot.warnings == ["camera wrist is not used"]
    robot.elapse(2 * S)
    assert robot.warnings[1] == ("s/0 has not acknowledged the reset to episode 1 within 1 s")
    robot.acknowledged(0)
    assert len(robot.warnings) == 2, "of an episode before"
    robot.acknowledged(1)
    assert robot.warnings == ["camera wrist is not used"]


def test_the_expected_delay_is_the_quantile_that_was_asked_for() -> None:
    steps = {}
    for quantile in (0.5, 0.95, 1.0):
        robot = opened(supply(plan_settings={"latency_quantile": quantile}))
        robot.latency.record(0)  # the first after a connect is not counted
        for ms in range(100, 1000, 100):
            robot.latency.record(ms * 1_000_000)
        ask = robot.ask(S, 10, S)
        assert ask is not None
        steps[quantile] = ask.delay_steps
    assert steps == {0.5: 5, 0.95: 9, 1.0: 9}


def test_a_request_that_could_not_be_sent_is_not_awaited() -> None:
    robot = opened(supply())
    assert robot.ask(S, 10, S) is not None
    robot.unsent(S)
    assert robot.buffer.outstanding is None
    assert robot.buffer.dropped == {Drop.UNSENT.value: 1}


def test_silence_is_loss_and_a_heartbeat_without_progress_is_silence() -> None:
    robot = opened(supply(), now=10 * S)
    for now in range(10 * S, 11 * S, S // 10):
        robot.session.heard(5, 1, now)
        robot.elapse(now)
        assert robot.failsafe.session_open
    robot.session.heard(5, 1, 12 * S)
    robot.elapse(12 * S)
    assert robot.state is SupplyState.RECONNECTING
    assert robot.reason == "the network actor has been silent for 1.5 s"


def test_the_next_incarnation_is_bound_by_what_was_agreed() -> None:
    memory = bytearray(PLAN_BYTES)
    opened(supply(memory))
    heir = supply(memory)
    assert heir.session.enabled and not heir.failsafe.session_open
    opened(heir, revision="2")
    assert heir.state is SupplyState.DEAD
    assert "revision '1' became '2'" in heir.reason
    heir.session.forget()
    assert not supply(memory).session.enabled, "a person starts it again: it is bound by nothing"


def test_seeds_differ_between_requests_and_between_robots() -> None:
    seeds = set()
    for name in ("r1", "r2"):
        robot = opened(supply(robot=name))
        for _ in range(3):
            ask = robot.ask(S, 10, S + 10 * S)
            ask = ask or robot.ask(11 * S, 10, 11 * S)
            assert ask is not None
            seeds.add(ask.seed)
            robot.buffer.settle(Drop.TIMEOUT)
    assert len(seeds) == 6 and all(0 <= seed < 2**63 for seed in seeds)
