"""A robot by the name of its driver: `sim`, another built-in one, or the user's own.

Every driver is imported by name, the built-in ones too: the process of a real robot carries no
simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import arguments
from ...errors import RefusedError, RobotError
from ...robot.base import Robot, RobotSpec
from ..runtime.device_configs import DriverConfig
from ..runtime.user_classes import constructor_missing, lacking, unfinished
from ..runtime.user_code import blame, load, with_defaults

BUILT_IN = {
    "sim": "holdfast.robot.sim.devices:SimRobot",
    "gym": "holdfast.robot.gym:GymRobot",
    "lerobot": "holdfast.robot.lerobot.follower:LeRobotRobot",
    "replay": "holdfast.robot.replay_robot:ReplayRobot",
}
"""The module and class of each built-in robot driver."""


def create(name: str, options: Mapping[str, Any], import_path: str | None = None) -> Robot:
    """The robot that `name` means, made with `options`, not yet connected. Raises RobotError when
    it cannot be made, or is no robot."""
    make = load(name, BUILT_IN, import_path)
    if why := unfinished(make, Robot) or lacking(make, options):
        raise RobotError(f"{name}: {why}")
    try:
        robot = make(**options)
    except RobotError as error:  # a refusal, which says itself what is wrong
        raise RobotError(f"driver {name}: {error}") from error
    except (Exception, SystemExit) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        remedy = constructor_missing(make, Robot, options) or (
            "mend its `options` or its constructor, which has to work without the hardware "
            "(`connect` opens it)"
        )
        raise RobotError(f"{name}({given}) raised {blame(error)}; {remedy}") from error
    return complete(name, robot)


def create_as_checked(config: DriverConfig, spec: RobotSpec, options: Mapping[str, Any]) -> Robot:
    """The robot of `config`, made with `options`. Raises RefusedError when it cannot be made, or is
    not the one of `spec` that the fleet was checked with."""
    try:
        robot = create(config.driver, options, config.import_path)
    except RobotError as error:
        raise RefusedError(f"robot {config.robot}: {error}") from error
    for what in ("action_names", "state_names", "control_mode"):
        if getattr(robot.spec, what) != getattr(spec, what):
            raise RefusedError(
                f"robot {config.robot}: the {what} of {config.driver} are "
                f"{getattr(robot.spec, what)}, but were {getattr(spec, what)} when the fleet "
                "was read: `supervisor reload`"
            )
    return robot


def complete(name: str, robot: Any) -> Robot:
    """`robot` with the defaults of `Robot` for what it does not have: a class may have the methods
    without inheriting it. Raises RobotError when it lacks one that has no default, or has one that
    cannot be called."""
    made: Robot = with_defaults(name, robot, Robot, ("connect", "read_state", "write_action"))
    spec = getattr(made, "spec", None)
    if not isinstance(spec, RobotSpec):
        raise RobotError(
            f"{name}: `spec` is {spec!r:.80}, expected a holdfast.RobotSpec right after the "
            "construction"
        )
    try:
        cameras = arguments.names("cameras", made.cameras)
    except (TypeError, ValueError) as error:
        raise RobotError(f"{name}: {error}, e.g. cameras = ('wrist',)") from None
    if cameras and getattr(made.read_frame, "__func__", None) is Robot.read_frame:
        raise RobotError(
            f"{name} has cameras ({', '.join(cameras)}) and no read_frame: define "
            "read_frame(self, camera, out), or remove `cameras`"
        )
    return made
