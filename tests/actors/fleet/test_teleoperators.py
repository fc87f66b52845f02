"""The teleoperator of a robot in a fleet file: its faults, and its actor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.actors.fleet.loading import loads
from holdfast.errors import FleetError
from holdfast.tests.actors.fleet.files import actors, faults

WHEELS = """
import time

from holdfast import Robot, RobotSpec


class Wheels(Robot):
    def __init__(self, mode):
        self.spec = RobotSpec(("left", "right"), ("left", "right"), mode)

    def connect(self):
        pass

    def read_state(self, out):
        out[:] = 0
        return time.monotonic_ns()

    def write_action(self, action):
        pass
"""


def fleet(**teleop: Any) -> dict[str, Any]:
    """A file with a simulated robot that has such a teleoperator."""
    return {
        "services": {"pick": {"policy": "constant", "checkpoint": "conveyor-flow"}},
        "robots": [
            {
                "name": "r1",
                "service": "pick",
                "cameras": {"overhead": {}, "wrist": {}},
                "teleop": teleop,
            }
        ],
    }


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"driver": "keybord"}, "no teleoperator driver 'keybord'"),
        ({"driver": "keyboard", "options": {"step": {"elbow": 1.0}}}, "no action 'elbow'"),
        ({"driver": "keyboard", "options": {"step": {"x": 0}}}, "more than 0"),
        ({"driver": "keyboard", "options": {"steps": {}}}, "steps"),
        ({"driver": "gamepad", "options": {"speed": {"elbow": 1.0}}}, "no action 'elbow'"),
        ({"driver": "gamepad", "options": {"controls": {"elbow": "left_x"}}}, "no action 'elbow'"),
        ({"driver": "gamepad", "options": {"controls": {"x": "banana"}}}, "expected an axis"),
        ({"driver": "gamepad", "options": {"dead_zone": 1}}, "less than 1"),
        ({"driver": "gamepad", "options": {"deadzone": 0.1}}, "dead_zone"),
        ({"driver": "lerobot"}, "lerobot: it needs type: add `options: {type: ...}`"),
        ({"driver": "expert", "options": {"speed": 2}}, "the expert has none"),
        ({"driver": "replay", "options": {"episode": 2}}, "replay has none"),
        ({"driver": "my_pad:Pad"}, "my_pad"),
        ({}, "driver"),
    ],
)
def test_what_cannot_work_is_said_before_a_process_starts(entry: dict[str, Any], why: str) -> None:
    """Each fault names the key and what is wrong with it."""
    (fault,) = faults(fleet(**entry))
    assert "$.robots[0].teleop" in fault
    assert why in fault


@pytest.mark.parametrize(
    ("key", "meant"), [("telop", "teleop"), ("servise", "service"), ("teleoperator", "teleop")]
)
def test_a_misspelt_key_is_one_fault(key: str, meant: str) -> None:
    """What it says counts as what is meant: nothing is said to be absent."""
    values = fleet(driver="keyboard")
    robot = values["robots"][0]
    if meant == "teleop":
        del robot["service"]
    robot[key] = robot.pop(meant)
    (fault,) = faults(values)
    assert f"unknown key {key!r}; did you mean {meant!r}?" in fault


def test_what_is_wrong_below_a_misspelt_key_is_said_too() -> None:
    """Unless it fits so little that something else may have been meant."""
    values = fleet(drivr="keyboard")
    robot = values["robots"][0]
    robot["telop"] = robot.pop("teleop")
    assert [fault.partition(": ")[2] for fault in faults(values)] == [
        "$.robots[0].teleop.drivr: unknown key 'drivr'; did you mean 'driver'?",
        "$.robots[0].telop: unknown key 'telop'; did you mean 'teleop'?",
    ]
    robot["telop"] = 3
    (fault,) = faults(values)
    assert "unknown key 'telop'" in fault


def test_the_expert_knows_the_simulated_cell_only() -> None:
    """A robot whose driver lives in its control loop has no scene that others read either."""
    values = fleet(driver="expert")
    values["robots"][0]["in_process"] = True
    assert any("simulated cell" in fault for fault in faults(values))


def test_a_teleoperator_is_an_actor_that_reads_the_plan_and_control_reads_it() -> None:
    """Its register is writable for it alone; it starts after the driver."""
    made = {spec.name: spec for spec in actors(fleet(driver="keyboard"))}
    teleop, control = made["r1/teleop"], made["r1/control"]
    writes = {use.name for use in teleop.segments if use.writable}
    assert writes == {"r1/teleop/reading", "r1/teleop/board"}
    assert "r1/plan" in {use.name for use in teleop.segments}
    assert "r1/teleop/reading" in {use.name for use in control.segments if not use.writable}
    order = list(made)
    assert order.index("r1/driver") < order.index("r1/teleop") < order.index("r1/control")


def test_an_episode_cannot_be_replayed_on_a_robot_that_is_commanded_by_velocities(
    tmp_path: Path,
) -> None:
    """It has no first pose to go to; one that is commanded by positions is no fault."""
    (tmp_path / "wheels_of_mine.py").write_text(WHEELS)
    robot = {
        "name": "r1",
        "driver": "wheels_of_mine:Wheels",
        "teleop": {"driver": "replay"},
        "options": {"mode": "position"},
    }
    loads(yaml.safe_dump({"robots": [robot]}), base=tmp_path)
    robot["options"] = {"mode": "velocity"}
    with pytest.raises(FleetError, match=r"robots\[0\].teleop.driver: .*velocities"):
        loads(yaml.safe_dump({"robots": [robot]}), base=tmp_path)
