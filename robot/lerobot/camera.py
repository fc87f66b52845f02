"""A camera of the LeRobot library (0.4 and 0.6), as it is installed: RealSense, OpenCV, ZMQ, and
those of packages that are called lerobot_camera_...

Guaranteed: a frame is handed on once, with the instant at which the library's own thread had it.
The library does not pass on the device's, so the stamp is that of the arrival (its
`latest_timestamp` is `time.perf_counter()`, which on Linux is the monotonic clock). Nothing of it
is imported before a camera is made.

Source: https://huggingface.co/docs/lerobot/cameras and the library's own `lerobot.cameras`.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RobotError
from ..cameras.base import Camera
from ..cameras.pixels import DepthRange, PixelFormat, to_rgb
from . import library

_TIMEOUT_MS = 2000
"""The longest wait for a frame."""
_LATEST = ("latest_frame", "latest_color_frame", "latest_depth_frame")
"""Where the library's cameras keep their newest frames."""


class LeRobotCamera(Camera):
    """One camera of the installed library.

    Example, in fleet.yaml:

        driver: lerobot
        python: ~/lerobot/.venv/bin/python
        options: {type: intelrealsense, serial_number_or_name: "0123456789"}
    """

    patience_s = 30.0
    """Of RealSense cameras: the library opens them up to three times, and resets them before the
    last."""

    def __init__(
        self,
        width: int,
        height: int,
        fps: float,
        format: str | None = None,
        depth_range: DepthRange | None = None,
        set_size: bool = True,
        **options: Any,
    ) -> None:
        """Make the camera of the registered `type` in `options`, which has the fields of its
        configuration class beside it. Raises RobotError for what the library does not have.

        Args:
            width, height, fps: of the frames; the library asks the device for them.
            format: of the pixels that the library delivers, by `PixelFormat`; None: RGB, or what
                `color_mode` of the options says. With DEPTH, its depth is read, not its colour.
            depth_range: see `to_rgb`. RealSense cameras count millimetres.
            set_size: False leaves the device its own size and rate; frames of another size than
                this one are refused all the same.
        """
        self.width, self.height = width, height
        self._type = str(options["type"])
        self._format = PixelFormat(format or str(options.get("color_mode", "rgb")).lower())
        self._depth_range = depth_range
        size = {"width": width, "height": height, "fps": round(fps)} if set_size else {}
        self._config = library.configuration(library.CAMERAS, {**size, **options})
        self._device: Any = None

    def open(self) -> None:
        """See `Camera.open`."""
        self.close()
        with library.said(self._type):
            # Anew each time: an object that was connected keeps the size that it found then.
            make = importlib.import_module(library.CAMERAS.package).make_cameras_from_configs
            self._device = make({self._type: self._config})[self._type]
            self._device.connect()

    def read(self, out: NDArray[np.uint8]) -> int:
        """See `Camera.read`."""
        if self._device is None:
            raise RobotError(f"the camera {self._type} is not open: call open() first")
        with library.said(self._type):
            pixels, instant_ns = self._next()
        to_rgb(pixels, self._format, out, self._depth_range)
        return instant_ns

    def close(self) -> None:
        """See `Camera.close`."""
        with contextlib.suppress(Exception):
            if self._device is not None:
                self._device.disconnect()
        self._device = None

    def _next(self) -> tuple[NDArray[Any], int]:
        """The next frame and its instant, monotonic ns."""
        depth = self._format is PixelFormat.DEPTH
        read = self._device.async_read_depth if depth else self._device.async_read
        while True:
            pixels = read(timeout_ms=_TIMEOUT_MS)
            with self._device.frame_lock:
                newest = (getattr(self._device, name, None) for name in _LATEST)
                if any(frame is pixels for frame in newest):
                    return pixels, round(self._device.latest_timestamp * 1e9)
