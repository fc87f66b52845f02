"""Requests that go straight to a replica on the robot's host, which the test plays."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.actors.network.direct_path import DirectPath
from holdfast.actors.network.network import NetworkActor
from holdfast.tests.actors.network.network_bench import Bench, noise
from holdfast.tests.transport.packet_peers import WaitingServer
from holdfast.tests.waiting import wait_until
from holdfast.transport import messages, sockets
from holdfast.transport.bodies import Body, Event, Reply, Reset
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import Blobs, Message

LATE_NS = 40_000_000


class Robot(Bench):
    """A network actor whose replica takes requests at `door`."""

    def __init__(self, rundir: Path, **options: object) -> None:
        given = {"broker_lost_after_s": 60.0, "heartbeat_s": 60.0, "direct_late_s": 60.0}
        given["max_frame_age_s"] = 60.0
        super().__init__(rundir, **(given | options))
        self.endpoint = sockets.ipc(rundir, "pick.0.direct")
        self.door = WaitingServer(self.endpoint)
        self.straight = b""
        self.seq = 0

    def ask_for(self) -> int:
        """Control asks, with a fresh image; the seq."""
        self.seq += 1
        self.camera.put(noise(self.seq), time.monotonic_ns())
        self.request(seq=self.seq)
        return self.seq

    def join(self) -> None:
        """Open a session, and ask until a request comes straight: the connection is made then."""
        self.open(shm=True, direct=self.endpoint)
        self.until_straight()

    def until_straight(self) -> None:
        """Ask, and answer the way it came, until a request comes straight."""

        def came() -> bool:
            self.ask_for()
            straight, asked = self.at_either()
            self.reply(asked, 0.5, straight=straight)
            assert self.got() == (self.seq, 0.5)
            return straight

        wait_until(came, "a request to come straight")

    def at_door(self) -> Message[Any]:
        """The next request that reaches the replica."""
        self.straight, frames = self.door.next()
        return messages.decode(frames)

    def at_either(self) -> tuple[bool, Message[Any]]:
        """The next request, and whether it came straight."""
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            if self.door.poll(0):
                return True, self.at_door()
            if not self.front.poll(5):
                continue
            self.peer, *frames = self.front.recv_multipart()
            message = messages.decode(frames)
            if message.header.kind is Kind.REQUEST:
                return False, message
        raise AssertionError("no request came")

    def answer_straight(self, header: Header, body: Body, blobs: Blobs | None = None) -> None:
        frames = messages.encode(header, body, blobs or ())
        assert self.door.send(self.straight, frames)

    def reply(self, asked: Message[Any], value: float, straight: bool = True) -> None:
        """Answer with a chunk of that value."""
        blobs = Blobs()
        chunk = blobs.array(np.full((8, 1), value, np.float32))
        frames = messages.encode(
            asked.header._replace(kind=Kind.REPLY), Reply(chunk_model=chunk, chunk=chunk), blobs
        )
        if straight:
            assert self.door.send(self.straight, frames)
        else:
            assert sockets.send(self.front, [self.peer, *frames])

    def got(self) -> tuple[int, float]:
        """The seq and the value of the next chunk at control."""
        reply = self.at_control(Kind.REPLY)
        return reply.header.seq, float(reply.array(reply.body.chunk)[0, 0])

    def close(self) -> None:
        super().close()
        self.door.close()


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    with closing(Robot(tmp_path)) as robot:
        yield robot


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Robot]:
    """It asks the broker too after a second."""
    with closing(Robot(tmp_path, direct_late_s=1.0)) as robot:
        yield robot


def test_a_request_goes_straight_to_the_replica_and_its_answer_straight_to_control(
    robot: Robot,
) -> None:
    """The broker gets none of it."""
    robot.join()
    for _ in range(3):
        seq = robot.ask_for()
        asked = robot.at_door()
        assert (asked.header.seq, asked.body.images["top"].encoding) == (seq, "shm")
        robot.reply(asked, seq)
        assert robot.got() == (seq, seq)
    wait_until(lambda: robot.status().get("received") == robot.seq, "the count of replies")
    while robot.front.poll(0):
        _, *frames = robot.front.recv_multipart()
        assert messages.decode(frames).header.kind is not Kind.REQUEST


def test_heartbeats_say_that_the_session_is_in_use_and_ask_about_no_direct_request(
    tmp_path: Path,
) -> None:
    """The broker does not hold such a request, and would answer that it is lost."""
    with closing(Robot(tmp_path, heartbeat_s=0.01)) as robot:
        robot.join()
        robot.ask_for()
        asked = robot.at_door()
        while not (beat := robot.at_broker(Kind.HEARTBEAT)).body.direct_answers:
            pass
        before = beat.body.direct_answers
        assert beat.header.seq == 0
        robot.reply(asked, 1.0)
        assert robot.got() == (robot.seq, 1.0)
        while (beat := robot.at_broker(Kind.HEARTBEAT)).body.direct_answers == before:
            assert beat.header.seq == 0
        assert beat.body.direct_answers == before + 1
        assert len(beat.body.direct_s) == min(before + 1, 16)


def test_the_broker_is_asked_too_when_no_answer_comes_and_the_first_answer_counts(
    hasty: Robot,
) -> None:
    """The second is no fault; requests go by the broker while answers are slow."""
    robot = hasty
    robot.join()
    first = robot.ask_for()
    straight = robot.at_door()
    asked = robot.at_broker(Kind.REQUEST)
    assert asked.header == straight.header and asked.blobs == straight.blobs
    robot.reply(straight, 1.0)
    assert robot.got() == (first, 1.0)
    robot.reply(asked, 2.0, straight=False)
    second = robot.ask_for()
    asked = robot.at_broker(Kind.REQUEST)
    assert asked.header.seq == second
    robot.reply(asked, 3.0, straight=False)
    assert robot.got() == (second, 3.0)
    wait_until(lambda: robot.status().get("received") == second, "the count of replies")
    assert not robot.dropped()


def test_an_answer_of_the_broker_counts_when_the_replica_sends_none(hasty: Robot) -> None:
    """A late one that comes straight is dropped."""
    robot = hasty
    robot.join()
    first = robot.ask_for()
    straight = robot.at_door()
    robot.reply(robot.at_broker(Kind.REQUEST), 2.0, straight=False)
    assert robot.got() == (first, 2.0)
    robot.reply(straight, 1.0)
    second = robot.ask_for()
    robot.reply(robot.at_broker(Kind.REQUEST), 3.0, straight=False)
    assert robot.got() == (second, 3.0)


def test_a_session_that_the_replica_does_not_hold_is_asked_of_the_broker(robot: Robot) -> None:
    """At once, and from then on, until an ACCEPT names another replica's door."""
    robot.join()
    seq = robot.ask_for()
    asked = robot.at_door()
    lost = Event(what="lost", message="no session")
    robot.answer_straight(asked.header._replace(kind=Kind.EVENT), lost)
    for _ in range(2):
        asked = robot.at_broker(Kind.REQUEST)
        assert asked.header.seq == seq
        robot.reply(asked, seq, straight=False)
        assert robot.got() == (seq, seq)
        seq = robot.ask_for()
    robot.reply(robot.at_broker(Kind.REQUEST), seq, straight=False)
    assert robot.got() == (seq, seq)
    robot.door.close()
    robot.door = WaitingServer(f"{robot.endpoint}.next")
    terms = robot.terms(True, f"{robot.endpoint}.next", replica="pick/1")
    robot.answer(Header(Kind.ACCEPT, epoch=1), terms)
    wait_until(lambda: robot.status().get("replica") == "pick/1", "the other replica")
    robot.until_straight()


