"""Handshakes, requests and answers, case by case; the interleavings are in tests/properties."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from holdfast.actors.control.buffer import ChunkBuffer
from holdfast.actors.control.config import ControlConfig
from holdfast.actors.control.failsafe import State
from holdfast.actors.control.plan import Drop
from holdfast.actors.control.segment import PLAN_BYTES, PlanSegment
from holdfast.actors.control.supply import Supply
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


def supply(memory: bytearray | None = None, **settings: Any) -> Supply:
    fields = {"robot": "r", "driver": "sim", "service": "s", "endpoint": "e", "plan": "p"}
    config = msgspec.convert({**fields, "fps": 10.0, **settings}, ControlConfig)
    segment = PlanSegment(memory or bytearray(PLAN_BYTES), "r", 1)
    return Supply(config, SPEC, segment, ChunkBuffer(segment, 3 * S))


def opened(robot: Supply, now: int = S, **terms: Any) -> Supply:
    epoch = robot.open_epoch(now)
    assert epoch is not None
    robot.opening(epoch, now)
    robot.accepted(msgspec.structs.replace(TERMS, **terms), epoch, now)
    return robot


def chunk(length: int = 10) -> np.ndarray:
    return np.zeros((length, 1), np.float32)


def test_a_policy_that_cannot_continue_a_plan_is_accepted_as_append() -> None:
    assert opened(supply()).rule.mode == "replace"
    assert opened(supply(), prefix="none").rule.mode == "append"
    blended = opened(supply(plan_settings={"merge": "blend"}), prefix="none")
    assert blended.rule.mode == "blend", "who asks for blending gets it"


def test_a_service_of_other_motors_is_refused_with_both_orders_named() -> None:
    robot = opened(supply(), action_names=("b",))
    assert robot.state is State.DEAD and not robot.enabled
    assert "actions are b; this robot's are a" in robot.reason


def test_a_chunk_that_the_plan_could_never_hold_is_refused_at_the_handshake() -> None:
    robot = opened(supply(), chunk_size=100_000)
    assert robot.state is State.DEAD
    assert "100000 steps" in robot.reason


def test_an_answer_that_is_later_than_the_next_try_still_opens_the_session() -> None:
    robot = supply()
    robot.opening(1, S)
    assert robot.open_epoch(4 * S) is None, "given up, and waiting"
    robot.accepted(TERMS, 1, 4 * S)
    assert robot.failsafe.session_open


def test_a_final_rejection_is_for_good_and_another_is_not() -> None:
    robot = supply()
    robot.opening(1, S)
    robot.rejected(Reject(reason="capacity", message="full", retry_after_s=3.0), 1, S)
    assert robot.state is State.CONNECTING
    assert robot.open_epoch(4 * S - 1) is None and robot.open_epoch(4 * S) == 2
    robot.opening(2, 4 * S)
    robot.rejected(Reject(reason="fps", message="train it anew", final=True), 2, 4 * S)
    assert (robot.state, robot.reason) == (State.DEAD, "fps: train it anew")


def test_requests_are_made_when_less_than_the_buffer_time_is_left() -> None:
    robot = opened(supply())
    ask = robot.ask(S, 10, S)
    assert ask is not None and ask.prefix is None and ask.episode_start
    robot.asked(S)
    key = (ask.asked.seq, ask.asked.episode, ask.asked.epoch)
    assert robot.replied(chunk(), chunk(), key, 11, S) is None
    assert robot.state is State.STREAMING
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


def test_an_error_is_an_answer_after_which_the_next_request_waits_a_little() -> None:
    robot = opened(supply())
    ask = robot.ask(S, 10, S)
    assert ask is not None
    robot.asked(S)
    robot.failed("stale-frame", (ask.asked.seq, 0, 1), S)
    assert robot.ask(S, 10, S + 1) is None
    assert robot.ask(S, 10, S + 100_000_000) is not None
    assert robot.buffer.dropped == {"error": 1}


def test_a_request_that_could_not_be_sent_is_not_awaited() -> None:
    robot = opened(supply())
    assert robot.ask(S, 10, S) is not None
    robot.unsent(S)
    assert robot.buffer.outstanding is None
    assert robot.buffer.dropped == {Drop.UNSENT.value: 1}


def test_silence_is_loss_and_a_heartbeat_without_progress_is_silence() -> None:
    robot = opened(supply(), now=10 * S)
    for now in range(10 * S, 11 * S, S // 10):
        robot.heard(5, 1, now)
        robot.elapse(now)
        assert robot.failsafe.session_open
    robot.heard(5, 1, 12 * S)
    robot.elapse(12 * S)
    assert robot.state is State.RECONNECTING
    assert robot.reason == "the network actor fell silent"


def test_the_next_incarnation_is_bound_by_what_was_agreed() -> None:
    memory = bytearray(PLAN_BYTES)
    opened(supply(memory))
    heir = supply(memory)
    assert heir.enabled and not heir.failsafe.session_open
    opened(heir, revision="2")
    assert heir.state is State.DEAD
    assert "revision '1' became '2'" in heir.reason
    heir.forget()
    assert not supply(memory).enabled, "a person starts it again: it is bound by nothing"


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
