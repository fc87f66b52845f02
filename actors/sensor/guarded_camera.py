"""`GuardedCamera`: a camera as its process calls it: every call is checked.

Guarantees: the only exception of a camera that gets out is RobotError, whatever its code does; an
instant that is handed on lies in the past and not before the last one. Not guaranteed: that a call
returns. The supervisor ends a process that stays in one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic_ns
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ...robot.cameras.base import Camera
from ..runtime.user_code import blame

T = TypeVar("T")


class GuardedCamera:
    """One sensor's."""

    def __init__(self, camera: Camera, log: logging.Logger) -> None:
        self.camera = camera
        self._log = log
        self._last_ns = 0
        self._logged = ""

    def open(self) -> None:
        """See `Camera.open`. Raises RobotError."""
        self._call("open", self.camera.open)

    def read(self, out: NDArray[np.uint8]) -> int:
        """See `Camera.read`. Raises RobotError, also for an instant that breaks the contract."""
        instant = self._call("read", lambda: self.camera.read(out))
        if broken := self._broken(instant):
            raise RobotError(f"the camera broke its contract: {broken}")
        self._last_ns = int(instant)
        return self._last_ns

    def close(self) -> None:
        """See `Camera.close`. What it raises is logged."""
        try:
            self._call("close", self.camera.close)
        except RobotError as error:
            self._log.warning("%s", error)

    def _broken(self, instant: object) -> str:
        if isinstance(instant, bool) or not isinstance(instant, int | np.integer):
            return (
                f"read returned {instant!r:.40}, expected the instant of the capture in ns "
                "(time.monotonic_ns())"
            )
        ahead_ns = int(instant) - monotonic_ns()
        if ahead_ns > 0:
            # To one digit, so that the next one makes no other message.
            ahead_ms = float(f"{ahead_ns / 1e6:.1g}")
            return f"read returned an instant some {ahead_ms:g} ms in the future"
        if instant < self._last_ns:
            return "read returned an instant before the last one"
        return ""

    def _call(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except RobotError:
            raise
        except OSError as error:
            raise RobotError(f"{name}: {error or type(error).__name__}") from error
        except Exception as error:  # the camera may be the user's or a library's code
            said = f"{name} raised {blame(error)}"
            if said != self._logged:
                self._logged = said
                self._log.error("the camera failed in its own code", exc_info=error)
            raise RobotError(said) from error
