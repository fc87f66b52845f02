"""When the routing acts by itself: what is due, at which instant, and what a pause moves."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.broker import placement
from holdfast.actors.broker.effects import ToReplica, ToRobot
from holdfast.actors.broker.replicas import OVERDUE_NS
from holdfast.actors.broker.waiting import HOLDOFF_NS
from holdfast.tests.actors.broker.desk import SECOND, Desk, asking, granting, is_a
from holdfast.transport.bodies import Close, Drain, Event, Heartbeat, Inquiry, Reset, Verdict
from holdfast.transport.header import Kind

MS = SECOND // 1000


def after(desk: Desk, ns: int) -> list[Any]:
    """What the next tick does, so much later."""
    desk.now_ns += ns
    return list(desk.routing.tick(desk.now_ns))


def moved(effects: list[Any]) -> list[str]:
    """The robots whose requests went to another replica."""
    return [e.robot for e in effects if is_a(e, ToReplica, Kind.REQUEST)]


def requested(desk: Desk, robot: str, seq: int = 1) -> ToReplica:
    """The request that `robot` sends now, on its way to its replica."""
    effects = desk.robot(f"{robot}:1", Kind.REQUEST, epoch=1, seq=seq)
    (effect,) = [e for e in effects if is_a(e, ToReplica, Kind.REQUEST)]
    assert isinstance(effect, ToReplica)
    return effect


# Sessions


@pytest.mark.parametrize(
    ("idle_s", "robots", "state"),
    [(5.0, (), "open"), (300.0, ("r1:1",), "open"), (5.0, ("r1:1",), "opening")],
)
def test_a_session_ends_at_its_time_and_not_before(
    desk: Desk, idle_s: float, robots: tuple[str, ...], state: str
) -> None:
    """Five seconds of silence, five minutes without a request, five seconds without an ACCEPT."""
    desk.register("flow/0:1")
    desk.robot("r1:1", asking("r1"), epoch=1)
    if state == "open":
        desk.replica("flow/0:1", granting("flow/0"), "r1", epoch=1)
    desk.wait(idle_s - 0.25, beats=("flow/0:1",), robots=robots)
    assert desk.sessions() == {"r1": "flow/0"}
    desk.wait(0.25, beats=("flow/0:1",), robots=robots)
    assert desk.sessions() == {}


@pytest.mark.parametrize("waits_for", ["nothing", "its answer"])
def test_a_session_that_leaves_a_draining_replica_is_given_five_seconds_to_settle(
    desk: Desk, waits_for: str
) -> None:
    """As any that is placed, at once or when its request is answered."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.register("flow/1:1")
    if waits_for == "its answer":
        requested(desk, "r1")
    desk.replica("flow/0:1", Drain(reason="stopping"))
    if waits_for == "its answer":
        desk.replica("flow/0:1", Kind.REPLY, "r1", epoch=1, seq=1)
    assert desk.sessions() == {"r1": "flow/1"}
    desk.wait(4.75, beats=("flow/0:1", "flow/1:1"), robots=("r1:1",))
    assert desk.sessions() == {"r1": "flow/1"}
    desk.wait(0.25, beats=("flow/0:1", "flow/1:1"), robots=("r1:1",))
    assert desk.sessions() == {}


# Answers that are overdue


def two_replicas(desk: Desk) -> str:
    """Sessions of r1 and r2 at one replica, and another with room; the former's identity."""
    desk.register("flow/0:1", capacity=4)
    for n in (1, 2):
        desk.opened(f"r{n}:1")
    desk.register("flow/1:1", capacity=4)
    return "flow/0:1"


def test_a_request_is_overdue_by_its_own_age_not_by_that_of_its_session(desk: Desk) -> None:
    """A replica that owes nothing may be silent."""
    two_replicas(desk)
    assert not moved(after(desk, 2 * OVERDUE_NS))
    requested(desk, "r1")
    assert not moved(after(desk, OVERDUE_NS - 1))
    assert moved(after(desk, 1)) == ["r1"]


def test_the_oldest_request_decides_whether_a_replica_is_late(desk: Desk) -> None:
    """All requests at the replica move with it."""
    two_replicas(desk)
    requested(desk, "r1")
    assert not moved(after(desk, OVERDUE_NS - MS))
    requested(desk, "r2")
    assert moved(after(desk, MS)) == ["r1", "r2"]


def test_progress_of_a_replica_postpones_what_is_overdue(desk: Desk) -> None:
    """The bound counts from the later of request and progress."""
    at = two_replicas(desk)
    requested(desk, "r1")
    assert not moved(after(desk, OVERDUE_NS - MS))
    desk.replica(at, Heartbeat(progress=5))
    assert not moved(after(desk, OVERDUE_NS - MS))
    assert moved(after(desk, MS)) == ["r1"]


