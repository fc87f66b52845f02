"""The replicas: who serves what, how many robots each takes, and which of them are alive.

A replica is alive while it says so *and* its own progress moves: one that hangs may still have a
socket that talks, so a message alone proves nothing. `progress` is the count that its own loop
reports with each heartbeat, and an answer is progress too; once there is none for too long, the
replica is as dead as a silent one.

How long is too long follows from what the replica measured (`batch_s`) and from how it answers:
nothing is heard of it while a batch runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...transport.messages import Register
from .peers import Peer

MAX_REPLICAS = 1024
"""More than any site has; a bound, because names cost a peer nothing."""
ANSWERS = 64
"""So many of the last answers say how long one takes."""
OVERDUE_NS = 300_000_000
"""The least that an answer may be late before another replica is asked: machines pause so long."""


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
    stopping: bool = False
    """It drains and waits for no other replica: sessions that cannot move end with it."""
    closing: set[tuple[str, int]] = field(default_factory=set)
    suspect: bool = False
    """It owes an answer for so long that whoever can goes elsewhere, until it is heard of again."""
    owed_at: int = 0
    """When it last owed an answer."""
    took: deque[int] = field(default_factory=lambda: deque(maxlen=ANSWERS))
    """How long its last answers took, in ns."""

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
            self.moved(now)

    def moved(self, now: int) -> None:
        """It made progress: its count moved, or it answered."""
        self.heard_at = self.progress_at = now
        self.suspect = False

    def answered(self, took: int) -> None:
        """An answer took so long. Not those that were overdue: they say how long a pause was."""
        if took < self.overdue_ns:
            self.took.append(took)

    @property
    def batch_ns(self) -> int:
        """The longest batch that it measured before it registered."""
        return round(max(self.offer.batch_s, default=0.0) * 1e9)

    @property
    def overdue_ns(self) -> int:
        """From when on an answer is overdue: twice what is expected at most."""
        return max(OVERDUE_NS, 2 * max(self.batch_ns, *self.took, 0))

    def lost_after_ns(self, configured: int, now: int) -> int:
        """How long it may stand still: three of its longest batches while one may be running."""
        batches = 3 * max(self.batch_ns, *self.took, 0)
        return max(configured, batches) if now - self.owed_at < batches else configured


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
