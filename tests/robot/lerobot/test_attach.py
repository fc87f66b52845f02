"""A LeRobot robot is taken over without a drop: both versions of the unmodified library, and an
SO-101 that speaks the protocol of its motors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import RobotError
from holdfast.tests.feetech import sts3215
from holdfast.tests.feetech.so101 import JOINTS, POSE, So101
from holdfast.tests.robot.lerobot.lerobot_process import LeRobotProcess
from holdfast.tests.waiting import wait_until

Options = dict[str, Any]
ALL_ON = (1,) * len(JOINTS)
STEPS_OF_FALL = 20
"""That a limp joint may fall between the question where it is and the answer of the test."""


def fall_slowly(arm: So101) -> None:
    """From now on: STEPS_OF_FALL take twenty seconds, which a busy machine may need."""
    for motor in arm.motors.values():
        motor.fall_speed = STEPS_OF_FALL / 20


def test_a_robot_that_holds_is_attached_without_a_write(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """With torque on and the registers as the library wants them, nothing is written."""
    arm.hold()
    driver.call("make", options)
    driver.call("robot.connect")
    state = driver.call("read")
    assert arm.writes == []
    assert arm.torques == ALL_ON
    assert state == pytest.approx([0, 0, 0, 0, 0, 100 * (2600 - 2030) / 1470], abs=0.3)


def test_a_limp_robot_is_configured_and_stays_where_it_is(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """Without torque it is configured, each goal becomes the present position."""
    driver.call("make", options)
    fall_slowly(arm)
    for joint in (1, 2, 3):  # the goals of a run long ago
        arm.motors[joint].put(sts3215.GOAL, 3000)
    before = arm.pose
    driver.call("robot.connect")
    assert arm.torques == ALL_ON
    assert all(w.value == 1 for w in arm.written(sts3215.TORQUE))
    for enabled in arm.written(sts3215.TORQUE):
        goal = [w for w in arm.written(sts3215.GOAL) if w.motor == enabled.motor][-1]
        assert goal.at_ns < enabled.at_ns
        assert abs(goal.value - enabled.present) < STEPS_OF_FALL
    assert [arm.motors[n].get(sts3215.P_GAIN) for n in range(1, 7)] == [16] * 6
    assert arm.motors[6].get(sts3215.MAX_TORQUE) == 500
    after = arm.pose
    assert all(abs(after[joint] - before[joint]) < STEPS_OF_FALL * 2 for joint in JOINTS)
    arm.cut_power()
    assert arm.motors[3].get(sts3215.P_GAIN) == 16, "what is configured is kept"


def test_only_the_motors_without_torque_are_switched_on(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """A motor that lost its torque beside others that hold is configured alone."""
    arm.hold()
    arm.motors[4].put(sts3215.TORQUE, 0)
    arm.motors[4].put(sts3215.P_GAIN, 32)
    driver.call("make", options)
    driver.call("robot.connect")
    assert {w.motor for w in arm.writes} == {4}
    assert arm.torques == ALL_ON
    assert all(w.value == 1 for w in arm.written(sts3215.TORQUE))


def test_a_register_in_ram_is_corrected_while_the_robot_holds(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """The acceleration is no more than what differs: one write, no change of the torque."""
    arm.hold()
    arm.motors[2].put(41, 20)
    driver.call("make", options)
    driver.call("robot.connect")
    assert [(w.motor, w.address, w.value) for w in arm.writes] == [(2, 41, 254)]


def test_a_robot_that_holds_with_another_configuration_is_refused(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """What can be written with the torque off only is named, and nothing is written."""
    arm.hold()
    arm.motors[2].store(P_GAIN=32)
    driver.call("make", options)
    with pytest.raises(RobotError, match=r"P_Coefficient is 32.*with 16.*support it"):
        driver.call("robot.connect")
    assert arm.writes == []
    assert arm.torques == ALL_ON


def test_a_calibration_that_differs_is_refused_with_both_values(
    driver: LeRobotProcess, arm: So101, options: Options, tmp_path: Path
) -> None:
    """The zeros of the motors and of the file must agree before anything is commanded."""
    arm.calibration(tmp_path / "calibration", "left", elbow_flex=-800)
    driver.call("make", options)
    with pytest.raises(
        RobotError, match=r"elbow_flex: homing_offset is -850, the file says -800.*calibrate"
    ):
        driver.call("robot.connect")
    assert arm.writes == []


def test_a_robot_without_a_calibration_file_is_refused_without_a_question(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """The library's own connect would wait for a person here."""
    driver.call("make", {**options, "id": "right"})
    with pytest.raises(RobotError, match=r"no calibration file .*right\.json.*robots calibrate"):
        driver.call("robot.connect")


