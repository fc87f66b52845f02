"""Model robots and replicas of a broker's routing, and the messages that they send."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast.actors.broker.effects import Received, ToReplica, ToRobot
from holdfast.actors.broker.peers import Peer
from holdfast.transport.bodies import Accept, Body, Open, Register
from holdfast.transport.header import Header, Kind

AnyBody = TypeVar("AnyBody", bound=Body)


def message(kind: Kind, body: Body | None = None, mark: object = None, **header: int) -> Received:
    """A received message; `mark` stands for its opaque frames."""
    return Received(Header(kind, **header), ("frames", mark), body)


def mark_of(effect: ToRobot | ToReplica) -> Any:
    """The mark of a message that the broker passes on."""
    assert isinstance(effect.payload, tuple), f"{effect} is the broker's own: it has no frames"
    return effect.payload[1]


def body_of(effect: ToRobot | ToReplica, kind: type[AnyBody]) -> AnyBody:
    """The body of the broker's own message, or of one that is passed on with its body as mark."""
    body = mark_of(effect) if isinstance(effect.payload, tuple) else effect.payload
    assert isinstance(body, kind), f"{body} is no {kind.__name__}"
    return body


def open_body(robot: str, service: str, boot_id: str = "") -> Open:
    return Open(
        robot=robot,
        service=service,
        action_names=("x",),
        state_names=("x",),
        cameras={},
        fps=30.0,
        boot_id=boot_id,
    )


def offer(
    name: str,
    capacity: int,
    checkpoint: str = "weights",
    boot_id: str = "",
    service_limit: int = 0,
) -> Register:
    return Register(
        replica=name,
        service=name.rpartition("/")[0],
        capacity=capacity,
        model="m",
        revision="1",
        checkpoint=checkpoint,
        cameras={},
        state_names=("x",),
        action_names=("x",),
        chunk_size=50,
        fps=30.0,
        boot_id=boot_id,
        service_limit=service_limit,
    )


def terms(replica: str, checkpoint: str = "weights", shm: bool = False) -> Accept:
    return Accept(
        session="s",
        replica=replica,
        model="m",
        revision="1",
        checkpoint=checkpoint,
        chunk_size=50,
        fps=30.0,
        action_names=("x",),
        cameras={},
        shm=shm,
    )


@dataclass
class FakeReplica:
    """A replica as the broker sees it, with what it would answer."""

    peer: Peer
    capacity: int
    up: bool = True
    hung: bool = False
    full: bool = False
    picky: bool = False
    draining: bool = False
    token: int = 1
    progress: int = 0
    progress_at_ns: int = 0
    full_until_ns: int = 0
    turned_away: dict[str, int] = field(default_factory=dict)
    listed: bool = False
    """Whether the broker lists it, as derived from messages and the clock."""
    inbox: deque[ToReplica] = field(default_factory=deque)
    sessions: dict[str, int] = field(default_factory=dict)
    pending: dict[str, Received] = field(default_factory=dict)


@dataclass
class FakeRobot:
    """A robot's session as its network actor sees it, with the request under way."""

    peer: Peer
    service: str
    epoch: int = 0
    seq: int = 0
    state: str = "closed"
    waiting: int | None = None
    reachable: bool = True
    full: bool = False
    silent: bool = False
    heard_at_ns: int = 0
    """When the broker last received a message of it."""
    answered: set[tuple[int, int]] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.peer.name
