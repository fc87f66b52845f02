"""What a service's policy and a robot's driver say about themselves, without running either."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ...errors import RobotError
from ...policy.base import PolicySpec
from ...policy.checkpoint import read_spec
from ...robot.base import RobotSpec
from ..driver.describe import Asked, Description, describe
from .schema import FleetFile, LimitEntry, RobotEntry, ServiceEntry


def policy_spec(service: ServiceEntry) -> PolicySpec:
    """What the service's policy wants and gives. Raises PolicyError."""
    return read_spec(service.checkpoint)


def described(fleet: FleetFile, robot: RobotEntry) -> Description:
    """What the robot's driver says about it. Raises RobotError where it cannot be asked."""
    python = None if robot.in_process else robot.python
    return describe(Asked(robot.driver, robot.options, fleet.import_path), python)


def robot_spec(fleet: FleetFile, robot: RobotEntry) -> RobotSpec:
    """What its driver says about the robot, with the limits of its entry. Raises RobotError, and
    ValueError for limits that contradict each other."""
    return limited(described(fleet, robot).spec.spec(), robot.limits)


def limited(spec: RobotSpec, limits: Mapping[str, LimitEntry]) -> RobotSpec:
    """`spec` with the `limits` of those actions that it has. Raises ValueError."""

    def column(name: str, own: tuple[float, ...]) -> tuple[float, ...]:
        given = (getattr(limits.get(action), name, None) for action in spec.action_names)
        return tuple(value if new is None else new for new, value in zip(given, own, strict=True))

    return replace(
        spec,
        lower=column("lower", spec.lower),
        upper=column("upper", spec.upper),
        max_rate=column("max_rate", spec.max_rate),
    )


def is_here(fleet: FleetFile, robot: RobotEntry) -> bool:
    """Whether the robot is this machine's, as far as its host name tells: drivers of others need
    not be installed here."""
    return not fleet.hosts or robot.host == socket.gethostname()


def ask_all(fleet: FleetFile, robots: Iterable[RobotEntry]) -> None:
    """Ask the drivers of `robots` at the same time: what they said is kept."""

    def ask(robot: RobotEntry) -> None:
        try:
            described(fleet, robot)
        except RobotError:
            return  # said again, and reported, when the robot is checked

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, robots))
