"""How replicas enter the broker's list: under their own names, once, and alike."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.actors.broker.effects import Effect, Log, ToReplica, ToRobot
from holdfast.actors.broker.quarantine import TOLERATED
from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.tests.actors.broker.desk import Desk, asking, granting, is_a, offering
from holdfast.transport.bodies import Drain, Event, Reject, Welcome
from holdfast.transport.header import Kind


def listed(desk: Desk) -> list[str]:
    rows = desk.routing.status(desk.now_ns)["replicas"]
    return sorted(f"{row['name']}:{row['incarnation']}" for row in rows)


@pytest.mark.parametrize(
    ("identity", "replica", "service"),
    [
        ("flow/0:1", "flow/1", "flow"),
        ("flow/0:1", "flow/0", "act"),
        ("flow/0:1", "act/0", "act"),
        ("flow:1", "flow", ""),
    ],
)
def test_a_replica_registers_under_its_own_name_and_that_names_service(
    desk: Desk, identity: str, replica: str, service: str
) -> None:
    """Anything else is counted as `wrong-name`, and not answered."""
    offer = msgspec.structs.replace(offering("flow/0"), replica=replica, service=service)
    effects = desk.replica(identity, offer, token=1)
    assert all(isinstance(effect, Log) for effect in effects), "it is not answered"
    assert listed(desk) == []
    assert desk.count("wrong-name") == 1


@pytest.mark.parametrize("peer", ["r1:1", "flow/0:1"])
def test_a_peer_that_keeps_using_another_name_is_quarantined(desk: Desk, peer: str) -> None:
    """The sender is quarantined, not the owner of the name."""
    for _ in range(TOLERATED + 1):
        assert not desk.routing.ignores(peer.encode(), desk.now_ns)
        if peer == "r1:1":
            desk.robot(peer, asking("r2"), epoch=1)
        else:
            desk.replica(peer, offering("flow/1"), token=1)
    assert desk.routing.ignores(peer.encode(), desk.now_ns)


def test_a_repeated_register_is_welcomed_again_and_changes_nothing(desk: Desk) -> None:
    """A new token says that the replica holds no sessions, a repeated one does not."""
    desk.routing = Routing(
        BrokerConfig(front="", back="", heartbeat_s=0.75), "broker:1", desk.now_ns
    )
    desk.replica("flow/0:1", offering("flow/0"), token=1)
    desk.opened("r1:1")
    (welcome,) = desk.replica("flow/0:1", offering("flow/0"), token=1)
    assert is_a(welcome, ToReplica, Kind.WELCOME)
    assert isinstance(welcome, ToReplica)
    assert (welcome.identity, welcome.robot, welcome.header.token) == (b"flow/0:1", "", 1)
    assert isinstance(welcome.payload, Welcome)
    assert (welcome.payload.broker, welcome.payload.heartbeat_s) == ("broker:1", 0.75)
    assert desk.routing.status(desk.now_ns)["sessions"][0]["state"] == "open"
    anew = desk.replica("flow/0:1", offering("flow/0"), token=2)
    assert [e.header.token for e in anew if is_a(e, ToReplica, Kind.WELCOME)] == [2]  # type: ignore[union-attr]
    assert desk.routing.status(desk.now_ns)["sessions"][0]["state"] == "moving"


def test_a_register_without_a_token_is_never_a_repeated_one(desk: Desk) -> None:
    """Its sessions are opened at it anew each time."""
    desk.replica("flow/0:1", offering("flow/0"))
    desk.opened("r1:1")
    desk.replica("flow/0:1", offering("flow/0"))
    assert desk.routing.status(desk.now_ns)["sessions"][0]["state"] == "moving"


def replayed(effects: list[Effect]) -> Event:
    """What a robot hears of its request, which goes on."""
    (event,) = [e.payload for e in effects if is_a(e, ToRobot, Kind.EVENT)]  # type: ignore[union-attr]
    assert isinstance(event, Event)
    assert event.what == "replayed"
    return event


def test_a_replica_that_registers_anew_is_not_to_blame_for_its_requests(desk: Desk) -> None:
    """It lives: however often it does so, they go on."""
    desk.replica("flow/0:1", offering("flow/0"), token=1)
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    for token in range(2, 6):
        effects = desk.replica("flow/0:1", offering("flow/0"), token=token)
        assert "flow/0 registered anew" in replayed(effects).message
    assert desk.count("replica-failed-with-request") == 0


def test_incarnations_that_die_with_a_request_are_to_blame_for_it(desk: Desk) -> None:
    """The third does not get what two of them died with."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=1)
    assert "next incarnation" in replayed(desk.register("flow/0:2")).message
    effects = desk.register("flow/0:3")
    assert not [e for e in effects if is_a(e, ToReplica, Kind.REQUEST)]
    assert desk.count("replica-failed-with-request") == 2
    assert desk.count("requests-given-up") == 1


def test_a_new_incarnation_must_be_like_the_others_whatever_their_names(desk: Desk) -> None:
    """Its own former one and draining ones do not count."""
    for k in range(3):
        desk.register(f"flow/{k}:1")
    desk.replica("flow/1:1", Drain(reason="stopping"))
    for k in (0, 2):
        effects = desk.register(f"flow/{k}:2", checkpoint="others")
        (refused,) = [e for e in effects if is_a(e, ToReplica, Kind.REJECT)]
        assert isinstance(refused, ToReplica)
        assert f"flow/{2 - k} serves it" in getattr(refused.payload, "message", "")
    assert listed(desk) == ["flow/0:1", "flow/1:1", "flow/2:1"]


def test_a_robot_learns_which_other_weights_ended_its_session(desk: Desk) -> None:
    """The replica that took it over serves something else."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.register("flow/1:1")
    desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    effects = desk.replica("flow/1:1", granting("flow/1", checkpoint="others"), "r1", epoch=1)
    (lost,) = [
        e.payload for e in effects if not isinstance(e, Log) and isinstance(e.payload, Event)
    ]
    assert lost.what == "lost"
    assert "flow/1 serves 'others'" in lost.message


def test_a_robot_learns_the_replicas_reason_for_a_refused_move(desk: Desk) -> None:
    """It was moved to a replica that rejects it, and there is no other."""
    desk.register("flow/0:1")
    desk.opened("r1:1")
    desk.register("flow/1:1")
    desk.wait(2.5, beats=("flow/1:1",), robots=("r1:1",))
    no = Reject(reason="motors", message="other motors")
    effects = desk.replica("flow/1:1", no, "r1", epoch=1)
    (lost,) = [
        e.payload for e in effects if not isinstance(e, Log) and isinstance(e.payload, Event)
    ]
    assert "other motors" in lost.message
