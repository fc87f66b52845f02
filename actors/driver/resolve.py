"""A robot by the name of its driver: `sim`, another built-in one, or the user's own.

Every driver is imported by name, the built-in ones too: the process of a real robot carries no
simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodType
from typing import Any

from ...errors import RobotError
from ...robot.base import Robot, RobotSpec
from ..runtime.user_code import blame, load

BUILT_IN = {
    "sim": "holdfast.robot.sim.devices:SimRobot",
    "gym": "holdfast.robot.gym:GymRobot",
}
"""Where each built-in robot driver lives."""


def create(name: str, options: Mapping[str, Any], import_path: str | None = None) -> Robot:
    """The robot that `name` means, made with `options`, not yet connected. Raises RobotError when
    it cannot be made, or is no robot."""
    make = load(name, BUILT_IN, import_path)
    try:
        robot = make(**options)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise RobotError(
            f"{name}({given}) raised {blame(error)}; mend its `options` or its constructor, which "
            "has to work without the hardware (`connect` opens it)"
        ) from error
    return complete(name, robot)


def complete(name: str, robot: Any) -> Robot:
    """`robot` with the defaults of `Robot` for what it does not have: a class may have the methods
    without inheriting it. Raises RobotError when it lacks one that has no default."""
    needed = ("connect", "read_state", "write_action")
    missing = [method for method in needed if not callable(getattr(robot, method, None))]
    if missing:
        raise RobotError(
            f"{name} made a {type(robot).__name__} without {', '.join(missing)}: it has to be a "
            "holdfast.Robot"
        )
    spec = getattr(robot, "spec", None)
    if not isinstance(spec, RobotSpec):
        raise RobotError(
            f"{name}: `spec` is {spec!r:.80}, expected a holdfast.RobotSpec right after the "
            "construction"
        )
    for attribute, default in vars(Robot).items():
        if attribute.startswith("_") or hasattr(robot, attribute):
            continue
        bound = MethodType(default, robot) if callable(default) else default
        try:
            setattr(robot, attribute, bound)
        except AttributeError:
            raise RobotError(
                f"{name}: {type(robot).__name__} has no {attribute}: inherit holdfast.Robot"
            ) from None
    made: Robot = robot
    return made
