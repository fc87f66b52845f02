"""`Registry`: the registered replicas, what each serves, and whether it is alive.

A replica is alive while its own progress moves: the socket of one that hangs may still talk, so a
message alone proves nothing. `progress` is the count that its loop reports with each heartbeat, and
an answer is progress too. How long it may stand still follows from the batch times that the replica
measured (`batch_s`) and from its last answers: nothing is heard of it while a batch runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...transport.bodies import ActorVitals, Demand, Heartbeat, Register
from .counters import Rate
from .peers import Peer

MAX_REPLICAS = 1024
"""More than any site has; a bound, because peers choose their names freely."""
ANSWERS = 64
"""How many of its last answers are measured."""
OVERDUE_NS = 300_000_000
"""An answer is not overdue earlier than this: operating systems pause a process so long."""


@dataclass
class Replica:
    """One registered incarnation of one replica. Instants are monotonic ns.

    `token` tells a repeated REGISTER from a new one. `closing`: (robot, epoch) of sessions whose
    CLOSE a full socket did not take yet.
    """

    peer: Peer
    offer: Register
    token: int
    progress_ns: int
    heard_ns: int
    progress: int | None = None
    load: float = 0.0
    elsewhere: int = 0
    """How many sessions it holds by other brokers, as its last heartbeat says."""
    actors: tuple[ActorVitals, ...] = ()
    """Of its host, as its last heartbeat says."""
    demand: Demand = field(default_factory=Demand)
    """What robots ask of it, as its last heartbeat says."""
    requests: Rate = field(default_factory=Rate)
    misses: Rate = field(default_factory=Rate)
    superseded: Rate = field(default_factory=Rate)
    draining: bool = False
    drained: bool = False
    stopping: bool = False
    """It drains and waits for no other replica: sessions that cannot move end with it."""
    closing: set[tuple[str, int]] = field(default_factory=set)
    suspect: bool = False
    """Its answer is overdue: sessions that can go elsewhere do, until it makes progress again."""
    owed_ns: int = 0
    """When it last owed an answer."""
    answers_ns: deque[int] = field(default_factory=lambda: deque(maxlen=ANSWERS))
    """How long its last answers took."""

    @property
    def identity(self) -> bytes:
        return self.peer.identity

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def service(self) -> str:
        return self.peer.service

    def heard(self, beat: Heartbeat, now_ns: int) -> None:
        """It sent a heartbeat: only a count that moved is progress."""
        self.load, self.elsewhere, self.actors = beat.load, beat.elsewhere, beat.actors
        self.heard_ns = now_ns
        if beat.demand is not None:
            self.demand = beat.demand
            self.requests.read(beat.demand.requests, now_ns)
            self.misses.read(beat.demand.misses, now_ns)
            self.superseded.read(beat.demand.superseded, now_ns)
        if beat.progress != self.progress:
            self.progress = beat.progress
            self.moved(now_ns)

    def moved(self, now_ns: int) -> None:
        """It made progress: its count moved, or it answered."""
        self.heard_ns = self.progress_ns = now_ns
        self.suspect = False

    def answered(self, took_ns: int) -> None:
        """An answer took so long."""
        if took_ns < self.overdue_ns:  # an overdue one measures a pause, not the replica
            self.answers_ns.append(took_ns)

    @property
    def batch_ns(self) -> int:
        """The longest batch that the replica measured before it registered."""
        return round(max(self.offer.batch_s, default=0.0) * 1e9)

    @property
    def overdue_ns(self) -> int:
        """How late an answer is overdue: twice the longest expected."""
        return max(OVERDUE_NS, 2 * max(self.batch_ns, *self.answers_ns, 0))

    def lost_after_ns(self, configured_ns: int, now_ns: int) -> int:
        """How long it may stand still: three of its longest batches while one may be running."""
        batches_ns = 3 * max(self.batch_ns, *self.answers_ns, 0)
        return (
            max(configured_ns, batches_ns) if now_ns - self.owed_ns < batches_ns else configured_ns
        )

    def shift(self, absence_ns: int, now_ns: int) -> None:
        """Discount an absence of the broker, which is over now: the replica may have made progress
        meanwhile."""
        self.progress_ns = min(self.progress_ns + absence_ns, now_ns)
        self.heard_ns = min(self.heard_ns + absence_ns, now_ns)


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
        """Add `replica`; the caller has removed the incarnation that it replaces."""
        self._by_name[replica.name] = replica
        self._by_identity[replica.identity] = replica

    def remove(self, replica: Replica) -> None:
        """Remove `replica`."""
        del self._by_name[replica.name]
        del self._by_identity[replica.identity]
