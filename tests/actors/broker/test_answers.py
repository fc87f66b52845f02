"""The broker's own messages: to which peer, about what, and with which reason."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.effects import Received, ToReplica, ToRobot
from holdfast.actors.broker.replica_choice import RETRY_AFTER_S
from holdfast.errors import WireError
from holdfast.tests.actors.broker.desk import Desk, Sent, asking, granting, is_a, offering
from holdfast.tests.actors.broker.own_messages import fail, keyed, readable
from holdfast.transport.bodies import (
    Error,
    Event,
    Heartbeat,
    Inquiry,
    Reject,
    Reset,
    Verdict,
)
from holdfast.transport.header import Header, Kind

# Messages that cannot be read


@pytest.mark.parametrize(
    ("kind", "answer"), [(Kind.OPEN, Reject), (Kind.REQUEST, Error), (Kind.INQUIRY, Verdict)]
)
def test_an_unreadable_message_is_answered_where_an_answer_is_waited_for(
    desk: Desk, kind: Kind, answer: type
) -> None:
    """The answer has the message's seq, epoch and token, and the reason."""
    about = Header(kind, seq=3, epoch=4, token=5)
    error = WireError("frames", "too many of them")
    (told,) = readable(desk.routing.malformed(b"r1:1", error, desk.now_ns, about))
    assert told.identity == b"r1:1"
    assert (told.header.seq, told.header.epoch, told.header.token) == (3, 4, 5)
    assert isinstance(told.payload, answer)
    body: Any = told.payload.reject if isinstance(told.payload, Verdict) else told.payload
    assert body.reason == "frames"
    assert "too many of them" in body.message


@pytest.mark.parametrize("asked", [None, Header(Kind.HEARTBEAT), Header(Kind.CLOSE)])
def test_an_unreadable_message_is_not_answered_where_none_is_waited_for(
    desk: Desk, asked: Header | None
) -> None:
    """Nor is one whose header cannot be read."""
    error = WireError("frames", "too many of them")
    assert not readable(desk.routing.malformed(b"r1:1", error, desk.now_ns, asked))


# Robots


def test_an_inquiry_under_another_name_is_refused_to_its_sender(desk: Desk) -> None:
    """The verdict is final and echoes the token."""
    effects = desk.robot("r1:1", Inquiry(open=asking("r2")), epoch=2, token=9)
    (told,) = readable(effects)
    assert (told.identity, told.header.token) == (b"r1:1", 9)
    assert told.payload.reject.reason == "identity"
    assert told.payload.reject.final


def test_an_older_claim_learns_both_claims_and_when_to_ask_again(desk: Desk) -> None:
    """The REJECT has both epochs, both incarnations and `retry_after_s`."""
    desk.register("flow/0:1")
    desk.opened("r1:7", epoch=9)
    (told,) = readable(desk.robot("r1:5", asking("r1"), epoch=3))
    assert told.identity == b"r1:5"
    assert told.payload.retry_after_s == RETRY_AFTER_S
    assert not told.payload.final
    for number in (7, 9, 5, 3):
        assert str(number) in told.payload.message


def test_an_older_request_learns_which_newer_one_waits(desk: Desk) -> None:
    """The ERROR has the older seq and names the newer one."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=17)
    (told,) = readable(desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=4))
    assert (told.identity, told.header.seq) == (b"r1:1", 4)
    assert "17" in told.payload.message


@pytest.mark.parametrize(
    ("identity", "epoch", "why"),
    [
        ("r1:2", 4, "incarnation"),
        ("r1:1", 3, "epoch 4, not 3"),
        ("r2:1", 4, "unknown session"),
    ],
)
def test_a_request_without_a_session_learns_why_there_is_none(
    desk: Desk, identity: str, epoch: int, why: str
) -> None:
    """Another incarnation, another epoch, or no session at all."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=4)
    (told,) = readable(desk.robot(identity, Kind.REQUEST, epoch=epoch, seq=1))
    assert told.identity == identity.encode()
    assert (told.header.epoch, told.payload.what) == (epoch, "lost")
    assert why in told.payload.message


