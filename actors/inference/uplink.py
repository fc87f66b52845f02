"""The replica's connection to the broker: how it registers, and is found again after a restart.

Every message has the robot's name ahead of it, empty where the replica itself is meant. The uplink
registers whenever a connection is made, and again when the broker has been silent for
`SILENCE_NS` although heartbeats went out: a broker that was restarted knows nobody, and registering
twice does no harm. What does not fit through the socket waits here, at most `KEPT` messages, newest
first to stay: a reply that waits longer than that is one nobody waits for.

It is used by one thread and never blocks. It decodes nothing but headers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

import zmq

from ...transport import link
from ...transport.arrays import Buffer
from ...transport.limits import WireError

SILENCE_NS = 2_000_000_000
KEPT = 256


class Uplink:
    """A DEALER towards the broker's back endpoint. `identity` is `<service>/<k>:<incarnation>`."""

    def __init__(self, endpoint: str, identity: str, sessions: int) -> None:
        """`sessions`: how many robots may have a request on its way here at once. That many wait in
        the socket while the device works, so that the broker need not hold them back."""
        self._context: link.Context = zmq.Context()
        hwm = max(link.DEALER_HWM, 2 * sessions)
        self._socket = link.dealer(self._context, endpoint, identity, hwm=hwm)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._unsent: deque[list[Buffer]] = deque()
        self._heard_ns = 0
        self.registered = False
        """The broker has welcomed this replica since the last connection was made."""
        self.dropped: Counter[str] = Counter()

    def watch(self, poller: zmq.Poller) -> None:
        """Wake `poller` for everything that `receive`, `connected` or `flush` has to do."""
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._socket, zmq.POLLIN | (zmq.POLLOUT if self._unsent else 0))

    def connected(self) -> bool:
        """Whether a new connection was made since the last call: it is time to register."""
        made = False
        while True:
            try:
                self._monitor.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            made = True
        if made:
            self.registered = False
            self._unsent.clear()  # the broker behind this connection may not know what it is about
        return made

    def silent(self, now: int) -> bool:
        """Whether the broker should be registered with again because nothing is heard of it."""
        return now - self._heard_ns > SILENCE_NS

    def receive(self, now: int) -> list[Buffer] | None:
        """One message, the robot's name first; None when there is no more. Raises WireError."""
        frames = link.receive(self._socket)
        if frames is not None:
            self._heard_ns = now
            if len(frames) < 3:
                raise WireError("frames", f"{len(frames)} frames: robot, header and body at least")
        return frames

    def send(self, robot: str, frames: Sequence[Buffer]) -> None:
        """Send now, or as soon as the socket takes it."""
        self._unsent.append([robot.encode(), *frames])
        self.flush()
        while len(self._unsent) > KEPT:
            self._unsent.popleft()
            self.dropped["uplink-full"] += 1

    def send_now_or_never(self, frames: Sequence[Buffer]) -> bool:
        """For heartbeats and the like, which are worth nothing later: False when it did not fit."""
        return not self._unsent and link.send(self._socket, [b"", *frames])

    def flush(self) -> bool:
        """Send what waits, as far as the socket takes it; True when nothing waits any more."""
        while self._unsent:
            if not link.send(self._socket, self._unsent[0]):
                return False
            self._unsent.popleft()
        return True

    def close(self, linger_ms: int = 200) -> None:
        """Give the last words `linger_ms` to leave, then close everything."""
        self._socket.disable_monitor()
        self._monitor.close()
        self._context.destroy(linger=linger_ms)
