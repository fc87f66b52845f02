"""`Robot` defaults and `RobotSpec` checks: what a driver of one's own gets without writing it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from holdfast.errors import RobotError
from holdfast.robot.base import ControlMode, Robot, RobotSpec


class Arm(Robot):
    """The least that a robot has to have; remembers its commands."""

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        self.commands: list[list[float]] = []

    def connect(self) -> None:
        pass

    def read_state(self, out: np.ndarray) -> int:
        out[:] = np.arange(len(out)) + 1
        return time.monotonic_ns()

    def write_action(self, action: np.ndarray) -> None:
        self.commands.append(action.tolist())


def test_a_robot_of_three_methods_has_the_others_by_default() -> None:
    """Nothing but connect, read_state and write_action is asked of a driver."""
    arm = Arm(RobotSpec(("a",), ("a",)))
    assert (arm.cameras, arm.period_s, arm.episode()) == ((), None, None)
    assert arm.safe_stop()
    arm.flush()
    arm.close()
    assert arm.commands == []


def test_a_driver_without_its_methods_cannot_be_made() -> None:
    """The missing method is named where the class is used first."""

    class Half(Robot):
        def connect(self) -> None:
            pass

    with pytest.raises(TypeError, match="read_state"):
        Half()  # type: ignore[abstract]


def test_hold_commands_the_measured_position() -> None:
    """By name: the state may have more values than the action, in another order."""
    arm = Arm(RobotSpec(("b", "a"), ("a", "x", "b")))
    arm.hold()
    assert arm.commands == [[3.0, 1.0]]


def test_hold_commands_zero_to_a_velocity_controlled_robot() -> None:
    """For every action name, whatever is measured."""
    arm = Arm(RobotSpec(("v", "w"), ("v",), ControlMode.VELOCITY))
    arm.hold()
    assert arm.commands == [[0.0, 0.0]]


def test_what_is_not_measured_cannot_be_held_by_default() -> None:
    """A default that commanded zero there would move the joint."""
    arm = Arm(RobotSpec(("a", "grip"), ("a",)))
    with pytest.raises(RobotError, match=r"grip is not measured; override `hold`"):
        arm.hold()
    assert arm.commands == []


def test_torque_is_cut_only_by_a_driver_that_can() -> None:
    """A driver without `release` of its own raises RobotError."""
    with pytest.raises(RobotError, match="cannot cut the torque"):
        Arm(RobotSpec(("a",), ("a",))).release()


def test_a_spec_takes_lists_and_is_unlimited_without_limits() -> None:
    """What a user writes becomes the tuples that the rest trusts."""
    spec = RobotSpec(["a", "b"], ["a"], "velocity", upper=[1, 2])  # type: ignore[arg-type]
    assert spec.action_names == ("a", "b")
    assert spec.control_mode is ControlMode.VELOCITY
    assert (spec.lower, spec.upper) == ((-np.inf, -np.inf), (1.0, 2.0))
    assert spec.unlimited == ()
    assert RobotSpec(("a", "b"), (), lower=(-np.inf, 0)).unlimited == ("a",)


@pytest.mark.parametrize("field", ["action_names", "state_names"])
def test_a_text_in_place_of_names_is_no_sequence_of_letters(field: str) -> None:
    """`("x")` is the text "x" in Python, and a robot of one joint needs `("x",)`."""
    names: Any = {"action_names": ("a",), "state_names": ("a",), field: "xyz"}
    with pytest.raises(TypeError, match=f"{field} 'xyz': expected a tuple of names"):
        RobotSpec(**names)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"action_names": ()}, "action_names is empty"),
        ({"state_names": ("a", "a")}, "each of them once"),
        ({"lower": (0.0,)}, r"lower \(0.0,\): expected a number for each of 2 actions \(a, b\)"),
        ({"home": (0.0, float("nan"))}, "home"),
        ({"lower": (1, 1), "upper": (2, 0)}, "b: lower 1, upper 0"),
        ({"max_rate": (1, 0)}, "max_rate of more than 0"),
        ({"control_mode": "torque"}, "torque"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(given: dict[str, object], said: str) -> None:
    """Said where the driver is made, with the values found."""
    with pytest.raises(ValueError, match=said):
        RobotSpec(**{"action_names": ("a", "b"), "state_names": ("a", "b"), **given})  # type: ignore[arg-type]
