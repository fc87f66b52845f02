"""A camera that OpenCV can read: a device, a video file that stands in for one, or a stream.

Guaranteed: `read` returns within `timeout_s` (and a file's own pace) or raises, without a thread in
the background; pictures are RGB, whatever OpenCV delivers. A device's frames carry the instant of
their capture, which the kernel gives; a device that times nothing, a file and a stream have that of
the arrival. (A stream has times of its own, of an unknown zero; those of motion JPEG are made up by
the decoder, which counts 25 frames a second.) Of a stream that stalled, what had queued is dropped.
Not guaranteed: that a stream which changes its size while it runs is noticed. OpenCV scales it to
the size that it had at first.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import RecordingEndedError, RobotError
from . import v4l2
from .backlog import Backlog
from .base import Camera, Stamp
from .device_clock import of_kernel
from .pixels import DepthRange, PixelFormat, to_rgb
from .source import OpenCVOptions, Source

_NS = 1_000_000_000
_MANUAL = 1
"""Of CAP_PROP_AUTO_EXPOSURE, as V4L2 counts."""

_FIRST_PICTURE_S = 10.0
"""How long OpenCV waits for a device's very first picture."""

_RAW = (PixelFormat.GRAY, PixelFormat.BGRA, PixelFormat.RGBA, PixelFormat.DEPTH)
"""The formats that OpenCV passes on only as they are: else it makes BGR of everything."""


