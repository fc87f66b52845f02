"""`AnswerSender`: the answers of a replica, each by the ways by which its request came; and the
requests that come straight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from ...errors import WireError
from ...transport import sockets
from ...transport.poll import Poll, Source
from .broker_links import BrokerLinks
from .direct_door import DirectDoor
from .handshake import Answer
from .served_session import BY_BROKER, ServedSession
from .service import ReplicaCore


class AnswerSender:
    """Of one replica, whose open `sessions` these are."""

    def __init__(self, brokers: BrokerLinks, sessions: Mapping[str, ServedSession]) -> None:
        self._brokers, self._sessions = brokers, sessions
        self._door: DirectDoor | None = None

    def watch(self, poll: Poll) -> None:
        """Wake `poll` for requests that come straight."""
        if self._door is not None:
            self._door.watch(poll)

    def open_door(self, rundir: Path, replica: str) -> str:
        """Where `replica` takes requests straight from now on, once, before `watch`; empty if it
        cannot, because the path is too long for a socket."""
        try:
            endpoint = sockets.ipc(rundir, f"{replica.replace('/', '.')}.direct")
        except ValueError:
            return ""
        self._door = DirectDoor(endpoint)
        return endpoint

    def receive(
        self,
        awake: Collection[Source],
        core: ReplicaCore,
        counts: Counter[str],
        now_ns: int,
    ) -> None:
        """Give `core` the requests that came straight, one of each robot, if the poll that returned
        `awake` was woken by some; `counts` those that are dropped."""
        door = self._door
        if door is None:
            return
        for connection in door.ready(awake):
            try:
                if (asked := door.receive(connection)) is None:
                    continue
                way, robot, header, frames = asked
                for answer in core.receive(robot, header, frames, now_ns, way=way):
                    door.send(way, answer)
            except WireError as error:
                counts[f"dropped:{error.reason}"] += 1

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
