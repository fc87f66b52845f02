"""The routing core, driven by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.actors.broker.effects import Effect, Log, Received, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.actors.broker.routing import Routing
from holdfast.actors.runtime.configs import BrokerConfig
from holdfast.transport.bodies import (
    KINDS,
    Accept,
    Body,
    Heartbeat,
    Open,
    Register,
    Reject,
)
from holdfast.transport.header import Header, Kind

SECOND = 1_000_000_000


def asking(robot: str, service: str = "flow", **more: Any) -> Open:
    """A robot's OPEN."""
    given = {"action_names": ("x",), "state_names": ("x",), "cameras": {}, "fps": 30.0, **more}
    return Open(robot=robot, service=service, **given)


def offering(name: str, capacity: int = 2, **more: Any) -> Register:
    """A replica's REGISTER."""
    given: dict[str, Any] = {
        "model": "m",
        "revision": "1",
        "checkpoint": "weights",
        "cameras": {},
        "state_names": ("x",),
        "action_names": ("x",),
        "chunk_size": 50,
        "fps": 30.0,
        **more,
    }
    service = name.rpartition("/")[0]
    return Register(replica=name, service=service, capacity=capacity, **given)


def granting(replica: str, **more: Any) -> Accept:
    """A replica's ACCEPT."""
    given: dict[str, Any] = {
        "model": "m",
        "revision": "1",
        "checkpoint": "weights",
        "chunk_size": 50,
        "fps": 30.0,
        "action_names": ("x",),
        "cameras": {},
        **more,
    }
    return Accept(session="s", replica=replica, **given)


class Desk:
    """The routing core, driven by hand. Every send succeeds unless the test reports otherwise."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND
        self.routing = Routing(BrokerConfig(front="", back=""), "broker:1", self.now_ns)
        self.progress = 0

    def robot(self, identity: str, body: Body | Kind, **header: int) -> list[Effect]:
        """The robot `identity` (`name:incarnation`) sends a message."""
        return self.routing.from_robot(_peer(identity), _received(body, header), self.now_ns)

    def replica(
        self, identity: str, body: Body | Kind, robot: str = "", **header: int
    ) -> list[Effect]:
        """The replica `identity` sends a message, about `robot` or itself."""
        message = _received(body, header)
        return self.routing.from_replica(_peer(identity), robot, message, self.now_ns)

    def register(self, identity: str, capacity: int = 2, **more: Any) -> list[Effect]:
        name = identity.rpartition(":")[0]
        return self.replica(identity, offering(name, capacity, **more), token=self.now_ns)

    def opened(self, identity: str, epoch: int = 1, service: str = "flow", **more: Any) -> bytes:
        """Open a session and let the replica it is placed at accept; the replica's identity."""
        name = identity.rpartition(":")[0]
        effects = self.robot(identity, asking(name, service, **more), epoch=epoch)
        (placed,) = [
            e for e in effects if isinstance(e, ToReplica) and is_a(e, ToReplica, Kind.OPEN)
        ]
        terms = granting("k", shm=bool(more.get("boot_id")))
        self.replica(placed.identity.decode(), terms, name, epoch=epoch)
        return placed.identity

    def wait(
        self, seconds: float, beats: tuple[str, ...] = (), robots: tuple[str, ...] = ()
    ) -> Any:
        """Let time pass; the replicas and robots named send heartbeats meanwhile. The effects."""
        done: list[Effect] = []
        until_ns = self.now_ns + round(seconds * SECOND)
        while self.now_ns < until_ns:
            self.now_ns = min(until_ns, self.now_ns + SECOND // 4)
            self.progress += 1
            for identity in beats:
                done += self.replica(identity, Heartbeat(progress=self.progress))
            for identity in robots:
                done += self.robot(identity, Heartbeat(progress=self.progress))
            done += self.routing.tick(self.now_ns)
        return done

    def sessions(self) -> dict[str, str]:
        """Robot name to the replica that serves it."""
        rows = self.routing.status(self.now_ns)["sessions"]
        return {row["robot"]: row["replica"] for row in rows if row["state"] != "none"}

    def count(self, reason: str) -> int:
        return self.routing.counters.reasons[reason]


Sent = Callable[[Sequence[Effect], type, Kind], list[Any]]
"""Of the fixture `sent`: the effects that send a message of a kind."""


def rejection(effects: list[Effect]) -> Reject:
    """The broker's own REJECT among `effects`."""
    payloads = [e.payload for e in effects if isinstance(e, ToRobot)]
    (found,) = [each for each in payloads if isinstance(each, Reject)]
    return found


def is_a(effect: Effect, way: type, kind: Kind) -> bool:
    """Whether `effect` sends a message of `kind` that way."""
    return isinstance(effect, way) and not isinstance(effect, Log) and effect.header.kind is kind


def _peer(identity: str) -> Peer:
    name, _, incarnation = identity.rpartition(":")
    return Peer(identity.encode(), name, int(incarnation))


def _received(what: Body | Kind, header: dict[str, int]) -> Received:
    kind = what if isinstance(what, Kind) else KINDS[type(what)]
    body = None if isinstance(what, Kind) else what
    return Received(Header(kind, **header), (kind.name, header), body)