class OpenCVCamera(Camera):
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
        fourcc: str | None = None,
        format: PixelFormat = PixelFormat.BGR,
        depth_range: DepthRange | None = None,
    ) -> None:
        """Open the source. It gives its pictures in the size that was asked for.

        Args:
            source: a device's number or path (`0`, `/dev/video0`), a stream's address (with
                `://`), or the path of a video file. A device is found again by its link in
                /dev/v4l/by-id, if it has one, whatever its number becomes.
            width, height: of the pictures; a device is asked for them, and any source that
                delivers another size is refused.
            fps: the rate to ask of a device, or to play a file at; None leaves the device's own,
                or the file's.
            timeout_s: longest wait for one picture, and for opening a stream.
            loop: whether a file begins again at its end; if not, its end raises
                `RecordingEndedError`.
            exposure: of a device, in the units of its driver (V4L2: 100 µs); None leaves it to the
                device.
            fourcc: how a device is to send its pictures (`MJPG`, `YUYV`); None leaves it to OpenCV.
            format: of the pixels: what OpenCV makes of any source is BGR. The others are those of
                sources whose pixels are passed on as they are, and RGB of those that it mistakes.
            depth_range: (near, far) of depth, see `to_rgb`.
        """
        self.width, self.height = width, height
        self.stamp = Stamp.ARRIVAL
        self._source = source
        self._fps = fps
        self._timeout_s = timeout_s
        self._loop = loop
        self._exposure = exposure
        self._fourcc = fourcc
        self._format, self._depth_range = format, depth_range
        self._kind = Source.of(source)
        self.has_noise = self._kind is not Source.FILE
        self._capture: cv2.VideoCapture | None = None
        self._frame: NDArray[np.uint8] | None = None
        self._device: Path | None = None
        self._backlog: Backlog | None = None
        self._period_ns = 0
        self._due_ns = 0
        self.patience_s = {
            Source.DEVICE: _FIRST_PICTURE_S + timeout_s,
            Source.STREAM: 3 * timeout_s + 1.0,
            Source.FILE: 1 / (fps or 1.0),
        }[self._kind]

    @classmethod
    def of(cls, options: OpenCVOptions, width: int, height: int, fps: float) -> OpenCVCamera:
        """The camera that `options` describe, not yet open."""
        names = ("loop", "timeout_s", "exposure", "fourcc", "format", "depth_range")
        given = {name: value for name in names if (value := getattr(options, name)) is not None}
        return cls(options.source, width, height, fps, **given)

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
                "see that it exists, that this user may read it and that no other program uses it"
            )
        try:
            self._obeyed(capture)
            instant_ns, frame = self._grab(capture)
            self.stamp = (
                Stamp.ARRIVAL if self._kernel_ns(capture, instant_ns) is None else Stamp.DEVICE
            )
            self._convert(frame, np.empty((self.height, self.width, 3), np.uint8))
        except RobotError:
            self.close()
            raise
        if self._kind is Source.DEVICE:
            self._device = v4l2.stable_path(v4l2.device_of(self._source))
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
        arrival_ns, frame = self._grab(self._capture)
        self._convert(frame, out)
        kernel_ns = self._kernel_ns(self._capture, arrival_ns)
        self.stamp = Stamp.ARRIVAL if kernel_ns is None else Stamp.DEVICE
        return arrival_ns if kernel_ns is None else kernel_ns

    def close(self) -> None:
        """Release the source."""
        if self._capture is not None:
            self._capture.release()
        self._capture = self._frame = None

    def _obeyed(self, capture: cv2.VideoCapture) -> None:
        """See that the device took the exposure: V4L2 rounds it to its steps, or ignores it. The
        same for the form of its pictures."""
        if self._fourcc is not None:
            has = round(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
            if has != self._fourcc:
                raise RobotError(
                    f"camera source {self._source!r} does not send {self._fourcc!r}, it sends "
                    f"{has!r}{self._offers()}: set `fourcc` to one of these, or remove it"
                )
        if self._exposure is None:
            return
        exposure = capture.get(cv2.CAP_PROP_EXPOSURE)
        if abs(exposure - self._exposure) > max(1.0, 0.1 * self._exposure):
            raise RobotError(
                f"camera source {self._source!r} did not take exposure {self._exposure:g}, it has "
                f"{exposure:g}: use a value that `v4l2-ctl --list-ctrls` allows, or remove it"
            )

    def _opened(self) -> cv2.VideoCapture:
        if self._kind is Source.DEVICE:
            capture = self._opened_device()
        elif self._kind is Source.STREAM:
            self._backlog = Backlog(round(_NS / (self._fps or 30.0)))
            wait_ms = round(1000 * self._timeout_s)
            bounds = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait_ms]
            bounds += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
            capture = cv2.VideoCapture(str(self._source), cv2.CAP_FFMPEG, bounds)
        else:
            capture = cv2.VideoCapture(str(self._source))
        if self._format in _RAW:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        return capture

    def _opened_device(self) -> cv2.VideoCapture:
        # Once it was open, its own link: after it was unplugged, its number may be another's.
        device = self._device or self._source
        is_number = str(device).isdigit()
        capture = cv2.VideoCapture(int(str(device)) if is_number else str(device), cv2.CAP_V4L2)
        if self._fourcc is not None:  # before the size: which sizes there are depends on it
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._fourcc))
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

    def _grab(self, capture: cv2.VideoCapture) -> tuple[int, NDArray[np.uint8]]:
        """The next picture as OpenCV has it, and when it came."""
        arrival_ns = self._grabbed(capture)
        decoded, frame = capture.retrieve(self._frame)
        if not decoded:
            raise RobotError(
                f"camera source {self._source!r} gave a picture that cannot be decoded: see "
                "whether its cable, its network or the file is damaged"
            )
        self._frame = np.asarray(frame)
        return arrival_ns, self._frame

    def _grabbed(self, capture: cv2.VideoCapture) -> int:
        """Take the next picture; when it came."""
        until_ns = time.monotonic_ns() + round(self._timeout_s * _NS)
        while True:
            asked_ns = time.monotonic_ns()
            if self._kind is Source.DEVICE:
                # Waits and grabs; `grab` alone would wait ten seconds for one that has stopped.
                came, _ = cv2.VideoCapture.waitAny([capture], round(self._timeout_s * _NS))
            else:
                came = capture.grab()
                if not came and self._kind is Source.FILE and self._loop:
                    capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                    came = capture.grab()
            arrival_ns = time.monotonic_ns()
            if not came:
                raise self._absence()
            old = self._backlog is not None and self._backlog.is_old(asked_ns, arrival_ns)
            if not old or arrival_ns > until_ns:
                return arrival_ns

    def _absence(self) -> RobotError:
        """Why there is no further picture."""
        if self._kind is not Source.FILE:
            return RobotError(
                f"camera source {self._source!r} ({self._kind.value}) gave no further picture "
                f"within {self._timeout_s:g} s: it was unplugged, or is out of reach"
            )
        if not self._loop:
            return RecordingEndedError(
                f"camera source {self._source!r} has ended, and `loop` is false"
            )
        return RobotError(f"camera source {self._source!r} holds no picture: use another file")

    def _convert(self, frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        try:
            to_rgb(frame, self._format, out, self._depth_range)
        except RobotError as error:
            raise RobotError(f"camera source {self._source!r}: {error}{self._offers()}") from None

    def _kernel_ns(self, capture: cv2.VideoCapture, arrival_ns: int) -> int | None:
        """When a device's frame was captured, if the kernel says so."""
        if self._kind is not Source.DEVICE:
            return None
        return of_kernel(capture.get(cv2.CAP_PROP_POS_MSEC), arrival_ns)

    def _offers(self) -> str:
        """The sizes that a device offers, as the end of a sentence."""
        offered = ""
        if self._kind is Source.DEVICE:
            offered = v4l2.sizes(self._device or v4l2.device_of(self._source))
        return f" (it offers {offered})" if offered else ""

    def _wait_for_grid(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns < self._due_ns:
            time.sleep((self._due_ns - now_ns) / _NS)
        else:
            self._due_ns += (now_ns - self._due_ns) // self._period_ns * self._period_ns
        self._due_ns += self._period_ns
