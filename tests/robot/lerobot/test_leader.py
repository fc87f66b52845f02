"""A LeRobot teleoperator as a source of actions."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.errors import RobotError
from holdfast.tests.feetech.so101 import NAMES, So101
from holdfast.tests.robot.lerobot.lerobot_process import LeRobotProcess

Options = dict[str, Any]


def test_a_leader_arm_gives_its_pose_by_the_names_of_its_actions(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """It is limp, as the library leaves it."""
    names = driver.call("lead", {**options, "type": "so101_leader", "use_degrees": True})
    assert tuple(names) == NAMES
    driver.call("leader.connect")
    assert driver.call("follow")[0] == pytest.approx(0, abs=0.3)
    assert arm.torques == (0,) * 6
    arm.silent = True
    with pytest.raises(RobotError, match=r"left on .*ttyACM0"):
        driver.call("follow")
    arm.silent = False
    driver.call("leader.close")


def test_a_leader_that_is_not_calibrated_is_refused_without_a_question(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """The library would wait for a person."""
    driver.call("lead", {**options, "type": "so101_leader", "id": "other"})
    with pytest.raises(RobotError, match=r"no calibration file .*other\.json"):
        driver.call("leader.connect")
    driver.call("leader.close")
