"""A robot of LeRobot that is not there: it sees the pictures of the work and keeps what it is
commanded."""

from __future__ import annotations

from typing import Any

from lerobot.robots import Robot

from . import work
from .config_lerobot_robot import NoOpLeRobotConfig


class NoOpLeRobot(Robot):  # type: ignore[misc]  # LeRobot's, without types
    """`number` is that of the next observation; `commanded` what it was sent."""

    config_class = NoOpLeRobotConfig
    name = "no_op"

    def __init__(self, config: NoOpLeRobotConfig) -> None:
        super().__init__(config)
        self.number = 0
        self.commanded: list[list[float]] = []
        images = work.images()
        self._images = {name: images[name] for name in config.views}
        self._joints = [f"joint{joint}.pos" for joint in range(work.JOINTS)]

    @property
    def observation_features(self) -> dict[str, Any]:
        """Joints, and cameras by shape."""
        shape = (work.HEIGHT, work.WIDTH, 3)
        return {**self.action_features, **dict.fromkeys(self._images, shape)}

    @property
    def action_features(self) -> dict[str, Any]:
        """Joints."""
        return dict.fromkeys(self._joints, float)

    is_connected = True
    is_calibrated = True

    def connect(self, calibrate: bool = True) -> None:
        """There is nothing to connect to."""

    def calibrate(self) -> None:
        """Nor to calibrate."""

    def configure(self) -> None:
        """Nor to configure."""

    def get_observation(self) -> dict[str, Any]:
        """That of `number`."""
        return self.seen(work.state(self.number))

    def seen(self, joints: Any) -> dict[str, Any]:
        """The observation of the joints, [14], as LeRobot has it."""
        return {**dict(zip(self._joints, joints.tolist(), strict=True)), **self._images}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Keep it."""
        self.commanded.append([action[name] for name in self._joints])
        return action

    def disconnect(self) -> None:
        """There is nothing to disconnect from."""
