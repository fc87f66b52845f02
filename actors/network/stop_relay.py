"""`StopRelay`: a robot's network actor passes the emergency stops of the site on, both ways, and
says what becomes of them at the robots of its host.

Stops and lifts lie in the fleet's state directory (`SiteStopStore`), where the drivers see them by
themselves: a driver is only asked until its device has confirmed. Nothing blocks.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from logging import Logger
from pathlib import Path
from typing import Any

import msgspec

from ...errors import RuntimeDirError
from ...transport import messages
from ...transport.arrays import Buffer
from ...transport.bodies import Heartbeat
from ...transport.header import Header, Kind
from ...transport.stop_bodies import HeldRobot, Stops
from ..runtime import robots_file
from ..runtime.configs import NetworkConfig
from ..runtime.held_robots import HeldRobots
from ..runtime.robots_file import KnownRobot
from ..runtime.site_stop_store import SiteStopStore
from ..runtime.stop_messages import StopPeer, tell_peers

ASK_NS = 100_000_000
"""How often a driver is asked that has not confirmed a stop."""
SETTLED_NS = 1_000_000_000
"""The same while nothing is new."""


@dataclass
class LocalRobot:
    """A robot of this host: what its driver said last, and when it is asked again."""

    known: KnownRobot
    answer: dict[str, Any] | None = None
    ask_ns: int = 0
    absent: bool = False


class StopRelay:
    """That of the network actor `name` on `host`; `rundir` and `state_dir` are its fleet's, and
    `keyring` the directory of its public keys if it has keys. Without a `state_dir`, for a script's
    robot, it knows of no stops."""

    def __init__(
        self,
        name: str,
        host: str | None,
        rundir: Path,
        state_dir: Path | None,
        keyring: Path | None,
        log: Logger,
    ) -> None:
        self._rundir = rundir
        self._takes = state_dir is not None
        directory = state_dir or rundir
        self._store = SiteStopStore(directory, keyring)
        self._store.prepare()
        self._elsewhere = HeldRobots(directory, name.replace("/", "@"))
        self._host, self._log = host or "", log
        self._robots: dict[str, LocalRobot] = {}
        self._asking = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._asking.bind("")  # an abstract address, which the kernel chooses
        self._sent: tuple[HeldRobot, ...] = ()
        self._brokers: dict[int, StopPeer] = {}
        """Those that have said what they know."""
        self._changed()

    @classmethod
    def of(cls, config: NetworkConfig, name: str, rundir: Path, log: Logger) -> StopRelay:
        """That of the actor with this configuration."""
        directory = None if config.script else Path(config.evidence or rundir)
        keyring = None if config.keyring is None else Path(config.keyring)
        return cls(name, config.host, rundir, directory, keyring, log)

    @property
    def digest(self) -> str:
        """Of what this host knows, for the heartbeats; empty if it knows of no stops."""
        return self._digest if self._takes else ""

    def close(self) -> None:
        """Close the socket by which drivers are asked."""
        self._asking.close()

    def heard(self, broker: int, frames: list[Buffer]) -> bool:
        """Take in what a broker says of stops; whether it says nothing else. Raises WireError."""
        header = Header.unpack(frames[0])
        if self._takes and header.kind in (Kind.STOPS, Kind.HEARTBEAT):
            body = messages.decode(frames, header=header).body
            if isinstance(body, Stops):
                self._take(body)
            elif isinstance(body, Heartbeat) and body.stops:
                self._brokers.setdefault(broker, StopPeer()).heard(body.stops)
        return header.kind is Kind.STOPS

    def _take(self, body: Stops) -> None:
        try:
            changed = self._store.add(body.stops, body.lifts)
        except (OSError, RuntimeDirError) as error:
            self._log.error("the stops of the site cannot be written: %s", error)
            changed = True
        if changed:
            self._changed()
        here = {robot.known.name for robot in self._robots.values()}
        self._elsewhere.heard(row for row in body.held if row.robot not in here)

    def turn(self, now_ns: int, send: Callable[[list[Buffer], int], bool]) -> None:
        """Ask the drivers; send what is due, each with the number of its broker: what `send`
        refuses at a later turn. A broker that has not said that it takes stops is sent none."""
        if not self._takes:
            return
        if self._store.look():
            self._changed()
        if not self._store.stops.stops:
            return
        for robot in self._robots.values():
            if now_ns >= robot.ask_ns:
                self._ask(robot, now_ns)
        self._receive()
        self._elsewhere.write()
        held = tuple(self._rows())
        is_new, self._sent = held != self._sent, held
        tell_peers(
            self._brokers,
            self._store.stops,
            self._digest,
            held,
            lambda broker, frames: send(frames, broker),
            is_new=is_new,
        )

    def _changed(self) -> None:
        self._digest = self._store.stops.digest
        known = robots_file.read(self._rundir)  # a reload may have changed it
        here = [robot for robot in (() if known is None else known.robots) if robot.wake]
        self._robots = {robot.wake: LocalRobot(robot) for robot in here}
        for stop in self._store.stops.in_force():
            self._log.warning("a stop of the site is in force: by %s: %s", stop.by, stop.why)
        if self._store.unreadable:
            self._log.error("stops of the site are not passed on: %s", self._store.unreadable)

    def _ask(self, robot: LocalRobot, now_ns: int) -> None:
        held = bool(self._store.stops.holding(robot.known.name))
        settled = robot.answer is not None and bool(robot.answer.get("confirmed")) == held
        robot.ask_ns = now_ns + (SETTLED_NS if settled else ASK_NS)
        try:
            self._asking.sendto(msgspec.msgpack.encode({"do": "status"}), robot.known.wake)
            robot.absent = False
        except BlockingIOError:
            pass  # its queue is full: it stands still
        except OSError:
            robot.absent, robot.answer = True, None

    def _receive(self) -> None:
        with suppress(BlockingIOError):
            while True:
                packet, sender = self._asking.recvfrom(1 << 16)
                robot = self._robots.get(sender)
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    if robot is not None:
                        answer = msgspec.msgpack.decode(packet, type=dict[str, Any])
                        robot.answer = answer.get("estop") or {}

    def _rows(self) -> Iterator[HeldRobot]:
        for robot in self._robots.values():
            answer, name = robot.answer or {}, robot.known.name
            stops = tuple(stop.id for stop in self._store.stops.holding(name))
            message = str(answer.get("error") or "")
            if robot.absent:
                message = "its driver is not running: the stop holds when it starts"
            elif robot.answer is None:
                message = "its driver has not answered yet: the stop holds as soon as it runs"
            yield HeldRobot(
                robot=name,
                host=self._host,
                stops=stops,
                confirmed=bool(answer.get("confirmed")),
                latched=bool(answer.get("latched")),
                seen=self._digest,
                message=(self._store.refused if stops and self._store.refused else message)[:256],
            )
