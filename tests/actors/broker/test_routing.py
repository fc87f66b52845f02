"""The routing's rules one by one; `test_routing_machine` mixes them."""

from __future__ import annotations

import pytest

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.tests.actors.broker.desk import Desk, Sent, asking, granting
from holdfast.transport.bodies import Close, Event, Heartbeat
from holdfast.transport.header import Kind

EVENT = Event(what="lost")


# Replicas that hang and die


def test_a_replica_that_sends_without_progress_is_removed(desk: Desk) -> None:
    """Heartbeats with an equal count prove nothing."""
    desk.register("flow/0:1")
    desk.replica("flow/0:1", Heartbeat(progress=7))
    for _ in range(12):
        desk.wait(0.25)
        desk.replica("flow/0:1", Heartbeat(progress=7))
    assert desk.count("replica-hung") == 1
    assert desk.routing.status(desk.now_ns)["replica_count"] == 0


def test_a_replica_whose_progress_moves_stays_registered(desk: Desk) -> None:
    """It is kept for as long as its count moves."""
    desk.register("flow/0:1")
    desk.wait(30, beats=("flow/0:1",))
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1


def test_a_removed_replica_is_asked_to_register_when_it_wakes(desk: Desk, sent: Sent) -> None:
    """By a WELCOME whose token is 0, which answers no REGISTER."""
    desk.register("flow/0:1")
    desk.wait(3)
    assert desk.count("replica-silent") == 1
    (wish,) = sent(desk.replica("flow/0:1", Heartbeat(progress=1)), ToReplica, Kind.WELCOME)
    assert wish.header.token == 0
    desk.register("flow/0:1")
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1


def test_a_pause_of_the_broker_removes_no_peer(desk: Desk) -> None:
    """After a stop of a minute silence counts anew."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.now_ns += 60_000_000_000
    desk.routing.tick(desk.now_ns)
    assert desk.sessions() == {"r1": "flow/0"}
    desk.wait(10, beats=("flow/0:1",))
    assert desk.sessions() == {}, "the robot stayed silent afterwards"


def test_the_request_of_a_dead_replica_is_replayed_behind_its_open(desk: Desk, sent: Sent) -> None:
    """The next replica gets OPEN and REQUEST in order; the robot gets one event."""
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    first = desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=4)
    effects = desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    assert first == b"flow/0:1"
    moved = [e for e in effects if isinstance(e, ToReplica) and e.robot == "r1"]
    assert [(e.identity, e.header.kind) for e in moved] == [
        (b"flow/0:1", Kind.CLOSE),
        (b"flow/1:1", Kind.OPEN),
        (b"flow/1:1", Kind.REQUEST),
    ]
    assert moved[2].header.seq == 4
    (told,) = sent(effects, ToRobot, Kind.EVENT)
    assert (told.payload.what, told.header.seq, told.header.epoch) == ("replayed", 4, 1)


def test_the_accept_of_a_move_is_not_sent_to_the_robot(desk: Desk, sent: Sent) -> None:
    """The session is open again without the robot's doing."""
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    desk.opened("r1:1")
    desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    assert desk.sessions() == {"r1": "flow/1"}
    effects = desk.replica("flow/1:1", granting("flow/1"), "r1", epoch=1)
    assert not sent(effects, ToRobot, Kind.ACCEPT)
    assert desk.routing.status(desk.now_ns)["sessions"][0]["state"] == "open"


def test_a_session_never_moves_to_other_weights(desk: Desk, sent: Sent) -> None:
    """A robot that reconnects to another checkpoint stops, so its session is lost instead."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.register("flow/1:1", checkpoint="others")
    effects = desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    (told,) = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == "lost"
    assert desk.sessions() == {}


def test_a_session_moves_to_no_replica_that_accepts_it_on_other_terms(
    desk: Desk, sent: Sent
) -> None:
    """It is lost, and closed at that replica."""
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    desk.opened("r1:1")
    desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    effects = desk.replica("flow/1:1", granting("flow/1", checkpoint="others"), "r1", epoch=1)
    (told,) = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == "lost"
    assert sent(effects, ToReplica, Kind.CLOSE)


@pytest.mark.parametrize(("elsewhere", "what"), [("here", "replayed"), ("there", "lost")])
def test_a_session_with_shared_memory_moves_on_the_same_host_only(
    desk: Desk, sent: Sent, elsewhere: str, what: str
) -> None:
    """On another host the references could not be resolved."""
    desk.register("flow/0:1", boot_id="here")
    desk.register("flow/1:1", boot_id=elsewhere)
    desk.opened("r1:1", boot_id="here")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    effects = desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    told, *more = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == what
    assert [e.payload.what for e in more] == (["available"] if what == "lost" else [])


def test_the_next_incarnation_of_a_replica_takes_over_what_it_left(desk: Desk, sent: Sent) -> None:
    """The request is replayed to it, and the old one's reply is dropped."""
    desk.register("flow/0:1", capacity=1)
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    effects = desk.register("flow/0:2", capacity=1)
    (request,) = sent(effects, ToReplica, Kind.REQUEST)
    assert request.identity == b"flow/0:2"
    desk.now_ns += 1
    assert not desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1), "the old one is late"
    assert desk.count("late-reply") == 1


