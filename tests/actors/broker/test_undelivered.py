"""Sends that fail, and pauses of the broker."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.tests.actors.broker.desk import Desk, asking, granting, is_a
from holdfast.tests.actors.broker.own_messages import fail, readable
from holdfast.tests.actors.broker.test_answers import lose
from holdfast.transport.bodies import (
    Close,
    Drain,
    Heartbeat,
    Reject,
)
from holdfast.transport.header import Kind

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
