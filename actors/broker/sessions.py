"""The sessions: each robot's place at a replica, and the one request it has in flight.

A robot has at most one session and a session at most one outstanding request. How full a replica is
is counted from this table each time, so that no slot can be lost by miscounting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...transport.messages import Accept
from .effects import Received
from .peers import Peer
from .replicas import Replica


@dataclass
class Outstanding:
    """The request a robot waits for, kept whole until its reply is there. `sent` to the replica
    at hand; False while its socket is full. `failed` are the replicas that died or hung with it."""

    seq: int
    message: Received
    asked_at: int
    sent: bool = False
    failed: tuple[str, ...] = ()


@dataclass
class RoutedSession:
    """One robot's session.

    `replica` is the identity of the incarnation that serves it now, `opened` whether it was sent
    the OPEN, `settled` whether it has accepted. `terms` are what the robot was told when it was
    accepted first: a move must not change them. `refused` are replicas that said no.
    """

    peer: Peer
    opening: Received
    service: str
    replica: bytes
    seen_at: int
    active_at: int
    placed_at: int
    terms: Accept | None = None
    opened: bool = False
    settled: bool = False
    reachable: bool = True
    told_draining: bool = False
    request: Outstanding | None = None
    last_seq: int = -1
    refused: set[bytes] = field(default_factory=set)

    @property
    def robot(self) -> str:
        return self.peer.name

    @property
    def epoch(self) -> int:
        return self.opening.header.epoch

    @property
    def age(self) -> tuple[int, int]:
        """Of two claims to one robot's name the greater is the newer: (epoch, incarnation)."""
        return self.epoch, self.peer.incarnation


class Sessions:
    """All sessions by robot."""

    def __init__(self) -> None:
        self._by_robot: dict[str, RoutedSession] = {}

    def __iter__(self) -> Iterator[RoutedSession]:
        return iter(list(self._by_robot.values()))

    def __len__(self) -> int:
        return len(self._by_robot)

    def of(self, robot: str) -> RoutedSession | None:
        """The session of `robot`."""
        return self._by_robot.get(robot)

    def on(self, replica: Replica) -> list[RoutedSession]:
        """The sessions at this incarnation of a replica."""
        return [s for s in self._by_robot.values() if s.replica == replica.identity]

    def loads(self) -> Counter[bytes]:
        """How many sessions each replica's incarnation holds."""
        return Counter(session.replica for session in self._by_robot.values())

    def add(self, session: RoutedSession) -> None:
        """Begin a session; the caller has ended the one it replaces."""
        self._by_robot[session.robot] = session

    def remove(self, session: RoutedSession) -> bool:
        """End `session`; False when another one has taken its place, which stays."""
        if self._by_robot.get(session.robot) is not session:
            return False
        del self._by_robot[session.robot]
        return True
