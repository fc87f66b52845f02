"""`StopRelay`: a robot's network actor passes the emergency stops of the site on, both ways, and
says what becomes of them at the robots of its host.

Stops and lifts lie in the fleet's state directory (`SiteStopStore`), or in one of a script's own,
where whatever commands a robot sees them by itself. Nothing blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from logging import Logger
from pathlib import Path

from ...transport import messages
from ...transport.arrays import Buffer
from ...transport.bodies import Heartbeat
from ...transport.header import Header, Kind
from ...transport.stop_bodies import HeldRobot, Stops
from ..runtime.configs import NetworkConfig
from ..runtime.held_robots import HeldRobots
from ..runtime.known_stops import KnownStops
from ..runtime.stop_messages import StopPeer
from .latest_vitals import LatestVitals
from .stopped_robots import FleetRobots, ScriptRobot, StoppedRobots


class StopRelay:
    """That of a network actor whose host has `robots`; `known` is told to its brokers, by their
    numbers. What is heard of the robots of other hosts is written for programs of this host, but
    not by a script (None)."""

    def __init__(
        self, known: KnownStops[int], robots: StoppedRobots, elsewhere: HeldRobots | None
    ) -> None:
        self._known, self._robots, self._elsewhere = known, robots, elsewhere
        self._sent: tuple[HeldRobot, ...] = ()

    @classmethod
    def of(
        cls,
        config: NetworkConfig,
        name: str,
        rundir: Path,
        log: Logger,
        vitals: LatestVitals,
    ) -> StopRelay:
        """That of the actor `name` with this configuration. `vitals` are a script's."""
        directory = Path(config.stops or config.evidence or rundir)
        known = KnownStops[int](directory, config.keyring, log)
        if config.script:
            return cls(known, ScriptRobot(config.robot, vitals), None)
        heard = HeldRobots(directory, name.replace("/", "@"))
        return cls(known, FleetRobots(rundir, config.host or ""), heard)

    @property
    def digest(self) -> str:
        """Of what is in force, for the heartbeats."""
        return self._known.digest

    def close(self) -> None:
        """Close what drivers are asked by."""
        self._robots.close()

    def heard(self, broker: int, frames: list[Buffer]) -> bool:
        """Take in what a broker says of stops; whether it says nothing else. Raises WireError."""
        header = Header.unpack(frames[0])
        if header.kind in (Kind.STOPS, Kind.HEARTBEAT):
            body = messages.decode(frames, header=header).body
            if isinstance(body, Stops):
                self._take(body)
            elif isinstance(body, Heartbeat) and body.stops:
                self._known.peers.setdefault(broker, StopPeer()).heard(body.stops)
        return header.kind is Kind.STOPS

    def _take(self, body: Stops) -> None:
        if self._known.take(body):
            self._robots.follow()
        if self._elsewhere is not None:
            here = self._robots.names
            self._elsewhere.heard(row for row in body.held if row.robot not in here)

    def turn(self, now_ns: int, send: Callable[[list[Buffer], int], bool]) -> None:
        """Ask the drivers; send what is due, each with the number of its broker: what `send`
        refuses at a later turn. A broker that has not said that it takes stops is sent none."""
        known, robots = self._known, self._robots
        if known.look():
            robots.follow()
        if not known.stops.stops:
            return
        robots.turn(known.stops, now_ns)
        if self._elsewhere is not None:
            self._elsewhere.write()
        held = tuple(robots.rows(known.stops, known.refused, now_ns))
        is_new, self._sent = held != self._sent, held
        known.tell(held, lambda broker, frames: send(frames, broker), is_new=is_new)
