"""The broker's own messages about replicas, and to them."""

from __future__ import annotations

from holdfast.actors.broker.effects import Effect, ToReplica, ToRobot
from holdfast.tests.actors.broker.desk import Desk, is_a, offering
from holdfast.tests.actors.broker.own_messages import readable
from holdfast.transport.bodies import (
    Drain,
)
from holdfast.transport.header import Kind


def test_an_unregistered_replica_may_go_at_once(desk: Desk) -> None:
    """Its DRAIN is answered by a DRAIN with its token."""
    effects = desk.replica("flow/0:1", Drain(reason="stopping"), token=6)
    (told,) = readable(effects)
    assert (told.identity, told.robot, told.header.token) == (b"flow/0:1", "", 6)
    assert told.payload == Drain(reason="drained")


def test_a_drained_replica_is_notified_once_for_each_time_it_asks(desk: Desk) -> None:
    """A DRAIN that got lost is answered when it is repeated."""
    desk.register("flow/0:1")
    (told,) = readable(desk.replica("flow/0:1", Drain(reason="stopping")))
    assert (told.header.kind, told.payload) == (Kind.DRAIN, Drain(reason="drained"))

    def drains(effects: list[Effect]) -> int:
        return sum(is_a(e, ToReplica, Kind.DRAIN) for e in effects)

    assert not drains(desk.wait(1, beats=("flow/0:1",)))
    assert drains(desk.replica("flow/0:1", Drain(reason="stopping"))) == 1


def test_a_robot_is_notified_once_that_its_replica_drains(desk: Desk) -> None:
    """The EVENT has its epoch and names the replica."""
    desk.register("flow/0:1")
    desk.opened("r1:1", epoch=4)
    (told,) = readable(desk.replica("flow/0:1", Drain(reason="leaving")))
    assert (told.identity, told.header.epoch, told.payload.what) == (b"r1:1", 4, "draining")
    assert "flow/0" in told.payload.message
    later = readable(desk.wait(1, beats=("flow/0:1",), robots=("r1:1",)))
    assert not [e for e in later if is_a(e, ToRobot, Kind.EVENT)]


def test_a_replica_that_changes_its_contract_loses_its_place(
    desk: Desk,
) -> None:
    """Its robots go on at the others, and its new offer is rejected for good."""
    for k in range(2):
        desk.register(f"flow/{k}:1")
    at = desk.opened("r1:1").decode()
    name = at.partition(":")[0]
    sent = readable(desk.replica(at, offering(name, checkpoint="others"), token=7))
    (refused,) = [e for e in sent if is_a(e, ToReplica, Kind.REJECT)]
    assert (refused.identity, refused.header.token) == (at.encode(), 7)
    assert (refused.payload.reason, refused.payload.final) == ("contract", True)
    assert desk.sessions()["r1"] not in ("", name)
    assert desk.routing.status(desk.now_ns)["replica_count"] == 1


def test_a_full_replica_that_registers_again_keeps_its_sessions(desk: Desk) -> None:
    """A session's own place counts as free for it, and for no other."""
    desk.register("flow/0:1", capacity=2)
    for n in (1, 2):
        desk.opened(f"r{n}:1")
    sent = readable(desk.replica("flow/0:1", offering("flow/0", 2), token=7))
    assert [e.robot for e in sent if is_a(e, ToReplica, Kind.OPEN)] == ["r1", "r2"]
    assert desk.sessions() == {"r1": "flow/0", "r2": "flow/0"}
    sent = readable(desk.replica("flow/0:1", offering("flow/0", 1), token=8))
    assert [e.robot for e in sent if is_a(e, ToReplica, Kind.OPEN)] == ["r2"]
    assert desk.sessions() == {"r2": "flow/0"}, "it offers room for one"
