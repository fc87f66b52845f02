"""The replicas: who serves what, how many robots each takes, and which of them are alive.

A replica is alive while it says so *and* its own progress moves: one that hangs may still have a
socket that talks, so a message alone proves nothing. `progress` is the count that its own loop
reports with each heartbeat; once it stands still for too long, the replica is as dead as a silent
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...transport.messages import Register
from .peers import Peer

MAX_REPLICAS = 1024
"""More than any site has; a bound, because names cost a peer nothing."""


@dataclass
class Replica:
    """One registered incarnation of one replica.

    `token` tells a repeated REGISTER from a new one. `closing` holds ends of sessions (robot,
    epoch) that did not fit through its socket yet.
    """

    peer: Peer
    offer: Register
    token: int
    progress_at: int
    heard_at: int
    progress: int | None = None
    load: float = 0.0
    draining: bool = False
    drained: bool = False
    closing: set[tuple[str, int]] = field(default_factory=set)

    @property
    def identity(self) -> bytes:
        return self.peer.identity

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def service(self) -> str:
        return self.peer.service

    def heard(self, progress: int, load: float, now: int) -> None:
        """Take a heartbeat: only progress that moved counts as life."""
        self.load = load
        self.heard_at = now
        if progress != self.progress:
            self.progress = progress
            self.progress_at = now


class Registry:
    """The registered replicas; at most one incarnation of each name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Replica] = {}
        self._by_identity: dict[bytes, Replica] = {}

    def __iter__(self) -> Iterator[Replica]:
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: str) -> Replica | None:
        """The registered incarnation of the replica `name`."""
        return self._by_name.get(name)

    def at(self, identity: bytes) -> Replica | None:
        """The replica whose registered incarnation is `identity`."""
        return self._by_identity.get(identity)

    def of(self, service: str) -> list[Replica]:
        """All replicas of a service, draining ones included, by name."""
        return sorted(
            (replica for replica in self._by_name.values() if replica.service == service),
            key=lambda replica: replica.name,
        )

    def services(self) -> list[str]:
        """The services that have a replica, sorted."""
        return sorted({replica.service for replica in self._by_name.values()})

    def add(self, replica: Replica) -> None:
        """Register `replica`; the caller has removed the incarnation that it replaces."""
        self._by_name[replica.name] = replica
        self._by_identity[replica.identity] = replica

    def remove(self, replica: Replica) -> None:
        """Forget `replica`."""
        del self._by_name[replica.name]
        del self._by_identity[replica.identity]
