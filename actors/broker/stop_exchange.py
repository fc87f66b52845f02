"""`StopExchange`: the broker's part in the emergency stops of a site. It passes on to the robots'
hosts what one of them, or a program of its own host, says, and sends each that knows something else
all that it knows.

A robot's connection is authenticated, so that the owner of any key may stop. No connection's key
lifts a stop: a lift counts by its own signature, at every host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from logging import Logger
from pathlib import Path

from ...transport.arrays import Buffer
from ...transport.bodies import Heartbeat
from ...transport.stop_bodies import HeldRobot, Stops
from ..runtime.configs import BrokerConfig
from ..runtime.held_robots import HeldRobots
from ..runtime.known_stops import KnownStops
from ..runtime.stop_messages import StopPeer

HELD_NS = 250_000_000
"""How often what became of the stops is passed on: many hosts answer at once."""
AT_ONCE_NS = 100_000_000
"""How often a robot's host is told at once, and not with the next turn: that looks at the files and
at all hosts, and a host may say with every heartbeat that it knows something else."""
SILENT_NS = 10_000_000_000
"""After which a robot's host is sent nothing."""


class StopExchange:
    """That of one broker, with the stops in its `evidence` directory."""

    def __init__(self, config: BrokerConfig, rundir: Path, log: Logger) -> None:
        directory = Path(config.evidence or rundir)
        self._known = KnownStops[bytes](directory, config.keyring, log)
        """Told to the robots' hosts, by connection."""
        self._held = HeldRobots(directory, "broker")
        self._unheld = False
        self._held_ns = 0

    @property
    def digest(self) -> str:
        """Of what is in force, for the heartbeats."""
        return self._known.digest

    def heard(self, identity: bytes, name: str, body: object, now_ns: int) -> bool:
        """Take in a message of the connection of the robot `name`; only those about stops count.
        Whether to call `turn` at once: one that has just come is not to be given a session before
        it knows what is in force. Not more often than once in `AT_ONCE_NS` for a connection."""
        if isinstance(body, Heartbeat) and body.stops:
            peer = self._known.peers.setdefault(identity, StopPeer(name))
            peer.heard(body.stops, now_ns)
            if not self._known.stops.stops or not peer.is_due(self.digest):
                return False
            if now_ns - peer.at_once_ns < AT_ONCE_NS:
                return False
            peer.at_once_ns = now_ns
            return True
        if isinstance(body, Stops):
            self._known.take(body)
            self._unheld |= self._held.heard(self._believed(name, body.held))
        return False

    def _believed(self, name: str, rows: Iterable[HeldRobot]) -> list[HeldRobot]:
        """Those of the robot itself, and of the others of its host that have no connection of their
        own: of one that has, only what comes by that, which has the robot's key."""
        connected = {peer.name for peer in self._known.peers.values()}
        return [row for row in rows if row.robot == name or row.robot not in connected]

    def turn(self, now_ns: int, send: Callable[[list[Buffer]], bool]) -> None:
        """Send what is due, several times a second: frames that begin with a connection. What
        `send` refuses is sent at a later turn."""
        known = self._known
        known.look()
        known.peers = {k: v for k, v in known.peers.items() if now_ns - v.heard_ns < SILENT_NS}
        if not known.stops.stops:
            return
        held_due = self._unheld and now_ns >= self._held_ns + HELD_NS
        if held_due:
            self._unheld, self._held_ns = False, now_ns
            self._held.write()
        known.tell(self._held, lambda identity, frames: send([identity, *frames]), is_new=held_due)
