"""Keys move joints by steps, from where the robot is when the person takes over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from holdfast.robot.base import ControlMode, RobotSpec
from holdfast.robot.teleop_keys import KeyboardOptions, KeyboardTeleoperator

SPEC = RobotSpec(
    ("a", "b", "c"), ("a", "b"), ControlMode.POSITION, (-1, -1, -1), (1, 1, 1), (2, np.inf, 1)
)


def pose(keyboard: KeyboardTeleoperator) -> list[float]:
    out = np.zeros(3, np.float32)
    keyboard.get_action(out)
    return [round(float(value), 4) for value in out]


def located(*position: float) -> NDArray[np.float32]:
    return np.array(position, np.float32)


def test_a_press_moves_its_joint_by_a_step_within_the_range() -> None:
    """A step is 0.1 s at the joint's rate, a fiftieth of its range, or as `step` says."""
    keyboard = KeyboardTeleoperator(SPEC, KeyboardOptions(step={"c": 0.5}))
    keyboard.locate(located(0, 0, np.nan), in_command=False)
    keyboard.key("q")
    assert pose(keyboard) == [0.2, 0, 0]
    keyboard.key("s")
    assert pose(keyboard) == [0.2, -0.04, 0]
    for _ in range(9):
        keyboard.key("e")
    assert pose(keyboard) == [0.2, -0.04, 1]


def test_keys_start_from_the_robot_until_the_person_is_in_command() -> None:
    """The robot's motion under the policy is followed; under the person's keys it is not."""
    keyboard = KeyboardTeleoperator(SPEC, KeyboardOptions())
    keyboard.locate(located(0.5, 0.5, np.nan), in_command=False)
    keyboard.locate(located(0.4, 0.4, np.nan), in_command=True)
    assert pose(keyboard) == [0.5, 0.5, 0]
    keyboard.locate(located(-0.3, 0.1, np.nan), in_command=False)
    assert pose(keyboard) == [-0.3, 0.1, 0]


def test_the_keys_of_the_buttons_are_handed_out_once() -> None:
    """Space takes over, enter and 0 say how the episode ended; other keys say nothing."""
    keyboard = KeyboardTeleoperator(SPEC, KeyboardOptions())
    for key in (" ", "\n", "z", "0", "x", "\x1b"):
        keyboard.key(key)
    assert keyboard.pressed() == ("take_over", "success", "failure", "rerecord", "stop")
    assert keyboard.pressed() == ()
