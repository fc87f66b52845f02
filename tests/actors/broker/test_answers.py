"""The broker's own messages: to which peer, about what, and with which reason."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.effects import Effect, Log, Received, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.replica_choice import RETRY_AFTER_S
from holdfast.errors import WireError
from holdfast.tests.actors.broker.conftest import Desk, asking, granting, is_a, offering
from holdfast.transport import messages
from holdfast.transport.bodies import (
    Body,
    Close,
    Drain,
    Error,
    Event,
    Heartbeat,
    Inquiry,
    Reject,
    Reset,
    Verdict,
)
from holdfast.transport.header import Header, Kind


def readable(effects: list[Effect]) -> list[Any]:
    """The messages among `effects`; those of the broker's own survive the wire, have an address,
    and a reason in words where they have one."""
    sent = [effect for effect in effects if not isinstance(effect, Log)]
    for effect in sent:
        assert effect.identity, "it goes to a peer"
        if not isinstance(effect.payload, Body):
            continue
        arrived = messages.decode(messages.encode(effect.header, effect.payload))
        assert arrived.header == effect.header
        assert arrived.body == effect.payload
        body = effect.payload.reject if isinstance(effect.payload, Verdict) else effect.payload
        assert not isinstance(body, Reject | Error | Event) or body.message
    return sent


def keyed(identity: str, key: str) -> Peer:
    name, _, incarnation = identity.rpartition(":")
    return Peer(identity.encode(), name, int(incarnation), key)


def fail(desk: Desk, effect: Any, why: Any) -> list[Any]:
    return readable(desk.routing.undelivered(effect, why, desk.now_ns))


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
    """Another robot that waits is."""
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


# Replicas


def test_an_unregistered_replica_may_go_at_once(desk: Desk) -> None:
    """Its DRAIN is answered by a DRAIN with its token."""
    effects = desk.replica("flow/0:1", Drain(reason="stopping"), token=6)
    (told,) = readable(effects)
    assert (told.identity, told.robot, told.header.token) == (b"flow/0:1", "", 6)
    assert told.payload == Drain(reason="drained")


def test_a_drained_replica_is_notified_once_for_each_time_it_asks(desk: Desk) -> None:
    """A DRAIN that got lost is answered when it is repeated."""
    desk.register("flow/0:1")
    (told,) = readable(desk.replica("flow/0:1", Drain(reason="stopping")))
    assert (told.header.kind, told.payload) == (Kind.DRAIN, Drain(reason="drained"))

    def drains(effects: list[Effect]) -> int:
        return sum(is_a(e, ToReplica, Kind.DRAIN) for e in effects)

    assert not drains(desk.wait(1, beats=("flow/0:1",)))
    assert drains(desk.replica("flow/0:1", Drain(reason="stopping"))) == 1


def test_a_robot_is_notified_once_that_its_replica_drains(desk: Desk) -> None:
    """The EVENT has its epoch and names the replica."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=4)
    (told,) = readable(desk.replica("flow/0:1", Drain(reason="leaving")))
    assert (told.identity, told.header.epoch, told.payload.what) == (b"r1:1", 4, "draining")
    assert "flow/0" in told.payload.message
    later = readable(desk.wait(1, beats=("flow/0:1",), robots=("r1:1",)))
    assert not [e for e in later if is_a(e, ToRobot, Kind.EVENT)]


def test_a_replica_that_changes_its_contract_loses_its_place(
    desk: Desk,
) -> None:
    """Its robots go on at the others, and its new offer is rejected for good."""
    for k in range(2):
        desk.register(f"flow/{k}:1")
    at = desk.opened("r1:1").decode()
    name = at.partition(":")[0]
    sent = readable(desk.replica(at, offering(name, checkpoint="others"), token=7))
    (refused,) = [e for e in sent if is_a(e, ToReplica, Kind.REJECT)]
    assert (refused.identity, refused.header.token) == (at.encode(), 7)
    assert (refused.payload.reason, refused.payload.final) == ("contract", True)
    assert desk.sessions()["r1"] not in ("", name)
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1


def test_a_full_replica_that_registers_again_keeps_its_sessions(desk: Desk) -> None:
    """A session's own place counts as free for it, and for no other."""
    desk.register("flow/0:1", capacity=2)
    for n in (1, 2):
        desk.opened(f"r{n}:1")
    sent = readable(desk.replica("flow/0:1", offering("flow/0", 2), token=7))
    assert [e.robot for e in sent if is_a(e, ToReplica, Kind.OPEN)] == ["r1", "r2"]
    assert desk.sessions() == {"r1": "flow/0", "r2": "flow/0"}
    sent = readable(desk.replica("flow/0:1", offering("flow/0", 1), token=8))
    assert [e.robot for e in sent if is_a(e, ToReplica, Kind.OPEN)] == ["r2"]
    assert desk.sessions() == {"r2": "flow/0"}, "it offers room for one"


