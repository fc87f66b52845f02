"""`Listener`: one of the broker's two ROUTER sockets.

Guarantees: sending and receiving do not block; a message beyond the limits is never kept whole, and
its sender is known; large blobs are neither copied in nor out. Does not guarantee that a message
which was sent arrives.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from typing import Any

import zmq

from ...transport import sockets
from ...transport.keys import KEY_PROPERTY, Authenticator, Key, require
from ...transport.limits import DEFAULT
from ...transport.poll import Poll
from .arrival import Arrival
from .routing import Why

FREE_S = 2.0
"""How long an address that was just closed may stay in use."""
COPIED_BYTES = 4096
"""A blob up to this size is received as bytes, as header and body are: to copy it is cheaper than
to share it. Three raw images are shared 20 times faster than copied twice."""


class Listener:
    """A bound ROUTER and its connections' monitor. Poll `socket` and `monitor`."""

    def __init__(
        self,
        context: sockets.Context,
        endpoint: str,
        tcp: str | None = None,
        *,
        key: Key | None = None,
        authenticator: Authenticator | None = None,
        insecure: bool = False,
        hwm: int = sockets.ROUTER_HWM,
    ) -> None:
        """Bind `endpoint`, and `tcp` beside it; at most `hwm` messages wait for each peer.

        Raises KeyFileError for an endpoint that needs keys, RuntimeError for one that is in use or
        not of this machine.
        """
        for one in (endpoint, tcp):
            if one is not None:
                require(one, key, insecure=insecure)
        self.endpoint, self._tcp = endpoint, tcp
        self._context, self._key, self._authenticator = context, key, authenticator
        self._keyed = key is not None
        self._hwm = hwm
        self.settled = False
        """Whether it had no message when it was last asked or received from, and was not sent to
        since: see `Poll.wait`."""
        self._bind()

    def reopen(self) -> None:
        """Close every connection, with all that libzmq holds of unfinished messages, and bind anew.

        Healthy peers connect again within a tenth of a second, under their identities. Blocks for
        as long as the address is in use, RuntimeError after `FREE_S`.
        """
        self.close(0)
        deadline_s = time.monotonic() + FREE_S
        while True:
            try:
                self._bind()
                return
            except RuntimeError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.01)

    def _bind(self) -> None:
        endpoint = self.endpoint
        self.settled = False
        sockets.unlink_stale(endpoint)
        try:
            self.socket = sockets.router(
                self._context,
                endpoint,
                key=self._key,
                authenticator=self._authenticator,
                hwm=self._hwm,
            )
            if self._tcp is not None:
                endpoint = self._tcp
                self.socket.bind(_numeric(self._tcp))
        except zmq.ZMQError as error:
            remedy = "another fleet may run here: stop it, or give this broker other ports"
            if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
                remedy = "this machine has no such address: mend `hosts` in fleet.yaml"
            raise RuntimeError(
                f"the broker cannot bind {endpoint}: {error.strerror}; {remedy}"
            ) from error
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for messages, and for connections that end."""
        poll.add(self.socket)
        poll.add(self.monitor, quiet=True)

    def unwatch(self, poll: Poll) -> None:
        """Undo `watch`; to be called before `reopen`."""
        poll.remove(self.socket)
        poll.remove(self.monitor)

    def receive(self) -> Arrival | None:
        """The next message; None if there is none."""
        self.settled = False
        try:
            part = first = self.socket.recv(sockets.NOW, copy=False)
        except zmq.Again:
            self.settled = True
            return None
        # Connections without keys have no such property.
        user = str(first.get("User-Id")) if self._keyed else ""
        key = str(first.get(KEY_PROPERTY)) if self._keyed else ""
        identity, total, broken = first.bytes, 0, ""
        frames: list[Any] = []
        while part.more:
            part = self.socket.recv(sockets.NOW, copy=False)
            total += len(part)
            if len(frames) > DEFAULT.max_frames:
                broken = "frames"
            elif total > DEFAULT.max_message_bytes:
                broken = "message-bytes"
            else:
                small = len(frames) < sockets.COPIED - 1 or len(part) <= COPIED_BYTES
                frames.append(part.bytes if small else part)
        return Arrival(identity, user, frames, broken, key)

    def has_message(self) -> bool:
        """Whether there is another message."""
        self.settled = not sockets.has_message(self.socket)
        return not self.settled

    def send(self, frames: Sequence[Any]) -> Why | None:
        """Send without blocking; the reason if that fails."""
        self.settled = False
        try:
            sockets.send_now(self.socket, frames)
        except zmq.Again:
            return "full"
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return "unreachable"
            raise
        return None

    def disconnected(self) -> bool:
        """Whether a connection ended since the last call; the monitor does not say whose."""
        ended = False
        while True:
            try:
                self.monitor.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return ended
            ended = True

    def close(self, linger_ms: int) -> None:
        """Close the socket; messages that were sent have `linger_ms` to leave."""
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms)
        sockets.unlink_stale(self.endpoint)


def _numeric(endpoint: str) -> str:
    """`endpoint` with its host's address in place of its name, as libzmq binds addresses only."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        return f"tcp://{socket.gethostbyname(host)}:{port}"
    except OSError:
        return endpoint  # an interface, or all of them