def test_a_reset_goes_to_the_replica_of_its_session_and_to_no_other(desk: Desk) -> None:
    """A RESET of another epoch is answered by `lost`."""
    desk.register("flow/0:1")
    at = desk.opened("r1:1", epoch=4)
    (passed,) = readable(desk.robot("r1:1", Reset(), epoch=4, episode=2))
    assert isinstance(passed, ToReplica)
    assert (passed.identity, passed.robot, passed.header.episode) == (at, "r1", 2)
    (told,) = readable(desk.robot("r1:1", Reset(), epoch=3))
    assert (told.header.kind, told.payload.what) == (Kind.EVENT, "lost")


def test_a_robot_that_closed_is_not_notified_of_a_later_place(desk: Desk) -> None:
    """Another robot that waits is notified."""
    for name in ("r1", "r2"):
        desk.robot(f"{name}:1", asking(name), epoch=1)
    desk.register("act/0:1")
    desk.opened("r1:1", epoch=2, service="act")
    (lost,) = [e for e in lose(desk, "act/0") if isinstance(e.payload, Event)]
    assert (lost.identity, lost.payload.what) == (b"r1:1", "lost")
    told = readable(desk.register("act/0:2"))
    assert [e.identity for e in told if isinstance(e, ToRobot)] == [b"r1:1"]
    told = readable(desk.register("flow/0:1"))
    assert [e.identity for e in told if isinstance(e, ToRobot)] == [b"r2:1"]


def lose(desk: Desk, name: str) -> list[Any]:
    """The replica `name` is found to be gone."""
    probes = readable(desk.routing.disconnected(desk.now_ns))
    (probe,) = [
        e for e in probes if isinstance(e, ToReplica) and e.identity.startswith(name.encode())
    ]
    return fail(desk, probe, "unreachable")


def test_a_robot_whose_open_was_never_answered_is_refused_when_its_replica_dies(
    desk: Desk,
) -> None:
    """The REJECT answers the OPEN, as there is no session to lose."""
    desk.register("flow/0:1")
    desk.robot("r1:1", asking("r1"), epoch=4)
    (told,) = lose(desk, "flow/0")
    assert (told.identity, told.header.epoch) == (b"r1:1", 4)
    assert isinstance(told.payload, Reject)
    assert (told.payload.reason, told.payload.retry_after_s) == ("no-replica", RETRY_AFTER_S)
    assert "flow/0 is unreachable" in told.payload.message


def test_a_robot_that_asks_for_nothing_learns_why_its_session_ended(desk: Desk) -> None:
    """After five minutes, by an EVENT of its session's epoch."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=4)
    effects = readable(desk.wait(300, beats=("flow/0:1",), robots=("r1:1",)))
    (told,) = [e for e in effects if is_a(e, ToRobot, Kind.EVENT)]
    assert (told.identity, told.header.epoch, told.payload.what) == (b"r1:1", 4, "lost")


def test_a_stopping_broker_notifies_every_robot_with_a_session(desk: Desk) -> None:
    """Each gets `lost` under its own epoch; waiting robots get nothing."""
    desk.register("flow/0:1")
    for n in (1, 2):
        desk.opened(f"r{n}:1", epoch=n)
    desk.robot("r3:1", asking("r3"), epoch=3)  # finds no room
    told = readable(desk.routing.shutdown())
    assert [(e.identity, e.header.epoch) for e in told] == [(b"r1:1", 1), (b"r2:1", 2)]
    assert all(e.payload.what == "lost" for e in told)


def test_a_broken_connection_makes_the_broker_probe_every_peer(desk: Desk) -> None:
    """Each heartbeat carries the broker's own progress."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=4)
    desk.wait(0.5)
    told = readable(desk.routing.disconnected(desk.now_ns))
    assert [(e.identity, e.header.kind) for e in told] == [
        (b"flow/0:1", Kind.HEARTBEAT),
        (b"r1:1", Kind.HEARTBEAT),
    ]
    assert all(e.payload.progress > 0 for e in told)


