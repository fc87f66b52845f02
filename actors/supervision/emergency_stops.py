"""`EmergencyStops`: the stops in force for the robots of this host, by the files on its disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..driver import latch
from ..driver.latch import EmergencyStop
from ..runtime.site_stop_store import SiteStopStore


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

    def _one(self, robot: str) -> EmergencyStop | None:
        own = latch.engaged(self._directory, robot)
        of_site = self._site.holding(robot)
        if own is not None or not of_site:
            return own
        return EmergencyStop(of_site[0].by, of_site[0].why, of_site[0].at_s)
