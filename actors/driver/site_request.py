"""`SiteRequest`: a stop, or its lift, for the robots that other hosts of the site drive.

It is a file in the fleet's state directory, which the network actors and the broker of this host
pass on; what becomes of it they write there too. So it needs one of them, and a path to the robots'
hosts: as soon as there is one it takes effect, also long after `answers` has given up. The file is
read from when it is made, and outlasts a power cut after `settle`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import RuntimeDirError
from ...transport.limits import DEFAULT
from ...transport.stop_bodies import HeldRobot
from ..runtime.held_robots import held_robots
from ..runtime.robots_file import KnownRobot, KnownRobots
from ..runtime.site_stop_store import SiteStopStore
from ..runtime.site_stops import new_stop

LOOK_S = 0.05
SCRIPT = "script"
"""How the host of a script's robot begins."""
_OF_CLIENT = (
    "no stop reaches it: its port gives it no chunks from now on, and what the robot does is up to "
    "its own program: use that robot's own stop"
)


@dataclass
class SiteRequest:
    """What is asked of the robots `names`, or of all where none is named; `robots` are those of
    other hosts among them. `error` is why it could not be written."""

    fleet: KnownRobots
    robots: Sequence[KnownRobot]
    names: Sequence[str] = ()
    store: SiteStopStore | None = None
    stop: str = ""
    """The id of the stop that is given."""
    stops: frozenset[str] = frozenset()
    """Those of the stops by which it is in force, or of those that are lifted."""
    lifted: bool = False
    freed: frozenset[str] = frozenset()
    """Which robots had been stopped by name, and are lifted."""
    digest: str = ""
    """Of what a host knows that knows of this."""
    error: str = ""
    unsettled: str = ""
    """Why a power cut may undo it, in words; empty if it does not."""

    @property
    def state_dir(self) -> Path:
        return Path(self.fleet.state_dir)

    def settle(self) -> None:
        """Wait until a power cut does not undo it. Raises OSError."""
        if self.store is not None and not self.error:
            self.store.settle()

    def settled(self, row: HeldRobot) -> bool:
        """Whether the robot's host has done all of it."""
        if self.lifted:
            return self.knows(row) and not row.latched
        return self.knows(row) and row.confirmed

    def knows(self, row: HeldRobot) -> bool:
        """Whether the robot's host knows of it."""
        if self.lifted:
            return row.seen == self.digest and not self.stops & set(row.stops)
        return bool(self.stops & set(row.stops))

    def message(self, robot: KnownRobot, row: HeldRobot | None) -> str:
        """What was not done at a robot of another host, and what to do; empty if all was."""
        return "; ".join(filter(None, [self.error or self._undone(robot, row), self.unsettled]))

    def _undone(self, robot: KnownRobot, row: HeldRobot | None) -> str:
        if self.stop and not self.stops:
            return "this stop was lifted meanwhile"
        if robot.is_client:
            return "" if self.lifted else _OF_CLIENT
        if row is not None and self.settled(row):
            return ""
        if self.lifted and not self.stops and (row is None or self.knows(row)):
            return f"no stop of the site holds it: one of its host {robot.host} is lifted there"
        if row is None or not self.knows(row):
            return self._unreached(robot, row)
        if self.lifted and row.stops:
            return "a stop of the site that was given meanwhile holds it"
        if self.lifted:
            return f"a stop of its own host {robot.host} holds it: lift that there"
        return f"the device has not confirmed it: {row.message or 'no reason given'}"

    def _unreached(self, robot: KnownRobot, row: HeldRobot | None) -> str:
        if robot.host.startswith(SCRIPT):
            done = "lifted it" if self.lifted else "answered"
            return (
                f"not reached: its {robot.host} has not {done}. It does so as soon as its path to "
                "the broker is back; a program of an earlier release never does"
            )
        if self.lifted:
            why = row.message if row is not None and row.message else "it has not answered"
            return (
                f"its host {robot.host} has not lifted it: {why}; it does so as soon as it can, or "
                f"`actorctl estop --release {robot.name}` there"
            )
        return (
            f"not reached: host {robot.host} has not answered through a broker. The robot stops as "
            "soon as its path is back, while this stop is in force; at once by `actorctl estop` "
            "there, or by cutting its power"
        )

    def without_robot(self, name: str) -> str | None:
        """What it does for a name of which no robot is known: empty if that is all that can be
        meant, None if it is nothing."""
        if name not in self.names or self.error:
            return self.error or None
        if not self.lifted:
            done = f"a stop for it is in force, until `actorctl estop --release {name}`"
        elif name in self.freed or not self.stops:
            return self.unsettled if name in self.freed else None
        else:
            done = "it is lifted from the stop of the whole site"
        return "; ".join(filter(None, [done, self.unsettled]))

    def answers(self, until_s: float) -> Mapping[str, HeldRobot]:
        """What the robots' hosts have answered, by robot, as soon as all is done or at the instant
        `until_s` of the monotonic clock. Of one whose host does not know of this the last word, if
        there is one."""
        wanted = {robot.name for robot in self.robots if not robot.is_client}
        while True:
            self._follow()
            found: dict[str, HeldRobot] = {}
            for row in held_robots(Path(self.fleet.state_dir)):
                if row.robot in wanted and (row.robot not in found or self.knows(row)):
                    found[row.robot] = row
            done = {name for name, row in found.items() if self.settled(row)}
            is_over = not self.stops if self.stop else not self.digest
            if done == wanted or time.monotonic() >= until_s or self.error or is_over:
                return found
            time.sleep(LOOK_S)

    def _follow(self) -> None:
        """What came meanwhile from other programs and hosts: a stop that stands in for this one, a
        lift of it, or other stops, which the robots' hosts know too."""
        if self.store is None or not self.digest:
            return
        self.store.look()
        self.digest = self.store.stops.digest
        if self.stop:
            self.stops = self.store.stops.standing_for(self.stop)


