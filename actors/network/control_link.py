"""`ControlLink`: the network actor's connection to the control actor of its robot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ...errors import WireError
from ...transport import bodies, messages, sockets
from ...transport.arrays import Buffer
from ...transport.bodies import Event
from ...transport.header import Header, Kind
from ...transport.packet_server import PacketServer
from ...transport.poll import Poll, Source


class ControlLink:
    """One robot's control actor connects to `endpoint`.

    `identity`: the routing id of the control actor that holds the session; empty before the first.
    Sends do not block: what is not taken is counted in `dropped`.
    """

    def __init__(self, endpoint: str, robot: str, dropped: Counter[str]) -> None:
        self._robot, self._dropped = robot, dropped
        self.identity = b""
        # Control connects again only after its connection has ended, and its next incarnation has
        # another identity: that a forked child may keep the connection of a dead one keeps it from
        # nothing. A second connection under the identity of one that is open is not control's.
        self._server = PacketServer(endpoint, handover=False)

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for connections and messages."""
        self._server.watch(poll)

    def ready(self, awake: Collection[Source]) -> list[int]:
        """The connections that the poll that returned `awake` was woken by: `receive` of each."""
        return self._server.ready(awake)

    def receive(self, connection: int) -> tuple[bytes, list[Buffer]] | None:
        """The sender and the frames of the next message of a connection; None if there is none.
        Raises WireError."""
        return self._server.receive(connection)

    def incarnation_of(self, identity: bytes) -> int:
        """The incarnation in a routing id of control. Raises WireError for any other peer's."""
        name, incarnation = sockets.peer(identity)
        if name != f"{self._robot}/control":
            raise WireError("identity", f"{name} speaks to the network actor of {self._robot}")
        return incarnation

    def reply(self, identity: bytes, about: Header, body: bodies.Body) -> None:
        """Send `body` to `identity`; the header echoes `about`, except for its kind."""
        header = about._replace(kind=bodies.KINDS[type(body)])
        self.send(messages.encode(header, body), identity)

    def send_lost(self, identity: bytes, epoch: int, reason: str) -> None:
        """Notify `identity` that the session of `epoch` is lost."""
        self.reply(identity, Header(Kind.EVENT, epoch=epoch), Event(what="lost", message=reason))

    def send_reachable(self, epoch: int, service: str, reason: str) -> None:
        """Notify control, which waits for `service`, that the broker is reachable, or why not."""
        what, words = ("waiting", reason) if reason else ("available", service)
        self.reply(self.identity, Header(Kind.EVENT, epoch=epoch), Event(what=what, message=words))

    def send(self, frames: list[Buffer], identity: bytes = b"") -> None:
        """Send `frames` to `identity`, by default the holder of the session."""
        identity = identity or self.identity
        if identity and not self._server.send(identity, frames):
            is_full = self._server.has(identity)
            self._dropped["control-full" if is_full else "control-gone"] += 1

    def close(self) -> None:
        """End the connections; what was sent still arrives."""
        self._server.close()
