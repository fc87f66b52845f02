"""`EmergencyStops`: the stops in force for robots, by the files on this host's disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...transport.stop_bodies import SiteStop
from ..driver import latch
from ..driver.latch import EmergencyStop
from ..runtime.held_robots import held_robots
from ..runtime.site_stop_files import unknown_stop
from ..runtime.site_stop_store import SiteStopStore
from .site import HeldBySite


class EmergencyStops:
    """Those of the fleet with the state directory `directory`: of single robots, and of the site.
    For the status: which lifts count, the drivers decide."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._site = SiteStopStore(directory, None)

    def of(self, robots: Iterable[str]) -> dict[str, EmergencyStop]:
        """By robot; those that are not stopped are left out."""
        self._site.look()
        found = {robot: self._one(robot) for robot in robots}
        return {robot: stop for robot, stop in found.items() if stop is not None}

    def elsewhere(self, robots: Iterable[str]) -> HeldBySite:
        """By robot of a script or of another host, and by each that a stop names, the stop of the
        site that holds it, with what was heard of it. Those that are not stopped are left out. The
        stop of the whole site holds each robot that comes."""
        self._site.look()
        in_force = self._site.stops.in_force()
        found: dict[str, dict[str, Any]] = {}
        heard = held_robots(self._directory) if in_force else []
        for robot in {*robots, *(name for stop in in_force for name in stop.robots)}:
            if not (stops := self._site.stops.holding(robot)):
                continue
            ids = {stop.id for stop in stops}
            said = [row for row in heard if row.robot == robot and ids & set(row.stops)]
            row = max(said, key=lambda row: row.confirmed, default=None)
            confirmed = row is not None and row.confirmed
            error = "its host has not answered" if row is None else row.message
            found[robot] = {
                **_given(stops[0]),
                "confirmed": confirmed,
                "error": "" if confirmed else error or "its host says no reason",
            }
        return HeldBySite(found, self._whole(in_force))

    def _whole(self, in_force: Iterable[SiteStop]) -> dict[str, Any] | None:
        """The first stop of the whole site; last is one for what cannot be read."""
        whole = [stop for stop in in_force if not stop.robots]
        if self._site.unreadable:
            whole.append(unknown_stop("", self._site.unreadable))
        return _given(whole[0]) if whole else None

    def _one(self, robot: str) -> EmergencyStop | None:
        own = latch.engaged(self._directory, robot)
        of_site = self._site.holding(robot)
        if own is not None or not of_site:
            return own
        return EmergencyStop.of_site(of_site[0])


def _given(stop: SiteStop) -> dict[str, Any]:
    """Who gave a stop, why and when, as a row of the status has it."""
    return {"by": stop.by, "why": stop.why, "at_s": stop.at_s}
