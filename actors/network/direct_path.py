"""`DirectPath`: a robot's way straight to the replica that serves it, where both are on one host.

A request that goes by it does not pass the broker: that takes two wake-ups of processes off a way
of six. It is for policies that answer soon; the requests of others go by the broker, where the
difference is nothing, and which replays them.

The broker takes part as soon as something is not as usual: it is asked too when no answer has come
for a while, or when the replica says that it does not hold the session. From then on it replays
the request, as any other. While it owes an answer, the next request goes to it as well, so that it
always knows the newest of those that it knows.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from typing import NamedTuple

from ...transport import sockets
from ...transport.arrays import Buffer
from ...transport.header import Header
from ...transport.packet_client import PacketClient
from ...transport.poll import Poll, Source

_UNHEARD_NS = 60_000_000_000
"""A request goes by the broker after so long: one of a release that does not read the counts of
straight answers would end the session as unused."""
_KEPT = 16
"""More than there are between two heartbeats, where robots play what they get."""


class SentStraight(NamedTuple):
    """A request as it was sent, and when."""

    header: Header
    frames: list[Buffer]
    asked_ns: int


class DirectRoute:
    """Which requests go straight to the replica, and which of them the broker is asked too. Pure:
    instants are monotonic ns. `late_ns`: how long an answer is awaited before the broker is asked.

    Attributes:
        usable: whether the replica takes requests straight.
        pending: the request that went there and awaits its answer, which the broker does not know.
        owed: the seq of the request that the broker has to answer.
        took_ns: how long the last answer took.
    """

    def __init__(self, late_ns: int) -> None:
        self._late_ns = late_ns
        self.usable = False
        self.pending: SentStraight | None = None
        self.owed: int | None = None
        self._known_ns = 0
        """When the broker was last sent an OPEN or a request."""
        self._both: int | None = None
        """The seq of the last request that went straight and by the broker."""
        self._asked_ns = self.took_ns = 0
        self._slow = False
        """The last answer took `late_ns` or longer."""

    @property
    def chosen(self) -> bool:
        """Whether the next request goes straight to the replica."""
        return self.usable and self.owed is None and not self._slow

    def takes(self, now_ns: int) -> bool:
        """Whether a request goes straight to the replica now."""
        return self.chosen and now_ns - self._known_ns < _UNHEARD_NS

    def opened(self, now_ns: int) -> None:
        """A broker was sent the OPEN of the session."""
        self._known_ns = now_ns

    def end(self) -> None:
        """The session ends."""
        self.usable, self.pending, self.owed, self._slow = False, None, None, False

    def at_replica(self, *, usable: bool) -> None:
        """A session begins, or goes on at another replica."""
        self.usable = usable

    def sent(self, asked: SentStraight) -> None:
        """A request went straight to the replica."""
        self.pending, self._asked_ns = asked, asked.asked_ns

    def by_broker(self, seq: int, now_ns: int) -> None:
        """The broker was asked the request `seq`."""
        if self.pending is not None and self.pending.header.seq == seq:
            self._both = seq
        else:
            self._asked_ns = now_ns
        self.pending, self.owed, self._known_ns = None, seq, now_ns

    def answered(self, seq: int) -> bool:
        """The replica answered the request `seq` straight: whether the broker does not know it."""
        if self.pending is None or self.pending.header.seq != seq:
            return False
        self.pending = None
        return True

    def answered_by_broker(self, seq: int) -> None:
        """The broker answered the request `seq`."""
        if self.owed is not None and seq >= self.owed:
            self.owed = None

    def has_two_answers(self, seq: int) -> bool:
        """Whether the request `seq` was asked both ways, so that its second answer is no fault."""
        return seq == self._both

    def settled(self, now_ns: int) -> None:
        """The newest request has its answer."""
        self.took_ns = now_ns - self._asked_ns
        self._slow = self.took_ns >= self._late_ns

    def lost(self) -> None:
        """The replica does not serve the session, or not alone: use it no more."""
        self.usable = False

    def forget(self) -> None:
        """No answer is awaited any more."""
        self.pending = None

    def late(self, now_ns: int) -> SentStraight | None:
        """The request that the broker is to be asked too."""
        asked = self.pending
        if asked is None or (self.usable and now_ns - asked.asked_ns < self._late_ns):
            return None
        return asked


class DirectPath:
    """The connection of one robot. `route` decides; sends do not block.

    `answers`: how many requests were answered straight since the last OPEN, of which the broker
    does not know; `last_s`: how long the last of them took.
    """

    def __init__(self, identity: str, late_ns: int, dropped: Counter[str]) -> None:
        """As `identity`, which the broker knows it by too. `late_ns` 0: nothing goes straight.
        `dropped` counts endpoints that are none."""
        self._dropped = dropped
        self._identity, self._allowed = identity, late_ns > 0
        self._poll: Poll | None = None
        self._endpoint = ""
        self._replica: PacketClient | None = None
        self.route = DirectRoute(late_ns)
        self.answers = 0
        self.last_s: deque[float] = deque(maxlen=_KEPT)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for answers."""
        self._poll = poll

    def awake(self, ready: Collection[Source]) -> bool:
        """Whether the poll that returned `ready` was woken by the replica: `receive` then."""
        return self._replica is not None and self._replica.awake(ready)

    def receive(self) -> list[Buffer] | None:
        """The frames of the next answer; None if there is none, or the replica has ended: a request
        that it had is `late` then. Raises WireError."""
        replica = self._replica
        frames = None if replica is None else replica.receive()
        if frames is None and replica is not None and not replica.connected:
            self.route.lost()  # the replica has ended: the broker is to be asked
        return frames

    def connect(self, endpoint: str) -> None:
        """The replica of the session takes requests at `endpoint`; empty, no path of a socket, or
        one that this process cannot reach: by the broker only."""
        local = endpoint if self._allowed else ""
        if local and not sockets.is_ipc(local):
            self._dropped["direct-endpoint"] += 1
            local = ""
        if not sockets.is_reachable(local):
            local = ""  # robot and replica are in two containers, say
        if local != self._endpoint:
            self.close()
            self._endpoint = local
            if local:
                self._replica = PacketClient(local, self._identity)
                if self._poll is not None:
                    self._replica.watch(self._poll)
        self.route.at_replica(usable=bool(local))

    def opened(self, now_ns: int) -> None:
        """A broker was sent the OPEN: it knows of no answer yet."""
        self.answers = 0
        self.route.opened(now_ns)

    def end(self) -> None:
        """The session ends. The connection stays: the next session may be at the same replica."""
        self.route.end()

    def answered(self, seq: int) -> None:
        """The replica answered the request `seq` straight, and `route` is `settled`."""
        if self.route.answered(seq):
            self.answers += 1
            self.last_s.append(self.route.took_ns / 1e9)

    def send(self, header: Header, frames: list[Buffer], now_ns: int) -> bool:
        """Send a request; False if the broker has to be asked instead."""
        route = self.route
        if not route.takes(now_ns) or self._replica is None or not self._replica.send(frames):
            return False
        route.sent(SentStraight(header, frames, now_ns))
        return True

    def close(self) -> None:
        """End the connection."""
        if self._replica is not None:
            self._replica.close()
            self._replica = None
