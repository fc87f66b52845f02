"""What robots get while replicas come, go, hang and disagree: the routing core, driven by hand."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.tests.actors.broker.conftest import SECOND, Desk, asking, offering
from holdfast.transport.header import Kind
from holdfast.transport.messages import Drain, Heartbeat, Reset

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


def events(effects: list[Any], what: str) -> list[Any]:
    return [
        e
        for e in effects
        if isinstance(e, ToRobot) and e.header.kind is Kind.EVENT and e.payload.what == what
    ]


# A replica that hangs


def test_a_request_that_is_overdue_goes_to_the_standby_within_half_a_second(
    desk: Desk, sent: Any
) -> None:
    """Long before the replica counts as lost; what it answers after all is dropped."""
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


def test_nobody_is_sent_to_a_replica_that_owes_answers_while_another_has_room(
    desk: Desk, sent: Any
) -> None:
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


def test_a_replica_that_answers_others_is_not_left(desk: Desk, sent: Any) -> None:
    """It is busy: its queue is long, and another's would be."""
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
def test_an_answer_is_overdue_by_what_the_replica_needs(
    desk: Desk, sent: Any, measured: str
) -> None:
    """A slow policy is not a hung one, and is not left for a standby that is as slow."""
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
    """While it owes an answer; one that owes nothing has `replica_lost_after_s` and no more."""
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


def test_an_answer_is_progress(desk: Desk, sent: Any) -> None:
    """A batch as long as the bound costs no session, though the count stood still meanwhile."""
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
    desk: Desk, sent: Any
) -> None:
    """The third goes on to serve everybody, this robot included; whose it was, is counted."""
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


# Those who wait


def test_a_robot_that_found_no_replica_is_told_when_there_is_one(desk: Desk) -> None:
    desk.robot("r1:1", asking("r1"), epoch=3)
    desk.robot("r2:1", asking("r2", "act"), epoch=4)
    (told,) = events(desk.register("flow/0:1"), "available")
    assert (told.identity, told.header.epoch, told.payload.message) == (b"r1:1", 3, "flow")
    assert not events(desk.wait(2, beats=("flow/0:1",)), "available"), "once is enough"


def test_a_robot_that_lost_its_only_replica_is_told_when_it_is_back(desk: Desk) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")
    assert events(desk.wait(2.5, robots=("r1:1",)), "lost")
    (told,) = events(desk.register("flow/0:2"), "available")
    assert told.identity == b"r1:1"


def test_a_robot_that_found_no_room_is_told_when_another_leaves(desk: Desk) -> None:
    desk.register("flow/0:1", capacity=1)
    desk.opened("r1:1")
    desk.robot("r2:1", asking("r2"), epoch=1)
    beats, robots = ("flow/0:1",), ("r1:1",)
    assert not events(desk.wait(2, beats=beats, robots=robots), "available")
    desk.robot("r1:1", Kind.CLOSE, epoch=1)
    (told,) = events(desk.wait(1, beats=beats), "available")
    assert told.identity == b"r2:1"


def test_a_robot_that_has_a_session_or_left_is_told_nothing(desk: Desk) -> None:
    for name in ("r1", "r2"):
        desk.robot(f"{name}:1", asking(name), epoch=1)
    desk.register("act/0:1")
    desk.opened("r1:1", epoch=2, service="act")
    desk.robot("r2:1", asking("r2", "act"), epoch=2)
    desk.robot("r2:1", Kind.CLOSE, epoch=2)
    desk.robot("r2:1", Reset(), epoch=2)
    assert not events(desk.register("flow/0:1"), "available")


# Replicas that do not agree


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("checkpoint", "others"),
        ("chunk_size", 60),
        ("action_names", ("y",)),
        ("state_names", ("y",)),
        ("fps", 60.0),
        ("model", "n"),
        ("contract", "5678"),
    ],
)
def test_a_replica_of_another_contract_is_refused_and_told_in_what(
    desk: Desk, sent: Any, field: str, value: Any
) -> None:
    """The robots of the service go on; with the last of the old ones gone the new one is taken."""
    other = {"contract": "1234", field: value}
    desk.register("flow/0:1", contract="1234")
    desk.opened("r1:1")
    (refused,) = [
        e
        for e in desk.replica("flow/1:1", offering("flow/1", **other), token=1)
        if isinstance(e, ToReplica)
    ]
    assert (refused.identity, refused.header.kind, refused.robot) == (b"flow/1:1", Kind.REJECT, "")
    assert refused.payload.reason == "contract" and refused.payload.final
    shown = "[y]" if value == ("y",) else str(value)
    assert shown in refused.payload.message and "flow/0" in refused.payload.message
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1
    desk.wait(3)
    effects = desk.replica("flow/1:1", offering("flow/1", **other), token=2)
    assert sent(effects, ToReplica, Kind.WELCOME)


def test_the_next_incarnation_of_a_replica_may_bring_another_contract(
    desk: Desk, sent: Any
) -> None:
    """As may one that comes while the others drain: they are on their way out."""
    desk.register("flow/0:1")
    assert sent(desk.register("flow/0:2", checkpoint="b"), ToReplica, Kind.WELCOME)
    desk.replica("flow/0:2", Drain(reason="stopping"))
    assert sent(desk.register("flow/1:1", checkpoint="c"), ToReplica, Kind.WELCOME)
