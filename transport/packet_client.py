"""`PacketClient`: the end that connects, between processes of one host (see `packets`)."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence

from . import sockets
from .arrays import Buffer
from .limits import DEFAULT, Limits
from .packets import BUFFER_BYTES, NOW, PacketConnection
from .poll import Poll, Source


class PacketClient:
    """A connection to the server at `endpoint`, which knows this end as `identity`: its first
    packet says so. It is made when it is first needed, and again once it has ended. Used by one
    thread."""

    def __init__(self, endpoint: str, identity: str, limits: Limits = DEFAULT) -> None:
        self._path, self._identity = sockets.path_of(endpoint), identity.encode()
        self._limits = limits
        self._server: PacketConnection | None = None
        self._poll: Poll | None = None
        self._buffer = bytearray(BUFFER_BYTES)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for messages."""
        self._poll = poll
        if self._server is not None:
            poll.add(self._server.fd)

    def awake(self, ready: Collection[Source]) -> bool:
        """Whether the poll that returned `ready` was woken by this connection: `receive` then."""
        return self._server is not None and self._server.fd in ready

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._server is not None

    def connect(self) -> bool:
        """Whether there is a connection, which is made now if there was none."""
        if self._server is not None:
            return True
        try:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        except OSError:  # this process, or the machine, has no descriptor to spare
            return False
        try:
            made.connect(self._path)
            made.send(self._identity, NOW)
        except OSError:  # nothing listens there, or its queue is full
            made.close()
            return False
        self._server = PacketConnection(made)
        if self._poll is not None:
            self._poll.add(self._server.fd)
        return True

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Send all frames or nothing. False: nothing listens there, its queue is full, or it has
        ended: then `receive` gives what it had sent before, and makes room for another
        connection."""
        if self._server is None and not self.connect():
            return False
        assert self._server is not None, "connected above"
        try:
            return self._server.send(frames)
        except ConnectionError:
            return False  # not closed: what it sent before its end is still to be received

    def receive(self) -> list[Buffer] | None:
        """The frames of the next message; None if there is none. Raises WireError."""
        if self._server is None:
            return None
        try:
            return self._server.receive(self._buffer, self._limits)
        except ConnectionError:
            self.close()
            return None

    def close(self) -> None:
        """End the connection, in forked children too; what was sent still arrives. `send` makes
        another."""
        if self._server is not None:
            if self._poll is not None:
                self._poll.remove(self._server.fd)
            self._server.close()
            self._server = None
