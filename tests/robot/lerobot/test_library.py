"""What the installed library has, and what it takes."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.errors import RobotError
from holdfast.tests.robot.lerobot.lerobot_process import LeRobotProcess

Options = dict[str, Any]
FRONT = {"type": "opencv", "index_or_path": 0, "width": 640, "height": 480, "fps": 30}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"type": "so102_follower"}, "has no robot 'so102_follower', it has .*so101_follower"),
        ({"prot": "/dev/ttyACM0"}, "options of so101_follower: .*prot"),
        ({"port": None}, "options of so101_follower: .*port"),
        ({"cameras": {"front": FRONT}}, "has the camera 'front'.*declare it under `cameras`"),
        ({"disable_torque_on_disconnect": True}, "at_stop: torque_off"),
        ({"type": "lekiwi", "port": "/dev/ttyACM0", "cameras": {}}, "by velocity.*by position"),
    ],
)
def test_options_that_the_library_does_not_take_are_refused_by_name(
    driver: LeRobotProcess, options: Options, changes: Options, said: str
) -> None:
    """One line that says what was found and what to do."""
    wrong = {key: value for key, value in {**options, **changes}.items() if value is not None}
    with pytest.raises(RobotError, match=said) as refused:
        driver.call("make", wrong)
    assert "\n" not in str(refused.value)


def test_a_robot_of_a_third_party_package_is_found_by_its_type(driver: LeRobotProcess) -> None:
    """As the library's own commands find it. Without a bus it is opened by its own `connect`."""
    made = driver.call("make", {"type": "cart"})
    assert (made["actions"], made["mode"]) == (["x.vel"], "velocity")
    assert made["upper"] == [float("inf")]
    driver.call("robot.connect")
    driver.call("write", [0.5])
    assert driver.call("read") == [0.5]
    driver.call("robot.hold")
    assert driver.call("read") == [0.0]
    with pytest.raises(RobotError, match=r"cannot cut the torque"):
        driver.call("robot.release")
    driver.call("robot.close")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"eyes": True}, "has the camera 'eye'"), ({"arm": True}, "expected one of both")],
)
def test_a_robot_that_does_not_fit_is_refused(
    driver: LeRobotProcess, options: Options, said: str
) -> None:
    """A camera inside, or velocities beside positions."""
    with pytest.raises(RobotError, match=said):
        driver.call("make", {"type": "cart", **options})
