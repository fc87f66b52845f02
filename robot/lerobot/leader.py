"""`LeRobotTeleoperator`: a teleoperator of the LeRobot library, as a source of actions.

It is opened by the library's own `connect(calibrate=False)`: a leader arm has no torque, so that
there is nothing to hold.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from . import library


class LeRobotTeleoperator:
    """One teleoperator; `action_names` are there right after the construction, which touches no
    hardware. `options` are the fields of its configuration class."""

    def __init__(self, type: str, **options: Any) -> None:
        self._device = library.make(library.TELEOPERATORS, {"type": type, **options})
        self._type = type
        self.action_names: tuple[str, ...] = tuple(self._device.action_features)
        strange = [n for n, form in self._device.action_features.items() if form is not float]
        if strange or not self.action_names:
            raise RobotError(
                f"{type}: expected actions that are numbers, by name; it has "
                f"{self._device.action_features}"
            )

    def connect(self) -> None:
        """Open it. Raises RobotError when it is absent or not calibrated."""
        with library.said(self._where):
            if hasattr(self._device, "bus"):
                library.calibrated(self._device)
            self._device.connect(calibrate=False)
            if not self._device.is_calibrated:
                raise RobotError(
                    f"{self._where}: the calibration in its motors is not that of "
                    f"{self._device.calibration_fpath}: run lerobot-calibrate"
                )

    def get_action(self, out: NDArray[np.float32]) -> int:
        """Fill `out` [A] in the order of `action_names`; return when it was measured, monotonic
        ns. Raises RobotError when it does not answer."""
        with library.said(self._where):
            now_ns = time.monotonic_ns()
            found = self._device.get_action()
            out[:] = [found[name] for name in self.action_names]
        return now_ns

    def close(self) -> None:
        """Close the port. Never raises."""
        with suppress(Exception):
            if self._device.is_connected:
                self._device.disconnect()
        port = getattr(getattr(self._device, "bus", None), "port_handler", None)
        with suppress(Exception):
            if port is not None and port.is_open:  # the farewell failed
                port.is_using = False
                port.closePort()

    @property
    def _where(self) -> str:
        port = getattr(self._device.config, "port", "")
        return f"{self._device.id or self._type}{f' on {port}' if port else ''}"