def test_a_request_at_a_replica_that_ends_is_asked_of_the_broker_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end does it: neither an answer that is late nor a tick is waited for."""
    with closing(Robot(tmp_path, direct_late_s=600.0)) as robot:
        robot.join()
        monkeypatch.setattr(NetworkActor, "_watch_brokers", lambda *_: None)  # what a tick does
        seq = robot.ask_for()
        assert robot.at_door().header.seq == seq
        robot.door.close()
        robot.door = WaitingServer(f"{robot.endpoint}.next")
        asked = robot.at_broker(Kind.REQUEST)
        assert asked.header.seq == seq
        robot.reply(asked, 2.0, straight=False)
        assert robot.got() == (seq, 2.0)


def test_a_replica_that_is_not_there_is_asked_by_the_broker(robot: Robot) -> None:
    """At once: nothing is sent into a connection that is not made."""
    robot.open(shm=True, direct=f"{robot.endpoint}.gone")
    seq = robot.ask_for()
    assert robot.at_broker(Kind.REQUEST).header.seq == seq


@pytest.mark.parametrize("direct", ["tcp://127.0.0.1:1", ""])
def test_only_a_door_on_this_host_is_used(robot: Robot, direct: str) -> None:
    """Whatever the ACCEPT says."""
    robot.open(shm=True, direct=direct)
    seq = robot.ask_for()
    assert robot.at_broker(Kind.REQUEST).header.seq == seq
    wait_until(lambda: "direct" in robot.status(), "the status")
    assert not robot.status()["direct"]


@pytest.mark.parametrize("path", ["", "a", "@a", "*", "/" + "a" * 107, "/" + "ä" * 54, "/a\0b"])
def test_an_endpoint_that_is_no_path_of_a_socket_is_counted(path: str) -> None:
    """Requests go by the broker then, and nothing raises."""
    dropped: Counter[str] = Counter()
    direct = DirectPath("r1:1", LATE_NS, dropped)
    direct.connect(f"ipc://{path}")
    assert not direct.route.usable
    assert dropped == {"direct-endpoint": 1}


def test_a_request_that_a_reset_gave_up_is_not_claimed_of_the_broker(tmp_path: Path) -> None:
    """It went straight: the broker never had it."""
    with closing(Robot(tmp_path, heartbeat_s=0.01)) as robot:
        robot.join()
        robot.ask_for()
        robot.at_door()
        robot.ask(Header(Kind.RESET, epoch=1, episode=1), Reset())
        robot.at_broker(Kind.RESET)
        for _ in range(3):
            assert robot.at_broker(Kind.HEARTBEAT).header.seq == 0
