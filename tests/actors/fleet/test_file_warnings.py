"""What a check warns of in a fleet file that has no faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet.file_warnings import warnings_of
from holdfast.actors.fleet.loading import loads
from holdfast.robot.sim import SPEC
from holdfast.tests.actors.fleet.files import faults

ARM = f"""
from holdfast import Robot, RobotSpec

class Arm(Robot):
    cameras = ("overhead", "wrist")
    def __init__(self, rate=3.0):
        count = {len(SPEC.action_names)}
        self.spec = RobotSpec(
            {SPEC.action_names!r}, {SPEC.state_names!r},
            lower=(-1,) + (-float("inf"),) * (count - 1),
            max_rate=(rate,) * (count - 1) + (float("inf"),),
        )
    def connect(self): raise AssertionError("a check touches no hardware")
    def read_state(self, out): raise AssertionError
    def write_action(self, action): raise AssertionError
    def read_frame(self, camera, out): raise AssertionError
"""


@pytest.fixture
def own(good: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A fleet of one robot, with a driver that leaves its last action unlimited."""
    (tmp_path / "limited_arm.py").write_text(ARM)
    del good["robots"][1:]
    good["robots"][0] |= {
        "driver": "limited_arm:Arm",
        "cameras": {name: {"driver": "robot"} for name in ("overhead", "wrist")},
    }
    return good


def warned(values: dict[str, Any], folder: Path) -> dict[str, str]:
    """The warnings of the file, by place."""
    found = warnings_of(loads(yaml.safe_dump(values), base=folder))
    return {each.path.removeprefix("$.robots[0]."): each.message for each in found}


def test_actions_that_nothing_limits_are_named(own: dict[str, Any], tmp_path: Path) -> None:
    """One that the file limits is limited."""
    assert warned(own, tmp_path) == {
        "limits": "nothing limits gripper of r1; give each a range or a `max_rate` here"
    }
    own["robots"][0]["limits"] = {"gripper": {"max_rate": 5}}
    assert warned(own, tmp_path) == {}


def test_an_action_with_a_range_and_no_rate_is_named(own: dict[str, Any], tmp_path: Path) -> None:
    """From one end of the range to the other is one command then."""
    own["robots"][0]["limits"] = {"gripper": {"lower": 0, "upper": 1}}
    assert warned(own, tmp_path) == {
        "limits": "nothing limits the rate of gripper of r1: one command may cross the whole "
        "range; give each a `max_rate` here"
    }
    own["robots"][0]["limits"]["gripper"]["max_rate"] = 5
    assert warned(own, tmp_path) == {}


def test_a_rate_that_is_not_the_policys_is_a_warning(own: dict[str, Any], tmp_path: Path) -> None:
    """29.97 Hz counts as 30."""
    own["robots"][0] |= {"limits": {"gripper": {"max_rate": 5}}, "fps": 15}
    assert warned(own, tmp_path)["fps"].startswith("15, and the policy test was trained at 30: ")
    own["robots"][0]["fps"] = 29.97
    assert warned(own, tmp_path) == {}


def test_a_rate_that_is_not_the_policys_is_a_fault_where_the_service_is_strict(
    good: dict[str, Any],
) -> None:
    """The service would refuse the robot at its handshake."""
    good["services"]["pick"]["strict_fps"] = True
    good["robots"][0]["fps"] = 25
    (fault,) = faults(good)
    assert "robots[0].fps: 25, and the policy test was trained at 30; service 'pick'" in fault


@pytest.mark.parametrize(
    ("limit", "wider"),
    [
        ({"lower": -2}, ["lower"]),
        ({"lower": -1, "max_rate": 3}, []),
        ({"lower": -0.5, "upper": 9, "max_rate": 1}, []),
        ({"lower": -1.5, "max_rate": 3.5}, ["lower", "max_rate"]),
    ],
)
def test_a_limit_wider_than_the_drivers_own_is_a_warning(
    own: dict[str, Any], tmp_path: Path, limit: dict[str, float], wider: list[str]
) -> None:
    """A driver without a limit of its own has none that could be widened."""
    first = SPEC.action_names[0]
    own["robots"][0]["limits"] = {"gripper": {"max_rate": 5}, first: limit}
    found = warned(own, tmp_path)
    assert list(found) == [f"limits.{first}.{key}" for key in wider]
    assert all("allows more than the driver's own" in text for text in found.values())


def test_settings_that_the_policy_cannot_follow_are_named(
    own: dict[str, Any], tmp_path: Path
) -> None:
    """With the reason; a policy that continues no plan follows none."""
    own["robots"][0]["limits"] = {"gripper": {"max_rate": 5}}
    own["robots"][0]["plan"] = {"rtc": {"execution_horizon": 5, "clip": 2.0}}
    found = warned(own, tmp_path)
    assert found.keys() == {"plan.rtc.execution_horizon", "plan.rtc.clip"}
    assert "cannot continue a plan; remove it" in found["plan.rtc.clip"]
    own["services"]["pick"]["options"] = {"prefix": "guided"}
    assert warned(own, tmp_path) == {}, "the service's options count"