# Sends that fail


def test_a_robot_with_a_full_socket_keeps_its_name(desk: Desk) -> None:
    """Only an unreachable one gives it up to an older claim."""
    desk.register("flow/0:1")
    for n in (1, 2):
        desk.opened(f"r{n}:5", epoch=9)
    beats = {
        e.identity: e for e in desk.routing.disconnected(desk.now_ns) if isinstance(e, ToRobot)
    }
    fail(desk, beats[b"r1:5"], "full")
    assert is_refused(desk, "r1") and is_refused(desk, "r2")
    fail(desk, beats[b"r2:5"], "unreachable")
    assert is_refused(desk, "r1"), "it is another robot that is gone"
    assert not is_refused(desk, "r2")


def is_refused(desk: Desk, name: str) -> bool:
    """Whether an older claim to `name` is."""
    told = readable(desk.robot(f"{name}:1", asking(name), epoch=1))
    return any(isinstance(e.payload, Reject) for e in told)


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.REQUEST, Kind.CLOSE, Kind.DRAIN])
def test_a_message_that_a_replicas_full_socket_did_not_take_is_sent_again(
    desk: Desk, kind: Kind
) -> None:
    """At the next tick, once, and nothing else with it."""
    desk.register("flow/0:1")
    first = desk.robot("r1:1", asking("r1"), epoch=4)
    if kind in (Kind.REQUEST, Kind.CLOSE):
        desk.replica("flow/0:1", granting("flow/0"), "r1", epoch=4)
        say = Kind.REQUEST if kind is Kind.REQUEST else Close()
        first = desk.robot("r1:1", say, epoch=4, seq=1)
    if kind is Kind.DRAIN:
        desk.robot("r1:1", Close(), epoch=4)
        first = desk.replica("flow/0:1", Drain(reason="stopping"))
    (effect,) = [e for e in readable(first) if is_a(e, ToReplica, kind)]
    assert not fail(desk, effect, "full")
    again = readable(desk.routing.tick(desk.now_ns))
    assert [(e.identity, e.header.kind, e.header.epoch) for e in again] == [
        (b"flow/0:1", kind, effect.header.epoch)
    ]
    assert not readable(desk.routing.tick(desk.now_ns))


@pytest.mark.parametrize("why", ["another session", "another replica"])
def test_a_failed_send_of_a_session_that_is_over_changes_nothing(desk: Desk, why: str) -> None:
    """Neither the session that replaced it nor the one that moved is sent again."""
    desk.register("flow/0:1")
    (first,) = readable(desk.robot("r1:1", asking("r1"), epoch=4))
    if why == "another session":
        desk.opened("r1:1", epoch=5)
    else:
        desk.replica("flow/0:1", granting("flow/0"), "r1", epoch=4)
        desk.register("flow/1:1")
        lose(desk, "flow/0")
        desk.register("flow/0:1")
    desk.routing.undelivered(first, "full", desk.now_ns)
    assert not readable(desk.routing.tick(desk.now_ns))


# Pauses of the broker


def test_a_pause_of_the_broker_makes_nothing_overdue(desk: Desk) -> None:
    """An OPEN and a request that waited through it count from its end."""
    for k in range(2):
        desk.register(f"flow/{k}:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    desk.robot("r2:1", asking("r2"), epoch=1)
    before = desk.sessions()
    for _ in range(3):
        desk.now_ns += 60_000_000_000
        assert not [e for e in readable(desk.routing.tick(desk.now_ns)) if moved(e)]
    assert desk.sessions() == before
    # From here on time counts: the request first, then the OPEN.
    done = readable(desk.wait(6, beats=("flow/0:1", "flow/1:1"), robots=("r1:1", "r2:1")))
    assert [e for e in done if moved(e)]


def moved(effect: Any) -> bool:
    return isinstance(effect, ToReplica) and effect.header.kind is not Kind.HEARTBEAT


def test_a_heartbeat_is_answered_under_its_own_header(desk: Desk) -> None:
    """The token is echoed, for replicas and robots."""
    desk.register("flow/0:1")
    (told,) = readable(desk.replica("flow/0:1", Heartbeat(progress=1), token=3))
    assert (told.identity, told.robot, told.header.token) == (b"flow/0:1", "", 3)
    (told,) = readable(desk.robot("r1:1", Heartbeat(progress=1), token=4))
    assert (told.identity, told.header.token) == (b"r1:1", 4)
