"""Requests that go straight from a robot to its replica, as the broker learns of them."""

from __future__ import annotations

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.tests.actors.broker.desk import SECOND, Desk, Sent, granting
from holdfast.transport.bodies import Accept, Demand, Heartbeat
from holdfast.transport.header import Kind


def beat(desk: Desk, answers: int, epoch: int = 1) -> None:
    desk.robot("r1:1", Heartbeat(progress=1, direct_answers=answers), epoch=epoch)


def test_requests_that_went_straight_are_counted_once(desk: Desk) -> None:
    """However often a heartbeat says how many there were; a smaller count begins anew."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    for answers in (3, 3, 8, 2, 2):
        beat(desk, answers)
    status = desk.routing.status(desk.now_ns)
    assert status["requests"] == status["replies"] == desk.count("direct") == 10
    desk.opened("r1:1", epoch=2)
    beat(desk, 5, epoch=1)
    assert desk.count("direct") == 10, "it is of the session before"
    beat(desk, 2, epoch=2)
    assert desk.count("direct") == 12


def test_the_latency_of_a_service_counts_requests_that_went_straight(desk: Desk) -> None:
    """Each once, though a heartbeat repeats the last ones."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    took_s: list[float] = []
    for n in range(1, 21):
        took_s.append(n / 1000)
        body = Heartbeat(progress=1, direct_answers=n, direct_s=tuple(took_s[-5:]))
        desk.robot("r1:1", body, epoch=1)
        desk.wait(0.25, beats=())
        beat = Heartbeat(progress=n, demand=Demand(requests=n))
        desk.replica("flow/0:1", beat)
    [row] = desk.routing.status(desk.now_ns)["services"]
    assert row["latency_ms"] == {"p50": 10.5, "p95": 19.05}


def test_a_session_that_is_used_straight_is_not_idle(desk: Desk) -> None:
    """Its place is given up once the count stands still, as without requests."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    for n in range(1, 701):
        beat(desk, n)
        desk.wait(0.5, beats=("flow/0:1",))
    assert desk.sessions() == {"r1": "flow/0"}
    for _ in range(700):
        beat(desk, 700)
        desk.wait(0.5, beats=("flow/0:1",))
    assert not desk.sessions()


def test_a_robot_learns_where_its_session_goes_on_if_it_may_go_there_straight(
    desk: Desk, sent: Sent
) -> None:
    """By the ACCEPT of the replica to which it was moved; others move unnotified."""
    for name in ("flow/0:1", "flow/1:1"):
        desk.register(name)
    first = desk.opened("r1:1").decode()
    second = "flow/1:1" if first == "flow/0:1" else "flow/0:1"
    for n, direct in enumerate(("ipc:///run/flow.direct", ""), start=2):
        desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=n)
        desk.now_ns += SECOND // 2
        moved = desk.routing.tick(desk.now_ns)
        [opening] = sent(moved, ToReplica, Kind.OPEN)
        assert opening.identity.decode() == second
        accepted = desk.replica(second, granting("k", direct=direct), "r1", epoch=1)
        assert len(sent(accepted, ToRobot, Kind.ACCEPT)) == bool(direct)
        assert sent(desk.replica(second, Kind.REPLY, "r1", epoch=1, seq=n), ToRobot, Kind.REPLY)
        desk.replica(first, Heartbeat(progress=desk.progress + n))
        first, second = second, first


def test_a_session_that_began_without_shared_memory_goes_on_without(desk: Desk, sent: Sent) -> None:
    """At a replica of the robot's own host too: the next may be on another."""
    for name in ("flow/0:1", "flow/1:1"):
        desk.register(name)
    first = desk.opened("r1:1").decode()
    second = "flow/1:1" if first == "flow/0:1" else "flow/0:1"
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    desk.now_ns += SECOND // 2
    desk.routing.tick(desk.now_ns)
    near = granting("k", direct="ipc:///run/flow.direct", shm=True)
    [accept] = sent(desk.replica(second, near, "r1", epoch=1), ToRobot, Kind.ACCEPT)
    assert isinstance(accept.payload, Accept)
    assert accept.payload.direct and not accept.payload.shm
