"""Requests that come straight from a robot of the replica's host, beside those by the broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import Mock

import pytest

from holdfast.actors.inference.answer_sender import AnswerSender
from holdfast.actors.inference.broker_links import BrokerLinks
from holdfast.actors.inference.direct_door import DirectDoor
from holdfast.policy.kinds import load_policy
from holdfast.tests.actors.inference.bench import Bench, Echo, MakeBench
from holdfast.tests.actors.inference.broker_side import BrokerSide
from holdfast.tests.actors.inference.replica_thread import StartReplica
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.tests.transport.packet_peers import WaitingClient
from holdfast.tests.waiting import wait_until
from holdfast.transport import sockets
from holdfast.transport.arrays import Buffer
from holdfast.transport.bodies import Close, Inquiry, Reset
from holdfast.transport.header import Header, Kind
from holdfast.transport.host import boot_id
from holdfast.transport.messages import decode, encode
from holdfast.transport.outbox import Outbox
from holdfast.transport.poll import Poll

BY_BROKER, STRAIGHT = b"", b"r1:1"


@pytest.fixture
def joined(bench: MakeBench, echo: Echo) -> tuple[Bench, list[float]]:
    """A core with a session of r1, and the states for which its policy was called."""
    called: list[float] = []
    made = bench(echo)
    made.join("r1")
    echo.look = lambda seen: called.append(float(seen.state[0]))
    return made, called


def ask(bench: Bench, seq: int, way: bytes) -> list[Kind]:
    """A request of r1 comes by `way`; the kinds of the immediate answers."""
    frames = RobotSide("r1").request(example(seq), seq=seq)
    header = Header.unpack(frames[0])
    answers = bench.service.receive("r1", header, list(frames), 0, way=way)
    return [decode(answer).header.kind for answer in answers]


def work(bench: Bench) -> list[tuple[bytes, int]]:
    """Run what is due; the way and the seq of each answer."""
    sent = []
    for robot, frames in bench.service.work(0):
        session = bench.service.sessions[robot]
        sent += [(way, Header.unpack(frames[0]).seq) for way in session.ways]
        session.answered(frames)
    return sent


@pytest.mark.parametrize(("first", "second"), [(STRAIGHT, BY_BROKER), (BY_BROKER, STRAIGHT)])
def test_a_request_that_comes_by_two_ways_is_computed_once_and_answered_by_each(
    joined: tuple[Bench, list[float]], first: bytes, second: bytes
) -> None:
    """Whether the second comes before the answer or after it."""
    bench, called = joined
    assert ask(bench, 1, first) == ask(bench, 1, second) == []
    assert work(bench) == [(first, 1), (second, 1)]
    assert ask(bench, 2, first) == []
    assert work(bench) == [(first, 2)]
    assert ask(bench, 2, second) == [Kind.REPLY]
    assert work(bench) == []
    assert len(called) == 2
    assert bench.meters.counts["served"] == 2 and not bench.meters.counts["superseded"]


def test_a_request_with_pixels_is_answered_straight(joined: tuple[Bench, list[float]]) -> None:
    """A session that began without shared memory goes on so at a replica of the robot's host."""
    bench, called = joined
    frames = RobotSide("r1").request(example(1), seq=1)
    asked = decode(frames)
    assert {image.encoding for image in asked.body.images.values()} == {"raw"}
    assert ask(bench, 1, STRAIGHT) == [] and work(bench) == [(STRAIGHT, 1)]
    assert called == [float(example(1).state[0])]


