"""`Sessions`: each robot's place at a replica, and the one request it has in flight.

A robot has at most one session and a session at most one outstanding request. The load of a replica
is the size of its part of the table, so that no place can be lost by miscounting and what is asked
of one replica costs no look at the sessions of the others.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...transport.bodies import Accept, Inquiry, Open
from .effects import Received, ToRobot
from .peers import Peer
from .replicas import Replica


@dataclass
class Outstanding:
    """The request that a robot waits for, kept whole until it is answered.

    `sent`: to the session's present replica; False while its socket is full. `failed`: names of the
    replicas that died or hung while they had it. `arrived_ns`: when it came, `asked_ns`: when the
    present replica got it.
    """

    seq: int
    message: Received
    asked_ns: int
    arrived_ns: int
    sent: bool = False
    failed: tuple[str, ...] = ()


@dataclass
class RoutedSession:
    """One robot's session. Instants are monotonic ns.

    `replica`: identity of the incarnation that serves it. `opened`: whether that was sent the OPEN,
    `settled`: whether it accepted. `terms`: the first ACCEPT, which a move must not change.
    `refused`: identities of replicas that rejected it. `seen_ns`: when the robot was last heard of,
    `active_ns`: when it last sent a request or opened, `placed_ns`: when it came to the replica.
    """

    peer: Peer
    opening: Received
    service: str
    replica: bytes
    seen_ns: int
    active_ns: int
    placed_ns: int
    terms: Accept | None = None
    opened: bool = False
    settled: bool = False
    reachable: bool = True
    drain_reported: bool = False
    request: Outstanding | None = None
    last_seq: int = -1
    direct_answers: int = 0
    """How many requests its replica answered straight, as its last heartbeat says."""
    refused: set[bytes] = field(default_factory=set)
    undelivered: ToRobot | None = None
    """The answer to the last request, if the robot was not connected when it was to be sent."""

    @classmethod
    def unplaced(cls, peer: Peer, opening: Received, now_ns: int) -> RoutedSession:
        """The one that `opening`, an OPEN or INQUIRY of `peer`, asks for: at no replica yet."""
        made = cls(
            peer=peer,
            opening=opening,
            service="",
            replica=b"",
            seen_ns=now_ns,
            active_ns=now_ns,
            placed_ns=now_ns,
        )
        made.service = made.asked.service
        return made

    @property
    def robot(self) -> str:
        return self.peer.name

    @property
    def epoch(self) -> int:
        return self.opening.header.epoch

    @property
    def asked(self) -> Open:
        """The body of its OPEN, or of the one that an inquiry is about."""
        body = self.opening.body
        if isinstance(body, Inquiry):
            return body.open
        assert isinstance(body, Open), "a session begins with an OPEN"
        return body

    @property
    def rank(self) -> tuple[int, int]:
        """(epoch, incarnation): of two claims to one robot's name the greater is the newer."""
        return self.epoch, self.peer.incarnation

    @property
    def owes_answer(self) -> bool:
        """Whether its replica has an OPEN or a request to answer."""
        request = self.request
        return self.opened and (not self.settled or (request is not None and request.sent))

    @property
    def awaits(self) -> bool:
        """Whether an OPEN or a request of it is unanswered, sent or not."""
        return not self.settled or self.request is not None

    def assign(self, replica: Replica, now_ns: int) -> None:
        """Begin at `replica`, to which nothing was sent yet."""
        self.replica = replica.identity
        self.opened = self.settled = self.drain_reported = False
        self.placed_ns = now_ns
        if self.request is not None:
            self.request.sent = False
            self.request.asked_ns = now_ns

    def shift(self, absence_ns: int, now_ns: int) -> None:
        """Discount an absence of the broker, which is over now: the robot may have spoken
        meanwhile."""
        # Not beyond now: what is heard next would be older, and `Sessions.silent` ends its search
        # at the first that was heard of lately.
        self.seen_ns = min(self.seen_ns + absence_ns, now_ns)
        self.placed_ns = min(self.placed_ns + absence_ns, now_ns)
        if self.request is not None:
            self.request.asked_ns = min(self.request.asked_ns + absence_ns, now_ns)


class Sessions:
    """The sessions by the robot's name, by the identity of their replica, and in the order in which
    their robots were last heard of. What is asked in every tick costs no look at all of them."""

    def __init__(self) -> None:
        self._by_robot: dict[str, RoutedSession] = {}
        self._by_replica: dict[bytes, dict[str, RoutedSession]] = {}
        self._by_silence: OrderedDict[str, RoutedSession] = OrderedDict()
        """The one that was not heard of for longest is first."""
        self._awaiting: dict[str, RoutedSession] = {}
        """At least those that await an answer of their replica."""

    def __iter__(self) -> Iterator[RoutedSession]:
        return iter(list(self._by_robot.values()))

    def __len__(self) -> int:
        return len(self._by_robot)

    def of(self, robot: str) -> RoutedSession | None:
        """The session of `robot`."""
        return self._by_robot.get(robot)

    def on(self, replica: Replica) -> list[RoutedSession]:
        """The sessions at this incarnation of a replica."""
        return list(self._by_replica.get(replica.identity, {}).values())

    def loads(self) -> Counter[bytes]:
        """How many sessions each replica's incarnation holds."""
        return Counter({replica: len(there) for replica, there in self._by_replica.items()})

    def silent(self, since_ns: int) -> list[RoutedSession]:
        """Those whose robots were not heard of after `since_ns`."""
        found = []
        for session in self._by_silence.values():
            if session.seen_ns > since_ns:
                break
            found.append(session)
        return found

    def awaiting(self) -> list[RoutedSession]:
        """Those whose replica has not accepted them yet, or has a request to answer or to get."""
        self._awaiting = {k: s for k, s in self._awaiting.items() if s.awaits}
        return list(self._awaiting.values())

    def heard(self, session: RoutedSession, now_ns: int) -> None:
        """The robot of `session` sent a message."""
        session.seen_ns = now_ns
        session.reachable = True
        self._by_silence.move_to_end(session.robot)

    def ask(self, session: RoutedSession, request: Outstanding) -> None:
        """`session` awaits the answer to `request`, in place of any other."""
        session.request = request
        self._awaiting[session.robot] = session

    def place(self, session: RoutedSession, replica: Replica, now_ns: int) -> None:
        """Let `session` begin at `replica`; a new one's caller has removed the one that it
        replaces."""
        if self._by_robot.get(session.robot) is session:
            self._leave(session)
        else:
            self._by_silence[session.robot] = session
        self._by_robot[session.robot] = session
        session.assign(replica, now_ns)
        self._by_replica.setdefault(session.replica, {})[session.robot] = session
        self._awaiting[session.robot] = session

    def remove(self, session: RoutedSession) -> bool:
        """Remove `session`; False when another one has taken its place, which stays."""
        if self._by_robot.get(session.robot) is not session:
            return False
        del self._by_robot[session.robot], self._by_silence[session.robot]
        self._awaiting.pop(session.robot, None)
        self._leave(session)
        return True

    def _leave(self, session: RoutedSession) -> None:
        there = self._by_replica[session.replica]
        del there[session.robot]
        if not there:
            del self._by_replica[session.replica]
