"""What can be wrong with a robot's teleoperator in a fleet file."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import Fault
from ...robot.base import ControlMode, RobotSpec
from ...robot.gamepad_teleoperator import CONTROLS, GamepadOptions
from ...robot.teleop_keys import PAIRS, KeyboardOptions
from ..runtime.device_configs import SpecConfig
from ..runtime.suggestions import closest
from ..teleoperator.describe_teleoperator import AskedTeleoperator, why_not
from . import kind_options
from .hosts import is_here
from .robot_entry import RobotEntry, TeleopEntry
from .schema import FleetFile


def teleop_faults(
    fleet: FleetFile, robot: RobotEntry, teleop: TeleopEntry, path: str, spec: RobotSpec
) -> Iterator[Fault]:
    """What is wrong with the entry at `path`; `spec` is the robot's."""
    if teleop.driver == "expert":
        if robot.driver != "sim" or robot.in_process:
            found = f"'expert' on a robot whose driver is {robot.driver!r}"
            yield Fault(
                f"{path}.driver",
                found,
                remedy="it knows the simulated cell only: use keyboard, gamepad, lerobot or yours",
            )
        if teleop.options:
            yield Fault(f"{path}.options", "the expert has none", remedy="remove them")
        return
    if teleop.driver == "keyboard":
        wrong = list(kind_options.faults(f"{path}.options", teleop.options, KeyboardOptions))
        yield from wrong
        if not wrong:
            yield from _keys(teleop, path, spec)
        return
    if teleop.driver == "gamepad":
        wrong = list(kind_options.faults(f"{path}.options", teleop.options, GamepadOptions))
        yield from wrong
        if not wrong:
            yield from _controls(teleop, path, spec)
        return
    if teleop.driver == "replay":
        yield from _replay(teleop, path, spec)
        return
    if is_here(fleet, robot.host):
        asked = AskedTeleoperator(
            teleop.driver,
            teleop.options,
            teleop.rename,
            SpecConfig.of(spec),
            fleet.import_path,
        )
        if why := why_not(asked, teleop.python):
            at = "options" if teleop.driver == "lerobot" else "driver"
            yield Fault(f"{path}.{at}", why)


def _replay(teleop: TeleopEntry, path: str, spec: RobotSpec) -> Iterator[Fault]:
    if teleop.options:
        remedy = "remove them; `actorctl replay-episode` says which episode"
        yield Fault(f"{path}.options", "replay has none", remedy=remedy)
    if spec.control_mode is ControlMode.VELOCITY:
        found = "'replay' on a robot that is commanded by velocities, which have no first pose"
        yield Fault(f"{path}.driver", found, remedy="use another one")


def _keys(teleop: TeleopEntry, path: str, spec: RobotSpec) -> Iterator[Fault]:
    yield from _joints(teleop, path, "step", spec)
    if len(spec.action_names) > len(PAIRS):
        found = f"there are keys for {len(PAIRS)} joints, and the robot has "
        yield Fault(f"{path}.driver", f"{found}{len(spec.action_names)}", remedy="use another one")


def _controls(teleop: TeleopEntry, path: str, spec: RobotSpec) -> Iterator[Fault]:
    yield from _joints(teleop, path, "speed", spec)
    yield from _joints(teleop, path, "controls", spec)
    if teleop.options.get("controls") is None and len(spec.action_names) > len(CONTROLS):
        found = f"there are usual controls for {len(CONTROLS)} joints, and the robot has "
        remedy = "say by `controls` in its options which joints are moved by what"
        yield Fault(f"{path}.driver", f"{found}{len(spec.action_names)}", remedy=remedy)


def _joints(teleop: TeleopEntry, path: str, option: str, spec: RobotSpec) -> Iterator[Fault]:
    for name in teleop.options.get(option) or {}:
        if name not in spec.action_names:
            found = f"the robot has no action {name!r}"
            yield Fault(f"{path}.options.{option}", found, remedy=closest(name, spec.action_names))
