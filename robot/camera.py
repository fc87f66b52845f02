"""A camera that OpenCV can read: a device, a video file that stands in for one, or a stream.

Guaranteed: `read` returns within `timeout_s` (and a file's own pace) or raises, without a thread in
the background; pictures are RGB, whatever OpenCV delivers. Not guaranteed: a capture instant from
the sensor's own clock. OpenCV does not pass it on, so the instant is that of the frame's arrival,
late by what exposure and transfer took.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ..errors import Fault, RecordingEndedError, RobotError
from .base import Options

_NS = 1_000_000_000
_MANUAL = 1
"""Of CAP_PROP_AUTO_EXPOSURE, as V4L2 counts."""

_FIRST_PICTURE_S = 10.0
"""How long OpenCV waits for a device's very first picture."""


class Source(Enum):
    """What a camera's pictures come from."""

    DEVICE = "device"
    FILE = "file"
    STREAM = "stream"

    @classmethod
    def of(cls, source: int | str) -> Source:
        """By its name: a number or /dev/..., an address with `://`, else a file."""
        text = str(source)
        if text.isdigit() or text.startswith("/dev/"):
            return cls.DEVICE
        return cls.STREAM if "://" in text else cls.FILE


class OpenCVOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a camera that OpenCV reads. What is None was not given; see `OpenCVCamera`."""

    source: Annotated[
        int | str,
        Meta(description="a device's number or path, a video file, or a stream's address"),
    ]
    loop: Annotated[bool | None, Meta(description="of a file: begin again at its end")] = None
    timeout_s: (
        Annotated[float, Meta(gt=0, le=60, description="seconds, more than 0 and at most 60")]
        | None
    ) = None
    exposure: (
        Annotated[float, Meta(gt=0, le=1e6, description="in the units of the device's driver")]
        | None
    ) = None

    def conflicts(self) -> Iterator[Fault]:
        kind = Source.of(self.source)
        if isinstance(self.source, int) and self.source < 0:
            yield Fault("source", f"no device has the number {self.source}", "0 or more")
        obeyed = {
            Source.DEVICE: ("timeout_s", "exposure"),
            Source.FILE: ("loop",),
            Source.STREAM: ("timeout_s",),
        }[kind]
        for name in ("loop", "timeout_s", "exposure"):
            if getattr(self, name) is not None and name not in obeyed:
                found = (
                    f"has no effect: source {self.source!r} is a {kind.value}, which obeys "
                    f"{', '.join(obeyed)}"
                )
                yield Fault(name, found, remedy="remove it")


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
        exposure: float | None = None,
    ) -> None:
        """Open the source. It gives its pictures in the size that was asked for.

        Args:
            source: a device's number or path (`0`, `/dev/video0`), a stream's address (with
                `://`), or the path of a video file.
            width, height: of the pictures; a device is asked for them, and any source that
                delivers another size is refused.
            fps: the rate to ask of a device, or to play a file at; None leaves the device's own,
                or the file's.
            timeout_s: longest wait for one picture, and for opening a stream.
            loop: whether a file begins again at its end; if not, its end raises
                `RecordingEndedError`.
            exposure: of a device, in the units of its driver (V4L2: 100 µs); None leaves it to the
                device.
        """
        self.width, self.height = width, height
        self._source = source
        self._fps = fps
        self._timeout_s = timeout_s
        self._loop = loop
        self._exposure = exposure
        self._kind = Source.of(source)
        self._capture: cv2.VideoCapture | None = None
        self._frame: NDArray[np.uint8] | None = None
        self._period_ns = 0
        self._due_ns = 0

    @classmethod
    def of(cls, options: OpenCVOptions, width: int, height: int, fps: float) -> OpenCVCamera:
        """The camera that `options` describe, not yet open."""
        given = {
            name: value
            for name in ("loop", "timeout_s", "exposure")
            if (value := getattr(options, name)) is not None
        }
        return cls(options.source, width, height, fps, **given)

    @property
    def patience_s(self) -> float:
        """The longest that `open` or `read` takes: opening, and waiting for the first picture."""
        wait_s = {
            Source.DEVICE: _FIRST_PICTURE_S + self._timeout_s,
            Source.STREAM: 2 * self._timeout_s,
            Source.FILE: 1 / (self._fps or 1.0),
        }
        return wait_s[self._kind]

    def open(self) -> None:
        """Open the source and read one picture, to know that it delivers what was asked for.
        Raises RobotError when it does not. A device's very first picture is waited for as long as
        OpenCV does, ten seconds."""
        self.close()
        if self._kind is Source.FILE and not Path(str(self._source)).is_file():
            raise RobotError(f"camera source {self._source!r} is no file: mend its path")
        self._capture = capture = self._opened()
        if not capture.isOpened():
            self.close()
            raise RobotError(
                f"camera source {self._source!r} does not open as a {self._kind.value}: "
                "see that it exists, that this user may read it and that nobody else has it open"
            )
        try:
            self._obeyed(capture)
            self._grab(capture)
        except RobotError:
            self.close()
            raise
        if self._kind is Source.FILE:
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

    def _obeyed(self, capture: cv2.VideoCapture) -> None:
        """See that the device took the exposure: V4L2 rounds it to its steps, or ignores it."""
        if self._exposure is None:
            return
        has = capture.get(cv2.CAP_PROP_EXPOSURE)
        if abs(has - self._exposure) > max(1.0, 0.1 * self._exposure):
            raise RobotError(
                f"camera source {self._source!r} did not take exposure {self._exposure:g}, it has "
                f"{has:g}: use a value that `v4l2-ctl --list-ctrls` allows, or remove it"
            )

    def _opened(self) -> cv2.VideoCapture:
        if self._kind is Source.DEVICE:
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
            if self._exposure is not None:
                capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL)
                capture.set(cv2.CAP_PROP_EXPOSURE, self._exposure)
            return capture
        if self._kind is Source.STREAM:
            wait_ms = round(1000 * self._timeout_s)
            bounds = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait_ms]
            bounds += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
            return cv2.VideoCapture(str(self._source), cv2.CAP_FFMPEG, bounds)
        return cv2.VideoCapture(str(self._source))

    def _grab(self, capture: cv2.VideoCapture) -> tuple[int, NDArray[np.uint8]]:
        """The next picture as OpenCV has it (BGR), and when it came."""
        if self._kind is Source.DEVICE:
            # Waits and grabs; `grab` alone would wait ten seconds for a camera that has stopped.
            came, _ = cv2.VideoCapture.waitAny([capture], round(self._timeout_s * _NS))
        else:
            came = capture.grab()
            if not came and self._kind is Source.FILE and self._loop:
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                came = capture.grab()
        instant_ns = time.monotonic_ns()
        if not came and self._kind is Source.FILE:
            if not self._loop:
                raise RecordingEndedError(
                    f"camera source {self._source!r} has ended, and `loop` is false"
                )
            raise RobotError(f"camera source {self._source!r} holds no picture: use another file")
        if not came:
            raise RobotError(
                f"camera source {self._source!r} ({self._kind.value}) gave no further picture "
                f"within {self._timeout_s:g} s: it was unplugged, or is out of reach"
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
