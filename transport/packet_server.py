"""`PacketServer`: the end that is connected to, between processes of one host (see `packets`)."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Sequence

from . import sockets
from .arrays import Buffer
from .limits import DEFAULT, Limits
from .packets import BUFFER_BYTES, NOW, PacketConnection
from .poll import Poll, Source

_BACKLOG = 64
MOST_PEERS = 256
"""More than any host has robots. Each may hold five descriptors, and a process has 1024 by
default."""
_ACCEPT_AGAIN_NS = 100_000_000
_IDENTITY_BYTES = 256
_LOOKED_AT = int(socket.MSG_DONTWAIT | socket.MSG_PEEK)


class _Peer(PacketConnection):
    """One that has connected. `identity`: what its first packet says; None until that has come."""

    identity: bytes | None = None


class PacketServer:
    """Listens at `endpoint`. A peer that comes with the identity of one that is still connected
    takes its place with `handover`; without, it is refused. Used by one thread.

    At most `most_peers` are connected: a connection beyond them is closed, or the oldest that has
    sent no identity. While the process has no descriptor for a connection, that waits.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        handover: bool = True,
        limits: Limits = DEFAULT,
        most_peers: int = MOST_PEERS,
    ) -> None:
        sockets.unlink_stale(endpoint)
        self.endpoint, self._handover, self._limits = endpoint, handover, limits
        self._most_peers = most_peers
        self._accept_ns: int | None = None
        """When to try again to accept a connection, if there was no descriptor for it."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._listener.bind(sockets.path_of(endpoint))
        self._listener.listen(_BACKLOG)
        self._peers: dict[int, _Peer] = {}
        """By their descriptors, the oldest first."""
        self._named: dict[bytes, _Peer] = {}
        """Those that can be sent to."""
        self._poll: Poll | None = None
        self._buffer = bytearray(BUFFER_BYTES)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for connections and messages."""
        self._poll = poll
        for fd in (self._listener.fileno(), *self._peers):
            poll.add(fd)

    def ready(self, awake: Collection[Source]) -> list[int]:
        """Accept new connections; those that the poll that returned `awake` was woken by: call
        `receive` for each. Call it in every turn of the poll, several times a second."""
        if self._accept_ns is not None:
            if time.monotonic_ns() >= self._accept_ns:
                self._accept()
        elif self._listener.fileno() in awake:
            self._accept()
        return [fd for fd in self._peers if fd in awake]

    def receive(self, fd: int) -> tuple[bytes, list[Buffer]] | None:
        """The identity and the frames of the next message of a connection; None if there is none.
        Raises WireError."""
        peer = self._peers.get(fd)
        if peer is None:
            return None
        try:
            if peer.identity is None:
                self._introduce(peer)
                return None
            frames = peer.receive(self._buffer, self._limits)
        except ConnectionError:
            self._drop(peer)
            return None
        return None if frames is None else (peer.identity, frames)

    def send(self, identity: bytes, frames: Sequence[Buffer]) -> bool:
        """Send all frames or nothing to that peer. False: it is gone, or its queue is full."""
        peer = self._named.get(identity)
        if peer is None:
            return False
        try:
            return peer.send(frames)
        except ConnectionError:
            del self._named[identity]  # not dropped: what it sent is still to be received
            return False

    def has(self, identity: bytes) -> bool:
        """Whether that peer is connected, as far as was noticed."""
        return identity in self._named

    def close(self) -> None:
        """End all connections, and remove the socket's file; what was sent still arrives."""
        for peer in list(self._peers.values()):
            self._drop(peer)
        self._listen(now=False)
        self._listener.close()
        sockets.unlink_stale(self.endpoint)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                self._listen(now=True)
                return
            except OSError:
                # No descriptor, or no memory. What comes goes on waiting in the kernel, and would
                # wake the poll at once again.
                self._listen(now=False)
                self._accept_ns = time.monotonic_ns() + _ACCEPT_AGAIN_NS
                return
            accepted.settimeout(0.0)
            self._admit(_Peer(accepted))

    def _listen(self, *, now: bool) -> None:
        """Let connections wake the poll, or not."""
        listened, self._accept_ns = self._accept_ns is None, None
        if self._poll is None or listened is now:
            return
        if now:
            self._poll.add(self._listener.fileno())
        else:
            self._poll.remove(self._listener.fileno())

    def _admit(self, peer: _Peer) -> None:
        """Keep a connection, if there is a place for it."""
        if len(self._peers) >= self._most_peers:
            # One that has a place and sends no identity must not keep the place from others. A
            # client sends it as soon as it is connected.
            silent = next((each for each in self._peers.values() if each.identity is None), None)
            if silent is None:
                peer.close()
                return
            self._drop(silent)
        self._peers[peer.fd] = peer
        if self._poll is not None:
            self._poll.add(peer.fd)
        try:
            self._introduce(peer)
        except ConnectionError:
            self._drop(peer)

    def _introduce(self, peer: _Peer) -> None:
        """Read the first packet of a connection: the identity of its peer."""
        try:
            identity = peer.socket.recv(_IDENTITY_BYTES, _LOOKED_AT)
        except BlockingIOError:
            return
        except OSError as error:
            raise ConnectionError from error
        if not identity:
            raise ConnectionError
        for other in [each for each in self._peers.values() if each.identity == identity]:
            if other.ended():
                return  # what it had sent is received first
            if not self._handover:
                raise ConnectionError
            self._drop(other)
        peer.socket.recv(_IDENTITY_BYTES, NOW)
        peer.identity, self._named[identity] = identity, peer

    def _drop(self, peer: _Peer) -> None:
        del self._peers[peer.fd]
        if peer.identity is not None and self._named.get(peer.identity) is peer:
            del self._named[peer.identity]
        if self._poll is not None:
            self._poll.remove(peer.fd)
        peer.close()
