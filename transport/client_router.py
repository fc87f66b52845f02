"""`ClientRouter`: a ROUTER for REQ sockets of other projects, which say neither who they are nor
when they go. Which connections ended is learned from libzmq's monitor.

A message says by which file descriptor it came (SRCFD), the monitor that a descriptor was accepted
or closed. Both are needed: a descriptor is used again by the next connection.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence

import zmq

from . import sockets
from .limits import Limits

_EVENT = struct.Struct("=HI")
"""Of the monitor: which event, and the descriptor."""


class ClientRouter:
    """A bound ROUTER. Each peer has at most `hwm` messages kept in either direction; a part beyond
    `limits.max_blob_bytes` ends its connection. Raises ZMQError where it cannot be bound."""

    def __init__(
        self, context: sockets.Context, endpoint: str, limits: Limits, hwm: int = 2
    ) -> None:
        self.socket = sockets.router(context, endpoint, handover=False, limits=limits, hwm=hwm)
        self._limits = limits
        where = f"inproc://monitor-{secrets.token_hex(8)}"
        self.socket.monitor(where, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._monitor = context.socket(zmq.PAIR)
        # libzmq's thread waits where this queue is full.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(where)
        self._peers: dict[int, bytes] = {}

    def filenos(self) -> tuple[int, int]:
        """Descriptors that become readable, once, when there is something to receive."""
        return int(self.socket.getsockopt(zmq.FD)), int(self._monitor.getsockopt(zmq.FD))

    def has_more(self) -> bool:
        """Whether a message can be received, or a connection ended, right now."""
        ready = (int(each.getsockopt(zmq.EVENTS)) for each in (self.socket, self._monitor))
        return any(events & zmq.POLLIN for events in ready)

    def receive(self, most: int) -> tuple[list[list[bytes]], list[bytes]]:
        """At most so many messages, each with the peer's identity first, and the identities of
        those whose connections ended before. What has too many frames is dropped."""
        messages: list[list[bytes]] = []
        came: dict[int, bytes] = {}
        while len(messages) < most:
            try:
                frames = self.socket.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                break
            if len(frames) <= self._limits.max_frames:
                messages.append([frame.bytes for frame in frames])
                came[int(frames[-1].get(zmq.SRCFD))] = messages[-1][0]
        # The monitor says that a descriptor was accepted before a message comes by it.
        ended = self._ended()
        self._peers.update(came)
        return messages, ended

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send all frames or nothing, without blocking. False: the peer is gone, or its queue is
        full."""
        return sockets.send(self.socket, frames)

    def close(self) -> None:
        """Close the socket and its monitor."""
        self.socket.disable_monitor()
        self._monitor.close(linger=0)
        self.socket.close(linger=100)

    def _ended(self) -> list[bytes]:
        ended: list[bytes] = []
        while True:
            try:
                event, _ = self._monitor.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return ended
            if (gone := self._peers.pop(_EVENT.unpack(event)[1], None)) is not None:
                ended.append(gone)
