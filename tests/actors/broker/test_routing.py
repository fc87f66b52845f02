"""The routing's rules one by one; `test_routing_machine` mixes them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.actors.broker.broker import ROWS
from holdfast.actors.broker.callers import MAX_CALLERS
from holdfast.actors.broker.counters import MAX_PEERS, Counters
from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.actors.broker.quarantine import TOLERATED
from holdfast.actors.broker.replica_choice import RETRY_AFTER_S
from holdfast.actors.broker.sessions import RoutedSession
from holdfast.actors.runtime.status_board import REPORT_BYTES
from holdfast.errors import WireError
from holdfast.transport.header import Kind
from holdfast.transport.messages import (
    Accept,
    Close,
    Drain,
    Event,
    Heartbeat,
    Open,
    Register,
    Reject,
    Vitals,
)

EVENT = Event(what="lost")


def rejection(effects: list[Any]) -> Reject:
    """The broker's own REJECT among `effects`."""
    (found,) = [e.payload for e in effects if isinstance(getattr(e, "payload", None), Reject)]
    return found


def asking(robot: str, service: str = "flow", **more: Any) -> Open:
    given = {"action_names": ("x",), "state_names": ("x",), "cameras": {}, "fps": 30.0, **more}
    return Open(robot=robot, service=service, **given)


# Admission


def test_a_robot_goes_to_the_emptiest_replica_of_its_service(desk: Any) -> None:
    desk.register("flow/0:1", capacity=4)
    desk.register("flow/1:1", capacity=2)
    desk.register("act/0:1", capacity=9)
    placed = [desk.opened(f"r{n}:1").decode() for n in range(6)]
    assert placed.count("flow/0:1") == 4
    assert placed.count("flow/1:1") == 2


def test_a_full_service_says_its_load_and_where_there_is_room(desk: Any) -> None:
    """The alternatives are services with room that move the same motors."""
    desk.register("flow/0:1", capacity=1)
    desk.register("act/0:1")
    desk.register("other/0:1", action_names=("y",))
    desk.opened("r1:1")
    answer = rejection(desk.robot("r2:1", asking("r2"), epoch=1))
    assert answer.reason == "capacity"
    assert answer.load == 1.0
    assert answer.alternatives == ("act",)
    assert not answer.final
    assert answer.retry_after_s == RETRY_AFTER_S
    assert "add a replica" in answer.message


def test_an_unknown_service_names_those_that_are_served(desk: Any) -> None:
    desk.register("flow/0:1")
    answer = rejection(desk.robot("r1:1", asking("r1", "flwo"), epoch=1))
    assert answer.reason == "no-replica"
    assert "'flwo'" in answer.message
    assert "flow" in answer.message
    assert not answer.final, "a service that is still loading appears later"


def test_a_robot_returns_to_its_replica_while_that_lives(desk: Any) -> None:
    desk.register("flow/0:1", capacity=4)
    desk.register("flow/1:1", capacity=4)
    homes = {f"r{n}": desk.opened(f"r{n}:1") for n in range(4)}
    desk.robot("r0:1", Close(), epoch=1)
    desk.robot("r1:1", Close(), epoch=1)
    assert desk.opened("r1:1", epoch=2) == homes["r1"]
    assert desk.opened("r0:1", epoch=2) == homes["r0"]


