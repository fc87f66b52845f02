"""`InProcessRobot`: a driver that is called by the control loop itself, because it is faster than a
register: each of its calls takes much less than a tick.

What the driver's process does elsewhere is done here: the emergency stop is obeyed at the next
tick, and the fleet file's limits replace the driver's. An exception ends the control actor, whose
next incarnation connects anew.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import RefusedError, RobotError
from ...robot.base import Episode, Robot, RobotSpec
from ..driver import latch, resolve
from .config import ControlConfig


def create(config: ControlConfig) -> InProcessRobot:
    """The driver that `config` names. Raises RefusedError where it cannot be made."""
    try:
        robot = resolve.create(config.driver, config.options, config.import_path)
    except RobotError as error:
        raise RefusedError(f"robot {config.robot}: {error}") from error
    spec = robot.spec
    if config.spec is not None:
        limits = config.spec.spec()
        spec = replace(spec, lower=limits.lower, upper=limits.upper, max_rate=limits.max_rate)
    state_dir = None if config.state_dir is None else Path(config.state_dir)
    return InProcessRobot(config.robot, robot, spec, state_dir)


class InProcessRobot(Robot):
    """`robot` as the loop has it."""

    def __init__(self, name: str, robot: Robot, spec: RobotSpec, state_dir: Path | None) -> None:
        self.spec = spec
        self._name = name
        self._robot = robot
        self._state_dir = state_dir
        self._stop: latch.EmergencyStop | None = None
        self.at_rest = False
        """Nothing was commanded yet since `connect`, or since the stop was lifted."""
        self.refusal = ""

    def connect(self) -> None:
        self._robot.connect()
        self.at_rest = True

    def read_state(self, out: NDArray[np.float32]) -> int:
        instant = self._robot.read_state(out)
        self._look_at_latch()
        return instant

    def write_action(self, action: NDArray[np.float32]) -> None:
        if self._stop is None:
            self._robot.write_action(action)
            self.at_rest = False

    def idle(self) -> None:
        """There is nothing to do."""

    def episode(self) -> Episode | None:
        return self._robot.episode()

    def hold(self) -> None:
        self._robot.hold()

    def safe_stop(self) -> bool:
        return self._stop is not None or self._robot.safe_stop()

    @property
    def trouble(self) -> str:
        """Why the robot obeys no command now."""
        if self._stop is None:
            return ""
        return f"stopped by {self._stop.by}" + (f": {self._stop.why}" if self._stop.why else "")

    def close(self) -> None:
        self._robot.close()

    def _look_at_latch(self) -> None:
        if self._state_dir is None:
            return
        before, self._stop = self._stop, latch.engaged(self._state_dir, self._name)
        if before is None and self._stop is not None:
            self._robot.hold()
        self.at_rest = self.at_rest or (before is not None and self._stop is None)
