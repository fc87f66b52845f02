"""A LeRobot teleoperator, and the library's own calibration."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import RobotError
from holdfast.tests.feetech import sts3215
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


def test_a_leader_that_is_not_calibrated_is_refused_and_asks_nobody(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """The library would wait for a person."""
    driver.call("lead", {**options, "type": "so101_leader", "id": "other"})
    with pytest.raises(RobotError, match=r"no calibration file .*other\.json"):
        driver.call("leader.connect")
    driver.call("leader.close")


def test_calibration_is_the_librarys_own_procedure_at_the_terminal(
    lerobot: Path, path: str, arm: So101, options: Options, tmp_path: Path
) -> None:
    """It asks whether the file is to be used; Enter writes it to the motors."""
    arm.calibration(tmp_path / "calibration", "left", elbow_flex=-800)
    done = subprocess.run(
        [lerobot, "-P", "-m", "holdfast.robot.lerobot.calibrate", json.dumps(options)],
        check=False,
        input="\n",
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Press ENTER to use provided calibration" in done.stdout
    assert arm.motors[3].get(sts3215.OFFSET) == -800


def test_a_calibration_that_fails_says_why_in_a_line(
    lerobot: Path, path: str, arm: So101, options: Options
) -> None:
    """And its status is not 0."""
    arm.unplug()
    done = subprocess.run(
        [lerobot, "-P", "-m", "holdfast.robot.lerobot.calibrate", json.dumps(options)],
        check=False,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
    )
    assert done.returncode == 1
    assert "ttyACM0" in done.stderr.splitlines()[-1]
