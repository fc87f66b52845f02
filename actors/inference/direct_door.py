"""`DirectDoor`: where a replica takes requests straight from the robots of its host.

A socket in the runtime directory, which belongs to one user: a process that can connect could map
the robots' shared memory too, and read the replica's key, so no key is asked for. Only REQUESTs
come by it, of sessions that were opened by a broker, and their answers go back by it. Nothing
blocks; an answer that the socket does not take is dropped and counted, because its robot then asks
the broker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import zmq

from ...errors import WireError
from ...transport import sockets
from ...transport.arrays import Buffer
from ...transport.header import Header, Kind


class DirectRequest(NamedTuple):
    """A request as it came: `identity` is the way back to the network actor of `robot`."""

    identity: bytes
    robot: str
    header: Header
    frames: list[Buffer]


class DirectDoor:
    """A ROUTER at `endpoint`; poll `socket`. `dropped` counts answers that it did not take."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.dropped = Counter[str]()
        sockets.unlink_stale(endpoint)
        self._context: sockets.Context = zmq.Context()
        self.socket = sockets.router(self._context, endpoint, hwm=sockets.LOCAL_HWM)

    def receive(self) -> DirectRequest | None:
        """The next request; None when there is none. Raises WireError for what is none."""
        frames = sockets.receive(self.socket)
        if frames is None:
            return None
        identity, *rest = frames
        if len(rest) < 2:
            raise WireError("frames", f"{len(rest)} frames; header and body are the least")
        header = Header.unpack(rest[0])
        if header.kind is not Kind.REQUEST:
            raise WireError("kind", f"a {header.kind.name} that came straight from a robot")
        sender = bytes(identity)
        return DirectRequest(sender, sockets.peer(sender)[0], header, rest)

    def send(self, identity: bytes, frames: Sequence[Buffer]) -> None:
        """Answer the network actor of that `identity`."""
        if not sockets.send(self.socket, [identity, *frames]):
            self.dropped["robot-gone"] += 1

    def close(self) -> None:
        """Close; answers in the socket have a moment to leave."""
        self._context.destroy(linger=100)
        sockets.unlink_stale(self.endpoint)
