"""Inquiries: routed as the OPEN would be, and without effect."""

from __future__ import annotations

from typing import Any

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.actors.broker.inquiries import MAX_INQUIRIES
from holdfast.tests.accepted import accept
from holdfast.tests.actors.broker.desk import Desk, Sent
from holdfast.transport.bodies import Inquiry, Open, Reject, Verdict
from holdfast.transport.header import Kind

NO = Verdict(reject=Reject(reason="action-names", message="other motors", final=True))
FULL = Verdict(reject=Reject(reason="capacity", message="full"))


def about(robot: str, service: str = "flow") -> Inquiry:
    asked = Open(
        robot=robot,
        service=service,
        action_names=("x",),
        state_names=("x",),
        cameras={},
        fps=30.0,
    )
    return Inquiry(open=asked)


def answer(effects: list[Any], sent: Sent) -> Verdict:
    (told,) = sent(effects, ToRobot, Kind.VERDICT)
    assert isinstance(told.payload, Verdict)
    return told.payload


def test_an_inquiry_about_a_served_robot_goes_to_its_replica_and_changes_nothing(
    desk: Desk, sent: Sent
) -> None:
    """Also where its service is full, of this robot."""
    desk.register("flow/0:1", capacity=1)
    desk.opened("r1:1", epoch=4)
    before = desk.routing.status(desk.now_ns)["sessions"]
    effects = desk.robot("r1:0", about("r1"), epoch=4, token=77)
    (asked,) = sent(effects, ToReplica, Kind.INQUIRY)
    assert asked.identity == b"flow/0:1" and asked.robot == "r1"
    # Its epoch is the session's; its refusal must not end the session.
    (told,) = sent(desk.replica("flow/0:1", NO, "r1", epoch=4, token=77), ToRobot, Kind.VERDICT)
    assert told.identity == b"r1:0"
    assert desk.routing.status(desk.now_ns)["sessions"] == before
    assert desk.robot("r1:1", Kind.REQUEST, epoch=4, seq=1), "and it is served as before"


def test_an_inquiry_does_not_keep_a_silent_robots_session_alive(desk: Desk) -> None:
    """The session ends as if nothing had been asked."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    for _ in range(6):
        desk.robot("r1:0", about("r1"))
        desk.wait(1.0, beats=("flow/0:1",))
    assert desk.sessions() == {}


def test_an_inquiry_goes_on_to_another_replica_when_one_is_full(desk: Desk, sent: Sent) -> None:
    """The robot gets one verdict, after all have refused for want of room."""
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    (first,) = sent(desk.robot("r1:0", about("r1"), token=1), ToReplica, Kind.INQUIRY)
    (second,) = sent(
        desk.replica(first.identity.decode(), FULL, "r1", token=1), ToReplica, Kind.INQUIRY
    )
    assert {first.identity, second.identity} == {b"flow/0:1", b"flow/1:1"}
    told = desk.replica(second.identity.decode(), FULL, "r1", token=1)
    assert len(sent(told, ToRobot, Kind.VERDICT)) == 1


def test_an_inquiry_without_a_replica_is_answered_at_once(desk: Desk, sent: Sent) -> None:
    """The verdict has the reason that an OPEN would get."""
    refusal = answer(desk.robot("r1:0", about("r1")), sent).reject
    assert refusal is not None and refusal.reason == "no-replica"
    desk.register("flow/0:1", capacity=1)
    desk.opened("r2:1")
    refusal = answer(desk.robot("r1:0", about("r1")), sent).reject
    assert refusal is not None and refusal.reason == "capacity"


def test_an_inquiry_is_answered_after_two_seconds_at_the_latest(desk: Desk, sent: Sent) -> None:
    """A replica of an older release drops it; its sessions go on."""
    desk.register("flow/0:1")
    desk.opened("r2:1")
    desk.robot("r1:0", about("r1"))
    early = desk.wait(1.75, beats=("flow/0:1",), robots=("r2:1",))
    assert sent(early, ToRobot, Kind.VERDICT) == []
    refusal = answer(desk.wait(0.25, beats=("flow/0:1",), robots=("r2:1",)), sent).reject
    assert refusal is not None and refusal.reason == "no-answer"
    assert desk.sessions() == {"r2": "flow/0"}
    assert desk.replica("flow/0:1", NO, "r1") == [], "a later verdict is dropped"


def test_an_inquiry_that_a_full_socket_did_not_take_is_sent_again(desk: Desk, sent: Sent) -> None:
    """It is sent once, at the next tick."""
    desk.register("flow/0:1")
    (asked,) = sent(desk.robot("r1:0", about("r1"), token=5), ToReplica, Kind.INQUIRY)
    assert desk.routing.undelivered(asked, "full", desk.now_ns) == []
    assert desk.routing.waits()
    (again,) = sent(desk.routing.tick(desk.now_ns), ToReplica, Kind.INQUIRY)
    assert again == asked and not desk.routing.waits()
    assert len(desk.replica("flow/0:1", NO, "r1", token=5)) == 1


def test_an_inquiry_is_answered_by_the_asked_replica_once(desk: Desk, sent: Sent) -> None:
    """Verdicts of others, of other tokens and second ones are dropped and counted."""
    desk.register("flow/0:1")
    desk.register("flow/1:1")
    (asked,) = sent(desk.robot("r1:0", about("r1"), token=5), ToReplica, Kind.INQUIRY)
    replica = asked.identity.decode()
    other = "flow/1:1" if replica == "flow/0:1" else "flow/0:1"
    assert desk.replica(other, NO, "r1", token=5) == []
    assert desk.replica(replica, NO, "r1", token=6) == []
    assert len(desk.replica(replica, NO, "r1", token=5)) == 1
    assert desk.replica(replica, NO, "r1", token=5) == []
    assert desk.count("late-verdict") == 3


def test_an_inquiry_under_another_robots_name_is_refused(desk: Desk, sent: Sent) -> None:
    """The verdict has the reason `identity`, and the violation is counted."""
    desk.register("flow/0:1")
    refusal = answer(desk.robot("r2:0", about("r1")), sent).reject
    assert refusal is not None and refusal.reason == "identity"
    assert desk.count("wrong-name") == 1


def test_the_pending_inquiries_are_bounded(desk: Desk, sent: Sent) -> None:
    """Beyond the bound the oldest are dropped and counted."""
    desk.register("flow/0:1")
    for n in range(MAX_INQUIRIES + 10):
        desk.robot(f"r{n}:0", about(f"r{n}"))
    assert desk.count("inquiries-dropped") == 10
    verdict = Verdict(accept=accept(session="", replica="flow/0", checkpoint="weights"))
    told = desk.replica("flow/0:1", verdict, f"r{MAX_INQUIRIES}")
    assert len(sent(told, ToRobot, Kind.VERDICT)) == 1
    assert desk.replica("flow/0:1", verdict, "r0") == [], "the oldest went"