# A pause of the broker


def test_a_pause_of_the_broker_makes_no_request_overdue(desk: Desk) -> None:
    """The time that was left before it is left after it."""
    two_replicas(desk)
    after(desk, OVERDUE_NS)
    requested(desk, "r1")
    assert not moved(after(desk, 60 * SECOND))
    assert not moved(after(desk, OVERDUE_NS - MS))
    assert moved(after(desk, MS)) == ["r1"]


def test_a_pause_of_the_broker_leaves_inquiries_their_time(desk: Desk) -> None:
    """The verdict `no-answer` comes two seconds after the pause."""
    desk.register("flow/0:1")
    desk.robot("r1:1", Inquiry(open=asking("r1")))
    assert not [e for e in after(desk, 60 * SECOND) if isinstance(e, ToRobot)]
    late = after(desk, SECOND) + after(desk, SECOND)
    (verdict,) = [e.payload for e in late if isinstance(e, ToRobot)]
    assert isinstance(verdict, Verdict)
    assert verdict.reject is not None
    assert verdict.reject.reason == "no-answer"


def test_a_pause_of_the_broker_does_not_turn_a_hung_replica_into_a_silent_one(desk: Desk) -> None:
    """Progress and silence are both discounted."""
    desk.register("flow/0:1")
    for _ in range(2):
        after(desk, SECOND - MS)
        desk.replica("flow/0:1", Heartbeat(progress=7))
    after(desk, 60 * SECOND)
    after(desk, SECOND)
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1
    after(desk, 2 * MS)
    assert (desk.count("replica-hung"), desk.count("replica-silent")) == (1, 0)


# The broker's own heartbeats


def test_the_broker_probes_its_replicas_at_the_rate_of_its_heartbeat(desk: Desk) -> None:
    """Every half second, with a rising count."""
    desk.register("flow/0:1")
    start_ns, progress = desk.now_ns, {}
    for _ in range(40):
        for effect in after(desk, 50 * MS):
            if is_a(effect, ToReplica, Kind.HEARTBEAT):
                progress[desk.now_ns - start_ns] = effect.payload.progress
        desk.progress += 1
        desk.replica("flow/0:1", Heartbeat(progress=desk.progress))
    assert list(progress) == [500 * MS, 1000 * MS, 1500 * MS, 2000 * MS]
    assert list(progress.values()) == sorted(set(progress.values()))


# Those that wait for a place


def test_a_robot_is_not_sent_back_at_once_to_a_replica_that_did_not_answer_it(desk: Desk) -> None:
    """The place is offered again only after HOLDOFF_NS."""
    desk.register("flow/0:1")
    desk.robot("r1:1", asking("r1"), epoch=1)
    desk.wait(5, beats=("flow/0:1",), robots=("r1:1",))
    assert desk.sessions() == {}

    def called(effects: list[Any]) -> list[bytes]:
        return [
            e.identity for e in effects if isinstance(e, ToRobot) and isinstance(e.payload, Event)
        ]

    desk.replica("flow/0:1", Heartbeat(progress=10**6))
    assert not called(after(desk, HOLDOFF_NS - 1))
    assert called(after(desk, 1)) == [b"r1:1"]


# Sends that fail


def test_only_the_failed_send_of_the_newest_request_is_repeated(desk: Desk) -> None:
    """Not an older one's, and not that of another message with its seq."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    older = requested(desk, "r1", seq=1)
    requested(desk, "r1", seq=2)
    (reset,) = desk.robot("r1:1", Reset(), epoch=1, seq=2)
    assert isinstance(reset, ToReplica)
    for effect in (older, reset):
        desk.routing.undelivered(effect, "full", desk.now_ns)
        assert not moved(after(desk, MS))


# Homes


def test_the_homes_of_the_robots_that_came_last_are_remembered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A robot returns to its last replica, unless more than MAX_HOMES came since."""
    monkeypatch.setattr(placement, "MAX_HOMES", 4)
    for k in range(2):
        desk.register(f"flow/{k}:1", capacity=9)
    desk.robot("busy:1", asking("busy"), epoch=1)
    for n in range(5):
        assert desk.opened(f"r{n}:1") == b"flow/1:1", "flow/0 has one already"
        desk.robot(f"r{n}:1", Close(), epoch=1)
        if n == 0:
            # So that `busy` is not among the oldest.
            desk.robot("busy:1", asking("busy"), epoch=2)
    desk.robot("busy:1", Close(), epoch=2)
    returned = {f"r{n}": desk.opened(f"r{n}:1", epoch=2) for n in (4, 3)}
    assert set(returned.values()) == {b"flow/1:1"}
    assert desk.opened("r0:1", epoch=2) == b"flow/0:1", "it is forgotten: the emptiest takes it"
