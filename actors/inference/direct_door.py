"""`DirectDoor`: where a replica takes requests straight from the robots of its host.

A socket in the runtime directory, which belongs to one user: a process that can connect could map
the robots' shared memory too, and read the replica's key, so no key is asked for. Only REQUESTs
come by it, of sessions that were opened by a broker, and their answers go back by it. Nothing
blocks; an answer that the socket does not take is dropped and counted, because its robot then asks
the broker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ...errors import WireError
from ...transport import sockets
from ...transport.arrays import Buffer
from ...transport.header import Header, Kind
from ...transport.packet_server import PacketServer
from ...transport.poll import Poll, Source


class DirectRequest(NamedTuple):
    """A request as it came: `identity` is the way back to the network actor of `robot`."""

    identity: bytes
    robot: str
    header: Header
    frames: list[Buffer]


class DirectDoor:
    """Listens at `endpoint`. `dropped` counts answers that were not taken."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.dropped = Counter[str]()
        self._server = PacketServer(endpoint)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for requests."""
        self._server.watch(poll)

    def ready(self, awake: Collection[Source]) -> list[int]:
        """The connections that the poll that returned `awake` was woken by: `receive` of each."""
        return self._server.ready(awake)

    def receive(self, connection: int) -> DirectRequest | None:
        """The next request of a connection; None when there is none. Raises WireError for what is
        none."""
        came = self._server.receive(connection)
        if came is None:
            return None
        sender, frames = came
        if len(frames) < 2:
            raise WireError("frames", f"{len(frames)} frames; header and body are the least")
        header = Header.unpack(frames[0])
        if header.kind is not Kind.REQUEST:
            raise WireError("kind", f"a {header.kind.name} that came straight from a robot")
        return DirectRequest(sender, sockets.peer(sender)[0], header, frames)

    def send(self, identity: bytes, frames: Sequence[Buffer]) -> None:
        """Answer the network actor of that `identity`."""
        if not self._server.send(identity, frames):
            is_full = self._server.has(identity)
            self.dropped["robot-full" if is_full else "robot-gone"] += 1

    def close(self) -> None:
        """Close; answers that were sent still arrive."""
        self._server.close()
