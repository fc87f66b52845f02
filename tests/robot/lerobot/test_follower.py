"""A LeRobot robot as a driver: names, states, commands, rest, faults of its bus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import RobotError
from holdfast.tests.feetech import sts3215
from holdfast.tests.feetech.so101 import JOINTS, NAMES, RANGES, So101
from holdfast.tests.robot.lerobot.lerobot_process import LeRobotProcess
from holdfast.tests.waiting import wait_until

Options = dict[str, Any]
ALL_ON = (1,) * len(JOINTS)
DEGREE = 4095 / 360


@pytest.fixture
def held(driver: LeRobotProcess, arm: So101, options: Options) -> LeRobotProcess:
    """A driver that is attached to an arm that holds its pose."""
    arm.hold()
    driver.call("make", {**options, "use_degrees": True})
    driver.call("robot.connect")
    return driver


def test_names_and_ranges_are_those_of_the_library_before_anything_is_opened(
    driver: LeRobotProcess, options: Options
) -> None:
    """`spec` is there after construction, in the unit of the calibration, without a port."""
    options["port"] = "/nonexistent/ttyACM7"
    degrees = driver.call("make", {**options, "use_degrees": True})
    assert tuple(degrees["actions"]) == tuple(degrees["states"]) == NAMES
    assert degrees["mode"] == "position"
    half = (RANGES[1][1] - RANGES[1][0]) / DEGREE / 2
    assert (degrees["lower"][1], degrees["upper"][1]) == pytest.approx((-half, half))
    shares = driver.call("make", {**options, "use_degrees": False})
    assert shares["lower"] == [-100.0] * 5 + [0.0]
    assert shares["upper"] == [100.0] * 6
    with pytest.raises(RobotError, match=r"ttyACM7.*No such file"):
        driver.call("robot.connect")


def test_a_command_moves_the_arm_and_the_state_follows(held: LeRobotProcess, arm: So101) -> None:
    """Values go out and come back in the library's own unit."""
    goal = [10.0, -5.0, 5.0, 0.0, 20.0, 50.0]
    held.call("write", goal)
    sag = max(motor.sag for motor in arm.motors.values()) / DEGREE
    wait_until(lambda: held.call("read") == pytest.approx(goal, abs=sag + 0.2), "it is there")
    middle = sum(RANGES[0]) / 2
    assert arm.pose["shoulder_pan"] == pytest.approx(middle + 10 * DEGREE, abs=2)


def test_hold_stops_a_moving_joint_and_lets_the_others_be(held: LeRobotProcess, arm: So101) -> None:
    """A joint on its way stops; a goal against which gravity is held stays as it is."""
    arm.motors[1].speed = 10.0  # a busy machine may need seconds between question and answer
    goals = [motor.get(sts3215.GOAL) for motor in arm.motors.values()]
    held.call("write", [110.0, *held.call("read")[1:]])
    wait_until(lambda: arm.written(sts3215.GOAL), "the goals arrive")
    arm.writes.clear()
    held.call("robot.hold")
    assert {w.motor for w in arm.written(sts3215.GOAL)} == {1}
    stopped = arm.written(sts3215.GOAL)[-1]
    assert abs(stopped.value - stopped.present) < sts3215.Sts3215.speed * 0.05
    now = [motor.get(sts3215.GOAL) for motor in arm.motors.values()]
    assert all(abs(a - b) < 30 for a, b in zip(now[1:], goals[1:], strict=True))
    assert arm.torques == ALL_ON


def test_hold_says_when_the_device_does_not_confirm_it(held: LeRobotProcess, arm: So101) -> None:
    """A silent bus confirms nothing."""
    held.call("write", [100.0, 0, 0, 0, 0, 50.0])
    arm.silent = True
    with pytest.raises(RobotError, match=r"There is no status packet"):
        held.call("robot.hold")


def test_release_is_the_only_way_in_which_the_torque_goes_off(
    held: LeRobotProcess, arm: So101
) -> None:
    """`close` leaves it on; `release` confirms that it is off."""
    held.call("robot.close")
    assert arm.torques == ALL_ON and not arm.written(sts3215.TORQUE)
    held.call("robot.connect")
    held.call("robot.release")
    assert arm.torques == (0,) * 6
    held.call("watch")  # which would take a lost torque for a fault