def test_a_replicas_own_refusal_reaches_the_robot_and_frees_the_place(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1", capacity=1)
    desk.register("flow/1:1", capacity=1)
    desk.robot("r1:1", asking("r1"), epoch=1)
    at = desk.sessions()["r1"]
    no = Reject(reason="action-names", message="other motors", final=True)
    effects = desk.replica(f"{at}:1", no, "r1", epoch=1)
    (answer,) = sent(effects, ToRobot, Kind.REJECT)
    assert answer.payload == ("REJECT", {"epoch": 1}), "the replica's words, as they came"
    assert desk.sessions() == {}


def test_a_replica_that_is_fuller_than_it_said_sends_the_robot_on_to_another(
    desk: Any, sent: Any
) -> None:
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    desk.robot("r1:1", asking("r1"), epoch=1)
    effects = desk.replica("flow/0:1", Reject(reason="capacity", message="full"), "r1", epoch=1)
    (again,) = sent(effects, ToReplica, Kind.OPEN)
    assert again.identity == b"flow/1:1"
    assert not sent(effects, ToRobot, Kind.REJECT)
    effects = desk.replica("flow/1:1", Reject(reason="capacity", message="full"), "r1", epoch=1)
    assert sent(effects, ToRobot, Kind.REJECT), "both said no"


def test_a_replica_that_never_answers_an_open_does_not_keep_the_robot_waiting(
    desk: Any, sent: Any
) -> None:
    desk.register("flow/0:1")
    desk.robot("r1:1", asking("r1"), epoch=1)
    effects = desk.wait(6, beats=("flow/0:1",), robots=("r1:1",))
    assert "did not answer" in rejection(effects).message
    assert sent(effects, ToReplica, Kind.CLOSE)
    assert desk.sessions() == {}


def test_a_robot_may_open_only_under_its_own_name(desk: Any) -> None:
    desk.register("flow/0:1")
    answer = rejection(desk.robot("r1:1", asking("r2"), epoch=1))
    assert answer.final
    assert desk.count("wrong-name") == 1


def test_a_replica_may_register_only_under_its_own_name(desk: Any) -> None:
    name = desk.register("flow/0:1")[0].identity
    assert name == b"flow/0:1"
    desk.replica("act/0:1", _offer("flow/1"), token=1)
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1
    assert desk.count("wrong-name") == 1


def _offer(name: str) -> Register:
    return Register(
        replica=name,
        service=name.partition("/")[0],
        capacity=1,
        model="m",
        revision="1",
        checkpoint="weights",
        cameras={},
        state_names=("x",),
        action_names=("x",),
        chunk_size=50,
        fps=30.0,
    )


# Life and death of replicas


def test_a_replica_that_talks_without_progress_is_as_dead_as_a_silent_one(desk: Any) -> None:
    desk.register("flow/0:1")
    desk.replica("flow/0:1", Heartbeat(progress=7))
    for _ in range(12):
        desk.wait(0.25)
        desk.replica("flow/0:1", Heartbeat(progress=7))
    assert desk.count("replica-hung") == 1
    assert desk.routing.status(desk.now_ns)["replica_count"] == 0


def test_a_replica_whose_progress_moves_lives(desk: Any) -> None:
    desk.register("flow/0:1")
    desk.wait(30, beats=("flow/0:1",))
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1


def test_a_replica_given_up_is_asked_to_register_when_it_wakes(desk: Any, sent: Any) -> None:
    """WELCOME with token 0: no answer to a REGISTER, but the wish for one."""
    desk.register("flow/0:1")
    desk.wait(3)
    assert desk.count("replica-silent") == 1
    (wish,) = sent(desk.replica("flow/0:1", Heartbeat(progress=1)), ToReplica, Kind.WELCOME)
    assert wish.header.token == 0
    desk.register("flow/0:1")
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1


def test_a_pause_of_the_broker_itself_kills_nobody(desk: Any) -> None:
    """Stopped for a minute, it cannot know what its peers did meanwhile."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.now_ns += 60_000_000_000
    desk.routing.tick(desk.now_ns)
    assert desk.sessions() == {"r1": "flow/0"}
    desk.wait(10, beats=("flow/0:1",))
    assert desk.sessions() == {}, "the robot stayed silent afterwards"


def test_the_request_of_a_dead_replica_is_replayed_behind_its_open(desk: Any, sent: Any) -> None:
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


def test_the_acceptance_of_a_move_is_not_told_to_the_robot(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    desk.opened("r1:1")
    desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    assert desk.sessions() == {"r1": "flow/1"}
    effects = desk.replica("flow/1:1", _terms("flow/1"), "r1", epoch=1)
    assert not sent(effects, ToRobot, Kind.ACCEPT)
    assert desk.routing.status(desk.now_ns)["sessions"][0]["state"] == "open"


def _terms(replica: str, checkpoint: str = "weights") -> Accept:
    return Accept(
        session="s",
        replica=replica,
        model="m",
        revision="1",
        checkpoint=checkpoint,
        chunk_size=50,
        fps=30.0,
        action_names=("x",),
        cameras={},
    )


def test_a_session_never_moves_to_other_weights(desk: Any, sent: Any) -> None:
    """A robot that reconnects to another checkpoint stops for good, so it must be told."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.register("flow/1:1", checkpoint="others")
    effects = desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    (told,) = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == "lost"
    assert desk.sessions() == {}


def test_a_session_moves_to_no_replica_that_accepts_it_on_other_terms(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    desk.opened("r1:1")
    desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    effects = desk.replica("flow/1:1", _terms("flow/1", "others"), "r1", epoch=1)
    (told,) = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == "lost"
    assert sent(effects, ToReplica, Kind.CLOSE)


@pytest.mark.parametrize(("elsewhere", "what"), [("here", "replayed"), ("there", "lost")])
def test_references_to_shared_memory_move_on_the_same_host_only(
    desk: Any, sent: Any, elsewhere: str, what: str
) -> None:
    desk.register("flow/0:1", boot_id="here")
    desk.register("flow/1:1", boot_id=elsewhere)
    desk.opened("r1:1", boot_id="here")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    effects = desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    told, *more = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == what
    assert [e.payload.what for e in more] == (["available"] if what == "lost" else [])


def test_the_next_incarnation_of_a_replica_takes_over_what_it_left(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1", capacity=1)
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    effects = desk.register("flow/0:2", capacity=1)
    (request,) = sent(effects, ToReplica, Kind.REQUEST)
    assert request.identity == b"flow/0:2"
    desk.now_ns += 1
    assert not desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1), "the old one is late"
    assert desk.count("late-reply") == 1


def test_an_older_incarnation_of_a_replica_does_not_replace_a_newer(desk: Any) -> None:
    desk.register("flow/0:2")
    desk.register("flow/0:1")
    (row,) = desk.routing.status(desk.now_ns)["replicas"]
    assert row["incarnation"] == 2
    assert desk.count("register-older") == 1


def test_an_unreachable_replica_is_dead_at_once(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    desk.opened("r1:1")
    (request,) = sent(desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1), ToReplica, Kind.REQUEST)
    effects = desk.routing.undelivered(request, "unreachable", desk.now_ns)
    (replayed,) = sent(effects, ToReplica, Kind.REQUEST)
    assert replayed.identity == b"flow/1:1"


def test_what_a_full_socket_did_not_take_is_sent_again(desk: Any, sent: Any) -> None:
    """The newest request only: nothing queues up."""
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


def test_a_place_is_free_at_the_replica_before_it_is_given_again(desk: Any, sent: Any) -> None:
    """The end that a full socket did not take goes ahead of the next beginning."""
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


def test_a_newer_request_supersedes_the_older_and_its_reply(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=2)
    assert not desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1)
    assert sent(desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=2), ToRobot, Kind.REPLY)
    assert not desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=2), "once is enough"
    assert desk.count("superseded") == 1
    assert desk.count("reply-unexpected") == 2


