"""The two ends of packet connections, as tests use them: they wait. And one that sends anything."""

from __future__ import annotations

import socket

from holdfast.transport import sockets
from holdfast.transport.arrays import Buffer
from holdfast.transport.packet_client import PacketClient
from holdfast.transport.packet_server import MOST_PEERS, PacketServer
from holdfast.transport.packets import LARGE_BYTES
from holdfast.transport.poll import Poll


class WaitingClient(PacketClient):
    """A client that waits for its messages."""

    def __init__(self, endpoint: str, identity: str) -> None:
        super().__init__(endpoint, identity)
        self._awaited = Poll()
        self.watch(self._awaited)

    def poll(self, timeout_ms: int) -> bool:
        """Whether something came within that time: a message, or the end of the connection."""
        return self.awake(self._awaited.wait(timeout_ms))

    def next(self, timeout_ms: int = 60_000) -> list[Buffer]:
        """The next message."""
        while self.poll(timeout_ms):
            if (frames := self.receive()) is not None:
                return frames
        raise AssertionError("no message came")


class WaitingServer(PacketServer):
    """A server that waits for its messages, one peer's after the other."""

    def __init__(
        self, endpoint: str, *, handover: bool = True, most_peers: int = MOST_PEERS
    ) -> None:
        super().__init__(endpoint, handover=handover, most_peers=most_peers)
        self._awaited = Poll()
        self.watch(self._awaited)
        self._came: list[tuple[bytes, list[Buffer]]] = []

    def poll(self, timeout_ms: int) -> bool:
        """Whether a message came within that time. Connections are accepted meanwhile."""
        while not self._came:
            awake = self._awaited.wait(timeout_ms)
            if not awake:
                return False
            for connection in self.ready(awake):
                if (came := self.receive(connection)) is not None:
                    self._came.append(came)
        return True

    def next(self, timeout_ms: int = 60_000) -> tuple[bytes, list[Buffer]]:
        """The identity and the frames of the next message."""
        assert self.poll(timeout_ms), "no message came"
        return self._came.pop(0)


def raw(endpoint: str, identity: bytes = b"r1:1") -> socket.socket:
    """A connection that sends what no client would."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.connect(sockets.path_of(endpoint))
    made.send(identity)
    return made


def large(number: int) -> list[Buffer]:
    """A message that lies in a file."""
    return [str(number).encode(), number.to_bytes(4, "little") * (LARGE_BYTES // 2)]
