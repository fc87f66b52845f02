"""The messages of the broker's own among its effects."""

from __future__ import annotations

from typing import Any

from holdfast.actors.broker.effects import Effect, Log
from holdfast.actors.broker.peers import Peer
from holdfast.tests.actors.broker.desk import Desk
from holdfast.transport import messages
from holdfast.transport.bodies import (
    Body,
    Error,
    Event,
    Reject,
    Verdict,
)


def readable(effects: list[Effect]) -> list[Any]:
    """The messages among `effects`; those of the broker's own survive the wire, have an address,
    and a reason in words where they have one."""
    sent = [effect for effect in effects if not isinstance(effect, Log)]
    for effect in sent:
        assert effect.identity, "it goes to a peer"
        if not isinstance(effect.payload, Body):
            continue
        arrived = messages.decode(messages.encode(effect.header, effect.payload))
        assert arrived.header == effect.header
        assert arrived.body == effect.payload
        body = effect.payload.reject if isinstance(effect.payload, Verdict) else effect.payload
        assert not isinstance(body, Reject | Error | Event) or body.message
    return sent


def keyed(identity: str, key: str) -> Peer:
    name, _, incarnation = identity.rpartition(":")
    return Peer(identity.encode(), name, int(incarnation), key)


def fail(desk: Desk, effect: Any, why: Any) -> list[Any]:
    return readable(desk.routing.undelivered(effect, why, desk.now_ns))