def test_a_request_that_was_seen_is_not_sent_twice(desk: Any, sent: Any) -> None:
    """An older one is answered: whoever sent it must not wait for it."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=5)
    assert not desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=5)
    (told,) = desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=4)
    assert (told.header.kind, told.header.seq) == (Kind.ERROR, 4)
    assert told.payload.reason == "superseded"
    assert desk.count("request-repeated") == 2


@pytest.mark.parametrize("seq", [2**63, 2**64 - 1])
def test_a_seq_that_nobody_reaches_by_counting_does_not_end_the_requests(
    desk: Any, sent: Any, seq: int
) -> None:
    """The next request is served as soon as that one was answered."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=seq)
    desk.replica("flow/0:1", Kind.ERROR, "r1", epoch=1, seq=seq)
    assert sent(desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=3), ToReplica, Kind.REQUEST)
    assert sent(desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=3), ToRobot, Kind.REPLY)


def test_an_error_answers_a_request_as_a_reply_does(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    assert sent(desk.replica("flow/0:1", Kind.ERROR, "r1", epoch=1, seq=1), ToRobot, Kind.ERROR)
    assert not desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1)


def test_a_message_of_an_unknown_session_is_answered_by_its_loss(desk: Any, sent: Any) -> None:
    """So a broker that was restarted gets its robots back."""
    desk.register("flow/0:1")
    for kind in (Kind.REQUEST, Kind.RESET):
        (told,) = sent(desk.robot("r1:1", kind, epoch=3, seq=1), ToRobot, Kind.EVENT)
        assert told.payload.what == "lost"
        assert "unknown session" in told.payload.message
        assert told.header.epoch == 3


