"""`StopExchange`: the broker's part in the emergency stops of a site. It passes on to the robots'
hosts what one of them, or a program of its own host, says, and sends each that knows something else
all that it knows.

A robot's connection is authenticated, so that the owner of any key may stop. No connection's key
lifts a stop: a lift counts by its own signature, at every host.
"""

from __future__ import annotations

from collections.abc import Iterator
from logging import Logger
from pathlib import Path

from ...errors import RuntimeDirError
from ...transport import messages
from ...transport.arrays import Buffer
from ...transport.bodies import Heartbeat
from ...transport.header import Header, Kind
from ...transport.stop_bodies import Stops
from ..runtime.configs import BrokerConfig
from ..runtime.held_robots import HeldRobots
from ..runtime.site_stop_store import SiteStopStore
from ..runtime.stop_messages import stop_messages

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
        self._held = HeldRobots(directory, "broker")
        self._log = log
        self._peers: dict[bytes, tuple[str, int]] = {}
        """By connection: the digest of what its host knows, and when it was heard."""
        self._unheld = False
        self._held_ns = 0
        self._store.look()
        self._digest = self._store.stops.digest

    @property
    def digest(self) -> str:
        """Of what this broker knows, for its heartbeats."""
        return self._digest

    def heard(self, identity: bytes, body: object, now_ns: int) -> None:
        """Take in a message of a robot's connection; only those about stops count."""
        if isinstance(body, Heartbeat) and body.stops:
            self._peers[identity] = body.stops, now_ns
        elif isinstance(body, Stops):
            try:
                changed = self._store.add(body.stops, body.lifts)
            except (OSError, RuntimeDirError) as error:
                self._log.error("the stops of the site cannot be written: %s", error)
                changed = True
            if changed:
                self._changed()
            self._unheld |= self._held.heard(body.held)

    def turn(self, now_ns: int) -> Iterator[list[Buffer]]:
        """What is due to be sent, several times a second: frames that begin with a connection."""
        if self._store.look():
            self._changed()
        self._peers = {k: v for k, v in self._peers.items() if now_ns - v[1] < SILENT_NS}
        if not self._store.stops.stops:
            return
        held_due = self._unheld and now_ns >= self._held_ns + HELD_NS
        if held_due:
            self._unheld, self._held_ns = False, now_ns
            self._held.write()
        for identity, (digest, heard_ns) in self._peers.items():
            if digest != self._digest:
                # Once for each heartbeat: what it then knows, the next one says.
                self._peers[identity] = self._digest, heard_ns
                yield from self._frames(identity)
            elif held_due:
                yield from self._frames(identity, held_only=True)

    def _frames(self, identity: bytes, *, held_only: bool = False) -> Iterator[list[Buffer]]:
        header = Header(Kind.STOPS)
        for body in stop_messages(self._store.stops, self._held):
            if body.held or not held_only:
                yield [identity, *messages.encode(header, body)]

    def _changed(self) -> None:
        """All are to be sent what is known now: their heartbeats said something else."""
        self._digest = self._store.stops.digest
        for stop in self._store.stops.in_force():
            self._log.warning("a stop of the site is in force: by %s: %s", stop.by, stop.why)
