"""Sessions and requests of replicas that hang or die go on at another."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.tests.actors.broker.desk import SECOND, Desk, Sent
from holdfast.transport.bodies import Heartbeat
from holdfast.transport.header import Kind

MS = SECOND // 1000


def step(desk: Desk, ms: int, beats: tuple[str, ...] = ()) -> list[Any]:
    """Let time pass in the steps of the broker's own tick; replicas named make progress."""
    done: list[Any] = []
    for n in range(0, ms, 50):
        desk.now_ns += 50 * MS
        desk.progress += 1
        if n % 500 == 0:
            for identity in beats:
                done += desk.replica(identity, Heartbeat(progress=desk.progress))
        done += desk.routing.tick(desk.now_ns)
    return done


def kill(desk: Desk, name: str) -> list[Any]:
    """The process of the replica `name` is gone, and the next send to it fails."""
    probes = desk.routing.disconnected(desk.now_ns)
    (probe,) = [
        e for e in probes if isinstance(e, ToReplica) and e.identity.startswith(name.encode())
    ]
    return desk.routing.undelivered(probe, "unreachable", desk.now_ns)


# A replica that hangs


def test_a_request_that_is_overdue_goes_to_the_standby_within_half_a_second(
    desk: Desk, sent: Sent
) -> None:
    """Long before the replica is removed; its late answer is dropped."""
    desk.register("flow/0:1", batch_s=(0.02,))
    desk.register("flow/1:1", batch_s=(0.02,))
    hung = desk.opened("r1:1").decode()
    standby = "flow/1:1" if hung == "flow/0:1" else "flow/0:1"
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    moved = sent(step(desk, 400, beats=(standby,)), ToReplica, Kind.REQUEST)
    assert [(e.identity.decode(), e.header.seq) for e in moved] == [(standby, 1)]
    assert not sent(desk.replica(hung, Kind.REPLY, "r1", epoch=1, seq=1), ToRobot, Kind.REPLY)
    assert sent(desk.replica(standby, Kind.REPLY, "r1", epoch=1, seq=1), ToRobot, Kind.REPLY)
    assert {r["name"] for r in desk.routing.status(desk.now_ns)["replicas"]} == {"flow/0", "flow/1"}


def test_a_replica_with_overdue_answers_gets_no_session_while_another_has_room(
    desk: Desk, sent: Sent
) -> None:
    """It gets sessions again after it was heard of."""
    desk.register("flow/0:1", capacity=9)
    desk.register("flow/1:1", capacity=9)
    hung = desk.opened("r1:1").decode()
    standby = "flow/1:1" if hung == "flow/0:1" else "flow/0:1"
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    step(desk, 400, beats=(standby,))
    for n in range(2, 6):
        assert desk.opened(f"r{n}:1").decode() == standby
    desk.replica(hung, Heartbeat(progress=10**6))
    assert desk.opened("r9:1").decode() == hung, "it was heard of again"


def test_a_replica_that_answers_other_robots_keeps_its_sessions(desk: Desk, sent: Sent) -> None:
    """It is busy, and another would be as well."""
    desk.register("flow/0:1", capacity=4)
    desk.register("flow/1:1", capacity=4)
    robots: dict[str, list[str]] = {}
    for n in range(4):
        robots.setdefault(desk.opened(f"r{n}:1").decode(), []).append(f"r{n}")
    at, (first, other) = next(iter(robots.items()))
    desk.robot(f"{first}:1", Kind.REQUEST, epoch=1, seq=1)
    for seq in range(1, 12):
        desk.robot(f"{other}:1", Kind.REQUEST, epoch=1, seq=seq)
        assert not sent(step(desk, 100), ToReplica, Kind.OPEN)
        desk.replica(at, Kind.REPLY, other, epoch=1, seq=seq)
    assert desk.sessions()[first] == at.partition(":")[0]


@pytest.mark.parametrize("measured", ["offered", "seen"])
def test_an_answer_is_overdue_after_twice_what_the_replica_needs(
    desk: Desk, sent: Sent, measured: str
) -> None:
    """A slow policy is not a hung one."""
    batch_s = (0.8,) if measured == "offered" else ()
    desk.register("flow/0:1", batch_s=batch_s)
    at = desk.opened("r1:1").decode()
    for seq, took in enumerate((250, 450, 800) if measured == "seen" else ()):
        desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=seq)
        step(desk, took)
        desk.replica(at, Kind.REPLY, "r1", epoch=1, seq=seq)
    desk.register("flow/1:1", batch_s=batch_s)
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=9)
    assert not sent(step(desk, 1500, beats=("flow/1:1",)), ToReplica, Kind.OPEN)
    assert sent(step(desk, 200, beats=("flow/1:1",)), ToReplica, Kind.OPEN)


@pytest.mark.parametrize("batch_s", [0.02, 1.7, 3.0])
def test_a_replica_is_lost_after_three_of_its_batches_at_the_earliest(
    desk: Desk, batch_s: float
) -> None:
    """While it owes an answer; else after `replica_lost_after_s`."""
    desk.register("flow/0:1", batch_s=(batch_s,))
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    bound_ms = max(2000, round(3000 * batch_s))
    for _ in range(0, bound_ms - 100, 50):
        desk.robot("r1:1", Heartbeat(progress=1))
        step(desk, 50)
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1
    step(desk, 200)
    assert desk.routing.status(desk.now_ns)["replica_count"] == 0


def test_an_answer_is_progress(desk: Desk, sent: Sent) -> None:
    """A batch as long as the bound ends no session, though the count stands still."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    for seq in range(1, 6):
        desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=seq)
        step(desk, 1900)
        assert sent(
            desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=seq), ToRobot, Kind.REPLY
        )


# A request that replicas die of


def test_a_request_that_two_replicas_died_with_is_answered_by_an_error(
    desk: Desk, sent: Sent
) -> None:
    """A third replica serves on, this robot too; the failures are counted."""
    for k in range(3):
        desk.register(f"flow/{k}:1", capacity=9)
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    died = [desk.sessions()["r1"]]
    assert sent(kill(desk, died[0]), ToReplica, Kind.REQUEST), "the first death costs a delay"
    died.append(desk.sessions()["r1"])
    effects = kill(desk, died[1])
    assert not sent(effects, ToReplica, Kind.REQUEST)
    (error,) = sent(effects, ToRobot, Kind.ERROR)
    assert (error.header.seq, error.payload.reason) == (1, "replicas-failed")
    assert all(name in error.payload.message for name in died)
    assert desk.routing.counters.of("r1")["replica-failed-with-request"] == 2
    assert desk.count("requests-given-up") == 1
    assert desk.sessions()["r1"] not in died
    assert sent(desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=2), ToReplica, Kind.REQUEST)
