"""What a service's policy and a robot's driver say about themselves, without running either."""

from __future__ import annotations

from ...policy.base import PolicySpec
from ...policy.checkpoint import read_spec
from ...robot.base import RobotSpec
from .schema import RobotEntry, ServiceEntry


def policy_spec(service: ServiceEntry) -> PolicySpec:
    """What the service's policy wants and gives. Raises PolicyError."""
    return read_spec(service.checkpoint)


def robot_spec(robot: RobotEntry) -> RobotSpec | None:
    """What the robot's driver says about it; None for a driver that does not exist."""
    if robot.driver == "sim":
        from ...robot.sim import SPEC

        return SPEC
    return None
