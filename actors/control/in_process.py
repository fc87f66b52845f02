"""`InProcessRobot`: a driver that is called by the control loop itself, because it is faster than a
register: each of its calls takes much less than a tick.

What the driver's process does elsewhere is done here: the emergency stop takes effect at the next
tick, is asked for and lifted at the same socket, and the fleet file's limits replace the driver's.
An exception ends the control actor, whose next incarnation connects anew.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RefusedError, RobotError
from ...robot.base import Episode, Robot, RobotSpec
from ..driver import resolve
from ..driver.stop_keeper import StopKeeper
from ..driver.wake import WakeSocket
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
    keeper = StopKeeper(
        config.robot,
        None if config.state_dir is None else Path(config.state_dir),
        None if config.keyring is None else Path(config.keyring),
        logging.getLogger(f"{config.robot}/control"),
    )
    socket = None if config.wake is None else WakeSocket(Path(config.wake))
    return InProcessRobot(robot, spec, keeper, socket)


class InProcessRobot(Robot):
    """`robot` as the loop has it."""

    def __init__(
        self, robot: Robot, spec: RobotSpec, stop: StopKeeper, socket: WakeSocket | None
    ) -> None:
        self.spec = spec
        self._robot = robot
        self._stop = stop
        self._socket = socket
        self._connected = False
        self._hold_error = "the robot is not connected yet, and was commanded nothing"
        self.at_rest = False
        """Nothing was commanded yet since `connect`, or since the stop was lifted."""
        self.refusal = ""

    def connect(self) -> None:
        self._robot.connect()
        self._connected = True
        self.at_rest = True

    def read_state(self, out: NDArray[np.float32]) -> int:
        instant = self._robot.read_state(out)
        self._act_on_latch()
        return instant

    def write_action(self, action: NDArray[np.float32]) -> None:
        if self._stop.stop is None:
            self._robot.write_action(action)
            self.at_rest = False

    def idle(self) -> None:
        """There is nothing to do."""

    def episode(self) -> Episode | None:
        return self._robot.episode()

    def ask_episode(self) -> bool:
        if not (self._connected and self._robot.begins_episodes):
            return False
        self._robot.begin_episode()
        return True

    def hold(self) -> None:
        self._robot.hold()

    def safe_stop(self) -> bool:
        self._act_on_latch()
        return self._stop.stop is not None or self._robot.safe_stop()

    @property
    def running_call(self) -> str:
        """None runs beside this loop."""
        return ""

    @property
    def trouble(self) -> str:
        """Why no command reaches the robot now."""
        return self._stop.why

    @property
    def estop(self) -> dict[str, Any] | None:
        """The emergency stop for the status; None without one."""
        return self._stop.report(self._hold_error)

    def serve(self) -> None:
        """Hold while the emergency stop is engaged. To be called at every tick, also before
        `connect`."""
        self._act_on_latch()

    def close(self) -> None:
        self._robot.close()
        if self._socket is not None:
            self._socket.close()

    def _act_on_latch(self) -> None:
        self._stop.look()
        self.at_rest |= self._stop.freed()
        requests = self._socket.receive() if self._socket is not None else []
        for request in requests:
            if request.body.get("do") == "estop":
                self._stop.asked(request.body)
        self._hold_still()
        for request in requests:
            assert self._socket is not None
            self._socket.answer(request, self._carry_out(request.body))

    def _hold_still(self) -> None:
        """Tell the device to hold, until it has confirmed that."""
        if self._stop.stop is None or self._stop.confirmed or not self._connected:
            return
        try:
            self._robot.hold()
        except (RobotError, OSError) as error:
            self._hold_error = f"hold: {error}"
        else:
            self._stop.confirm()

    def _carry_out(self, asked: dict[str, Any]) -> dict[str, Any]:
        match asked.get("do"):
            case "status":
                return {"estop": self.estop}
            case "estop":
                return self.estop or {"latched": False, "confirmed": False, "error": ""}
            case "release":
                before = self._stop.stop
                error = self._stop.lift(asked.get("key"), asked.get("begun"))
                self.at_rest = self.at_rest or (before is not None and self._stop.stop is None)
                return {"latched": self._stop.stop is not None, "error": error}
            case other:
                return {"error": f"a driver has no {other!r}; expected status, estop or release"}