def test_an_answer_that_is_repeated_is_the_one_that_was_given(
    joined: tuple[Bench, list[float]], echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the policy writes its next chunk into the memory of the last."""
    bench, _ = joined
    given = echo.chunk(example(1))
    monkeypatch.setattr(echo, "chunk", lambda seen: given)
    ask(bench, 1, STRAIGHT)
    [(_, frames)] = list(bench.service.work(0))
    before = [bytes(frame) for frame in frames]
    bench.service.sessions["r1"].answered(frames)
    given.robot[:] = -1.0
    repeated = RobotSide("r1").request(example(1), seq=1)
    [again] = bench.service.receive("r1", Header.unpack(repeated[0]), list(repeated), 0)
    assert [bytes(frame) for frame in again] == before


def test_an_answer_is_kept_where_a_request_may_come_by_a_second_way(
    joined: tuple[Bench, list[float]], tmp_path: Path
) -> None:
    """Where there is a door; without one it is not copied."""
    bench, _ = joined
    session, link = bench.service.sessions["r1"], Mock()
    sender = AnswerSender(cast("BrokerLinks", SimpleNamespace(links=[link])), {"r1": session})

    def kept(seq: int) -> list[Buffer] | None:
        ask(bench, seq, BY_BROKER)
        [(robot, frames)] = bench.service.work(0)
        sender.send(robot, frames)
        link.send.assert_called_with("r1", frames)
        assert session.asked is not None
        return session.asked.answer

    assert kept(1) is None
    sender.open_door(tmp_path, "pick/0")
    with closing(sender):
        assert kept(2) is not None


def test_a_newer_request_by_either_way_supersedes_the_older(
    joined: tuple[Bench, list[float]],
) -> None:
    """Only the newest is answered, by the way it came."""
    bench, called = joined
    ask(bench, 1, STRAIGHT)
    ask(bench, 2, BY_BROKER)
    ask(bench, 1, BY_BROKER)
    assert work(bench) == [(BY_BROKER, 2)]
    assert len(called) == 1


def test_a_request_of_a_session_that_is_not_there_is_lost(
    joined: tuple[Bench, list[float]],
) -> None:
    """Its robot then asks the broker, which knows where the session is."""
    bench, _ = joined
    bench.receive("r1", encode(Header(Kind.CLOSE, epoch=1), Close()))
    assert ask(bench, 1, STRAIGHT) == [Kind.EVENT]


def test_a_session_is_used_straight_whichever_broker_it_came_by(bench: MakeBench) -> None:
    """The door is not a broker's."""
    made = bench(Echo())
    made.receive("r1", RobotSide("r1").open(), broker=1)
    assert ask(made, 1, STRAIGHT) == []
    assert work(made) == [(STRAIGHT, 1)]


@pytest.fixture
def straight() -> Iterator[Callable[[str], WaitingClient]]:
    """Connects to a door as the network actor of r1."""
    with ExitStack() as opened:
        yield lambda endpoint: opened.enter_context(closing(WaitingClient(endpoint, "r1:1")))


def test_a_replica_serves_the_robots_of_its_host_straight(
    checkpoint: Path,
    replica: StartReplica,
    broker: BrokerSide,
    tmp_path: Path,
    straight: Callable[[str], WaitingClient],
) -> None:
    """Chunks are byte-identical; what is no request of an open session is counted."""
    policy = load_policy("flow", checkpoint)
    segments = {"r1/outbox": Outbox.size_for(64_000)}
    # A broker that answers no heartbeats is taken for dead, and its sessions for lost: send none.
    outboxes = {"r1": "r1/outbox"}
    with replica(segments, policy="flow", outboxes=outboxes, heartbeat_s=3600.0) as it:
        broker.welcome()
        robot = RobotSide("r1", Outbox(it.boot.memory["r1/outbox"]))
        broker.send("r1", robot.open())
        _, accepted = broker.receive(Kind.ACCEPT, Kind.REJECT)
        assert accepted.body.direct == sockets.ipc(tmp_path, "pick.0.direct")
        socket = straight(accepted.body.direct)
        for junk in ([b"x"], [b"x", b"y"], encode(Header(Kind.RESET, epoch=1), Reset())):
            assert socket.send(junk)
        for seq in (1, 2):
            given = example(seq)
            assert socket.send(robot.request(given, seq=seq))
            reply = decode(socket.next())
            [expected] = policy.predict_chunk([given])
            assert (reply.header.kind, reply.header.seq) == (Kind.REPLY, seq)
            assert reply.array(reply.body.chunk).tobytes() == expected.robot.tobytes()
        broker.send("r1", robot.request(example(2), seq=2))
        _, again = broker.receive(Kind.REPLY, Kind.ERROR)
        assert again.header == reply.header and again.blobs == reply.blobs
        broker.send("r1", encode(Header(Kind.CLOSE, epoch=1), Close()))
        seqs = count(3)

        def lost() -> bool:
            assert socket.send(robot.request(example(3), seq=next(seqs)))
            if not socket.poll(1000):
                return False  # the end of the session took the request with it
            answer = decode(socket.next())
            return answer.header.kind is Kind.EVENT and answer.body.what == "lost"

        wait_until(lost, "the session to be lost")
    junk_counts = {"dropped:frames": 1, "dropped:header": 1, "dropped:kind": 1}
    assert junk_counts.items() <= it.status()["counts"].items()
    assert not list(tmp_path.glob("*.direct"))


def test_answers_to_a_robot_that_does_not_read_and_to_one_that_is_gone_are_counted_apart(
    tmp_path: Path, straight: Callable[[str], WaitingClient]
) -> None:
    """Both are dropped, and neither is an error."""
    poll = Poll()
    with closing(DirectDoor(sockets.ipc(tmp_path, "door"))) as door:
        door.watch(poll)
        client = straight(door.endpoint)
        assert client.send(RobotSide("r1").request(example(1), seq=1))

        def came() -> bool:
            return any(door.receive(each) is not None for each in door.ready(poll.wait(10)))

        wait_until(came, "the request")
        while not door.dropped:
            door.send(STRAIGHT, [bytes(5000)])
        assert door.dropped == {"robot-full": 1}
        client.close()
        door.send(STRAIGHT, [b"late"])
        door.send(STRAIGHT, [b"later"])
        assert door.dropped == {"robot-full": 1, "robot-gone": 2}


def test_a_robot_of_the_same_host_is_offered_the_door(
    replica: StartReplica, broker: BrokerSide, tmp_path: Path
) -> None:
    """One that sends pixels too; none of another machine, user or host of the fleet, no inquiry."""
    door = sockets.ipc(tmp_path, "pick.0.direct")
    offered = {}
    with replica(heartbeat_s=3600.0, host="lab"):
        broker.welcome()
        for epoch, (boot, host) in enumerate(
            [(boot_id(), "lab"), (boot_id(), "elsewhere"), ("another/1000", "lab"), ("", "")], 1
        ):
            asked = RobotSide("r2").open(epoch, boot_id=boot, host=host)
            broker.send("r2", asked)
            _, accepted = broker.receive(Kind.ACCEPT, Kind.REJECT)
            assert not accepted.body.shm
            offered[boot, host] = accepted.body.direct
        asked = RobotSide("r3").open(boot_id=boot_id(), host="lab")
        inquiry = encode(Header(Kind.INQUIRY), Inquiry(open=decode(asked).body))
        broker.send("r3", inquiry)
        _, verdict = broker.receive(Kind.VERDICT)
        assert verdict.body.accept is not None and not verdict.body.accept.direct
    assert offered == {
        (boot_id(), "lab"): door,
        (boot_id(), "elsewhere"): "",
        ("another/1000", "lab"): "",
        ("", ""): "",
    }
