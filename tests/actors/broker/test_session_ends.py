"""When sessions end, and how a draining replica loses its own; `test_routing_machine` mixes it."""

from __future__ import annotations

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.tests.actors.broker.desk import Desk, Sent, asking, rejection
from holdfast.tests.actors.broker.test_routing import EVENT
from holdfast.transport.bodies import Close, Drain
from holdfast.transport.header import Kind


def test_a_session_ends_five_seconds_after_its_robot_was_last_heard(desk: Desk, sent: Sent) -> None:
    """Its replica gets a CLOSE."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.wait(4.75, beats=("flow/0:1",))
    assert desk.sessions()
    effects = desk.wait(0.25, beats=("flow/0:1",))
    assert desk.sessions() == {}
    assert sent(effects, ToReplica, Kind.CLOSE)


def test_a_session_ends_after_five_idle_minutes(desk: Desk, sent: Sent) -> None:
    """Heartbeats do not count; the robot gets an EVENT `lost`."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.wait(299, beats=("flow/0:1",), robots=("r1:1",))
    assert desk.sessions()
    effects = desk.wait(2, beats=("flow/0:1",), robots=("r1:1",))
    assert desk.sessions() == {}
    (told,) = sent(effects, ToRobot, Kind.EVENT)
    assert told.payload.what == "lost"


def test_a_late_close_of_an_old_session_leaves_its_replacement(desk: Desk) -> None:
    """A CLOSE counts in its own epoch only."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=1)
    desk.opened("r1:1", epoch=2)
    desk.robot("r1:1", Close(), epoch=1)
    assert desk.sessions() == {"r1": "flow/0"}
    desk.robot("r1:1", Close(), epoch=2)
    assert desk.sessions() == {}
    assert desk.count("late-close") == 1


def test_a_session_that_its_replica_lost_ends_and_is_reported(desk: Desk, sent: Sent) -> None:
    """The replica's EVENT `lost` reaches the robot."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    assert sent(desk.replica("flow/0:1", EVENT, "r1", epoch=1), ToRobot, Kind.EVENT)
    assert desk.sessions() == {}


# Draining


def test_a_draining_replica_finishes_and_its_sessions_move(desk: Desk, sent: Sent) -> None:
    """Idle sessions move at once, the others after their answer; then the replica may go."""
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


def test_a_draining_replica_gets_no_session(desk: Desk) -> None:
    """An OPEN is rejected with `draining`."""
    desk.register("flow/0:1")
    desk.replica("flow/0:1", Drain())
    assert rejection(desk.robot("r1:1", asking("r1"), epoch=1)).reason == "draining"


def test_a_robot_that_cannot_move_stays_served_until_there_is_room(desk: Desk, sent: Sent) -> None:
    """It is notified, and moves once another replica registers."""
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


def test_a_stopping_replica_may_go_when_all_is_answered_and_no_session_can_move(
    desk: Desk, sent: Sent
) -> None:
    """To wait longer would only delay its successor."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    assert not sent(desk.replica("flow/0:1", Drain(reason="stopping")), ToReplica, Kind.DRAIN)
    effects = desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1)
    assert sent(effects, ToRobot, Kind.REPLY)
    assert sent(effects, ToReplica, Kind.DRAIN)
    assert desk.sessions() == {"r1": "flow/0"}
