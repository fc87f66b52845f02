"""What a camera is, to the sensor actor that reads it.

A camera of your own is a class that inherits `Camera`, in a module beside fleet.yaml, and its line
there is `driver: my_camera:MyCamera`:

    class MyCamera(Camera):
        def __init__(self, width: int, height: int, fps: float, serial: str) -> None:
            self.width, self.height = width, height  # and `options` of fleet.yaml, by name
            self.sdk = Sdk(serial, fps)  # opens nothing yet

        def open(self) -> None:
            self.sdk.start(self.width, self.height)

        def read(self, out: NDArray[np.uint8]) -> int:
            frame = self.sdk.wait(timeout_s=1.0)
            to_rgb(frame.pixels, PixelFormat.BGR, out)
            return frame.monotonic_ns

A camera is called by one thread of one process, which serves this camera alone: `open` and `read`
may block, and may raise `RobotError` or `OSError`. The process counts that, closes the camera and
opens it again after a pause. `to_rgb` is in pixels.py; `DeviceClock` in device_clock.py turns the
instants of a device's own clock into those of this machine's.
"""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Stamp(StrEnum):
    """Where the instants of a camera's frames come from."""

    DEVICE = "device"
    """Its capture, as the device, its driver in the kernel or its SDK timed it."""
    ARRIVAL = "arrival"
    """Its arrival in this process, late by exposure and transfer."""


class Camera(Protocol):
    """One camera. Made with the width, height and fps of its entry in fleet.yaml and with its
    `options`, by name, which touches no hardware. `open` comes first and `close` last; after a
    failure `close` and `open` follow each other until it works. `read` sets the sensor's pace.

    Inherit it for the defaults; only `open` and `read` have none.
    """

    width: int
    height: int
    stamp: Stamp = Stamp.ARRIVAL
    """Where the instants that `read` returns come from; valid once `open` has returned."""
    has_noise: bool = True
    """Whether two frames of a static scene differ, as those of every real sensor do: identical ones
    then tell of a camera that is frozen."""
    patience_s: float = 10.0
    """The longest that `open` or `read` may take, whether the device is there or not. A process
    that stays longer in one of them is ended."""

    @abstractmethod
    def open(self) -> None:
        """Start capturing. Raises RobotError when the device is absent or refuses the format."""

    @abstractmethod
    def read(self, out: NDArray[np.uint8]) -> int:
        """Wait for the next frame, write it to `out` [height, width, 3] RGB, and return the instant
        of its capture, monotonic ns. Raises RobotError when none came in time. An instant that was
        returned before says that there is no new frame; one that lies before it, or in the future,
        breaks the contract."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the device. Never raises."""
        return
