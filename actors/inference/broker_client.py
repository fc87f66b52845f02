"""The replica's connection to the broker: registration, heartbeats, messages of robots.

A message has the robot's name ahead of it, empty where the replica itself is meant. A registration
states that this replica holds no sessions, so the caller ends its sessions whenever `lost_sessions`
or `welcomed` say so: after a new connection (the broker behind it may be another one), and when the
broker does not know this replica (it took it for hung). A registration's token distinguishes its
repetition from a new one.

Messages that the socket does not take wait here, at most `MAX_UNSENT`; the oldest is dropped first.
Used by one thread; never blocks.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Sequence

import zmq

from ...errors import WireError
from ...transport import sockets
from ...transport.arrays import Buffer
from ...transport.bodies import ActorVitals, Demand, Drain, Heartbeat, Register
from ...transport.connection import Condition, Connection
from ...transport.header import Header, Kind
from ...transport.keys import Key, PublicKey
from ...transport.messages import encode
from ...transport.poll import Poll, Source

MAX_UNSENT = 256
MAX_UNANSWERED = 4
LOST_AFTER_NS = 2_000_000_000
"""The connection is lost after this silence and `MAX_UNANSWERED` heartbeats without an answer."""
ABANDONED_NS = 5_000_000_000
"""Longer than a broker keeps a replica that is silent, and a robot keeps a broker that is."""
UNSOLICITED = 0
"""The token of a WELCOME that answers no registration and asks for one."""


class BrokerClient:
    """A DEALER at the broker's back endpoint. `identity` is `<service>/<k>:<incarnation>`."""

    def __init__(
        self,
        endpoint: str,
        identity: str,
        offer: Register,
        key: Key | None = None,
        server: PublicKey | None = None,
    ) -> None:
        """Register as `offer`. With `key` and the broker's `server` key the connection is
        encrypted."""
        self.endpoint = endpoint
        self._context: sockets.Context = zmq.Context()
        self._connection = Connection(
            self._context,
            endpoint,
            identity,
            key=key,
            server=server,
            # While the device works, one request of each robot may wait in the socket.
            hwm=max(sockets.DEALER_HWM, 2 * offer.capacity),
            lost_after_ns=LOST_AFTER_NS,
        )
        self._unanswered = 0
        self._beat_ns = self._reached_ns = time.monotonic_ns()
        self._offer = offer
        self._token = time.monotonic_ns()
        self._unsent: deque[list[Buffer]] = deque()
        self.registered = False
        """The broker has welcomed this replica, and no new connection was made since."""
        self.dropped = Counter[str]()

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for messages and for new connections."""
        self.lost_sessions()  # handles the connections made so far
        self._connection.watch(poll)

    @property
    def sendable(self) -> sockets.Socket | None:
        """The socket while messages wait for room in it, to be polled for that; else None."""
        return self._connection.socket if self._unsent else None

    @property
    def abandoned(self) -> bool:
        """Whether there has been no connection for so long that the broker, wherever it is, has
        given this replica up."""
        return self._beat_ns - self._reached_ns > ABANDONED_NS

    @property
    def reason(self) -> str:
        """Why the broker is unreachable; empty when it is reachable."""
        return self._connection.reason

    @property
    def condition(self) -> Condition:
        """That of the connection."""
        return self._connection.condition

    def rekey(self, key: Key | None, server: PublicKey | None) -> None:
        """Connect anew with other keys."""
        self._connection.rekey(key, server)

    @property
    def open_s(self) -> float | None:
        """For how long the connection has been open; None while it is not."""
        return self._connection.open_s

    @property
    def socket(self) -> sockets.Socket:
        """The present one, to look for in what the poll returned."""
        return self._connection.socket

    def lost_sessions(self, awake: Collection[Source] | None = None) -> bool:
        """Whether a new connection replaced the one that this replica was registered through. If
        so it has sent a new registration, and its sessions are void. Call it in every turn of the
        poll, with what that returned."""
        if not self._connection.connected(awake):
            return False
        self._unanswered = 0
        if self.registered:
            self._register_again()
            return True
        self._send_or_drop(Header(Kind.REGISTER, token=self._token), self._offer)
        return False

    def welcomed(self, header: Header) -> bool:
        """Handle a WELCOME. False when the broker does not know this replica: then a new
        registration was sent, and its sessions are void."""
        if header.token == self._token:
            # Events of the connection that this came through must not count for a newer one.
            self._connection.connected()
            self.registered = True
        elif header.token == UNSOLICITED and self.registered:
            self._register_again()
            return False
        # Any other token answers a registration that was replaced, or repeats the pending one.
        return True

    def answers_offer(self, header: Header) -> bool:
        """Whether `header` answers the pending registration."""
        return not self.registered and header.token == self._token

    def beat(
        self,
        progress: int,
        load: float,
        draining: str = "",
        *,
        elsewhere: int = 0,
        actors: tuple[ActorVitals, ...] = (),
        demand: Demand | None = None,
    ) -> None:
        """Send a heartbeat, or a registration until the broker has answered one.

        `progress` counts the loop's turns, `load` is 0 to 1, `elsewhere` counts the sessions that
        came by other brokers. A replica that drains sends a DRAIN
        each time and never registers; `draining` is its reason, `draining` (it waits until all its
        robots can move) or `stopping` (it waits for those that can). After `MAX_UNANSWERED`
        heartbeats without an answer the connection is replaced.
        """
        # A batch may outlast any silence, so unanswered heartbeats count and not only time.
        patient = self._unanswered < MAX_UNANSWERED
        self._beat_ns = now_ns = time.monotonic_ns()
        if self._connection.tick(now_ns, patient):
            self._unanswered = 0
        if self._connection.condition is Condition.OPEN:
            self._reached_ns = now_ns
        self._unanswered += 1
        if draining:
            self._send_or_drop(Header(Kind.DRAIN), Drain(reason=draining))
        if self.registered or draining:
            beat = Heartbeat(
                progress=progress, load=load, elsewhere=elsewhere, actors=actors, demand=demand
            )
            self._send_or_drop(Header(Kind.HEARTBEAT), beat)
        else:
            self._send_or_drop(Header(Kind.REGISTER, token=self._token), self._offer)

    def receive(self) -> list[Buffer] | None:
        """The next message, the robot's name first; None when there is none. Raises WireError."""
        frames = sockets.receive(self._connection.socket)
        if frames is not None:
            self._unanswered = 0
            self._connection.heard(time.monotonic_ns())
        if frames is not None and len(frames) < 3:
            raise WireError("frames", f"{len(frames)} frames; robot, header and body are the least")
        return frames

    def send(self, robot: str, frames: Sequence[Buffer]) -> None:
        """Send to `robot`, now or as soon as the socket takes it."""
        self._unsent.append([robot.encode(), *frames])
        self.flush()
        while len(self._unsent) > MAX_UNSENT:
            self._unsent.popleft()
            self.dropped["uplink-full"] += 1

    def flush(self) -> bool:
        """Send the waiting messages that the socket takes; True when none is left."""
        while self._unsent:
            if not sockets.send(self._connection.socket, self._unsent[0]):
                return False
            self._unsent.popleft()
        return True

    def close(self, linger_ms: int = 200) -> None:
        """Close; messages in the socket have `linger_ms` to leave."""
        self._connection.close()
        self._context.destroy(linger=linger_ms)

    def _register_again(self) -> None:
        self.registered = False
        self._unsent.clear()  # they belong to sessions that are void
        self._token = time.monotonic_ns()
        self._send_or_drop(Header(Kind.REGISTER, token=self._token), self._offer)

    def _send_or_drop(self, header: Header, body: Heartbeat | Drain | Register) -> None:
        """For messages that are repeated: one that the socket does not take is dropped."""
        if self._unsent or not sockets.send(self._connection.socket, [b"", *encode(header, body)]):
            self.dropped[f"{header.kind.name.lower()}-unsent"] += 1
