"""A teleoperator by the name of its driver: a built-in one, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...errors import RobotError
from ...robot.base import RobotSpec
from ...robot.teleoperator import Teleoperator
from ..runtime.user_code import construct, load, with_defaults

BUILT_IN = {"lerobot": "holdfast.robot.lerobot.leader:LeRobotTeleoperator"}
"""The module and class of each built-in driver that is called as the user's own is. The others:
`expert`, for a simulated cell, `replay`, `keyboard` and `gamepad`."""


def create(
    driver: str,
    options: Mapping[str, Any],
    spec: RobotSpec,
    import_path: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> Teleoperator:
    """The teleoperator that `driver` means, not yet open, which touches no hardware. Raises
    RobotError when it cannot be made, or is not one of a robot of this `spec`: its action names,
    after `rename`, are the robot's."""
    if driver == "keyboard":
        from ...robot.teleop_keys import KeyboardOptions, KeyboardTeleoperator

        return KeyboardTeleoperator(spec, msgspec.convert(dict(options), KeyboardOptions))
    if driver == "gamepad":
        from ...robot.gamepad_teleoperator import GamepadOptions, GamepadTeleoperator

        return GamepadTeleoperator(spec, msgspec.convert(dict(options), GamepadOptions))
    built_in = {**BUILT_IN, "expert": "", "gamepad": "", "keyboard": "", "replay": ""}
    make = load(driver, built_in, import_path, "teleoperator driver")
    made = construct(driver, make, Teleoperator, options, "connect")
    device: Teleoperator = with_defaults(
        driver, made, Teleoperator, ("connect", "get_action", "close")
    )
    places([(rename or {}).get(name, name) for name in device.action_names], spec)
    return device


def places(names: Sequence[str], spec: RobotSpec) -> tuple[int, ...]:
    """Where each of the robot's actions is among the teleoperator's `names`. Raises RobotError when
    they are not the same, in whatever order."""
    missing = [name for name in spec.action_names if name not in names]
    strange = [name for name in names if name not in spec.action_names]
    if missing or strange:
        raise RobotError(
            f"its actions are {', '.join(names)}; the robot's are {', '.join(spec.action_names)}: "
            "a teleoperator commands all of them by their names (`rename` in its entry maps its "
            "names to the robot's)"
        )
    return tuple(list(names).index(name) for name in spec.action_names)
