"""The specs of a service's policy and of a robot's driver, without running either."""

from __future__ import annotations

from ...policy.base import PolicySpec
from ...policy.checkpoint import read_spec
from ...robot.base import RobotSpec
from .schema import RobotEntry, ServiceEntry


def policy_spec(service: ServiceEntry) -> PolicySpec:
    """The contract of the service's policy. Raises PolicyError if its checkpoint has none."""
    return read_spec(service.checkpoint)


def robot_spec(robot: RobotEntry) -> RobotSpec | None:
    """The contract of the robot's driver; None for a driver that does not exist."""
    if robot.driver == "sim":
        from ...robot.sim import SPEC

        return SPEC
    return None
