"""A replica that is reached by several brokers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import WireError
from holdfast.tests.actors.inference.bench import Echo, MakeBench
from holdfast.tests.actors.inference.broker_side import BrokerSide
from holdfast.tests.actors.inference.replica_thread import StartReplica
from holdfast.tests.actors.inference.robot_side import RobotSide, example
from holdfast.transport.bodies import Close
from holdfast.transport.header import Header, Kind
from holdfast.transport.messages import decode, encode


def test_a_session_goes_on_by_another_broker(bench: MakeBench, echo: Echo) -> None:
    """The waiting request is kept, is answered once, and the first broker is notified."""
    at, robot = bench(echo), RobotSide("r1")
    at.receive("r1", robot.open(), broker=0)
    at.receive("r1", robot.request(example(1)), broker=0)
    session = at.service.sessions["r1"]
    [accepted] = at.receive("r1", robot.open(move=1), broker=1)
    assert accepted.header.kind is Kind.ACCEPT
    assert at.service.sessions["r1"] is session and session.broker == 1
    assert at.receive("r1", robot.request(example(1)), broker=1) == []
    [(name, reply)] = at.work()
    assert (name, reply.header.kind, reply.header.seq) == ("r1", Kind.REPLY, 1)
    [(broker, name, frames)] = at.service.displaced()
    lost = decode(frames)
    assert (broker, name, lost.body.what, lost.header.epoch) == (0, "r1", "lost", 1)
    assert at.service.displaced() == []


def test_messages_by_a_broker_that_lost_the_robot_have_no_effect(
    bench: MakeBench, echo: Echo
) -> None:
    """A CLOSE is dropped, a request is answered by `lost`, and an older OPEN is rejected."""
    at, robot = bench(echo, max_sessions=1), RobotSide("r1")
    at.receive("r1", robot.open(), broker=0)
    at.receive("r1", robot.open(move=1), broker=1)
    with pytest.raises(WireError):
        at.receive("r1", encode(Header(Kind.CLOSE, epoch=1), Close()), broker=0)
    [lost] = at.receive("r1", robot.request(example(1)), broker=0)
    assert lost.body.what == "lost"
    [refused] = at.receive("r1", robot.open(move=0), broker=0)
    assert (refused.body.reason, refused.body.final) == ("moved", False)
    [refused] = at.receive("r2", RobotSide("r2").open(), broker=0)
    assert refused.body.reason == "capacity"
    assert at.service.by_broker == {1: 1}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    claims=st.lists(
        st.tuples(st.integers(0, 1), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=12
    )
)
def test_of_two_brokers_claims_the_newer_counts(
    claims: list[tuple[int, int, int]], bench: MakeBench, echo: Echo
) -> None:
    """One session stays, no broker takes it by an older (epoch, move); its loser is notified."""
    at, robot = bench(echo), RobotSide("r1")
    held: tuple[int, int, int] | None = None
    for broker, epoch, move in claims:
        [answer] = at.receive("r1", robot.open(epoch, move=move), broker=broker)
        older = held is not None and held[0] != broker and (epoch, move) < held[1:]
        assert (answer.header.kind is Kind.REJECT) == older
        notified = [(to, decode(frames).header.epoch) for to, _, frames in at.service.displaced()]
        expected = [held[:2]] if held and held[0] != broker and not older else []
        assert notified == expected
        held = held if older else (broker, epoch, move)
        session = at.service.sessions["r1"]
        assert (session.broker, session.epoch, session.move) == held


def test_the_loss_of_one_broker_ends_its_sessions_only(bench: MakeBench, echo: Echo) -> None:
    """Sessions that came by the other go on."""
    at = bench(echo)
    for name, broker in (("r1", 0), ("r2", 1), ("r3", 0)):
        at.receive(name, RobotSide(name).open(), broker=broker)
    at.service.end_sessions_by(0)
    assert set(at.service.sessions) == {"r2"}


def test_a_replica_registers_with_every_broker_and_says_what_is_not_theirs(
    replica: StartReplica, broker: BrokerSide, tmp_path: Path, endpoint: str
) -> None:
    """Each is welcomed by itself; a heartbeat to one counts the sessions by the other."""
    other = BrokerSide(f"ipc://{tmp_path}/other")
    try:
        with replica(brokers=[endpoint, f"ipc://{tmp_path}/other"]):
            for side in (broker, other):
                side.welcome()
            broker.send("r1", RobotSide("r1").open())
            assert broker.receive(Kind.ACCEPT)[0] == "r1"
            while other.receive(Kind.HEARTBEAT)[1].body.elsewhere != 1:
                pass
            assert broker.receive(Kind.HEARTBEAT)[1].body.elsewhere == 0
            other.send("r1", RobotSide("r1").open(move=1))
            assert other.receive(Kind.ACCEPT)[0] == "r1"
            name, lost = broker.receive(Kind.EVENT)
            assert (name, lost.body.what) == ("r1", "lost")
            while broker.receive(Kind.HEARTBEAT)[1].body.elsewhere != 1:
                pass
    finally:
        other.close()
