"""The robots of a fleet file for `robots.json`: what an emergency stop has to reach, and how."""

from __future__ import annotations

from pathlib import Path

from ..runtime.robots_file import KnownRobot, KnownRobots, write
from .host_context import HostContext
from .schema import FleetFile


def known_robots(fleet: FleetFile, host: str | None, rundir: Path, state_dir: Path) -> KnownRobots:
    """Those of `fleet` as the machine `host` reaches them."""
    context = HostContext(fleet, host, rundir, state_dir)
    return KnownRobots(
        fleet=fleet.name,
        state_dir=str(state_dir),
        keyring=fleet.security.keys,
        robots=tuple(
            KnownRobot(robot.name, context.wake(robot))
            if robot.host == host
            else KnownRobot(robot.name, host=robot.host or "")
            for robot in fleet.robots
        ),
    )


def list_robots(fleet: FleetFile, host: str | None, rundir: Path, state_dir: Path) -> None:
    """Write them into both directories of a fleet that runs. Raises OSError."""
    known = known_robots(fleet, host, rundir, state_dir)
    for directory in (state_dir, rundir):
        write(known, directory)
