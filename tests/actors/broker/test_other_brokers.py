"""Replicas that also serve robots of another broker."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.tests.actors.broker.desk import Desk, Sent, asking, granting, rejection
from holdfast.transport.bodies import Heartbeat, Reject
from holdfast.transport.header import Kind


def beat(desk: Desk, identity: str, elsewhere: int) -> None:
    """The replica `identity` makes progress, and has sessions that came by another broker."""
    desk.progress += 1
    desk.replica(identity, Heartbeat(progress=desk.progress, elsewhere=elsewhere))


def test_sessions_by_another_broker_take_places(desk: Desk) -> None:
    """A robot goes to the replica with a place left, and is refused when there is none."""
    for name in ("flow/0:1", "flow/1:1"):
        desk.register(name, capacity=2)
    beat(desk, "flow/0:1", 2)
    assert desk.opened("r1:1") == b"flow/1:1"
    beat(desk, "flow/1:1", 1)
    refused = rejection(desk.robot("r2:1", asking("r2"), epoch=1))
    assert (refused.reason, refused.load) == ("capacity", 1.0)
    rows = {row["name"]: row["sessions"] for row in desk.routing.status(desk.now_ns)["replicas"]}
    assert rows == {"flow/0": 2, "flow/1": 2}


def test_a_robot_of_another_broker_keeps_its_place_at_a_full_replica(desk: Desk) -> None:
    """The replica that holds its session is asked first, and its own place counts as free."""
    desk.register("flow/0:1", capacity=3)
    desk.register("flow/1:1", capacity=1)
    beat(desk, "flow/1:1", 1)
    assert desk.opened("r1:1", holder="flow/1", move=1) == b"flow/1:1"


def test_a_place_that_was_taken_meanwhile_sends_the_robot_to_the_next_replica(
    desk: Desk, sent: Sent
) -> None:
    """The replica refuses what the broker could not know yet; the robot notices nothing."""
    for name in ("flow/0:1", "flow/1:1"):
        desk.register(name, capacity=1)
    (first,) = sent(desk.robot("r1:1", asking("r1"), epoch=1), ToReplica, Kind.OPEN)
    full = Reject(reason="capacity", message="full")
    effects = desk.replica(first.identity.decode(), full, "r1", epoch=1)
    (second,) = sent(effects, ToReplica, Kind.OPEN)
    assert second.identity != first.identity and not sent(effects, ToRobot, Kind.REJECT)


@pytest.mark.parametrize("accepted", [False, True])
def test_a_robot_that_has_moved_on_is_not_opened_at_another_replica(
    accepted: bool, desk: Desk, sent: Sent
) -> None:
    """A session that its replica has by another broker, newer, ends here."""
    for name in ("flow/0:1", "flow/1:1"):
        desk.register(name, capacity=1)
    (asked,) = sent(desk.robot("r1:1", asking("r1"), epoch=1), ToReplica, Kind.OPEN)
    at: Any = asked.identity.decode()
    if accepted:
        desk.replica(at, granting("k"), "r1", epoch=1)
        desk.register(at, capacity=1)  # anew: the session is opened again
    moved = Reject(reason="moved", message="newer")
    effects = desk.replica(desk.sessions()["r1"] + ":1", moved, "r1", epoch=1)
    assert not sent(effects, ToReplica, Kind.OPEN)
    assert desk.sessions() == {}
