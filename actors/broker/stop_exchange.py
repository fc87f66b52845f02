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

from ...errors import RuntimeDirError
from ...transport.arrays import Buffer
from ...transport.bodies import Heartbeat
from ...transport.stop_bodies import HeldRobot, Stops
from ..runtime.configs import BrokerConfig
from ..runtime.held_robots import HeldRobots
from ..runtime.site_stop_store import SiteStopStore
from ..runtime.stop_messages import StopPeer, tell_peers

HELD_NS = 250_000_000
"""How often what became of the stops is passed on: many hosts answer at once."""
SILENT_NS = 10_000_000_000
"""After which a robot's host is sent nothing."""


class StopExchange:
    """That of one broker, with the stops in its `evidence` directory."""

    def __init__(self, config: BrokerConfig, rundir: Path, log: Logger) -> None:
        directory = Path(config.evidence or rundir)
        keyring = None if config.keyring is None else Path(config.keyring)
        self._store = SiteStopStore(directory, keyring)
        self._store.prepare()
        self._held = HeldRobots(directory, "broker")
        self._log = log
        self._peers: dict[bytes, StopPeer] = {}
        """By connection."""
        self._unheld = False
        self._held_ns = 0
        self._store.look()
        self._digest = self._store.stops.digest

    @property
    def digest(self) -> str:
        """Of what this broker knows, for its heartbeats."""
        return self._digest

    def heard(self, identity: bytes, name: str, body: object, now_ns: int) -> None:
        """Take in a message of the connection of the robot `name`; only those about stops count."""
        if isinstance(body, Heartbeat) and body.stops:
            peer = self._peers.setdefault(identity, StopPeer(name))
            peer.heard(body.stops, now_ns)
        elif isinstance(body, Stops):
            try:
                changed = self._store.add(body.stops, body.lifts)
            except (OSError, RuntimeDirError) as error:
                self._log.error("the stops of the site cannot be written: %s", error)
                changed = True
            if changed:
                self._changed()
            self._unheld |= self._held.heard(self._believed(name, body.held))

    def _believed(self, name: str, rows: Iterable[HeldRobot]) -> list[HeldRobot]:
        """Those of the robot itself, and of the others of its host that have no connection of their
        own: of one that has, only what comes by that, which has the robot's key."""
        connected = {peer.name for peer in self._peers.values()}
        return [row for row in rows if row.robot == name or row.robot not in connected]

    def turn(self, now_ns: int, send: Callable[[list[Buffer]], bool]) -> None:
        """Send what is due, several times a second: frames that begin with a connection. What
        `send` refuses is sent at a later turn."""
        if self._store.look():
            self._changed()
        self._peers = {k: v for k, v in self._peers.items() if now_ns - v.heard_ns < SILENT_NS}
        if not self._store.stops.stops:
            return
        held_due = self._unheld and now_ns >= self._held_ns + HELD_NS
        if held_due:
            self._unheld, self._held_ns = False, now_ns
            self._held.write()
        tell_peers(
            self._peers,
            self._store.stops,
            self._digest,
            self._held,
            lambda identity, frames: send([identity, *frames]),
            is_new=held_due,
        )

    def _changed(self) -> None:
        """All are to be sent what is known now: their heartbeats said something else."""
        self._digest = self._store.stops.digest
        for stop in self._store.stops.in_force():
            self._log.warning("a stop of the site is in force: by %s: %s", stop.by, stop.why)
        if self._store.unreadable:
            self._log.error("stops of the site are not passed on: %s", self._store.unreadable)
