"""How LeRobot is told of the robot in `lerobot_robot`, which it finds by this module's name."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.robots import RobotConfig

from .work import CAMERAS


@RobotConfig.register_subclass("no_op")
@dataclass
class NoOpLeRobotConfig(RobotConfig):  # type: ignore[misc]  # LeRobot's, without types
    """Of it LeRobot makes a `NoOpLeRobot`, which sees with those of the work's cameras."""

    views: tuple[str, ...] = CAMERAS