# Keys that are revoked


def test_a_robot_whose_key_is_revoked_loses_its_session_and_no_other_does(desk: Desk) -> None:
    """It gets `lost`, and its replica a CLOSE."""
    desk.register("flow/0:1", capacity=4)
    for name, key in (("r1", "old"), ("r2", "good")):
        opening = Received(Header(Kind.OPEN, epoch=3), (), asking(name))
        desk.routing.from_robot(keyed(f"{name}:1", key), opening, desk.now_ns)
        desk.replica("flow/0:1", granting("flow/0"), name, epoch=3)
    told, end = readable(desk.routing.revoked({"old", "never seen"}, desk.now_ns))
    assert (told.identity, told.header.epoch, told.payload.what) == (b"r1:1", 3, "lost")
    assert (end.identity, end.robot, end.header.kind) == (b"flow/0:1", "r1", Kind.CLOSE)
    assert desk.sessions() == {"r2": "flow/0"}


def test_the_sessions_of_a_replica_with_a_revoked_key_go_on_elsewhere(desk: Desk) -> None:
    """However often that happens, the request is not given up."""
    for k in range(4):
        enlisting = Received(Header(Kind.REGISTER, token=1), (), offering(f"flow/{k}"))
        peer = keyed(f"flow/{k}:1", f"key {k}")
        desk.routing.from_replica(peer, "", enlisting, desk.now_ns)
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=8)
    left = {0, 1, 2, 3}
    while len(left) > 1:
        at = int(desk.sessions()["r1"].partition("/")[2])
        left.remove(at)
        sent = readable(desk.routing.revoked({f"key {at}"}, desk.now_ns))
        (again,) = [e for e in sent if is_a(e, ToReplica, Kind.REQUEST)]
        assert again.header.seq == 8
        assert int(desk.sessions()["r1"].partition("/")[2]) in left


def test_a_robot_whose_request_or_answer_was_lost_with_a_connection_learns_it(
    desk: Desk, sent: Sent
) -> None:
    """By its next heartbeat with that seq; not while the broker holds the request or an answer."""
    desk.register("flow/0:1")
    desk.opened("r1:1")

    def doubt(seq: int, epoch: int = 1) -> list[str]:
        beat = Heartbeat(progress=seq)
        effects = desk.robot("r1:1", beat, seq=seq, epoch=epoch, episode=2)
        found = sent(effects, ToRobot, Kind.ERROR)
        assert all(effect.header[1:4] == (seq, 2, epoch) for effect in found)
        return [effect.payload.reason for effect in found]

    assert doubt(1) == ["connection-lost"], "the request did not arrive"
    desk.robot("r1:1", Kind.REQUEST, seq=2, epoch=1, episode=2)
    assert doubt(2) == []
    desk.replica("flow/0:1", Kind.REPLY, "r1", seq=2, epoch=1, episode=2)
    assert doubt(2) == ["connection-lost"], "the answer was sent, and may not have arrived"
    desk.robot("r1:1", Kind.REQUEST, seq=3, epoch=1, episode=2)
    effects = desk.replica("flow/0:1", Kind.REPLY, "r1", seq=3, epoch=1, episode=2)
    (reply,) = sent(effects, ToRobot, Kind.REPLY)
    desk.routing.undelivered(reply, "unreachable", desk.now_ns)
    effects = desk.robot("r1:1", Heartbeat(progress=9), seq=3, epoch=1, episode=2)
    assert sent(effects, ToRobot, Kind.REPLY) == [reply], "it was not sent, and is sent now"
    assert doubt(3) == ["connection-lost"], "and once only"
    assert doubt(2, epoch=7) == [], "of a session that is none"
