"""A policy that sees several observations: from the robot's clock to `predict_chunk`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.actors.inference.capture import CapturedBatch, read
from holdfast.actors.inference.served_session import TaskRule, observe
from holdfast.policy.base import Observation
from holdfast.tests.actors.inference.bench import Echo, MakeBench
from holdfast.tests.actors.inference.observing_arm import Arm, seeing
from holdfast.tests.actors.inference.robot_side import SPEC, RobotSide
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import decode
from holdfast.transport.outbox import Outbox, OutboxReader

THREE = msgspec.structs.replace(SPEC, observation_steps=3, observation_stride_steps=4)


@pytest.mark.parametrize("way", ["raw", "shared memory"])
def test_a_policy_that_sees_several_observations_gets_all_of_a_request(
    bench: MakeBench, way: str
) -> None:
    """By value and by reference; what the replica keeps between requests is nothing."""
    memory = bytearray(Outbox.size_for(64_000))
    outbox = Outbox(memory) if way != "raw" else None
    policy = Echo(THREE)
    b = bench(policy, {"r1": OutboxReader(memory)} if outbox else None)
    seen: list[Observation] = []
    policy.look = seen.append
    robot = RobotSide("r1", outbox)
    [accepted] = b.receive("r1", robot.open(observation_window_steps=8))
    assert (accepted.body.observation_steps, accepted.body.observation_stride_steps) == (3, 4)
    for seq in (1, 2):
        given_ = THREE.example(seq)
        b.receive("r1", robot.request(given_, seq=seq))
        [(_, reply)] = b.work()
        assert reply.header.kind is Kind.REPLY, reply.body
        assert given_.state_history is not None and seen[-1].state_history is not None
        assert seen[-1].state_history.tobytes() == given_.state_history.tobytes()
        for name, frames in given_.image_history.items():
            assert seen[-1].image_history[name].tobytes() == frames.tobytes()
    assert b.runner.mode == "shared", "it keeps nothing itself"


def test_another_replica_answers_a_replayed_request_alike(bench: MakeBench) -> None:
    """The broker sends the frames that it holds: they carry all observations."""
    request = RobotSide("r1").request(THREE.example(1))
    seen: list[Observation] = []
    for _ in range(2):
        policy = Echo(THREE)
        b = bench(policy)
        policy.look = seen.append
        b.receive("r1", RobotSide("r1").open(observation_window_steps=8))
        b.receive("r1", request)
        [(_, reply)] = b.work()
        assert reply.header.kind is Kind.REPLY
    first, second = (each.image_history["wrist"].tobytes() for each in seen)
    assert first == second and seen[0].state_history is not None


def test_a_robot_that_keeps_too_few_observations_is_refused(bench: MakeBench) -> None:
    """At the handshake and for good, with both figures and what to set."""
    b = bench(Echo(THREE))
    [refused] = b.receive("r1", RobotSide("r1").open(observation_window_steps=7))
    assert refused.header.kind is Kind.REJECT and refused.body.final
    assert refused.body.reason == "history"
    for part in ("last 3 observations, 4 steps apart", "of 7 steps, 8", "images.history_steps"):
        assert part in refused.body.message


@pytest.mark.parametrize(
    "without", [{"state_history": None}, {"image_history": {}}, {"image_history": {"wrist": ()}}]
)
def test_a_request_without_its_history_fails_alone(
    bench: MakeBench, without: dict[str, Any]
) -> None:
    """Its error says what is missing."""
    b = bench(Echo(THREE))
    robot = RobotSide("r1")
    b.receive("r1", robot.open(observation_window_steps=8))
    b.receive("r1", robot.request(THREE.example(1), **without))
    [(_, error)] = b.work()
    assert error.body.reason == "history-missing" and "last 3" in error.body.message


def test_a_capture_contains_the_histories(bench: MakeBench, tmp_path: Path) -> None:
    """With the pixels of shared memory: it is replayed anywhere."""
    memory = bytearray(Outbox.size_for(64_000))
    b = bench(Echo(THREE), {"r1": OutboxReader(memory)}, capture_bytes=1_000_000)
    robot = RobotSide("r1", Outbox(memory))
    b.receive("r1", robot.open(observation_window_steps=8))
    sent = THREE.example(1)
    b.receive("r1", robot.request(sent))
    b.work()
    b.service.close()
    [batch] = [each for each in read(tmp_path / "capture") if isinstance(each, CapturedBatch)]
    again = observe(decode(batch.exchanges[0].request), "r1", THREE, TaskRule(), None)
    for name, frames in sent.image_history.items():
        assert again.image_history[name].tobytes() == frames.tobytes()


@settings(deadline=None)
@given(
    near=st.booleans(),
    steps=st.integers(2, 5),
    stride=st.integers(1, 6),
    doings=st.lists(st.sampled_from(["ask", "ask", "reset", "kill", *["step"] * 8]), max_size=60),
)
def test_the_policy_sees_the_observations_of_the_stride_whatever_the_requests_intervals(
    near: bool, steps: int, stride: int, doings: Sequence[str]
) -> None:
    """States and images: by reference and by value, after a reset, after the network was killed."""
    arm, first = Arm(seeing(steps, stride), near), 1
    arm.step()
    arm.images.follow_episode(Header(Kind.REQUEST), 0)
    for doing in doings:
        if doing == "step":
            arm.step()
        elif doing == "kill":
            arm.restart_network()
        elif doing == "reset":
            arm.reset()
            first = arm.tick + 1
            arm.step()
        else:
            seen = arm.ask()
            wanted = [max(arm.tick - back * stride, first) for back in range(steps - 1, -1, -1)]
            assert seen.state_history is not None
            assert seen.state_history[:, 0].tolist() == wanted
            assert seen.image_history["eye"][:, 0, 0, 0].tolist() == [n % 256 for n in wanted]
            assert (seen.images["eye"] == arm.tick % 256).all()
            assert dataclasses.replace(seen).state.tolist() == [arm.tick]