@pytest.mark.parametrize("end", ["forget", "exit", "kill"])
def test_a_process_that_ends_leaves_the_torque_as_it_is(
    lerobot: Path, path: str, arm: So101, options: Options, end: str
) -> None:
    """Without `close`, at the end of the program or by SIGKILL, nothing switches the torque off."""
    arm.hold()
    with LeRobotProcess(lerobot, path) as process:
        process.call("make", options)
        process.call("robot.connect")
        process.call("read")
        if end == "forget":
            process.call("forget")
        elif end == "exit":
            process.exit()
        else:
            process.process.kill()
            process.process.wait()
        assert arm.torques == ALL_ON
        assert not arm.written(sts3215.TORQUE)


def test_an_adapter_that_is_unplugged_and_comes_back_is_attached_again(
    held: LeRobotProcess, arm: So101
) -> None:
    """Errors name the robot and its port; the robot held its pose all the time."""
    arm.unplug()
    for _ in range(2):
        with pytest.raises(RobotError, match=r"left on .*ttyACM0"):
            held.call("read")
        with pytest.raises(RobotError, match=r"left on .*ttyACM0"):
            held.call("write", [0.0] * 6)
    held.call("robot.close")
    with pytest.raises(RobotError, match=r"No such file"):
        held.call("robot.connect")
    arm.plug()
    arm.writes.clear()
    held.call("robot.connect")
    assert held.call("read")[0] == pytest.approx(0, abs=0.3)
    assert arm.writes == []


def test_a_bus_that_was_silent_works_again_without_being_opened(
    held: LeRobotProcess, arm: So101
) -> None:
    """A hiccup costs the readings that it covers."""
    arm.silent = True
    with pytest.raises(RobotError, match=r"left on .*no status packet"):
        held.call("read")
    arm.silent = False
    assert held.call("read")[0] == pytest.approx(0, abs=0.3)


def test_an_answer_that_comes_late_is_not_taken_for_the_next_one(
    held: LeRobotProcess, arm: So101
) -> None:
    """What lies in the port's buffer before a question is never taken for its answer."""
    assert held.call("hear_late")[0] == pytest.approx(0, abs=0.3)
    assert arm.torques == ALL_ON


def test_flush_discards_what_was_queued(held: LeRobotProcess, arm: So101) -> None:
    """The port is usable afterwards."""
    held.call("robot.flush")
    assert held.call("read")[0] == pytest.approx(0, abs=0.3)


def test_a_port_is_used_by_one_program_only(
    held: LeRobotProcess, lerobot: Path, path: str, arm: So101, options: Options
) -> None:
    """Two programs on one bus would read each other's answers."""
    with LeRobotProcess(lerobot, path) as other:
        other.call("make", options)
        with pytest.raises(RobotError, match=r"ttyACM0.*exclusively lock"):
            other.call("robot.connect")
    assert held.call("read")[0] == pytest.approx(0, abs=0.3)
    assert arm.writes == []


def test_both_arms_of_a_bimanual_robot_are_attached(driver: LeRobotProcess, tmp_path: Path) -> None:
    """Each has its own bus, and the names have its side."""
    with So101(tmp_path / "dev", "ttyL") as left, So101(tmp_path / "dev", "ttyR") as right:
        for side, arm in (("left", left), ("right", right)):
            arm.calibration(tmp_path / "calibration", f"two_{side}")
            arm.hold()
        made = driver.call(
            "make",
            {
                "type": "bi_so_follower",
                "id": "two",
                "calibration_dir": str(tmp_path / "calibration"),
                "left_arm_config": {"port": str(left.port)},
                "right_arm_config": {"port": str(right.port)},
            },
        )
        assert made["actions"] == [f"{side}_{name}" for side in ("left", "right") for name in NAMES]
        assert made["lower"][0] > -360 and made["lower"][6] == made["lower"][0]
        driver.call("robot.connect")
        assert left.writes == right.writes == []
        right.unplug()
        with pytest.raises(RobotError, match=r"two_right on .*ttyR"):
            driver.call("read")
        driver.call("robot.close")
        assert left.torques == ALL_ON
