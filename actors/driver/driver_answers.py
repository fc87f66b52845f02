"""`DriverAnswers`: what a driver's process says of its robot, on its board and to who asks.

A request is a MessagePack map with a `do`: `status`, `probe` (the measured values too), `estop`
(the latch was engaged: hold, and say whether the device confirmed it), `release` (with the
operator's `key` where the fleet has keys; a stop that was given since the latch had the mark
`begun` stays), `episode` (the surroundings begin another attempt than the one numbered `after`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic_ns
from typing import Any

import numpy as np

from ...transport.seqlock import SteadyReader
from .core import DriverCore
from .delivered_camera import DeliveredCamera
from .device import Device
from .stop_keeper import StopKeeper

_KEPT = 1024


class DriverAnswers:
    """Those of one robot's driver. It reads the parts of the process, and changes them only where a
    `release` lifts the emergency stop."""

    def __init__(
        self,
        device: Device,
        core: DriverCore,
        stop: StopKeeper,
        commands: SteadyReader,
        cameras: Sequence[DeliveredCamera],
        unlimited: Sequence[str],
    ) -> None:
        self._device = device
        self._core = core
        self._stop = stop
        self._commands = commands
        self._cameras = cameras
        self._unlimited = unlimited
        self._delays_ms: deque[float] = deque(maxlen=_KEPT)

    def delayed(self, delay_ms: float) -> None:
        """Of one command, from the tick of control to the call of `write_action`."""
        self._delays_ms.append(delay_ms)

    @property
    def reason(self) -> str:
        """Why the robot is not commanded, or the last command was dropped."""
        if not self._device.open:
            return self._device.reason
        return self._stop.why or self._core.refusal

    def status(self, now_ns: int) -> dict[str, Any]:
        """The report on the board."""
        device, core = self._device, self._core
        delays = np.array(self._delays_ms)
        age_ms = (now_ns - device.measured_ns) / 1e6 if device.measured_ns else None
        return {
            "phase": core.phase.name,
            "reason": self.reason,
            "state_age_ms": age_ms,
            "errors": dict(device.errors),
            "last_error": device.last_error,
            "outages": device.outages,
            "dropped": dict(core.dropped),
            "calls_ms": device.milliseconds(),
            "command_ms": {
                f"p{q}": round(float(np.percentile(delays, q)), 3) for q in (50, 99) if len(delays)
            },
            "estop": self._stopped,
            "damaged": self._commands.damaged,
            "unlimited": list(self._unlimited),
            "begins_episodes": device.robot.begins_episodes,
            "cameras": [camera.report(now_ns) for camera in self._cameras],
            **device.report(),
        }

    def answer(self, asked: dict[str, Any], now_ns: int) -> dict[str, Any]:
        """What the request `asked` gets."""
        match asked.get("do"):
            case "status":
                return self.status(now_ns)
            case "probe":
                return self._device.readings() | self.status(now_ns)
            case "estop":
                return self._stopped or {"latched": False, "confirmed": False, "error": ""}
            case "release":
                return self._release(asked.get("key"), asked.get("begun"))
            case "episode":
                begun = self._device.begin_episode(asked.get("after"))
                return {"begun": begun, "error": "" if begun else self._device.last_error}
            case other:
                known = "status, probe, estop, release or episode"
                return {"error": f"a driver has no {other!r}; expected {known}"}

    def _release(self, key: object, begun: object) -> dict[str, Any]:
        error = self._stop.lift(key, begun)
        if self._stop.stop is None:
            self._core.release(monotonic_ns())  # commands made from here on count
        return {"latched": self._stop.stop is not None, "error": error}

    @property
    def _stopped(self) -> dict[str, Any] | None:
        return self._stop.report(self._device.reason or self._device.last_error)
