"""What the control mode of a robot's driver demands of the robot's entry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.actors.driver.describe import Description
from holdfast.actors.fleet import robot_checks
from holdfast.actors.runtime.device_configs import SpecConfig
from holdfast.robot.base import ControlMode
from holdfast.robot.sim import SPEC
from holdfast.tests.actors.fleet.files import faults


def test_a_velocity_robot_may_not_hold(
    good: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fallback and policy have to match the control mode of the robot's driver."""
    velocity = replace(SPEC, control_mode=ControlMode.VELOCITY)
    said = Description(SpecConfig.of(velocity))
    monkeypatch.setattr(robot_checks, "described", lambda fleet, robot: said)
    found = faults(good)
    assert any("$.robots[0].safety.fallback" in fault and "'zero'" in fault for fault in found)
    assert any("$.robots[0].service" in fault and "velocity" in fault for fault in found)
