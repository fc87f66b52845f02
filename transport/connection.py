"""`Connection`: a DEALER to a broker that knows its state, says why no message gets through, and is
replaced when it is dead.

A DEALER reconnects by itself when its peer goes away, and in no other case: not when the peer
refused its key or spoke another protocol (libzmq 4.3.5 gives up for good), and not when the
connection is open and leads nowhere (a relay that forgot it, a peer that gave the identity to
another). Both are detected here, the second by silence: the peer must send something within
`lost_after_ns`.

Guarantees that nothing blocks. Messages that were queued for a dead connection are lost with it.
Used by one thread.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Collection
from enum import StrEnum

import zmq

from . import sockets
from .keys import Key, PublicKey
from .poll import Poll, Source

RETRY_NS = 1_000_000_000
"""Until a refused connection is tried again: a person must correct something first."""
HURRIED_MS = 250
"""The shortest time for an attempt to connect anew to a peer that was near: after a loss of the
path for 3 s the session still holds for a second."""
HURRIED_NS = 3_000_000_000
"""After which attempts take their usual time: the peer may be farther away than before."""
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
    """The state of a connection."""

    CONNECTING = "connecting"
    OPEN = "open"
    UNREACHABLE = "unreachable"
    """Nothing listens at the endpoint."""
    ENDED = "ended"
    """The peer accepts it and closes it before the handshake is over, without a reason."""
    REFUSED = "refused"
    """The peer does not know the key."""
    FOREIGN = "foreign"
    """The peer speaks another protocol: keys where there should be none, or none."""


def after(condition: Condition, event: int) -> Condition:
    """The condition after an `event` of a socket's monitor."""
    # A failure stays until the next outcome: libzmq goes on trying, and each attempt begins alike.
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
    """A DEALER that connects to `endpoint` as `identity`; instants are monotonic ns.

    `socket` is the present one, which changes whenever `tick` returns True; `remade` counts that.
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
        """With `key` and the broker's `server` key the connection is encrypted. `lost_after_ns`:
        after how much silence an open connection is dead."""
        self._context, self._endpoint, self._identity = context, endpoint, identity
        self._key, self._server, self._hwm = key, server, hwm
        # One for all sockets: the peer's session belongs to the identity, and goes on.
        self._nonce = secrets.token_hex(8)
        self._lost_after_ns = lost_after_ns
        self._poll: Poll | None = None
        self._round_trip_ns: int | None = None
        """The longest that was measured lately; None before the first."""
        self._hurried = False
        self.condition = Condition.CONNECTING
        self.remade = 0
        self._open_ns: int | None = None
        self._connected = False
        self._judged = self.condition
        """What `condition` was at the last `tick`."""
        self._since_ns: int | None = None
        """Since when `condition` is what it is, or the peer's last message."""
        self._connect()

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for messages, and for changes of the connection."""
        self._poll = poll
        self._read_monitor()
        poll.add(self.socket)
        poll.add(self._monitor, quiet=True)

    def connected(self, awake: Collection[Source] | None = None) -> bool:
        """Whether a connection was made since the last call. Call it in every turn of the poll,
        with what that returned: most turns then take no call of libzmq."""
        if awake is None or self._monitor in awake:
            self._read_monitor()
        connected, self._connected = self._connected, False
        return connected

    def heard(self, now_ns: int, round_trip_ns: int | None = None) -> None:
        """A message of the peer arrived. `round_trip_ns`: the longest of the last answers' ways."""
        self._since_ns = now_ns
        self._round_trip_ns = round_trip_ns or self._round_trip_ns

    def tick(self, now_ns: int, patient: bool = False, *, dead: bool = False) -> bool:
        """Let time pass; True when the socket was replaced, with all that it held.

        `patient`: silence is not counted, because this side has sent nothing to answer. `dead`: the
        caller knows that an open connection leads nowhere, however short its silence.
        """
        self._read_monitor()
        if self._since_ns is None or self.condition is not self._judged:
            self._since_ns = now_ns
        self._judged = self.condition
        waited_ns = now_ns - self._since_ns
        waited_too_long = waited_ns > self._lost_after_ns and not patient
        silent = self.condition is Condition.OPEN and (waited_too_long or dead)
        stopped = self.condition in (Condition.REFUSED, Condition.FOREIGN) and waited_ns > RETRY_NS
        if silent or stopped:
            self._remake(hurried=silent)
        elif self._hurried and self.condition is not Condition.OPEN and waited_ns > HURRIED_NS:
            self._remake(hurried=False)
        return silent or stopped

    def rekey(self, key: Key | None, server: PublicKey | None) -> None:
        """Connect anew with other keys; what the socket held is lost."""
        self._key, self._server = key, server
        self.condition, self._open_ns = Condition.CONNECTING, None
        self._remake(hurried=False)

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
                return f"nothing answers at {at}: is the broker running, and the address right?"
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

    @property
    def open_s(self) -> float | None:
        """For how long messages have got through; None while they do not."""
        if self._open_ns is None:
            return None
        return round((time.monotonic_ns() - self._open_ns) / 1e9, 1)

    def close(self) -> None:
        """Close the monitor; the socket is closed with its context, which sets the linger."""
        self.socket.disable_monitor()
        self._monitor.close(linger=0)

    def _connect(self) -> None:
        timeout_ms = sockets.CONNECT_TIMEOUT_MS
        if self._hurried:
            round_trip_ms = (self._round_trip_ns or 0) // 1_000_000
            timeout_ms = min(timeout_ms, max(HURRIED_MS, 4 * round_trip_ms))
        self.socket = sockets.dealer(
            self._context,
            self._endpoint,
            self._identity,
            key=self._key,
            server=self._server,
            hwm=self._hwm,
            connect=False,
            nonce=self._nonce,
            connect_timeout_ms=timeout_ms,
        )
        self._monitor = self.socket.get_monitor_socket(_WATCHED)
        self.socket.connect(self._endpoint)

    def _remake(self, *, hurried: bool) -> None:
        self._hurried = hurried and self._round_trip_ns is not None
        if self._poll is not None:
            self._poll.remove(self.socket)
            self._poll.remove(self._monitor)
        self.close()
        self.socket.close(linger=0)
        self.remade += 1
        self._since_ns = None
        if self.condition is Condition.OPEN:
            self.condition = Condition.CONNECTING
            self._open_ns = None
        self._connect()
        if self._poll is not None:
            self.watch(self._poll)

    def _read_monitor(self) -> None:
        while True:
            frames = sockets.receive(self._monitor)
            if frames is None:
                return
            event, _ = _EVENT.unpack(frames[0])
            self.condition = after(self.condition, event)
            if self.condition is not Condition.OPEN:
                self._open_ns = None
            elif self._open_ns is None:
                self._open_ns = time.monotonic_ns()
            self._connected |= event == zmq.EVENT_HANDSHAKE_SUCCEEDED
