"""Situations that the broker counts and logs: what leads to each, and what is done last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.actors.broker.effects import Effect, ToReplica, ToRobot
from holdfast.errors import WireError
from holdfast.tests.actors.broker.desk import Desk, is_a
from holdfast.transport.header import Kind

NO_PEER = ""
"""In place of a peer: the count is of the broker as a whole."""


@dataclass(frozen=True)
class Situation:
    """What is done at the desk last is what is counted, once, as each of `counts` (reason: peer).
    `log` is the line that is written: level, event, and fields that it has, maybe among others."""

    arrange: Callable[[Desk], object]
    act: Callable[[Desk], list[Effect]]
    counts: dict[str, str]
    log: tuple[int, str, dict[str, Any]] | None = None


def fail(desk: Desk, effects: list[Effect], way: type, kind: Kind, why: Any) -> list[Effect]:
    """The message of `kind` among `effects` could not be sent."""
    (effect,) = [e for e in effects if is_a(e, way, kind)]
    assert isinstance(effect, ToRobot | ToReplica)
    return desk.routing.undelivered(effect, why, desk.now_ns)


def die(desk: Desk, name: str) -> list[Effect]:
    """The replica `name` is found to be gone."""
    probes = desk.routing.disconnected(desk.now_ns)
    at_it = [e for e in probes if isinstance(e, ToReplica) and e.identity.startswith(name.encode())]
    return fail(desk, list(at_it), ToReplica, Kind.HEARTBEAT, "unreachable")


def nothing(_: Desk) -> None:
    """The desk is as it was made."""


def one_replica(desk: Desk) -> None:
    desk.register("flow/0:1")


def one_session(desk: Desk) -> None:
    desk.register("flow/0:1")
    desk.opened("r1:1")


def one_request(desk: Desk) -> None:
    one_session(desk)
    desk.robot("r1:1", Kind.REQUEST, epoch=1, seq=5)


def two_replicas(desk: Desk) -> None:
    """The session and its request are at flow/0."""
    one_request(desk)
    desk.register("flow/1:1")


def a_request_of_a_dead_replica(desk: Desk) -> None:
    """flow/1 has it now, and flow/2 would be next."""
    two_replicas(desk)
    desk.register("flow/2:1", capacity=1)
    die(desk, "flow/0")


def break_rules(desk: Desk, times: int) -> list[Effect]:
    effects: list[Effect] = []
    for _ in range(times):
        effects = desk.routing.malformed(b"r1:1", WireError("frames", "too many"), desk.now_ns)
    return effects


def be_away(desk: Desk) -> list[Effect]:
    desk.now_ns += 60_000_000_000
    return desk.routing.tick(desk.now_ns)


def overdue(desk: Desk) -> list[Effect]:
    desk.now_ns += 400_000_000
    return desk.routing.tick(desk.now_ns)
