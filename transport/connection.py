"""`Connection`: a socket out to a broker that knows how it fares, says why, and is made anew when
it is dead.

A DEALER connects again by itself when its peer goes away, and in no other case: not when the peer
refused its key or spoke another protocol (libzmq 4.3.5 gives up for good), and not when the
connection is open and leads nowhere (a relay that forgot it, a peer that gave the identity to
another). Both are found here, the second by silence: so whoever is at the other end must answer
something within `lost_after_ns`.

Guarantees that nothing blocks. Messages that were queued for a dead connection are lost with it.
Used by one thread.
"""

from __future__ import annotations

import struct
from enum import StrEnum

import zmq

from . import sockets
from .keys import Key, PublicKey
from .poll import Poll

AGAIN_NS = 1_000_000_000
"""Until a refused connection is tried again: a person must mend something first."""
_EVENT = struct.Struct("=HI")
_WATCHED = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Condition(StrEnum):
    """How a connection fares."""

    CONNECTING = "connecting"
    OPEN = "open"
    UNREACHABLE = "unreachable"
    """Nobody takes the connection."""
    ENDED = "ended"
    """Somebody takes it and ends it before the handshake is over, without a word."""
    REFUSED = "refused"
    """The peer knows the protocol, and not the key."""
    FOREIGN = "foreign"
    """The peer speaks another protocol: keys where there should be none, or none."""


def after(condition: Condition, event: int) -> Condition:
    """The condition once a monitor's `event` happened. A failure stays until something else is
    known: libzmq goes on trying, and each try begins as the one before."""
    match event:
        case zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return Condition.OPEN
        case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return Condition.REFUSED
        case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return Condition.FOREIGN
        case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            return Condition.ENDED
        case zmq.EVENT_CLOSED:
            return Condition.UNREACHABLE
        case zmq.EVENT_DISCONNECTED if condition is Condition.OPEN:
            return Condition.UNREACHABLE
    return condition


class Connection:
    """A DEALER that connects to `endpoint` as `identity`; see the module.

    `socket` is the present one: it changes whenever `tick` says so.
    """

    def __init__(
        self,
        context: sockets.Context,
        endpoint: str,
        identity: str,
        *,
        key: Key | None = None,
        server: PublicKey | None = None,
        hwm: int = sockets.DEALER_HWM,
        lost_after_ns: int,
    ) -> None:
        """With `key` and the broker's `server` key it is encrypted. `lost_after_ns`: after so much
        silence an open connection is dead."""
        self._context, self._endpoint, self._identity = context, endpoint, identity
        self._key, self._server, self._hwm = key, server, hwm
        self._lost_after_ns = lost_after_ns
        self._poll: Poll | None = None
        self.condition = Condition.CONNECTING
        self.remade = 0
        """How often a dead connection was replaced."""
        self._made = False
        self._since_ns: int | None = None
        """Since when `condition` is what it is, or the last word of the peer."""
        self._connect()

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for what arrives, and for what becomes of the connection."""
        self._poll = poll
        self._read_monitor()
        poll.add(self.socket)
        poll.add(self._monitor, quiet=True)

    def made(self) -> bool:
        """Whether a connection was made since the last call. Call it in every turn of the poll."""
        self._read_monitor()
        made, self._made = self._made, False
        return made

    def heard(self, now: int) -> None:
        """The peer said something."""
        self._since_ns = now

    def tick(self, now: int, patient: bool = False) -> bool:
        """Let time pass; True when the socket was replaced, with all that it held. `patient`: the
        silence may be for want of asking, and does not count."""
        before = self.condition
        self._read_monitor()
        if self._since_ns is None or self.condition is not before:
            self._since_ns = now
        waited = now - self._since_ns
        silent = self.condition is Condition.OPEN and waited > self._lost_after_ns and not patient
        stopped = self.condition in (Condition.REFUSED, Condition.FOREIGN) and waited > AGAIN_NS
        if silent or stopped:
            self._remake()
        return silent or stopped

    @property
    def reason(self) -> str:
        """Why no message gets through, in words that name the endpoint; empty when they do."""
        at = self._endpoint
        match self.condition:
            case Condition.OPEN:
                return ""
            case Condition.CONNECTING:
                return f"the broker at {at} does not answer"
            case Condition.UNREACHABLE:
                return f"nobody answers at {at}: is the broker running, and the address right?"
            case Condition.REFUSED:
                assert self._key is not None, "only a key can be refused"
                mine = f"{self._key.peer.name} ({self._key.public.decode()})"
                return (
                    f"the broker at {at} does not accept the key of {mine}: copy its .pub file "
                    "into the broker's directory of keys"
                )
            case Condition.FOREIGN if self._key is None:
                return f"the broker at {at} demands keys, and there is none here: see `keys`"
            case Condition.FOREIGN:
                return f"what answers at {at} uses no keys: is it the broker, and this its port?"
            case _ if self._server is None:
                return f"what answers at {at} ends the connection: is the broker running?"
            case _:
                theirs = self._server.public.decode()
                return f"what answers at {at} is not the broker whose key is {theirs}"

    def close(self) -> None:
        """Drop everything; see `Context.destroy` for last words."""
        self.socket.disable_monitor()
        self._monitor.close(linger=0)

    def _connect(self) -> None:
        self.socket = sockets.dealer(
            self._context,
            self._endpoint,
            self._identity,
            key=self._key,
            server=self._server,
            hwm=self._hwm,
            connect=False,
        )
        self._monitor = self.socket.get_monitor_socket(_WATCHED)
        self.socket.connect(self._endpoint)

    def _remake(self) -> None:
        if self._poll is not None:
            self._poll.remove(self.socket)
            self._poll.remove(self._monitor)
        self.close()
        self.socket.close(linger=0)
        self.remade += 1
        self._since_ns = None
        if self.condition is Condition.OPEN:
            self.condition = Condition.CONNECTING
        self._connect()
        if self._poll is not None:
            self.watch(self._poll)

    def _read_monitor(self) -> None:
        while True:
            try:
                frames = self._monitor.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            event, _ = _EVENT.unpack(frames[0])
            self.condition = after(self.condition, event)
            self._made |= event == zmq.EVENT_HANDSHAKE_SUCCEEDED