def stop_site(
    fleet: KnownRobots, robots: Sequence[KnownRobot], names: Sequence[str], by: str, why: str
) -> SiteRequest:
    """Stop the robots `names`, which are `robots` and some of this host, or where none is named
    all of the site, those too that the fleet file of this host does not know yet."""
    # A stop with a name that no robot can have could not be read, and would hold all robots.
    names = [name for name in names if len(name) <= DEFAULT.max_name_chars]
    store = _store(fleet)
    store.look()
    # Also where one holds them already: a lift of that may be under way.
    stop = new_stop(names, by, why, time.time())
    request = SiteRequest(fleet, robots, names, store)
    try:
        store.add([stop], [])
    except (OSError, RuntimeDirError) as error:
        request.error = f"the stop cannot be written ({error})"
    request.stop, request.stops = stop.id, store.stops.standing_for(stop.id)
    request.digest = store.stops.digest
    return request


def lift_site(
    fleet: KnownRobots, robots: Sequence[KnownRobot], names: Sequence[str], by: str, secret: object
) -> SiteRequest:
    """Lift every stop of the site that holds the robots `names`, or all where none is named: also
    those that hold robots of this host. `secret` is an operator's key where the fleet has keys."""
    # Not for a stop, which it would delay.
    import zmq

    from ...transport.keys import Key, KeyOwner, Role
    from ..runtime import lifting

    store = _store(fleet)
    store.look()
    wanted = store.stops.lifting(names)
    operator = None
    if fleet.keyring is not None:
        key = str(secret).encode()
        operator = Key(KeyOwner("operator", Role.OPERATOR), zmq.curve_public(key), key)
    stops = frozenset(stop for stop, _ in wanted)
    freed = {name for id in stops for name in store.stops.stops[id].robots if name in names}
    request = SiteRequest(
        fleet, robots, names, store, stops=stops, lifted=True, freed=frozenset(freed)
    )
    try:
        store.add([], lifting.lifts_of(wanted, by, operator))
    except (OSError, RuntimeDirError) as error:
        request.error = f"the lift cannot be written ({error})"
    request.digest = store.stops.digest if store.stops.stops else ""
    return request


def _store(fleet: KnownRobots) -> SiteStopStore:
    return SiteStopStore(
        Path(fleet.state_dir), None if fleet.keyring is None else Path(fleet.keyring)
    )