def test_an_older_incarnation_of_a_replica_does_not_replace_a_newer(desk: Desk) -> None:
    """Its REGISTER is dropped and counted."""
    desk.register("flow/0:2")
    desk.register("flow/0:1")
    (row,) = desk.routing.status(desk.now_ns)["replicas"]
    assert row["incarnation"] == 2
    assert desk.count("register-older") == 1


def test_an_unreachable_replica_is_removed_at_once(desk: Desk, sent: Sent) -> None:
    """Its request is replayed in the same turn."""
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    desk.opened("r1:1")
    (request,) = sent(desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1), ToReplica, Kind.REQUEST)
    effects = desk.routing.undelivered(request, "unreachable", desk.now_ns)
    (replayed,) = sent(effects, ToReplica, Kind.REQUEST)
    assert replayed.identity == b"flow/1:1"


def test_a_request_that_a_full_socket_did_not_take_is_sent_again(desk: Desk, sent: Sent) -> None:
    """The newest request only: nothing queues."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    for seq in (1, 2):
        (request,) = sent(
            desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=seq), ToReplica, Kind.REQUEST
        )
        desk.routing.undelivered(request, "full", desk.now_ns)
    assert desk.routing.waits()
    (again,) = sent(desk.routing.tick(desk.now_ns), ToReplica, Kind.REQUEST)
    assert again.header.seq == 2
    assert not desk.routing.waits()
    assert desk.count("superseded") == 1


def test_a_place_is_free_at_the_replica_before_it_is_given_again(desk: Desk, sent: Sent) -> None:
    """A CLOSE that a full socket did not take goes ahead of the next OPEN."""
    desk.register("flow/0:1", capacity=1)
    desk.opened("r1:1")
    (end,) = sent(desk.robot("r1:1", Close(), epoch=1), ToReplica, Kind.CLOSE)
    desk.routing.undelivered(end, "full", desk.now_ns)
    effects = desk.robot("r2:1", asking("r2"), epoch=1)
    assert [(e.robot, e.header.kind) for e in effects if isinstance(e, ToReplica)] == [
        ("r1", Kind.CLOSE),
        ("r2", Kind.OPEN),
    ]


# Requests and replies


def test_a_newer_request_supersedes_the_older_and_its_reply(desk: Desk, sent: Sent) -> None:
    """The newest is answered once, and the older reply is dropped."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=2)
    assert not desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1)
    assert sent(desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=2), ToRobot, Kind.REPLY)
    assert not desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=2), "once is enough"
    assert desk.count("superseded") == 1
    assert desk.count("reply-unexpected") == 2


def test_a_request_that_was_seen_is_not_sent_twice(desk: Desk, sent: Sent) -> None:
    """A repeated one is dropped, an older one answered by an ERROR."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=5)
    assert not desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=5)
    (told,) = sent(desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=4), ToRobot, Kind.ERROR)
    assert told.header.seq == 4
    assert told.payload.reason == "superseded"
    assert desk.count("request-repeated") == 2


@pytest.mark.parametrize("seq", [2**63, 2**64 - 1])
def test_the_highest_seq_does_not_end_the_requests(desk: Desk, sent: Sent, seq: int) -> None:
    """The next request is served as soon as that one was answered."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=seq)
    desk.replica("flow/0:1", Kind.ERROR, "r1", epoch=1, seq=seq)
    assert sent(desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=3), ToReplica, Kind.REQUEST)
    assert sent(desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=3), ToRobot, Kind.REPLY)


def test_an_error_answers_a_request_as_a_reply_does(desk: Desk, sent: Sent) -> None:
    """A reply after it is dropped."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    assert sent(desk.replica("flow/0:1", Kind.ERROR, "r1", epoch=1, seq=1), ToRobot, Kind.ERROR)
    assert not desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1)


def test_a_message_of_an_unknown_session_is_answered_by_its_loss(desk: Desk, sent: Sent) -> None:
    """So a restarted broker gets its robots back."""
    desk.register("flow/0:1")
    for kind in (Kind.REQUEST, Kind.RESET):
        (told,) = sent(desk.robot("r1:1", kind, epoch=3, seq=1), ToRobot, Kind.EVENT)
        assert told.payload.what == "lost"
        assert "unknown session" in told.payload.message
        assert told.header.epoch == 3


def test_a_heartbeat_that_claims_a_session_learns_that_there_is_none(
    desk: Desk, sent: Sent
) -> None:
    """An epoch other than 0 claims one; without it only the heartbeat is answered."""
    claims = desk.robot("r1:1", Heartbeat(progress=1), epoch=3)
    assert sent(claims, ToRobot, Kind.HEARTBEAT)
    assert sent(claims, ToRobot, Kind.EVENT)
    assert not sent(desk.robot("r1:1", Heartbeat(progress=1)), ToRobot, Kind.EVENT)
