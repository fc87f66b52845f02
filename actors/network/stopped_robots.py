"""What becomes of the stops of a site at the robots of this host: what their drivers answer, or
what a script's own loop reports. Nothing blocks.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ...transport.stop_bodies import STOPPED, HeldRobot
from ..runtime import robots_file
from ..runtime.robots_file import KnownRobot
from ..runtime.site_stops import SiteStops
from .latest_vitals import LatestVitals

ASK_NS = 100_000_000
"""How often a driver is asked that has not confirmed a stop."""
SETTLED_NS = 1_000_000_000
"""The same while nothing is new."""


class StoppedRobots(Protocol):
    """Those of one host."""

    @property
    def names(self) -> Collection[str]: ...

    def follow(self) -> None:
        """Other stops are in force: look which robots there are."""

    def turn(self, stops: SiteStops, now_ns: int) -> None:
        """Ask those that are due; take in what was answered."""

    def rows(self, stops: SiteStops, refused: str, now_ns: int) -> Iterator[HeldRobot]:
        """A row for each, with why a lift does not count, if one is `refused`."""

    def close(self) -> None: ...


@dataclass
class AskedDriver:
    """A robot's driver: what it said last, and when it is asked again."""

    known: KnownRobot
    answer: dict[str, Any] | None = None
    ask_ns: int = 0
    absent: bool = False


class FleetRobots:
    """Those of the fleet with the runtime directory `rundir`, on its `host`. A driver sees the
    files of the stops by itself; it is only asked until its device has confirmed."""

    def __init__(self, rundir: Path, host: str) -> None:
        self._rundir, self._host = rundir, host
        self._drivers: dict[str, AskedDriver] = {}
        """By the path of their sockets."""
        self._asking = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._asking.bind("")  # an abstract address, which the kernel chooses
        self.follow()

    @property
    def names(self) -> Collection[str]:
        return {driver.known.name for driver in self._drivers.values()}

    def follow(self) -> None:
        known = robots_file.read(self._rundir)  # a reload may have changed it
        here = [robot for robot in (() if known is None else known.robots) if robot.wake]
        self._drivers = {robot.wake: AskedDriver(robot) for robot in here}

    def turn(self, stops: SiteStops, now_ns: int) -> None:
        for driver in self._drivers.values():
            if now_ns >= driver.ask_ns:
                self._ask(driver, bool(stops.holding(driver.known.name)), now_ns)
        with suppress(BlockingIOError):
            while True:
                packet, sender = self._asking.recvfrom(1 << 16)
                asked = self._drivers.get(sender)
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    if asked is not None:
                        answer = msgspec.msgpack.decode(packet, type=dict[str, Any])
                        asked.answer = answer.get("estop") or {}

    def _ask(self, driver: AskedDriver, held: bool, now_ns: int) -> None:
        settled = driver.answer is not None and bool(driver.answer.get("confirmed")) == held
        driver.ask_ns = now_ns + (SETTLED_NS if settled else ASK_NS)
        try:
            self._asking.sendto(msgspec.msgpack.encode({"do": "status"}), driver.known.wake)
            driver.absent = False
        except BlockingIOError:
            pass  # its queue is full: it stands still
        except OSError:
            driver.absent, driver.answer = True, None

    def rows(self, stops: SiteStops, refused: str, now_ns: int) -> Iterator[HeldRobot]:
        for driver in self._drivers.values():
            answer, name = driver.answer or {}, driver.known.name
            message = str(answer.get("error") or "")
            if driver.absent:
                message = "its driver is not running: the stop holds when it starts"
            elif driver.answer is None:
                message = "its driver has not answered yet: the stop holds as soon as it runs"
            yield _row(
                name,
                self._host,
                stops,
                latched=bool(answer.get("latched")),
                confirmed=bool(answer.get("confirmed")),
                message=message,
                refused=refused,
            )

    def close(self) -> None:
        self._asking.close()


class ScriptRobot:
    """The one of a program (`RemotePolicy`), whose loop sees the files by itself and says so in its
    `vitals`."""

    def __init__(self, robot: str, vitals: LatestVitals) -> None:
        self.names = {robot}
        self._robot, self._vitals = robot, vitals
        self._since_ns = 0
        """Since when the stops are those that are in force."""
        self._host = socket.gethostname()

    def follow(self) -> None:
        """There is always this one; what it said before was of other stops."""
        self._since_ns = time.monotonic_ns()

    def turn(self, stops: SiteStops, now_ns: int) -> None:
        """Its heartbeats come by themselves."""

    def rows(self, stops: SiteStops, refused: str, now_ns: int) -> Iterator[HeldRobot]:
        vitals = self._vitals.current(now_ns)
        stopped = vitals is not None and vitals.state == STOPPED
        confirmed = stopped and self._vitals.heard_ns >= self._since_ns
        waits = "its script has not called act since: it gets no action when it does"
        yield _row(
            self._robot,
            self._host,
            stops,
            latched=stopped or bool(stops.holding(self._robot)),
            confirmed=confirmed,
            message="" if confirmed else waits,
            refused=refused,
        )

    def close(self) -> None:
        """Nothing is open."""


def _row(
    robot: str,
    host: str,
    stops: SiteStops,
    *,
    latched: bool,
    confirmed: bool,
    message: str,
    refused: str,
) -> HeldRobot:
    holding = tuple(stop.id for stop in stops.holding(robot))
    if holding and refused:
        message = refused
    return HeldRobot(
        robot=robot,
        host=host[:128],
        stops=holding,
        confirmed=confirmed,
        latched=latched,
        seen=stops.digest,
        message=message[:256],
    )
