"""`AnswerSender`: the answers of a replica, each by the ways by which its request came; and the
requests that come straight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ...errors import WireError
from ...transport import sockets
from ...transport.poll import Poll
from .broker_links import BrokerLinks
from .direct_door import DirectDoor
from .handshake import Answer
from .served_session import BY_BROKER, ServedSession
from .service import ReplicaCore

MESSAGES_PER_TURN = 64


class AnswerSender:
    """Of one replica, whose open `sessions` these are. `socket` is that of the direct door, None
    while there is none."""

    def __init__(self, brokers: BrokerLinks, sessions: Mapping[str, ServedSession]) -> None:
        self._brokers, self._sessions = brokers, sessions
        self._door: DirectDoor | None = None
        self.socket: sockets.Socket | None = None

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for requests that come straight."""
        if self.socket is not None:
            poll.add(self.socket)

    def open_door(self, rundir: Path, replica: str) -> str:
        """Where `replica` takes requests straight from now on, once, before `watch`; empty if it
        cannot, because the path is too long for a socket."""
        try:
            endpoint = sockets.ipc(rundir, f"{replica.replace('/', '.')}.direct")
        except ValueError:
            return ""
        self._door = DirectDoor(endpoint)
        self.socket = self._door.socket
        return endpoint

    def receive(self, core: ReplicaCore, counts: Counter[str], now_ns: int) -> None:
        """Give `core` the requests that came straight; `counts` those that are dropped."""
        door = self._door
        if door is None:
            return
        for _ in range(MESSAGES_PER_TURN):
            try:
                if (asked := door.receive()) is None:
                    return
                way, robot, header, frames = asked
                for answer in core.receive(robot, header, frames, now_ns, way=way):
                    door.send(way, answer)
            except WireError as error:
                counts[f"dropped:{error.reason}"] += 1
            if not sockets.has_message(door.socket):
                return

    def send(self, robot: str, frames: Answer) -> None:
        """Send the answer to the newest request of `robot`."""
        session = self._sessions[robot]
        for way in session.ways:
            if way == BY_BROKER or self._door is None:
                self._brokers.links[session.broker].send(robot, frames)
            else:
                self._door.send(way, frames)
        if self._door is not None:  # else no request comes by a second way
            session.answered(frames)

    @property
    def dropped(self) -> dict[str, int]:
        """How many answers no socket took, by reason."""
        door = {} if self._door is None else dict(self._door.dropped)
        return {**self._brokers.dropped, **door}

    def close(self) -> None:
        """Close the direct door."""
        if self._door is not None:
            self._door.close()