def test_a_heartbeat_that_claims_a_session_learns_that_there_is_none(desk: Any, sent: Any) -> None:
    claims = desk.robot("r1:1", Heartbeat(progress=1), epoch=3)
    assert sent(claims, ToRobot, Kind.HEARTBEAT)
    assert sent(claims, ToRobot, Kind.EVENT)
    assert not sent(desk.robot("r1:1", Heartbeat(progress=1)), ToRobot, Kind.EVENT)


# The end of sessions


def test_sessions_end_five_seconds_after_the_robot_was_last_heard(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.wait(4.75, beats=("flow/0:1",))
    assert desk.sessions()
    effects = desk.wait(0.25, beats=("flow/0:1",))
    assert desk.sessions() == {}
    assert sent(effects, ToReplica, Kind.CLOSE)


def test_sessions_end_when_idle_for_five_minutes(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.wait(299, beats=("flow/0:1",), robots=("r1:1",))
    assert desk.sessions()
    effects = desk.wait(2, beats=("flow/0:1",), robots=("r1:1",))
    assert desk.sessions() == {}
    (told,) = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == "lost"


def test_the_late_end_of_an_old_session_leaves_its_replacement(desk: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=1)
    desk.opened("r1:1", epoch=2)
    desk.robot("r1:1", Close(), epoch=1)
    assert desk.sessions() == {"r1": "flow/0"}
    desk.robot("r1:1", Close(), epoch=2)
    assert desk.sessions() == {}
    assert desk.count("late-close") == 1


def test_a_session_that_its_replica_lost_is_told_and_ended(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    assert sent(desk.replica("flow/0:1", EVENT, "r1", epoch=1), ToRobot, Kind.EVENT)
    assert desk.sessions() == {}


# Draining


def test_a_draining_replica_finishes_and_its_sessions_move(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.opened("r2:1")
    desk.register("flow/1:1")
    desk.robot("r2:1", Kind.REQUEST, epoch=1, seq=1)
    effects = desk.replica("flow/0:1", Drain())
    assert desk.sessions() == {"r1": "flow/1", "r2": "flow/0"}
    assert not sent(effects, ToReplica, Kind.DRAIN)
    effects = desk.replica("flow/0:1", Kind.REPLY, "r2", epoch=1, seq=1)
    assert sent(effects, ToRobot, Kind.REPLY)
    assert desk.sessions() == {"r1": "flow/1", "r2": "flow/1"}
    (done,) = sent(effects, ToReplica, Kind.DRAIN)
    assert done.identity == b"flow/0:1"
    assert not sent(effects, ToRobot, Kind.EVENT), "the robots notice nothing"


def test_a_draining_replica_takes_nobody(desk: Any) -> None:
    desk.register("flow/0:1")
    desk.replica("flow/0:1", Drain())
    assert rejection(desk.robot("r1:1", asking("r1"), epoch=1)).reason == "draining"


def test_robots_that_cannot_move_stay_served_until_there_is_room(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    effects = desk.replica("flow/0:1", Drain())
    (told,) = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == "draining"
    assert sent(desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1), ToReplica, Kind.REQUEST)
    desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1)
    desk.register("flow/1:1")
    effects = desk.wait(0.5, beats=("flow/0:1", "flow/1:1"), robots=("r1:1",))
    assert desk.sessions() == {"r1": "flow/1"}
    assert sent(effects, ToReplica, Kind.DRAIN)


def test_a_replica_that_stops_is_told_to_go_when_all_is_answered_and_nobody_can_move(
    desk: Any, sent: Any
) -> None:
    """To wait longer would only make its robots wait for its successor."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    assert not sent(desk.replica("flow/0:1", Drain(reason="stopping")), ToReplica, Kind.DRAIN)
    effects = desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1)
    assert sent(effects, ToRobot, Kind.REPLY)
    assert sent(effects, ToReplica, Kind.DRAIN)
    assert desk.sessions() == {"r1": "flow/0"}


# Two robots of one name


def test_the_newest_claim_to_a_name_holds_it(desk: Any, sent: Any) -> None:
    """By epoch, then by incarnation; the one before learns at its next word."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=5)
    desk.opened("r1:2", epoch=5)
    (told,) = sent(desk.robot("r1:1", Kind.REQUEST, epoch=5, seq=1), ToRobot, Kind.EVENT)
    assert told.payload.what == "lost"
    assert told.identity == b"r1:1"
    assert desk.routing.status(desk.now_ns)["session_count"] == 1


def test_an_epoch_that_nobody_reaches_by_counting_does_not_lock_its_robot_out(
    desk: Any, sent: Any
) -> None:
    """Of one connection the later claim is the newer, whatever the numbers are."""
    desk.register("flow/0:1")
    desk.opened("r1:2", epoch=2**32 - 1)
    effects = desk.robot("r1:2", asking("r1"), epoch=6)
    assert [(e.header.kind, e.header.epoch) for e in effects if isinstance(e, ToReplica)] == [
        (Kind.CLOSE, 2**32 - 1),
        (Kind.OPEN, 6),
    ]
    assert not sent(effects, ToRobot, Kind.REJECT)


@pytest.mark.parametrize(("identity", "epoch"), [("r1:1", 4), ("r1:9", 4), ("r1:1", 5)])
def test_an_older_claim_is_refused_while_the_holder_is_heard_of(
    desk: Any, identity: str, epoch: int
) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:2", epoch=5)
    answer = rejection(desk.robot(identity, asking("r1"), epoch=epoch))
    assert answer.reason == "name-taken"
    assert not answer.final
    desk.wait(1.25, beats=("flow/0:1",), robots=("r1:2",))
    assert rejection(desk.robot(identity, asking("r1"), epoch=epoch)).reason == "name-taken"


def test_a_robot_whose_whole_computer_restarted_gets_its_name_back(desk: Any) -> None:
    """It counts from one again, and is not kept out by what it was before."""
    desk.register("flow/0:1")
    desk.opened("r1:7", epoch=31)
    desk.wait(1.5, beats=("flow/0:1",))
    desk.opened("r1:1", epoch=1)
    assert desk.routing.status(desk.now_ns)["sessions"][0]["epoch"] == 1


def test_an_unreachable_holder_gives_its_name_up_at_once(desk: Any, sent: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:7", epoch=31)
    (probe,) = sent(desk.routing.disconnected(desk.now_ns), ToRobot, Kind.HEARTBEAT)
    desk.routing.undelivered(probe, "unreachable", desk.now_ns)
    desk.opened("r1:1", epoch=1)
    assert desk.routing.status(desk.now_ns)["sessions"][0]["epoch"] == 1


# Those who break rules


def test_who_keeps_breaking_rules_is_not_listened_to_for_a_while(desk: Any) -> None:
    for _ in range(TOLERATED):
        desk.robot("r1:1", Kind.REGISTER)
    assert not desk.routing.ignores(b"r1:1", desk.now_ns)
    desk.routing.malformed(b"r1:1", WireError("frames", ""), desk.now_ns)
    assert desk.routing.ignores(b"r1:1", desk.now_ns)
    assert not desk.routing.ignores(b"r2:1", desk.now_ns)
    assert desk.count("quarantines") == 1
    assert desk.routing.counters.of("r1") == {
        "kind-from-robot": TOLERATED,
        "frames": 1,
        "quarantines": 1,
        "quarantined": 1,
    }
    desk.wait(31)
    assert not desk.routing.ignores(b"r1:1", desk.now_ns)


def test_single_faults_far_apart_are_forgiven(desk: Any) -> None:
    for _ in range(3 * TOLERATED):
        desk.routing.malformed(b"r1:1", WireError("body", ""), desk.now_ns)
        desk.wait(1)
    assert not desk.routing.ignores(b"r1:1", desk.now_ns)


def test_counting_by_peer_is_bounded_and_loses_nothing() -> None:
    counters = Counters()
    for n in range(3 * MAX_PEERS):
        counters.count("body", f"peer{n}")
    rows = counters.worst(10 * MAX_PEERS)
    assert len(rows) <= MAX_PEERS + 1
    assert sum(row["body"] for row in rows.values()) == counters.reasons["body"] == 3 * MAX_PEERS


def test_floods_of_one_event_write_one_line_a_second(desk: Any) -> None:
    lines = [
        line
        for _ in range(500)
        for line in desk.routing.malformed(b"x:1", WireError("body", ""), desk.now_ns)
    ]
    assert len(lines) == 2, "the rule that was broken, and the quarantine that it led to"
    desk.now_ns += 1_000_000_000
    (line,) = desk.routing.malformed(b"y:1", WireError("body", ""), desk.now_ns)
    assert line.suppressed == 499


def test_what_the_broker_says_about_itself_stays_small(desk: Any) -> None:
    """It must fit its board, however many peers there are."""
    desk.register("flow/0:1", capacity=500)
    for n in range(500):
        desk.opened(f"robot-with-a-long-name-{n}:1")
    status = desk.routing.status(desk.now_ns)
    assert status["session_count"] == 500
    assert len(msgspec.msgpack.encode(status)) < 14_000


VITALS = Vitals(state="STALLED", reason="r" * 2048, plan_s=0.25, warnings=("w" * 2048,) * 256)


def test_what_a_robot_says_of_itself_stands_in_its_row(desk: Any) -> None:
    """In as many characters as a table has room for."""
    desk.register("flow/0:1", kind="script", host="gpu", pid=7)
    desk.opened("r1:1", kind="script", host="arm", pid=8)
    desk.robot("r1:1", Heartbeat(progress=1, vitals=VITALS), epoch=1)
    desk.robot("r1:2", Heartbeat(progress=1, vitals=Vitals(state="IMPOSTOR")), epoch=1)
    status = desk.routing.status(desk.now_ns)
    (row,), (replica,) = status["sessions"], status["replicas"]
    assert (row["kind"], row["host"], row["pid"]) == ("script", "arm", 8)
    assert (replica["kind"], replica["host"], replica["pid"]) == ("script", "gpu", 7)
    assert row["vitals"]["state"] == "STALLED"
    assert row["vitals"]["plan_s"] == 0.25
    assert len(repr(row)) < 2500


def test_a_robot_that_waits_for_a_session_has_a_row_that_says_why(desk: Any) -> None:
    said = Vitals(state="CONNECTING", reason="no replica serves 'flow'")
    desk.robot("r1:1", asking("r1", host="arm", kind="script"), epoch=1)
    desk.robot("r1:1", Heartbeat(progress=1, vitals=said))
    (row,) = desk.routing.status(desk.now_ns)["sessions"]
    assert (row["robot"], row["service"], row["state"]) == ("r1", "flow", "none")
    assert row["vitals"]["reason"] == said.reason
    assert desk.routing.status(desk.now_ns)["session_count"] == 0
    desk.wait(4, robots=("r1:1",))
    assert desk.routing.status(desk.now_ns)["sessions"], "it is still heard of"
    desk.wait(6)
    assert desk.routing.status(desk.now_ns)["sessions"] == []


def test_a_robot_that_ends_its_session_leaves_no_row(desk: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Heartbeat(progress=1, vitals=VITALS), epoch=1)
    desk.robot("r1:1", Close(), epoch=1)
    assert desk.routing.status(desk.now_ns)["sessions"] == []


def test_names_that_only_call_are_bounded(desk: Any) -> None:
    for n in range(MAX_CALLERS + 100):
        desk.robot(f"r{n}:1", asking(f"r{n}"), epoch=1)
    assert len(list(desk.routing._state.callers)) == MAX_CALLERS


def test_the_rows_of_many_robots_fit_the_board(desk: Any) -> None:
    """The shell takes fewer rows where they do not fit; those of ordinary robots do."""
    desk.register("flow/0:1", capacity=500)
    said = Vitals(state="STREAMING", plan_s=1.25, fps=29.9, steps=10**9, dropped={"expired": 10**6})
    for n in range(200):
        desk.opened(f"robot-with-a-long-name-{n}:1", host="a-long-host-name", kind="fleet")
        desk.robot(f"robot-with-a-long-name-{n}:1", Heartbeat(progress=1, vitals=said), epoch=1)
    fitting = [
        rows
        for rows in ROWS
        if len(msgspec.msgpack.encode(desk.routing.status(desk.now_ns, rows))) < REPORT_BYTES
    ]
    assert fitting[0] == ROWS[0]


def test_a_session_that_was_replaced_cannot_be_removed_twice(desk: Any) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=1)
    sessions = desk.routing._state.sessions
    old: RoutedSession = sessions.of("r1")
    desk.opened("r1:1", epoch=2)
    assert not sessions.remove(old)
    assert len(sessions) == 1
