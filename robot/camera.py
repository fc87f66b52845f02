"""A camera that OpenCV can read: a device, a video file that stands in for one, or a stream.

Guaranteed: `read` returns within `timeout_s` (and a file's own pace) or raises, without a thread in
the background; pictures are RGB, whatever OpenCV delivers. Not guaranteed: a capture instant from
the sensor's own clock. OpenCV does not pass it on, so the instant is that of the frame's arrival,
late by what exposure and transfer took.
"""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import RobotError

_NS = 1_000_000_000


class _Kind(Enum):
    DEVICE = "device"
    FILE = "file"
    STREAM = "stream"


class OpenCVCamera:
    """One `cv2.VideoCapture`, as a `Camera`."""

    def __init__(
        self,
        source: int | str,
        width: int,
        height: int,
        fps: float | None = None,
        timeout_s: float = 2.0,
        loop: bool = True,
    ) -> None:
        """
        Args:
            source: a device's number or path (`0`, `/dev/video0`), a stream's address (with
                `://`), or the path of a video file.
            width, height: of the pictures; a device is asked for them, and any source that
                delivers another size is refused.
            fps: the rate to ask of a device, or to play a file at; None leaves the device's own,
                or the file's.
            timeout_s: longest wait for one picture, and for opening a stream.
            loop: whether a file begins again at its end; if not, its end is an error.
        """
        self.width, self.height = width, height
        self._source = source
        self._fps = fps
        self._timeout_s = timeout_s
        self._loop = loop
        self._kind = _kind(source)
        self._capture: cv2.VideoCapture | None = None
        self._frame: NDArray[np.uint8] | None = None
        self._period_ns = 0
        self._due_ns = 0

    def open(self) -> None:
        """Open the source and read one picture, to know that it delivers what was asked for.
        Raises RobotError when it does not. A device's very first picture is waited for as long as
        OpenCV does, ten seconds."""
        self.close()
        if self._kind is _Kind.FILE and not Path(str(self._source)).is_file():
            raise RobotError(f"camera source {self._source!r} is no file: mend its path")
        self._capture = capture = self._opened()
        if not capture.isOpened():
            self.close()
            raise RobotError(
                f"camera source {self._source!r} does not open as a {self._kind.value}: "
                "see that it exists, that this user may read it and that nobody else has it open"
            )
        try:
            self._grab(capture)
        except RobotError:
            self.close()
            raise
        if self._kind is _Kind.FILE:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            self._period_ns = round(_NS / (self._fps or capture.get(cv2.CAP_PROP_FPS) or 30.0))
        self._due_ns = time.monotonic_ns()

    def read(self, out: NDArray[np.uint8]) -> int:
        """See `Camera.read`. A file is played at its pace on a fixed grid; who comes late gets the
        next picture on the grid."""
        if self._capture is None:
            raise RobotError(f"camera source {self._source!r} is not open: call open() first")
        if self._period_ns:
            self._wait_for_grid()
        instant_ns, frame = self._grab(self._capture)
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=out)
        return instant_ns

    def close(self) -> None:
        """Release the source."""
        if self._capture is not None:
            self._capture.release()
        self._capture = self._frame = None

    def _opened(self) -> cv2.VideoCapture:
        if self._kind is _Kind.DEVICE:
            device = self._source
            capture = cv2.VideoCapture(
                int(device) if str(device).isdigit() else str(device), cv2.CAP_V4L2
            )
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self.height)
            if self._fps is not None:
                capture.set(cv2.CAP_PROP_FPS, self._fps)
            # One picture of delay, not a queue of old ones.
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            return capture
        if self._kind is _Kind.STREAM:
            wait_ms = round(1000 * self._timeout_s)
            bounds = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait_ms]
            bounds += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
            return cv2.VideoCapture(str(self._source), cv2.CAP_FFMPEG, bounds)
        return cv2.VideoCapture(str(self._source))

    def _grab(self, capture: cv2.VideoCapture) -> tuple[int, NDArray[np.uint8]]:
        """The next picture as OpenCV has it (BGR), and when it came."""
        if self._kind is _Kind.DEVICE:
            # Waits and grabs; `grab` alone would wait ten seconds for a camera that has stopped.
            came, _ = cv2.VideoCapture.waitAny([capture], round(self._timeout_s * _NS))
        else:
            came = capture.grab()
            if not came and self._kind is _Kind.FILE and self._loop:
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                came = capture.grab()
        instant_ns = time.monotonic_ns()
        if not came:
            raise RobotError(
                f"camera source {self._source!r} ({self._kind.value}) gave no further picture "
                f"within {self._timeout_s:g} s: it has ended, was unplugged, or is out of reach"
            )
        decoded, frame = capture.retrieve(self._frame)
        if not decoded or frame.shape != (self.height, self.width, 3):
            found = frame.shape if decoded else "none"
            raise RobotError(
                f"camera source {self._source!r} gave a picture of {found}, expected "
                f"{(self.height, self.width, 3)}: set width and height to what it delivers"
            )
        self._frame = np.asarray(frame, np.uint8)
        return instant_ns, self._frame

    def _wait_for_grid(self) -> None:
        now = time.monotonic_ns()
        if now < self._due_ns:
            time.sleep((self._due_ns - now) / _NS)
        else:
            self._due_ns += (now - self._due_ns) // self._period_ns * self._period_ns
        self._due_ns += self._period_ns


def _kind(source: int | str) -> _Kind:
    text = str(source)
    if text.isdigit() or text.startswith("/dev/"):
        return _Kind.DEVICE
    return _Kind.STREAM if "://" in text else _Kind.FILE
