"""The routing's status: rows of bounded number and size."""

from __future__ import annotations

import msgspec

from holdfast.actors.broker.broker import ROWS
from holdfast.actors.broker.callers import MAX_CALLERS
from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.actors.runtime.status_board import BROKER_REPORT_BYTES, REPORT_BYTES
from holdfast.tests.actors.broker.desk import Desk, asking
from holdfast.transport.bodies import ActorVitals, Close, Heartbeat, Vitals


def test_the_status_stays_small(desk: Desk) -> None:
    """It fits the board, however many sessions there are."""
    desk.register("flow/0:1", capacity=500)
    for n in range(500):
        desk.opened(f"robot-with-a-long-name-{n}:1")
    status = desk.routing.status(desk.now_ns)
    assert status["session_count"] == 500
    assert len(msgspec.msgpack.encode(status)) < 14_000


def test_a_service_is_listed_with_what_it_wants_of_a_robot(desk: Desk) -> None:
    """The replicas of one are one row; a service of scripts has one without a replica."""
    desk.routing = Routing(BrokerConfig(front="", back="", external=("mine",)), "b:1", desk.now_ns)
    desk.register("flow/0:1", capacity=3, default_task="pick", strict_fps=True)
    desk.register("flow/1:1", capacity=2)
    desk.opened("r1:1")
    flow, mine = desk.routing.status(desk.now_ns)["services"]
    assert (flow["replicas"], flow["sessions"], flow["capacity"]) == (2, 1, 5)
    assert (flow["action_names"], flow["default_task"], flow["strict_fps"]) == (["x"], "pick", True)
    assert flow["listed"] and not flow["external"]
    assert mine["external"] and not mine["listed"] and mine["replicas"] == 0


def test_a_service_with_more_names_than_the_status_has_room_for_is_counted_only(
    desk: Desk,
) -> None:
    """The others are listed, and the status fits the board."""
    many = tuple(f"{k:03}" + "j" * 120 for k in range(256))
    desk.register("big/0:1", action_names=many, state_names=many)
    desk.register("flow/0:1")
    status = desk.routing.status(desk.now_ns)
    assert [(row["name"], row["listed"]) for row in status["services"]] == [
        ("big", False),
        ("flow", True),
    ]
    assert len(msgspec.msgpack.encode(status)) < REPORT_BYTES / 4


VITALS = Vitals(state="STALLED", reason="r" * 2048, plan_s=0.25, warnings=("w" * 2048,) * 256)


def test_a_row_has_the_vitals_of_its_robot(desk: Desk) -> None:
    """Its holder's, in as many characters as a table has room for."""
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


def test_a_robot_that_waits_for_a_session_has_a_row_with_the_reason(desk: Desk) -> None:
    """The row goes when the robot is silent."""
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


def test_a_robot_that_ends_its_session_leaves_no_row(desk: Desk) -> None:
    """Its vitals are removed with its session."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Heartbeat(progress=1, vitals=VITALS), epoch=1)
    desk.robot("r1:1", Close(), epoch=1)
    assert desk.routing.status(desk.now_ns)["sessions"] == []


def test_the_callers_without_a_session_are_bounded(desk: Desk) -> None:
    """Beyond MAX_CALLERS the oldest are removed."""
    for n in range(MAX_CALLERS + 100):
        desk.robot(f"r{n}:1", asking(f"r{n}"), epoch=1)
    assert len(list(desk.routing._state.callers)) == MAX_CALLERS


def test_the_rows_of_many_robots_fit_the_board(desk: Desk) -> None:
    """Those of 200 ordinary robots, with the largest number of rows."""
    desk.register("flow/0:1", capacity=500)
    said = Vitals(state="STREAMING", plan_s=1.25, fps=29.9, steps=10**9, dropped={"expired": 10**6})
    for n in range(200):
        desk.opened(f"robot-with-a-long-name-{n}:1", host="a-long-host-name", kind="fleet")
        name = f"robot-with-a-long-name-{n}"
        actors = tuple(ActorVitals(name=f"{name}/{kind}", kind=kind) for kind in "abcdef")
        beat = Heartbeat(progress=1, vitals=said, actors=actors)
        desk.robot(f"{name}:1", beat, epoch=1)
    fitting = [
        rows
        for rows in ROWS
        if len(msgspec.msgpack.encode(desk.routing.status(desk.now_ns, rows))) < BROKER_REPORT_BYTES
    ]
    assert fitting[0] == ROWS[0]
