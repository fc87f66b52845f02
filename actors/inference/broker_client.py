"""The replica's connection to the broker: registering, being heard, coming back after a restart.

Every message has the robot's name ahead of it, empty where the replica itself is meant. To register
is to say that this replica holds no sessions, so whoever uses the uplink forgets them whenever
`lost_sessions` or `welcomed` say so: when a new connection is made (the broker behind it may be
another one), and when the broker says that it does not know us (it thought we hung). The token of a
registration tells its repetition, for want of an answer, from a new one; no registration is
answered by another, or the two sides could go on like that for ever.

What does not fit through the socket waits here, at most `KEPT` messages, the oldest dropped first.
Used by one thread; never blocks.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence

import zmq

from ...errors import WireError
from ...transport import sockets
from ...transport.arrays import Buffer
from ...transport.connection import Connection
from ...transport.header import Header, Kind
from ...transport.keys import Key, PublicKey
from ...transport.messages import Drain, Heartbeat, Register, encode
from ...transport.poll import Poll

KEPT = 256
UNANSWERED = 4
"""So many heartbeats without an answer, and this silence: the connection leads nowhere."""
LOST_AFTER_NS = 2_000_000_000
UNASKED = 0
"""The token of a WELCOME that answers no registration: please register."""


class BrokerClient:
    """A DEALER towards the broker's back endpoint. `identity` is `<service>/<k>:<incarnation>`."""

    def __init__(
        self,
        endpoint: str,
        identity: str,
        offer: Register,
        key: Key | None = None,
        server: PublicKey | None = None,
    ) -> None:
        """`offer.capacity` robots may have a request on its way here at once, so that many wait in
        the socket while the device works: the broker need not hold them back. With `key` and the
        broker's `server` key the connection is encrypted."""
        self._context: sockets.Context = zmq.Context()
        self._connection = Connection(
            self._context,
            endpoint,
            identity,
            key=key,
            server=server,
            hwm=max(sockets.DEALER_HWM, 2 * offer.capacity),
            lost_after_ns=LOST_AFTER_NS,
        )
        self._unanswered = 0
        self._offer = offer
        self._token = time.monotonic_ns()
        self._unsent: deque[list[Buffer]] = deque()
        self.registered = False
        """The broker has welcomed this replica, and no new connection was made since."""
        self.dropped = Counter[str]()

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for what arrives here, and for new connections."""
        self.lost_sessions()  # those made already
        self._connection.watch(poll)

    @property
    def sendable(self) -> sockets.Socket | None:
        """The socket while something waits for room in it: to be woken when there is some."""
        return self._connection.socket if self._unsent else None

    @property
    def reason(self) -> str:
        """Why the broker cannot be reached; empty when it can."""
        return self._connection.reason

    def lost_sessions(self) -> bool:
        """Whether a connection took the place of the one through which the broker welcomed this
        replica. If so it has offered itself anew, and whatever sessions it held are void. Call it
        in every turn of the poll."""
        if not self._connection.made():
            return False
        self._unanswered = 0
        if self.registered:
            self._register_anew()
            return True
        self._say(Header(Kind.REGISTER, token=self._token), self._offer)
        return False

    def welcomed(self, header: Header) -> bool:
        """A WELCOME arrived. False when it says that the broker does not know us: then this replica
        has offered itself anew, and whatever sessions it held are void."""
        if header.token == self._token:
            # News of the connection that this came through must not pass for that of a newer one.
            self._connection.made()
            self.registered = True
        elif header.token == UNASKED and self.registered:
            self._register_anew()
            return False
        # Anything else answers an offer that was replaced meanwhile, or repeats what is under way.
        return True

    def asked(self, header: Header) -> bool:
        """Whether `header` answers the offer that is under way."""
        return not self.registered and header.token == self._token

    def beat(self, progress: int, load: float, draining: str = "") -> None:
        """Say that the loop goes on; until the broker has answered, offer the service instead. A
        replica that drains says so each time, and never registers: `draining` until there is room
        elsewhere for all its robots, or `stopping` once those have moved that can. When
        `UNANSWERED` of them had no answer the connection is made anew."""
        # A batch may last longer than any silence: what counts is what was asked and not answered.
        patient = self._unanswered < UNANSWERED
        if self._connection.tick(time.monotonic_ns(), patient):
            self._unanswered = 0
        self._unanswered += 1
        if draining:
            self._say(Header(Kind.DRAIN), Drain(reason=draining))
        if self.registered or draining:
            self._say(Header(Kind.HEARTBEAT), Heartbeat(progress=progress, load=load))
        else:
            self._say(Header(Kind.REGISTER, token=self._token), self._offer)

    def receive(self) -> list[Buffer] | None:
        """One message, the robot's name first; None when there is no more. Raises WireError."""
        frames = sockets.receive(self._connection.socket)
        if frames is not None:
            self._unanswered = 0
            self._connection.heard(time.monotonic_ns())
        if frames is not None and len(frames) < 3:
            raise WireError("frames", f"{len(frames)} frames; robot, header and body are the least")
        return frames

    def send(self, robot: str, frames: Sequence[Buffer]) -> None:
        """Send now, or as soon as the socket takes it."""
        self._unsent.append([robot.encode(), *frames])
        self.flush()
        while len(self._unsent) > KEPT:
            self._unsent.popleft()
            self.dropped["uplink-full"] += 1

    def flush(self) -> bool:
        """Send what waits, as far as the socket takes it; True when nothing waits any more."""
        while self._unsent:
            if not sockets.send(self._connection.socket, self._unsent[0]):
                return False
            self._unsent.popleft()
        return True

    def close(self, linger_ms: int = 200) -> None:
        """Give the last words `linger_ms` to leave, then close everything."""
        self._connection.close()
        self._context.destroy(linger=linger_ms)

    def _register_anew(self) -> None:
        self.registered = False
        self._unsent.clear()  # the broker at the other end does not know what it is about
        self._token = time.monotonic_ns()
        self._say(Header(Kind.REGISTER, token=self._token), self._offer)

    def _say(self, header: Header, body: Heartbeat | Drain | Register) -> None:
        """For what is repeated anyway: it is dropped when it does not fit now."""
        if self._unsent or not sockets.send(self._connection.socket, [b"", *encode(header, body)]):
            self.dropped[f"{header.kind.name.lower()}-unsent"] += 1
