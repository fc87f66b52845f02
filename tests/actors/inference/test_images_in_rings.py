"""Images that a replica reads in the rings of a robot's cameras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holdfast.actors.inference import observed_images
from holdfast.actors.inference.batch_execution import BRIEF_S
from holdfast.actors.inference.capture import CapturedBatch, read
from holdfast.actors.inference.robot_memory import RobotMemory
from holdfast.policy.base import Observation
from holdfast.tests.actors.inference.bench import Echo, MakeBench
from holdfast.tests.actors.inference.ring_robot import SHAPES, Robot, served, took
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.frame_reference import FrameReference
from holdfast.transport.frames import FrameReader
from holdfast.transport.header import Kind
from holdfast.transport.images import Pixels, resize
from holdfast.transport.messages import decode
from holdfast.transport.outbox import OutboxReader


@pytest.mark.parametrize(("seconds", "in_place"), [(BRIEF_S / 5, True), (BRIEF_S * 2, False)])
def test_a_frame_is_read_in_its_ring_and_copied_where_the_policy_takes_long(
    bench: MakeBench, echo: Echo, seconds: float, in_place: bool
) -> None:
    """The policy sees the camera's pixels, bit for bit."""
    robot = Robot("r1")
    b = served(bench, echo, robot)
    took(b, seconds)
    seen: list[tuple[bool, bytes]] = []

    def look(observation: Observation) -> None:
        image = observation.images["overhead"]
        whole = np.frombuffer(robot.memory["overhead"], np.uint8)
        seen.append((np.shares_memory(image, whole), image.tobytes()))

    echo.look = look
    b.receive("r1", robot.request(robot.capture(3)))
    [(_, reply)] = b.work()
    assert reply.header.kind is Kind.REPLY
    assert seen == [(in_place, robot.picture("overhead", 3).tobytes())]


def test_a_frame_of_another_size_is_resized_out_of_its_ring(bench: MakeBench, echo: Echo) -> None:
    """To the policy's resolution."""
    robot = Robot("r1", {"overhead": (48, 64, 3), "wrist": (16, 16, 3)})
    b = served(bench, echo, robot)
    seen: list[Observation] = []
    echo.look = seen.append
    for name, ring in robot.rings.items():
        ring.put(np.full(robot.shapes[name], 40, np.uint8), 1)
    frames = {n: FrameReference(r.nonce, r.number) for n, r in robot.readers.items()}
    b.receive("r1", robot.request(frames))
    b.work()
    assert seen[-1].images["overhead"].shape == SHAPES["overhead"]
    assert (seen[-1].images["overhead"] == 40).all()


def test_a_frame_that_was_overwritten_is_read_in_the_outbox(bench: MakeBench, echo: Echo) -> None:
    """The request waited for longer than the frame stayed: it loses nothing."""
    robot = Robot("r1")
    b = served(bench, echo, robot)
    seen: list[Observation] = []
    echo.look = seen.append
    b.receive("r1", robot.request(robot.capture(3)))
    robot.copy(3)
    robot.overwrite()
    [(_, reply)] = b.work()
    assert reply.header.kind is Kind.REPLY
    for name in SHAPES:
        assert np.array_equal(seen[-1].images[name], robot.picture(name, 3))


def test_a_frame_that_is_in_both_places_is_read_in_the_outbox(bench: MakeBench, echo: Echo) -> None:
    """Its camera writes over it while the policy has it; the robot leaves its copy alone."""
    robot = Robot("r1")
    b = served(bench, echo, robot)
    took(b, BRIEF_S / 5)
    seen: list[bytes] = []

    def look(observation: Observation) -> None:
        robot.overwrite()
        seen.append(observation.images["wrist"].tobytes())

    echo.look = look
    b.receive("r1", robot.request(robot.capture(3)))
    robot.copy(3)
    [(_, reply)] = b.work()
    assert reply.header.kind is Kind.REPLY
    assert seen == [robot.picture("wrist", 3).tobytes()]


@pytest.mark.parametrize(("each_s", "in_place"), [(BRIEF_S / 5, True), (BRIEF_S / 2, False)])
def test_a_batch_that_would_take_long_one_by_one_gets_copies(
    bench: MakeBench, echo: Echo, each_s: float, in_place: bool
) -> None:
    """An observation that the policy refuses makes it run each one alone after the whole batch."""
    robots = [Robot("r1"), Robot("r2")]
    b = served(bench, echo, robots[0], max_batch=2)
    b.join("r2")
    b.service.sessions["r2"].memory = RobotMemory(OutboxReader(robots[1].box), robots[1].readers)
    b.runner.times.update({1: each_s, 2: BRIEF_S / 5})
    in_rings: list[bool] = []

    def look(observation: Observation) -> None:
        image = observation.images["wrist"]
        rings = [np.frombuffer(robot.memory["wrist"], np.uint8) for robot in robots]
        in_rings.append(any(np.shares_memory(image, ring) for ring in rings))

    echo.look = look
    for robot in robots:
        b.receive(robot.name, robot.request(robot.capture(3)))
    assert [reply.header.kind for _, reply in b.work()] == [Kind.REPLY, Kind.REPLY]
    assert in_rings == [in_place, in_place]


