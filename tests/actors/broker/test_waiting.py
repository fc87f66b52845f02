"""Robots that wait for a place are notified when there is one."""

from __future__ import annotations

from typing import Any

from holdfast.actors.broker.effects import ToRobot
from holdfast.tests.actors.broker.desk import Desk, asking
from holdfast.transport.bodies import Event, Reset
from holdfast.transport.header import Kind


def events(effects: list[Any], what: str) -> list[Any]:
    return [
        e
        for e in effects
        if isinstance(e, ToRobot) and isinstance(e.payload, Event) and e.payload.what == what
    ]


def test_a_robot_that_found_no_replica_is_notified_when_there_is_one(desk: Desk) -> None:
    """Once, under its own epoch, and only of its own service."""
    desk.robot("r1:1", asking("r1"), epoch=3)
    desk.robot("r2:1", asking("r2", "act"), epoch=4)
    (told,) = events(desk.register("flow/0:1"), "available")
    assert (told.identity, told.header.epoch, told.payload.message) == (b"r1:1", 3, "flow")
    assert not events(desk.wait(2, beats=("flow/0:1",)), "available"), "once is enough"


def test_a_robot_that_lost_its_only_replica_is_notified_when_it_is_back(desk: Desk) -> None:
    """The loss of a session makes its robot a waiter."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    assert events(desk.wait(2.5, robots=("r1:1",)), "lost")
    (told,) = events(desk.register("flow/0:2"), "available")
    assert told.identity == b"r1:1"


def test_a_robot_that_found_no_room_is_notified_when_another_leaves(desk: Desk) -> None:
    """It is notified after the other has left, not before."""
    desk.register("flow/0:1", capacity=1)
    desk.opened("r1:1")
    desk.robot("r2:1", asking("r2"), epoch=1)
    beats, robots = ("flow/0:1",), ("r1:1",)
    assert not events(desk.wait(2, beats=beats, robots=robots), "available")
    desk.robot("r1:1", Kind.CLOSE, epoch=1)
    (told,) = events(desk.wait(1, beats=beats), "available")
    assert told.identity == b"r2:1"


def test_a_robot_with_a_session_or_without_wish_is_not_notified(desk: Desk) -> None:
    """An OPEN that succeeds and a CLOSE end the waiting."""
    for name in ("r1", "r2"):
        desk.robot(f"{name}:1", asking(name), epoch=1)
    desk.register("act/0:1")
    desk.opened("r1:1", epoch=2, service="act")
    desk.robot("r2:1", asking("r2", "act"), epoch=2)
    desk.robot("r2:1", Kind.CLOSE, epoch=2)
    desk.robot("r2:1", Reset(), epoch=2)
    assert not events(desk.register("flow/0:1"), "available")
