"""The actors of other hosts, as robots and replicas report them."""

from __future__ import annotations

from holdfast.actors.broker.actors_of_hosts import actors_of_hosts
from holdfast.tests.actors.broker.desk import Desk, asking
from holdfast.transport.bodies import ActorVitals, Heartbeat


def said(*names: str, state: str = "READY") -> Heartbeat:
    """A heartbeat with an actor of each name."""
    rows = tuple(ActorVitals(name=name, state=state) for name in names)
    return Heartbeat(progress=1, actors=rows)


def names(desk: Desk, rows: int = 10) -> list[tuple[str, str]]:
    """(host, actor) of each row."""
    found = actors_of_hosts(desk.routing._state, desk.now_ns, rows)
    return [(row["host"], row["name"]) for row in found]


def test_every_host_has_a_row_for_each_actor_that_its_robots_and_replicas_report(
    desk: Desk,
) -> None:
    """Also for those without a session; one that two report has one row."""
    desk.register("flow/0:1", host="gpu")
    desk.replica("flow/0:1", said("flow/0", "gateway"))
    for robot in ("r1", "r2"):
        desk.robot(f"{robot}:1", asking(robot, service="absent", host="cell"), epoch=1)
        desk.robot(f"{robot}:1", said(f"{robot}/driver", "gateway"))
    assert names(desk) == [
        ("cell", "gateway"),
        ("cell", "r1/driver"),
        ("cell", "r2/driver"),
        ("gpu", "flow/0"),
        ("gpu", "gateway"),
    ]


def test_the_newest_word_about_an_actor_counts(desk: Desk) -> None:
    """And the row says how long ago it was heard."""
    desk.robot("r1:1", asking("r1", host="cell"), epoch=1)
    desk.robot("r1:1", said("gateway"))
    desk.wait(1)
    desk.robot("r2:1", asking("r2", host="cell"), epoch=1)
    desk.robot("r2:1", said("gateway", state="BACKOFF"))
    (row,) = actors_of_hosts(desk.routing._state, desk.now_ns + 250_000_000, 10)
    assert (row["state"], row["reporter"], row["heard_s"]) == ("BACKOFF", "r2", 0.25)


def test_rows_are_bounded_in_number_and_size_and_the_faulty_come_first(desk: Desk) -> None:
    """What a peer sends grows nothing without end."""
    desk.robot("r1:1", asking("r1", host="cell"), epoch=1)
    many = [ActorVitals(name=f"a{k}", state="READY", reason="x" * 2000) for k in range(200)]
    beat = Heartbeat(progress=1, actors=(*many, ActorVitals(name="z", state="FAILED")))
    desk.robot("r1:1", beat)
    found = actors_of_hosts(desk.routing._state, desk.now_ns, 2)
    assert len(found) == 8 and found[0]["name"] == "z"
    assert len(repr(found)) < 5000


def test_a_robot_that_leaves_takes_its_hosts_rows_along(desk: Desk) -> None:
    """Nothing is shown that no living peer says."""
    desk.robot("r1:1", asking("r1", host="cell"), epoch=1)
    desk.robot("r1:1", said("r1/driver"))
    assert names(desk)
    desk.wait(6)
    assert names(desk) == []