def test_frames_in_rings_are_taken_after_the_images_of_others_were_decoded(
    bench: MakeBench, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is copied into the outbox meanwhile is read there."""
    robot, other = Robot("r1"), RobotSide("r2")
    b = served(bench, echo, robot, max_batch=2)
    b.join("r2")
    took(b, BRIEF_S / 5)

    def decode_slowly(image: Pixels, width: int, height: int) -> Pixels:
        if image.tobytes() == foreign.tobytes():
            robot.copy(3)
            robot.overwrite()
        return resize(image, width, height)

    monkeypatch.setattr(observed_images, "resize", decode_slowly)
    given = example(2, prefix=None, prefix_robot=None)
    foreign = given.images["wrist"]
    b.receive("r1", robot.request(robot.capture(3)))
    b.receive("r2", other.request(given, slack_s=2.0))
    answers = dict(b.work())
    assert {name: answer.header.kind for name, answer in answers.items()} == {
        "r1": Kind.REPLY,
        "r2": Kind.REPLY,
    }


def test_a_frame_that_is_in_neither_place_fails_its_own_request_alone(
    bench: MakeBench, echo: Echo
) -> None:
    """By `shm-overwritten`; the other robot gets its chunk, and this one its next."""
    robot = Robot("r1")
    b = served(bench, echo, robot, max_batch=2)
    b.join("r2")
    b.receive("r1", robot.request(robot.capture(3)))
    robot.overwrite()
    b.receive("r2", RobotSide("r2").request(example(2)))
    answers = dict([*b.work(), *b.work()])  # without a prefix, and with one
    assert answers["r1"].body.reason == "shm-overwritten"
    assert "'overhead' was overwritten before it was read" in answers["r1"].body.message
    assert answers["r2"].header.kind is Kind.REPLY
    b.receive("r1", robot.side.request(example(5), seq=2))
    b.receive("r2", RobotSide("r2").request(example(6), seq=2))
    kinds = [each.header.kind for _, each in (*b.work(), *b.work())]  # in one batch or two
    assert kinds == [Kind.REPLY, Kind.REPLY]


def test_a_frame_that_is_overwritten_during_the_prediction_gives_no_chunk(
    bench: MakeBench, echo: Echo
) -> None:
    """What the policy made of it is not sent."""
    robot = Robot("r1")
    b = served(bench, echo, robot)
    took(b, BRIEF_S / 5)

    def look(_: Observation) -> None:
        robot.overwrite()

    echo.look = look
    b.receive("r1", robot.request(robot.capture(3)))
    [(_, error)] = b.work()
    assert error.body.reason == "shm-overwritten"


@pytest.mark.parametrize(
    "change",
    [
        lambda r: FrameReference(r.nonce + 1, r.number),
        lambda r: FrameReference(0, r.number),
        lambda r: FrameReference(r.nonce, 0),
        lambda r: FrameReference(r.nonce, -1),
        lambda r: FrameReference(r.nonce, r.number + 1),
    ],
)
def test_a_reference_to_another_ring_or_frame_leads_to_the_outbox(
    bench: MakeBench, echo: Echo, change: Callable[[FrameReference], FrameReference]
) -> None:
    """To what was copied there for this request, or to an error."""
    robot = Robot("r1")
    b = served(bench, echo, robot)
    seen: list[Observation] = []
    echo.look = seen.append
    frames = {name: change(reference) for name, reference in robot.capture(3).items()}
    b.receive("r1", robot.request(frames))
    [(_, error)] = b.work()
    assert error.body.reason == "shm-overwritten" and not seen
    b.receive("r1", robot.request(frames, seq=2))
    robot.copy(5)
    [(_, reply)] = b.work()
    assert reply.header.kind is Kind.REPLY
    assert np.array_equal(seen[-1].images["wrist"], robot.picture("wrist", 5))


def test_a_robot_reads_no_ring_of_another_robot(bench: MakeBench, echo: Echo) -> None:
    """A reference to it is none to a ring of its own, and a camera's is none to another's."""
    robot, other = Robot("r1"), Robot("r2")
    b = served(bench, echo, robot)
    b.receive("r1", robot.request(other.capture(3)))
    [(_, error)] = b.work()
    assert error.body.reason == "shm-overwritten"
    mine = robot.capture(4)
    swapped = {"overhead": mine["wrist"], "wrist": mine["overhead"]}
    b.receive("r1", robot.request(swapped, seq=2))
    [(_, error)] = b.work()
    assert error.body.reason == "shm-overwritten"


def test_a_damaged_ring_leads_to_the_outbox(bench: MakeBench, echo: Echo) -> None:
    """Its camera formats it anew; the replica that maps it stays."""
    robot = Robot("r1")
    frames = robot.capture(3)
    b = served(bench, echo, robot)
    damaged = bytearray(robot.memory["wrist"])
    damaged[8:16] = (99).to_bytes(8, "little")
    session = b.service.sessions["r1"]
    assert session.memory is not None
    session.memory.rings = {**robot.readers, "wrist": FrameReader(damaged)}
    b.receive("r1", robot.request(frames))
    robot.copy(3)
    [(_, reply)] = b.work()
    assert reply.header.kind is Kind.REPLY


def test_a_capture_contains_the_frames_of_rings(
    bench: MakeBench, echo: Echo, tmp_path: Path
) -> None:
    """As pixels: it is replayed anywhere."""
    robot = Robot("r1")
    b = served(bench, echo, robot, capture_bytes=1_000_000)
    b.receive("r1", robot.request(robot.capture(3)))
    b.work()
    b.service.close()
    [batch] = [each for each in read(tmp_path / "capture") if isinstance(each, CapturedBatch)]
    message = decode(batch.exchanges[0].request)
    for name in SHAPES:
        image = message.body.images[name]
        assert image.encoding == "raw"
        assert np.array_equal(message.image(image), robot.picture(name, 3))


def test_a_request_of_an_earlier_release_has_no_frame(bench: MakeBench, echo: Echo) -> None:
    """It refers to the outbox alone, and is served so beside mapped rings."""
    robot = Robot("r1")
    b = served(bench, echo, robot)
    b.receive("r1", robot.side.request(example(1)))
    [(_, reply)] = b.work()
    assert reply.header.kind is Kind.REPLY
