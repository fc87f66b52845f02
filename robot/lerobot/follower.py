"""`LeRobotRobot`: a robot of the LeRobot library as a driver.

Guarantees for robots with motors on serial buses (`SerialMotorsBus`: SO-100, SO-101, Koch, OMX,
bimanual ones, third-party ones): `connect` takes a robot over that holds its pose, without a moment
of less torque (motors.py says how); `close`, and the end of the process however it comes, leave the
torque as it is. The library's `calibrate`, which waits for a person, is never called.

Not guaranteed for other robots: they are opened by their own `connect(calibrate=False)` and closed
by their own `disconnect`, whatever these do to the torque; the log says so.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ..base import ControlMode, Robot, RobotSpec
from . import library
from .calibrate import calibrate
from .motors import HeldMotors

_log = logging.getLogger(__name__)

WATCH_NS = 1_000_000_000
"""So often the motors are asked for faults and for their torque, which no state shows."""
_VELOCITY = ".vel"


class LeRobotRobot(Robot):
    """One robot of the installed library. Actions and states are the floats of its
    `action_features` and `observation_features`, in their order.

    Example, in fleet.yaml:

        driver: lerobot
        python: ~/lerobot/.venv/bin/python
        options: {type: so101_follower, port: /dev/ttyACM0, id: left}
        limits: {shoulder_pan.pos: {max_rate: 120}}
    """

    calibrate = staticmethod(calibrate)
    """What `actorctl robots calibrate` hands over to."""

    def __init__(self, type: str, **options: Any) -> None:
        """Make the robot of the registered `type`; `options` are the fields of its configuration
        class, `id` and `calibration_dir` among them. Raises RobotError for a type or options that
        the library does not have, and for robots with cameras of their own or with both positions
        and velocities among their actions."""
        if options.get("disable_torque_on_disconnect"):
            raise RobotError(
                "disable_torque_on_disconnect: the end of a robot is said by `safety: {at_stop: "
                "torque_off}`; a driver that is restarted keeps the torque"
            )
        self._device = library.make(library.ROBOTS, {"type": type, **options})
        self._type = type
        self._parts = dict(_parts(self._device))
        for part in (self._device, *(motors.owner for motors in self._parts.values())):
            # A robot that is garbage-collected while connected disconnects itself.
            if hasattr(part.config, "disable_torque_on_disconnect"):
                part.config.disable_torque_on_disconnect = False
        actions = _floats(self._device.action_features, type)
        states = _floats(self._device.observation_features, type)
        speeds = [name for name in actions if name.endswith(_VELOCITY)]
        if 0 < len(speeds) < len(actions):
            raise RobotError(
                f"{type} is commanded by velocity ({', '.join(speeds)}) and by position "
                f"({', '.join(n for n in actions if n not in speeds)}): expected one of both"
            )
        mode = ControlMode.VELOCITY if speeds else ControlMode.POSITION
        lower, upper = zip(*(self._limits(name) for name in actions), strict=True)
        self.spec = RobotSpec(actions, states, mode, lower, upper)
        self._watched_ns = 0

    def connect(self) -> None:
        """See `Robot.connect`, and the module for robots without a bus."""
        if not self._parts:
            _log.warning(
                "%s has no serial bus of motors: it is opened by the library's own connect(), "
                "which may switch the torque off for a moment",
                self._type,
            )
            with library.said(self._type):
                self._device.connect(calibrate=False)
            return
        for motors in self._parts.values():
            motors.attach()
        self._watched_ns = time.monotonic_ns()

    def read_state(self, out: NDArray[np.float32]) -> int:
        """See `Robot.read_state`; the instant is the one at which the question was sent."""
        with library.said(self._where):
            for motors in self._parts.values():
                motors.servos.discard_old()
            now_ns = time.monotonic_ns()
            found = self._device.get_observation()
            out[:] = [found[name] for name in self.spec.state_names]
        if now_ns - self._watched_ns > WATCH_NS:
            for motors in self._parts.values():
                motors.watch()
            self._watched_ns = now_ns
        return now_ns

    def write_action(self, action: NDArray[np.float32]) -> None:
        """See `Robot.write_action`."""
        values = dict(zip(self.spec.action_names, map(float, action), strict=True))
        with library.said(self._where):
            self._device.send_action(values)

    def hold(self) -> None:
        """See `Robot.hold`: joints that stand keep their goal, so that gravity moves none."""
        if not self._parts:
            super().hold()
        for motors in self._parts.values():
            motors.hold()

    def release(self) -> None:
        """See `Robot.release`."""
        if not self._parts:
            super().release()
        for motors in self._parts.values():
            motors.release()

    def flush(self) -> None:
        """See `Robot.flush`."""
        with library.said(self._where):
            for motors in self._parts.values():
                motors.servos.flush()

    def report(self) -> dict[str, Any]:
        """What motors report that does not keep them from moving."""
        warnings = [m.warning for m in self._parts.values() if m.warning]
        return {"motors": "; ".join(warnings)} if warnings else {}

    def close(self) -> None:
        """See `Robot.close`."""
        for motors in self._parts.values():
            motors.servos.close()
        if not self._parts:
            with suppress(Exception):
                if self._device.is_connected:
                    self._device.disconnect()

    @property
    def _where(self) -> str:
        places = [motors.where for motors in self._parts.values()]
        return ", ".join(places) or self._type

    def _limits(self, action: str) -> tuple[float, float]:
        for prefix, motors in self._parts.items():
            name = action.removeprefix(prefix).removesuffix(".pos")
            if f"{prefix}{name}.pos" == action and name in motors.names:
                return motors.limits(name) or (-math.inf, math.inf)
        return -math.inf, math.inf


def _parts(device: Any) -> Iterator[tuple[str, HeldMotors]]:
    """The serial buses of a robot, by the prefix of their names: a bimanual one has an arm in
    `left_arm` and one in `right_arm`."""
    if _serial(device):
        yield "", HeldMotors(device)
        return
    for name, part in vars(device).items():
        if _serial(part):
            yield f"{name.removesuffix('_arm')}_", HeldMotors(part)


def _serial(part: Any) -> bool:
    bus = getattr(part, "bus", None)
    return all(hasattr(bus, name) for name in ("port_handler", "model_ctrl_table", "sync_read"))


def _floats(features: dict[str, Any], kind: str) -> tuple[str, ...]:
    """The names of `features`, each of which has to be a number."""
    for name, form in features.items():
        if isinstance(form, tuple):
            raise RobotError(
                f"{kind} has the camera {name!r} {form} inside: leave it out of the options and "
                "declare it under `cameras` of the robot, where it is read by a process of its own"
            )
        if form not in (float, int):
            raise RobotError(f"{kind}: {name} is a {form}, expected a number")
    return tuple(features)
