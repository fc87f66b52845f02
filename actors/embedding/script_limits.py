"""`limited`: the limits of a script's robot, as `RemotePolicy` is given them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ... import arguments
from ...robot.base import RobotSpec
from ..runtime.suggestions import closest

_LIMITS = ("lower", "upper", "max_rate")


def limited(robot: RobotSpec, limits: object) -> RobotSpec:
    """`robot` with `limits`: {action: {lower, upper, max_rate}}, each of which may be left out, or
    a RobotSpec, which has all of its actions. Raises TypeError or ValueError."""
    if limits is None:
        return robot
    if isinstance(limits, RobotSpec):
        if limits.control_mode is not robot.control_mode:
            raise ValueError(
                f"limits: the RobotSpec is of a robot that obeys {limits.control_mode}, but "
                f"control_mode is {robot.control_mode}"
            )
        for action in robot.action_names:
            if action not in limits.action_names:
                remedy = closest(action, limits.action_names)
                raise ValueError(f"limits: the RobotSpec has no action {action!r}, {remedy}")
        places = [limits.action_names.index(action) for action in robot.action_names]
        columns = {name: [getattr(limits, name)[place] for place in places] for name in _LIMITS}
    elif isinstance(limits, Mapping):
        columns = {name: list(getattr(robot, name)) for name in _LIMITS}
        for action, given in limits.items():
            if action not in robot.action_names:
                remedy = closest(str(action), robot.action_names)
                raise ValueError(f"limits: no action {action!r:.80}, {remedy}")
            place = robot.action_names.index(action)
            for name, value in _of_action(f"limits[{action!r}]", given).items():
                columns[name][place] = value
    else:
        raise TypeError(
            f"limits: {arguments.shown(limits)}, expected {{action: {{'lower': ..., 'upper': ..., "
            "'max_rate': ...}} or a RobotSpec"
        )
    try:
        lower, upper, max_rate = (tuple(columns[name]) for name in _LIMITS)
        return replace(robot, lower=lower, upper=upper, max_rate=max_rate)
    except ValueError as error:
        raise ValueError(f"limits: {error}") from error


def _of_action(where: str, given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{where}: {arguments.shown(given)}, expected lower, upper and max_rate")
    for name in given:
        if name not in _LIMITS:
            raise ValueError(f"{where}: no limit {name!r:.80}, {closest(str(name), _LIMITS)}")
    return {
        name: arguments.number(
            f"{where}[{name!r}]", value, above=0.0 if name == "max_rate" else -math.inf
        )
        for name, value in given.items()
    }