def test_an_overheated_motor_keeps_the_robot_from_being_attached(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """It is named, with its number and the port, and attaching works once it has cooled."""
    arm.hold()
    driver.call("make", options)
    driver.call("robot.connect")
    arm.motors[3].fail(sts3215.OVERHEATED)
    with pytest.raises(RobotError, match=r"left on .*ttyACM0: elbow_flex \(3\): overheated"):
        driver.call("watch")
    with pytest.raises(RobotError, match=r"elbow_flex \(3\): overheated"):
        driver.call("robot.connect")
    assert arm.torques[2] == 0 and not arm.written(sts3215.TORQUE)
    arm.motors[3].fail(0)
    driver.call("robot.connect")
    assert arm.torques == ALL_ON
    assert all(w.value == 1 for w in arm.written(sts3215.TORQUE))


def test_an_overloaded_gripper_is_reported_and_goes_on(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """A gripper that holds something reports an overload with every answer."""
    arm.hold()
    arm.motors[6].fail(sts3215.OVERLOADED)
    driver.call("make", options)
    driver.call("robot.connect")
    driver.call("watch")
    assert driver.call("robot.report") == {"motors": "gripper (6): overload"}
    assert arm.writes == []


def test_a_robot_whose_power_was_cut_is_noticed_and_stays_where_it_fell(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """Lost torque is found out by asking, and attaching commands the present position first."""
    arm.hold()
    driver.call("make", options)
    driver.call("robot.connect")
    arm.cut_power()
    wait_until(lambda: arm.pose["shoulder_lift"] < POSE[1] - 100, "the arm falls")
    fall_slowly(arm)
    with pytest.raises(RobotError, match=r"torque of shoulder_pan, .* is off; its power"):
        driver.call("watch")
    fallen = arm.pose
    driver.call("robot.connect")
    assert arm.torques == ALL_ON
    assert all(abs(arm.pose[joint] - fallen[joint]) < STEPS_OF_FALL * 3 for joint in JOINTS)


def test_a_motor_that_is_absent_is_named(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """One silent motor, or all of them, and what to look at."""
    gone = arm.motors.pop(5)
    driver.call("make", options)
    with pytest.raises(RobotError, match=r"no answer from wrist_roll \(5\): look at the power"):
        driver.call("robot.connect")
    arm.motors[5] = gone
    arm.silent = True
    with pytest.raises(RobotError, match=r"ttyACM0: no motor answers"):
        driver.call("robot.connect")
    arm.silent = False
    driver.call("robot.connect")


def test_a_motor_of_another_model_is_refused(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """Its registers would be others."""
    arm.motors[2].memory[3] = 8
    driver.call("make", options)
    with pytest.raises(RobotError, match=r"shoulder_lift is a motor of model 776, expected 777"):
        driver.call("robot.connect")


def test_damaged_answers_do_not_keep_a_robot_from_being_attached(
    driver: LeRobotProcess, arm: So101, options: Options
) -> None:
    """Each exchange is repeated; what is written is read back."""
    arm.damage = 0.01
    driver.call("make", options)

    def attached() -> bool:
        try:
            driver.call("robot.connect")
        except RobotError:
            return False
        return True

    wait_until(attached, "it attaches")
    assert arm.torques == ALL_ON
    assert all(w.value == 1 for w in arm.written(sts3215.TORQUE))
